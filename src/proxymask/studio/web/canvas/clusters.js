/** Clusters as super-pixels: a coarse map of ids over the canvas, whose connected regions are given to a label one by one. */

import { components } from "./areas.js";
import { checkLength } from "./buffer.js";
import { outline } from "./view.js";

export class Clusters {
  /**
   * @param {{width: number, height: number, ids: Uint8Array}} map cluster ids, row-major
   * @param {number} width of the canvas in pixels
   * @param {number} height
   */
  constructor({ width, height, ids }, canvasWidth, canvasHeight) {
    checkLength(ids, width, height);
    this.ids = ids;
    this.mapWidth = width;
    this.width = canvasWidth;
    this.height = canvasHeight;
    this.column = Int32Array.from({ length: canvasWidth }, (_, x) => Math.floor((x * width) / canvasWidth));
    this.row = Int32Array.from({ length: canvasHeight }, (_, y) => Math.floor((y * height) / canvasHeight));
    /** Side of a cell in pixels. */
    this.cell = Math.max(1, Math.round(canvasWidth / width));
    this.regions = components(ids, width, height, false).of;
  }

  #cell(x, y) {
    return this.row[y] * this.mapWidth + this.column[x];
  }

  #inside(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Cluster id at a pixel; null outside. */
  at(x, y) {
    return this.#inside(x, y) ? this.ids[this.#cell(x, y)] : null;
  }

  /** What is hovered, as a key for a cache: the region, or the whole cluster. */
  key(x, y, whole) {
    if (!this.#inside(x, y)) return null;
    return whole ? -1 - this.ids[this.#cell(x, y)] : this.regions[this.#cell(x, y)];
  }

  /** Gives the region at a pixel, or its whole cluster, to the painted label. */
  fill(x, y, whole, painter) {
    if (!this.#inside(x, y)) return;
    const of = whole ? this.ids : this.regions;
    const wanted = of[this.#cell(x, y)];
    const member = (i) => of[this.#cell(i % this.width, Math.floor(i / this.width))] === wanted;
    painter.fill(Uint8Array.from({ length: this.width * this.height }, (_, i) => +member(i)));
  }

  /** Outline of what {@link key} names; of all regions where the key is null. @returns {Path2D} */
  outline(key) {
    const rect = { x0: 0, y0: 0, x1: this.width - 1, y1: this.height - 1 };
    if (key === null) return outline((x, y) => this.regions[this.#cell(x, y)], rect);
    return outline((x, y) => ((key < 0 ? this.ids[this.#cell(x, y)] === -1 - key : this.regions[this.#cell(x, y)] === key) ? 1 : -1), rect);
  }
}
