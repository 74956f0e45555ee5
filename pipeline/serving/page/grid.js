// Photographs in rows of one height, each as wide as it needs.

// tiles: {picture, title, note, label}; chosen: called with the number of a tile.
export function show(list, tiles, chosen) {
  list.replaceChildren(...tiles.map((tile, number) => item(tile, () => chosen(number))));
}

function item({ picture, title, note, label }, chosen) {
  const entry = document.createElement("li");
  const button = document.createElement("button");
  button.className = "tile";
  button.addEventListener("click", chosen);
  button.append(shown(picture, label, entry), text(title), ...(note ? [text(note, "score")] : []));
  entry.append(button);
  return entry;
}

function shown(address, label, entry) {
  const image = new Image();
  image.loading = "lazy";
  image.alt = label;
  widen(entry, 4 / 3);
  image.addEventListener("load", () => {
    image.classList.add("there");
    widen(entry, image.naturalWidth / image.naturalHeight);
  });
  image.src = address;
  return image;
}

function widen(entry, ratio) {
  const kept = Math.min(3, Math.max(0.5, ratio));
  entry.style.flex = `${kept} 1 calc(var(--row) * ${kept.toFixed(3)})`;
}

function text(content, kind = "") {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = content;
  return span;
}
