/** The tool that moves and scales a region. */

import { region, surroundings } from "./areas.js";
import { outline } from "./view.js";

const HANDLES = [
  [0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5],
]; // prettier-ignore

/**
 * Press on a region: it is selected (with the setting `everywhere` all of its label) and can be dragged at once. Drag over the background,
 * or with Ctrl anywhere: all that is not background in the rectangle. Shift and press: one more region. The handles scale (Shift keeps the
 * ratio). A press elsewhere, Enter or another tool puts the region down as one step; Escape takes it back. Its pixels are copied by nearest
 * neighbour. What was under it becomes its surroundings or background.
 */
export class Select {
  /** @param {import("./tools.js").Painter} painter */
  constructor(painter) {
    this.painter = painter;
    this.mask = null; // 1 in the region, before it was moved
    this.box = null; // the region's rectangle before, {x0, y0, x1, y1}
    this.target = null; // and now
    this.drag = null;
  }

  /** Whether something is selected. */
  get selected() {
    return this.mask !== null;
  }

  begin(point, view) {
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    const { buffer, background } = this.painter;
    const handle = this.selected ? this.#handleAt(point, view) : null;
    const on = buffer.at(x, y);
    this.drag = { kind: "none", point };
    if (handle !== null) this.drag = { kind: "scale", point, handle, from: this.target };
    else if (this.selected && this.#inside(point) && !point.shift) this.drag = { kind: "move", point, from: this.target };
    else if (this.selected && !(point.shift && this.#unmoved())) return false; // put down; LabelCanvas begins anew
    else if (on === null || on === background || point.ctrl) this.drag = { kind: "band", point, to: point };
    else if (this.#add(x, y, on)) this.drag = { kind: "move", point, from: this.target };
    return true;
  }

  extend(points) {
    const point = points[points.length - 1];
    const { kind, point: start, from, handle } = this.drag;
    if (kind === "band") this.drag.to = point;
    if (kind === "move") {
      const dx = Math.round(point.x - start.x);
      const dy = Math.round(point.y - start.y);
      this.#place({ x0: from.x0 + dx, y0: from.y0 + dy, x1: from.x1 + dx, y1: from.y1 + dy });
    }
    if (kind === "scale") this.#place(this.#scaled(from, handle, point, Math.round(point.x - start.x), Math.round(point.y - start.y)));
  }

  /** @returns {boolean} true while something is selected */
  end() {
    if (this.drag?.kind === "band") this.#band();
    this.drag = null;
    return this.selected;
  }

  finish() {}

  /** Moves the region by whole pixels, or its lower right corner. */
  nudge(dx, dy, scale) {
    const { x0, y0, x1, y1 } = this.target;
    if (scale) this.#place({ x0, y0, x1: Math.max(x0, x1 + dx), y1: Math.max(y0, y1 + dy) });
    else this.#place({ x0: x0 + dx, y0: y0 + dy, x1: x1 + dx, y1: y1 + dy });
  }

  /** Only what was under the region stays. */
  delete() {
    this.painter.buffer.revert();
    this.#vacate();
  }

  #unmoved() {
    return ["x0", "y0", "x1", "y1"].every((side) => this.box[side] === this.target[side]);
  }

  #inside({ x, y }) {
    const { x0, y0, x1, y1 } = this.target;
    return x >= x0 && y >= y0 && x < x1 + 1 && y < y1 + 1;
  }

  #add(x, y, id) {
    const { buffer, settings, name, notice, locked } = this.painter;
    if (locked(id)) {
      notice(`${name(id)} is locked: it was not selected`);
      return false;
    }
    const { ids, width, height } = buffer;
    const found = region(ids, width, height, y * width + x, settings.everywhere);
    this.#take(this.selected ? found.map((inside, i) => inside | this.mask[i]) : found);
    return true;
  }

  #band() {
    const { buffer, background, locked } = this.painter;
    const { point: a, to: b } = this.drag;
    const [x0, x1] = [Math.floor(Math.min(a.x, b.x)), Math.floor(Math.max(a.x, b.x))];
    const [y0, y1] = [Math.floor(Math.min(a.y, b.y)), Math.floor(Math.max(a.y, b.y))];
    const found = new Uint8Array(buffer.ids.length);
    for (let y = Math.max(0, y0); y <= Math.min(buffer.height - 1, y1); y++) {
      for (let x = Math.max(0, x0); x <= Math.min(buffer.width - 1, x1); x++) {
        const id = buffer.at(x, y);
        found[y * buffer.width + x] = +(id !== background && !locked(id));
      }
    }
    if (this.selected) found.forEach((inside, i) => (found[i] = inside | this.mask[i]));
    if (found.includes(1)) this.#take(found);
  }

