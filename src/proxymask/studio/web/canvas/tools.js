/**
 * The tools that paint by a pointer. A tool gets points in buffer coordinates and writes ids through its painter.
 * @module canvas/tools
 */

import * as raster from "./raster.js";

/**
 * @typedef {object} Point
 * @property {number} x buffer coordinate, not rounded
 * @property {number} y
 * @property {number} pressure 0 to 1
 * @property {boolean} shift
 * @property {boolean} alt
 * @property {boolean} ctrl
 */

/**
 * What a tool works with: the {@link LabelCanvas} gives one for each stroke.
 * @typedef {object} Painter
 * @property {import("./buffer.js").LabelBuffer} buffer
 * @property {number} id what is painted
 * @property {number} size diameter of the brush
 * @property {object} settings
 * @property {(y: number, x0: number, x1: number) => void} span writes the id, obeys locks and mirror
 */

/** Freehand brush: `size` wide, or up to that by the pressure of the pen. */
export class Brush {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    this.last = point;
    this.#to(point);
  }

  extend(points) {
    for (const point of points) this.#to(point);
  }

  #to(point) {
    const { painter, last } = this;
    const size = painter.settings.pressure ? Math.max(1, Math.round(painter.size * point.pressure)) : painter.size;
    raster.stroke(last.x, last.y, point.x, point.y, size, painter.buffer.height, painter.span);
    this.last = point;
  }

  end() {}
}
