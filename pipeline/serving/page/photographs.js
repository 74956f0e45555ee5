// Photographs that were asked with stay in this browser (IndexedDB), so that a reload and the back button find them; the server keeps none.

const KEPT = 30;

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("photographs", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("files", { autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const here = new Map(); // where the browser keeps nothing, as in a private window, the page does

export async function keep(file) {
  try {
    const files = (await opened()).transaction("files", "readwrite").objectStore("files");
    const key = await done(files.add(file));
    const keys = await done(files.getAllKeys());
    for (const old of keys.slice(0, -KEPT)) files.delete(old);
    here.set(String(key), file);
    return String(key);
  } catch {
    const key = `page-${here.size}`;
    here.set(key, file);
    return key;
  }
}

export async function find(key) {
  if (here.has(key)) return here.get(key);
  try {
    return (await done((await opened()).transaction("files").objectStore("files").get(Number(key)))) ?? null;
  } catch {
    return null;
  }
}