  #take(mask) {
    const { buffer, settings, background } = this.painter;
    const { width, height } = buffer;
    this.mask = mask;
    this.before = buffer.ids.slice();
    const box = { x0: width, y0: height, x1: -1, y1: -1 };
    mask.forEach((inside, i) => {
      if (!inside) return;
      box.x0 = Math.min(box.x0, i % width);
      box.x1 = Math.max(box.x1, i % width);
      box.y0 = Math.min(box.y0, Math.floor(i / width));
      box.y1 = Math.max(box.y1, Math.floor(i / width));
    });
    this.box = this.target = box;
    this.under = settings.under === "background" ? null : surroundings(this.before, width, height, mask, background);
    this.path = null;
  }

  #vacate() {
    const { buffer, background } = this.painter;
    const { x0, y0, x1, y1 } = this.box;
    for (let y = y0; y <= y1; y++) {
      for (let x = x0; x <= x1; x++) {
        const i = y * buffer.width + x;
        if (this.mask[i]) buffer.put(x, y, this.under ? this.under[i] : background);
      }
    }
  }

  #place(target) {
    const { buffer, allowed } = this.painter;
    const { width } = buffer;
    this.target = target;
    this.path = null;
    buffer.revert();
    if (this.#unmoved()) return;
    this.#vacate();
    for (let y = Math.max(0, target.y0); y <= Math.min(buffer.height - 1, target.y1); y++) {
      for (let x = Math.max(0, target.x0); x <= Math.min(width - 1, target.x1); x++) {
        const i = this.#source(x, y);
        if (this.mask[i]) buffer.put(x, y, this.before[i], allowed);
      }
    }
  }

  /** Index of the pixel that is copied to a pixel of the target. */
  #source(x, y) {
    const { box, target } = this;
    const along = (at, t0, t1, b0, b1) => b0 + Math.floor(((2 * (at - t0) + 1) * (b1 - b0 + 1)) / (2 * (t1 - t0 + 1)));
    return along(y, target.y0, target.y1, box.y0, box.y1) * this.painter.buffer.width + along(x, target.x0, target.x1, box.x0, box.x1);
  }

  #scaled(from, handle, point, dx, dy) {
    const [hx, hy] = HANDLES[handle];
    const next = { ...from };
    if (hx === 0) next.x0 = Math.min(from.x1, from.x0 + dx);
    if (hx === 1) next.x1 = Math.max(from.x0, from.x1 + dx);
    if (hy === 0) next.y0 = Math.min(from.y1, from.y0 + dy);
    if (hy === 1) next.y1 = Math.max(from.y0, from.y1 + dy);
    if (!point.shift) return next;
    const [w, h] = [from.x1 - from.x0 + 1, from.y1 - from.y0 + 1];
    const factors = [(next.x1 - next.x0 + 1) / w, (next.y1 - next.y0 + 1) / h];
    const factor = hx === 0.5 ? factors[1] : hy === 0.5 ? factors[0] : Math.max(...factors);
    const [nw, nh] = [Math.max(1, Math.round(w * factor)), Math.max(1, Math.round(h * factor))];
    if (hx === 0) next.x0 = from.x1 - nw + 1;
    else next.x1 = from.x0 + nw - 1;
    if (hy === 0) next.y0 = from.y1 - nh + 1;
    else next.y1 = from.y0 + nh - 1;
    return next;
  }

  /** Handles stand a little outside, so that a small region can still be dragged. */
  #handle([hx, hy], view) {
    const { x0, y0, x1, y1 } = this.target;
    const out = 5 / view.scale;
    return { x: x0 - out + hx * (x1 + 1 - x0 + 2 * out), y: y0 - out + hy * (y1 + 1 - y0 + 2 * out) };
  }

  #handleAt(point, view) {
    const reach = (point.type === "touch" ? 18 : 8) / view.scale;
    let best = null;
    HANDLES.forEach((place, i) => {
      const { x, y } = this.#handle(place, view);
      const distance = Math.hypot(point.x - x, point.y - y);
      if (distance < reach && (best === null || distance < best.distance)) best = { i, distance };
    });
    return best && (!this.#inside(point) || best.distance < reach / 2) ? best.i : null;
  }

  draw(context, view) {
    if (this.drag?.kind === "band") {
      const { point: a, to: b } = this.drag;
      const band = new Path2D();
      band.rect(a.x, a.y, b.x - a.x, b.y - a.y);
      view.strokePath(context, band, { width: 1, dash: true });
    }
    if (!this.selected) return;
    if (!this.path) {
      const { x0, y0, x1, y1 } = this.target;
      const { width, height } = this.painter.buffer;
      const seen = { x0: Math.max(0, x0), y0: Math.max(0, y0), x1: Math.min(width - 1, x1), y1: Math.min(height - 1, y1) };
      this.path = outline((x, y) => (this.mask[this.#source(x, y)] ? 1 : -1), seen);
    }
    view.strokePath(context, this.path, { width: 1.5, dash: true });
    const handles = new Path2D();
    const side = 8 / view.scale;
    for (const place of HANDLES) {
      const { x, y } = this.#handle(place, view);
      handles.rect(x - side / 2, y - side / 2, side, side);
    }
    context.fillStyle = "#ffffff";
    context.fill(handles);
    view.strokePath(context, handles, { width: 1, color: "#16181c" });
  }
}
