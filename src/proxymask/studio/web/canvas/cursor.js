/** What is drawn over the ids: the brush, the region or cluster that a press would take, the keyboard cursor, the mirror axis. */

import { region } from "./areas.js";
import * as raster from "./raster.js";
import { outline } from "./view.js";

const BRUSHES = ["brush", "eraser", "line"];
const SHAPES = ["rectangle", "ellipse", "lasso", "polygon"];

export class Cursor {
  /**
   * @param {import("./label_canvas.js").LabelCanvas} canvas
   * @param {import("./view.js").View} view
   */
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    /** @type {{x: number, y: number, shift: boolean}|null} buffer position of the pointer or the keyboard cursor */
    this.at = null;
    /** @type {{x: number, y: number}|null} pixel of the keyboard cursor */
    this.keyboard = null;
    /** Space is held. */
    this.panning = false;
    /** @type {import("./clusters.js").Clusters|null} */
    this.clusters = null;
    this.cache = new Map(); // the path drawn last of each kind, and what it is of
  }

  draw(context) {
    const { at, canvas } = this;
    const { tool, settings, width, height } = canvas;
    if (settings.mirror) this.#axis(context, width / 2, height);
    if (!at || this.panning) return;
    if (BRUSHES.includes(tool) || (!settings.filled && SHAPES.includes(tool))) {
      this.#brush(context, at);
      if (settings.mirror) this.#brush(context, { x: width - at.x, y: at.y });
    }
    if (tool === "cluster") this.#cluster(context, at);
    if (tool === "select" && !canvas.busy) this.#region(context, at);
    if (this.keyboard) this.#cross(context, this.keyboard);
  }

  #axis(context, x, height) {
    const path = new Path2D();
    path.moveTo(x, 0);
    path.lineTo(x, height);
    this.#stroke(context, path, { dash: true });
  }

  #stroke(context, path, style) {
    this.view.strokePath(context, path, style);
  }

  #cached(kind, key, make) {
    if (this.cache.get(kind)?.key !== key) this.cache.set(kind, { key, path: make() });
    return this.cache.get(kind).path;
  }

  /** The pixels that the brush covers. */
  #brush(context, point) {
    const d = this.canvas.size;
    const { top, half, even } = raster.brush(d);
    const inside = (x, y) => (x >= -half[y - top] && x <= half[y - top] - even ? 1 : -1);
    const path = this.#cached("brush", d, () => outline(inside, { x0: top, y0: top, x1: top + d - 1, y1: top + d - 1 }));
    context.save();
    context.translate(raster.snap(point.x, d), raster.snap(point.y, d));
    this.#stroke(context, path);
    context.restore();
  }

  #cluster(context, { x, y, shift }) {
    const { clusters } = this;
    const key = clusters?.key(Math.floor(x), Math.floor(y), shift) ?? null;
    if (key !== null) this.#stroke(context, this.#cached("cluster", key, () => clusters.outline(key)), { width: 2 });
  }

  #region(context, { x, y }) {
    const { width, height, ids, version, settings, background } = this.canvas;
    const id = this.canvas.labelAt(x, y);
    if (id === null || id === background) return;
    const at = Math.floor(y) * width + Math.floor(x);
    const { everywhere } = settings;
    const last = this.region;
    if (!(last?.version === version && last.everywhere === everywhere && last.mask[at])) {
      const mask = region(ids, width, height, at, everywhere);
      const path = outline((i, j) => (mask[j * width + i] ? 1 : -1), { x0: 0, y0: 0, x1: width - 1, y1: height - 1 });
      this.region = { version, everywhere, mask, path };
    }
    this.#stroke(context, this.region.path, { width: 1.5 });
  }

  #cross(context, { x, y }) {
    const path = new Path2D();
    const [arm, gap] = [14 / this.view.scale, 4 / this.view.scale];
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(x + 0.5 + dx * gap, y + 0.5 + dy * gap);
      path.lineTo(x + 0.5 + dx * arm, y + 0.5 + dy * arm);
    }
    path.rect(x, y, 1, 1);
    this.#stroke(context, path, { width: 2 });
  }
}
