// A box on the photograph, drawn with mouse, finger or keyboard; in pixels of the upright photograph.

const STEP = 0.02;
const SMALLEST = 0.02;
const inside = (value) => Math.min(1, Math.max(0, value));

export class Marking {
  // area: around the photograph; image; mark: what is drawn; changed: called when a box is there or gone.
  constructor(area, image, mark, changed) {
    Object.assign(this, { area, image, mark, changed, shares: null, start: null, enabled: true });
    area.addEventListener("pointerdown", (event) => this.#begin(event));
    area.addEventListener("pointermove", (event) => this.#move(event));
    area.addEventListener("pointerup", (event) => this.#end(event));
    area.addEventListener("pointercancel", () => { this.start = null; this.#show(null); });
    area.addEventListener("keydown", (event) => this.#key(event));
    image.addEventListener("dragstart", (event) => event.preventDefault());
    new ResizeObserver(() => this.#draw()).observe(image);
  }

  get box() {
    if (!this.shares || !this.image.naturalWidth) return null;
    const sides = [this.image.naturalWidth, this.image.naturalHeight];
    return this.shares.map((share, index) => share * sides[index % 2]);
  }

  set box(box) {
    const sides = [this.image.naturalWidth, this.image.naturalHeight];
    this.#show(box && sides[0] ? box.map((edge, index) => inside(edge / sides[index % 2])) : null);
  }

  #at(event) {
    const frame = this.image.getBoundingClientRect();
    return [inside((event.clientX - frame.left) / frame.width), inside((event.clientY - frame.top) / frame.height)];
  }

  #begin(event) {
    if (!this.enabled || event.button !== 0) return;
    this.area.setPointerCapture(event.pointerId);
    this.start = this.#at(event);
  }

  #move(event) {
    if (!this.start) return;
    const [x, y] = this.#at(event);
    this.shares = [Math.min(x, this.start[0]), Math.min(y, this.start[1]), Math.max(x, this.start[0]), Math.max(y, this.start[1])];
    this.#draw();
  }

  #end(event) {
    if (!this.start) return;
    this.#move(event);
    this.start = null;
    this.#show(this.shares);
  }

  #key(event) {
    if (!this.enabled) return;
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if (event.key === "Enter") this.#show([0.25, 0.25, 0.75, 0.75]);
    else if (event.key === "Escape" && this.shares) this.#show(null);
    else if (event.key in moves && this.shares) this.#shift(moves[event.key], event.shiftKey);
    else return;
    event.preventDefault();
  }

  #shift([across, down], grow) {
    const [x0, y0, x1, y1] = this.shares;
    if (grow) this.#show([x0, y0, Math.max(x0 + SMALLEST, inside(x1 + across)), Math.max(y0 + SMALLEST, inside(y1 + down))]);
    else if (x0 + across >= 0 && x1 + across <= 1 && y0 + down >= 0 && y1 + down <= 1) this.#show([x0 + across, y0 + down, x1 + across, y1 + down]);
  }

  #show(shares) {
    const large = shares && shares[2] - shares[0] >= SMALLEST && shares[3] - shares[1] >= SMALLEST;
    this.shares = large ? shares : null;
    this.#draw();
    this.changed(this.shares !== null);
  }

  #draw() {
    place(this.mark, this.shares);
  }
}

// Put a mark over the picture that it shares a frame with: shares of the picture's sides, or null for none.
export function place(mark, shares) {
  mark.hidden = !shares;
  if (!shares) return;
  const [x0, y0, x1, y1] = shares.map((share) => 100 * share);
  Object.assign(mark.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
}
