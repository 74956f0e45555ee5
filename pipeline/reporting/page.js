// The report's tables and viewer. Nothing is fetched: results stand in the page, pictures lie in the folder `pictures` next to it.

const element = (id) => document.getElementById(id);

// When this page was made, and from which commit: told by a script next to it, which is believed where it means this page's contents.
const teller = document.createElement("script");
teller.src = "made.js";
teller.addEventListener("load", () => {
  const { contents, at, commit, changed } = window.made;
  if (contents !== document.documentElement.dataset.contents) return;
  const day = new Date(at).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
  element("made").textContent = `Made on ${day}${commit ? `, from commit ${commit}` : ""}${changed ? " with local changes" : ""}.`;
  element("made").hidden = false;
});
document.head.append(teller);

// Tables: a heading sorts by its column, numbers as numbers; a search keeps the rows that hold its words.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead button").forEach((button, column) => button.addEventListener("click", () => {
    const heading = button.parentElement;
    const falling = heading.ariaSort === "ascending";
    table.querySelectorAll("th").forEach((other) => { other.ariaSort = null; });
    heading.ariaSort = falling ? "descending" : "ascending";
    const order = new Intl.Collator("en", { numeric: true });
    const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent, row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || (falling ? -1 : 1) * order.compare(a, b));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}
for (const search of document.querySelectorAll("input[data-table]")) {
  const rows = [...element(search.dataset.table).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    let kept = 0;
    rows.forEach((row, place) => { row.hidden = !words.every((word) => texts[place].includes(word)); kept += !row.hidden; });
    element(`${search.dataset.table}-count`).textContent = `${kept} of ${rows.length}`;
  });
}
for (const button of document.querySelectorAll("button[data-find]")) {
  button.addEventListener("click", () => {
    const search = document.querySelector(`input[data-table="${CSS.escape(button.dataset.table)}"]`);
    search.value = button.dataset.find;
    search.dispatchEvent(new Event("input"));
    search.scrollIntoView();
    search.focus();
  });
}

// The viewer: one query with one of its results, both enlarged. The address says which: #query=BENCHMARK/QUERY&image=RESULT.
const viewer = element("viewer");
const read = {};

function results(benchmark) {
  if (!(benchmark in read)) {
    const script = document.querySelector(`script[data-results="${CSS.escape(benchmark)}"]`);
    const content = script ? JSON.parse(script.textContent) : { images: [], queries: [], verdicts: [] };
    read[benchmark] = { ...content, byName: new Map(content.queries.map((query) => [content.images[query.image][0], query])) };
  }
  return read[benchmark];
}

const address = (benchmark, query, image) =>
  `#query=${benchmark}/${encodeURIComponent(query)}${image === undefined ? "" : `&image=${encodeURIComponent(image)}`}`;

function show(picture, [name, , path], note) {
  picture.hidden = !path;
  note.hidden = Boolean(path);
  note.textContent = "no picture was made of it";
  picture.alt = name;
  picture.onerror = () => {
    picture.hidden = true;
    note.hidden = false;
    note.textContent = `its picture is not here: pictures/${path}, next to this page`;
  };
  if (path) picture.src = `pictures/${path}`;
}

// What an image is called: by its file, which most ids are made of.
const named = ([name, file]) => (file.startsWith(name) ? file : `${name} (${file})`);

function tile(benchmark, content, query, hit, chosen) {
  const [image, verdict, rank, score] = hit;
  const link = document.createElement("a");
  link.className = `tile ${content.verdicts[verdict]}`;
  link.href = address(benchmark, content.images[query.image][0], content.images[image][0]);
  link.title = named(content.images[image]);
  if (chosen) link.ariaCurrent = "true";
  const picture = document.createElement("img");
  picture.loading = "lazy";
  picture.alt = content.images[image][0];
  if (content.images[image][2]) picture.src = `pictures/${content.images[image][2]}`;
  const words = document.createElement("span");
  words.textContent = `${rank} · ${score.toFixed(3)}`;
  link.append(picture, words);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

function open(benchmark, name, wanted) {
  const content = results(benchmark);
  const query = content.byName.get(name);
  if (!query) return;
  const place = Math.max(0, query.hits.findIndex(([image]) => content.images[image][0] === wanted));
  const hit = query.hits[place];
  Object.assign(viewer.dataset, { benchmark, query: name });
  element("viewer-title").textContent = named(content.images[query.image]);
  element("viewer-about").textContent = query.about;
  show(element("viewer-query"), content.images[query.image], element("viewer-query-note"));
  element("viewer-result-figure").hidden = !hit;
  if (hit) {
    const [image, verdict, rank, score, box] = hit;
    show(element("viewer-result"), content.images[image], element("viewer-result-note"));
    element("viewer-caption").textContent = `${rank}. ${named(content.images[image])}: ${content.verdicts[verdict]}, score ${score.toFixed(4)}`;
    element("viewer-result-figure").className = content.verdicts[verdict];
    const mark = element("viewer-box");
    mark.hidden = !box;
    if (box) ["left", "top", "width", "height"].forEach((edge, at) => { mark.style[edge] = `${box[at]}%`; });
  }
  element("viewer-strip").replaceChildren(...query.hits.map((each, at) => tile(benchmark, content, query, each, at === place)));
  const neighbours = rowsShown(benchmark);
  const own = neighbours.indexOf(name);
  element("viewer-before").disabled = own < 1;
  element("viewer-after").disabled = own < 0 || own === neighbours.length - 1;
  if (!viewer.open) viewer.showModal();
}

// Names of the queries in the order of their table, those that its search leaves.
function rowsShown(benchmark) {
  return [...element(`${benchmark}-table`).tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
}

function go(target) {
  if (target !== undefined) location.replace(target);
}

function step(by) {
  const { benchmark, query } = viewer.dataset;
  const rows = rowsShown(benchmark);
  const next = rows[rows.indexOf(query) + by];
  if (next !== undefined) go(address(benchmark, next));
}

function turn(by) {
  const tiles = [...element("viewer-strip").querySelectorAll("a")];
  go(tiles[tiles.findIndex((each) => each.ariaCurrent) + by]?.href);
}

function follow() {
  const found = location.hash.match(/^#query=([^/]+)\/([^&]*)(?:&image=(.*))?$/);
  if (found) open(...found.slice(1).map((part) => part && decodeURIComponent(part)));
  else if (viewer.open) viewer.close();
}

element("viewer-close").addEventListener("click", () => viewer.close());
element("viewer-before").addEventListener("click", () => step(-1));
element("viewer-after").addEventListener("click", () => step(1));
viewer.addEventListener("close", () => { if (location.hash.startsWith("#query=")) history.pushState(null, "", location.pathname + location.search); });
viewer.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) turn(by);
});
window.addEventListener("hashchange", follow);
window.addEventListener("popstate", follow);
follow();
