// The page: reads its state from the address, asks the service, and shows what comes back.

import { addressOf, current, go, replace } from "./address.js";
import { Marking } from "./box.js";
import * as grid from "./grid.js";
import * as photographs from "./photographs.js";
import * as server from "./server.js";
import { Viewer } from "./viewer.js";
import { counted, details, verdict } from "./words.js";

const TOP = 40;
const element = (id) => document.getElementById(id);
const replies = new Map(); // answers by the address that they are shown at, so that going back asks nothing again
let known = []; // the collections
let pictures = []; // what the viewer can show
let own = null; // the address of the photograph that asks
let drawn = null; // the address, without the enlarged photograph, that the page shows
let asking = new AbortController();

const marking = new Marking(element("marking"), element("photograph"), element("mark"), (there) => { element("ask-box").hidden = !there; });
const viewer = new Viewer((number) => replace({ ...current(), show: number }) ?? enlarge(number), closed);

function closed() {
  const { show, ...rest } = current();
  if (show !== undefined) replace(rest);
  document.querySelectorAll("#results .tile")[Number(show ?? 0)]?.focus();
}

function enlarge(number) {
  if (pictures[number]) viewer.open(pictures, number, own);
}

function say(message, error = false) {
  element("status").hidden = !message;
  element("status").textContent = message;
  element("status").classList.toggle("error", error);
}

function collectionOf(state) {
  return known.find((each) => each.name === state.collection) ?? known[0];
}

async function draw() {
  const { show, ...state } = current();
  const wanted = addressOf(state);
  if (wanted !== drawn) {
    drawn = wanted;
    asking.abort();
    asking = new AbortController();
    viewer.close();
    await drawNew(state, wanted, asking.signal).catch((error) => {
      if (error.name !== "AbortError" && drawn === wanted) say(error.message, true);
    });
  }
  if (show === undefined) viewer.close();
  else if (drawn === wanted) enlarge(Number(show));
}

async function drawNew(state, wanted, signal) {
  say("");
  pictures = [];
  element("results").replaceChildren();
  if (!known.length) known = (await server.collections()).filter((each) => each.open);
  if (!known.length) throw new Error("The service is still opening its collections. Please reload in a moment.");
  if (drawn !== wanted) return;
  const collection = collectionOf(state);
  offerCollections(collection);
  const asks = state.ask !== undefined || state.like !== undefined;
  element("ask").hidden = asks || state.view !== undefined || state.instance !== undefined;
  element("asked").hidden = !asks;
  element("heading").hidden = !(state.view || state.instance);
  own = null;
  if (asks) await drawAnswer(state, collection, wanted, signal);
  else if (state.instance !== undefined) await drawInstance(state.instance, collection, wanted);
  else if (state.view === "instances") await drawInstances(collection, wanted);
}

function offerCollections(collection) {
  const select = element("collection");
  select.replaceChildren(...known.map((each) => new Option(each.name, each.name, false, each === collection)));
  element("collections").hidden = known.length < 2;
  element("all").href = addressOf({ collection: collection.name, view: "instances" });
  element("home").href = addressOf({ collection: collection.name });
  const things = collection.instances ? ` of ${counted(collection.instances, "object", "objects")}` : "";
  element("about").textContent = `${counted(collection.images, "photograph", "photographs")}${things} are compared with yours.`;
}

async function drawAnswer(state, collection, wanted, signal) {
  const file = state.ask === undefined ? null : await photographs.find(state.ask);
  if (drawn !== wanted) return; // the page shows something else by now
  if (state.ask !== undefined && !file) throw new Error("This browser no longer has that photograph. Please choose it again.");
  own = file ? URL.createObjectURL(file) : server.image(collection.name, state.like);
  const image = element("photograph");
  const box = state.box ? state.box.split(",").map(Number) : null;
  element("verdict").textContent = "Looking …";
  element("details").textContent = "";
  marking.enabled = collection.boxes;
  element("marking").classList.toggle("plain", !collection.boxes);
  element("hint").hidden = !collection.boxes;
  element("ask-whole").hidden = !box;
  image.onload = () => { marking.box = box; element("ask-box").hidden = true; };
  image.onerror = () => { marking.enabled = false; element("hint").hidden = true; };
  image.src = own;
  const reply = replies.get(wanted) ?? await server.ask(collection.name, { file, like: state.like, box }, TOP, signal)
    .catch((error) => { if (drawn === wanted) element("verdict").textContent = "This could not be answered."; throw error; });
  replies.set(wanted, reply);
  if (drawn !== wanted) return;
  element("verdict").textContent = verdict(reply);
  element("details").textContent = details(reply);
  const tiles = reply.results.map((found) => ({
    id: found.image_id, title: found.instance ?? found.image_id, note: `alike ${found.score.toFixed(2)}`, instance: found.instance,
    caption: `Number ${found.rank} of ${reply.results.length}, alike ${found.score.toFixed(3)}: ${found.path}`,
    box: found.x0 === null ? null : [found.x0, found.y0, found.x1, found.y1],
  }));
  showTiles(tiles, collection);
  element("verdict").focus({ preventScroll: true });
}

async function drawInstance(name, collection, wanted) {
  const found = await server.instance(collection.name, name);
  if (drawn !== wanted) return;
  heading(`${name}: ${counted(found.image_ids.length, "photograph", "photographs")}`);
  showTiles(found.image_ids.map((id) => ({ id, title: id, instance: null, caption: id, box: null })), collection);
}

async function drawInstances(collection, wanted) {
  const found = await server.instances(collection.name);
  if (drawn !== wanted) return;
  heading(found.length ? counted(found.length, "object", "objects") : "The photographs of this collection have no names.");
  const tiles = found.map((each) => ({
    picture: server.thumbnail(collection.name, each.image_id), title: each.instance,
    note: counted(each.images, "photograph", "photographs"), label: each.instance,
  }));
  grid.show(element("results"), tiles, (number) => go({ collection: collection.name, instance: found[number].instance }));
}

function heading(text) {
  element("heading").textContent = text;
  element("heading").focus({ preventScroll: true });
}

function showTiles(tiles, collection) {
  pictures = tiles.map((tile) => ({
    ...tile, large: server.image(collection.name, tile.id), like: addressOf({ collection: collection.name, like: tile.id }),
    same: tile.instance === null ? null : addressOf({ collection: collection.name, instance: tile.instance }),
  }));
  const shown = tiles.map((tile) => ({ ...tile, picture: server.thumbnail(collection.name, tile.id), label: tile.title }));
  grid.show(element("results"), shown, (number) => go({ ...current(), show: number }));
}

async function askWith(file) {
  if (!file) return;
  go({ collection: current().collection, ask: await photographs.keep(file) });
}

function listen() {
  for (const id of ["file", "camera"]) {
    element(id).addEventListener("change", (event) => { askWith(event.target.files[0]); event.target.value = ""; });
  }
  element("again").addEventListener("click", () => element("file").click());
  element("ask-box").addEventListener("click", () => go({ ...current(), box: marking.box.map((edge) => edge.toFixed(1)).join(",") }));
  element("ask-whole").addEventListener("click", () => go({ ...current(), box: null }));
  element("collection").addEventListener("change", (event) => go({ ...current(), show: null, instance: null, like: null, collection: event.target.value }));
  element("skip").addEventListener("click", (event) => { event.preventDefault(); element("results").focus(); });
  addEventListener("paste", (event) => askWith([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    askWith(event.dataTransfer.files[0]);
  });
  addEventListener("hashchange", draw);
}

listen();
draw();
