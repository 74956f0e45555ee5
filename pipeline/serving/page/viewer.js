// One photograph enlarged, next to the one that was asked with; the box that re-ranking found is drawn.

import { place } from "./box.js";

const element = (id) => document.getElementById(id);

export class Viewer {
  // turned: called with the number that is shown; closed: called when the viewer is left.
  constructor(turned, closed) {
    this.dialog = element("viewer");
    this.shown = [];
    this.number = 0;
    element("close").addEventListener("click", () => this.dialog.close());
    element("previous").addEventListener("click", () => turned(this.number - 1));
    element("next").addEventListener("click", () => turned(this.number + 1));
    this.dialog.addEventListener("close", closed);
    this.dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && this.shown[this.number + step]) turned(this.number + step);
    });
  }

  // pictures: {large, title, caption, like, same, box}; own: the address of the photograph that asks, or null.
  open(pictures, number, own) {
    Object.assign(this, { shown: pictures, number });
    const picture = pictures[number];
    element("viewer-title").textContent = picture.title;
    element("caption").textContent = picture.caption;
    element("large").src = picture.large;
    element("large").alt = picture.title;
    element("compared").hidden = !own;
    if (own) element("own").src = own;
    place(element("found-box"), picture.box);
    element("like").href = picture.like;
    element("same").hidden = !picture.same;
    element("same").href = picture.same ?? "#";
    element("previous").disabled = number === 0;
    element("next").disabled = number === pictures.length - 1;
    if (!this.dialog.open) this.dialog.showModal();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }
}
