// What the page asks the service; every failure becomes one sentence.

const part = (text) => text.split("/").map(encodeURIComponent).join("/");

async function answered(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service cannot be reached. Please try again in a moment.");
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  if (response.status === 503) throw new Error("The service is busy. Please try again in a moment.");
  throw new Error(content.error ?? `The service answers with status ${response.status}.`);
}

export const collections = () => answered("/api/collection");
export const instances = (collection) => answered(`/api/instances?${new URLSearchParams({ collection })}`);
export const instance = (collection, name) => answered(`/api/instances/${part(name)}?${new URLSearchParams({ collection })}`);
export const image = (collection, id) => `/api/images/${part(id)}?${new URLSearchParams({ collection })}`;
export const thumbnail = (collection, id) => `/api/images/${part(id)}/thumbnail?${new URLSearchParams({ collection })}`;

export function ask(collection, { file, like, box }, top, signal) {
  const form = new FormData();
  form.set("collection", collection);
  form.set("top", top);
  if (box) form.set("box", box.map((edge) => edge.toFixed(1)).join(","));
  if (like) form.set("image_id", like);
  else form.set("photograph", file, file.name || "photograph");
  return answered("/api/ask", { method: "POST", body: form, signal });
}
