/**
 * The tools. A tool gets points in buffer coordinates and writes ids through its painter; {@link LabelCanvas} makes one for each stroke.
 *
 * `begin(point)`, `extend(points)`, `end()`: the pointer goes down, moves, goes up. Where `end` returns true the tool stays for more (the
 * polygon) until `finish()`. `takeBack()` undoes a part of what is going on. `draw(context, view)` shows what is not in the buffer yet.
 */

import { connected, enclosed } from "./areas.js";
import * as raster from "./raster.js";

/** @typedef {{x: number, y: number, pressure: number, shift: boolean, ctrl: boolean, type: string}} Point in buffer coordinates */

/**
 * What a tool works with.
 * @typedef {object} Painter
 * @property {import("./buffer.js").LabelBuffer} buffer
 * @property {number} id what is painted; `background`: what the eraser paints
 * @property {number} size diameter of the brush in pixels
 * @property {object} settings
 * @property {Uint8Array|null} allowed 256 flags by id: may be painted over; null: all
 * @property {(y: number, x0: number, x1: number) => void} span writes the id; obeys locks and mirror
 * @property {(mask: Uint8Array) => void} fill writes the id where the mask is 1; obeys locks
 * @property {(id: number) => boolean} locked never painted over
 * @property {(id: number) => string} name of a label
 * @property {(text: string) => void} notice says why nothing was done
 */

const whole = ({ x, y }) => ({ x: Math.floor(x), y: Math.floor(y) });

/** Freehand: `size` wide, or up to that by the pressure of the pen. */
export class Brush {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    this.last = point;
    this.extend([point]);
  }

  extend(points) {
    const { size, settings, buffer, span } = this.painter;
    for (const point of points) {
      const width = settings.pressure ? Math.max(1, Math.round(size * point.pressure)) : size;
      raster.stroke(this.last.x, this.last.y, point.x, point.y, width, buffer.height, span);
      this.last = point;
    }
  }

  end() {}
}

/** A shape between the point where the pointer went down and where it is; drawn anew with each move. */
class Dragged {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    this.start = point;
  }

  extend(points) {
    this.painter.buffer.revert();
    this.shape(this.start, points[points.length - 1]);
  }

  end() {}
}

/** A straight line as wide as the brush; with Shift in steps of 15 degrees. */
export class Line extends Dragged {
  begin(point) {
    super.begin(point);
    this.extend([point]);
  }

  shape(from, to) {
    let { x, y } = to;
    if (to.shift) {
      const length = Math.hypot(x - from.x, y - from.y);
      const angle = Math.round(Math.atan2(y - from.y, x - from.x) / (Math.PI / 12)) * (Math.PI / 12);
      [x, y] = [from.x + length * Math.cos(angle), from.y + length * Math.sin(angle)];
    }
    raster.stroke(from.x, from.y, x, y, this.painter.size, this.painter.buffer.height, this.painter.span);
  }
}

/** A rectangle or an ellipse; with Shift as wide as high. Not filled: a border as wide as the brush. */
export class Box extends Dragged {
  constructor(painter, draw) {
    super(painter);
    this.raster = draw;
  }

  shape(from, to) {
    const [a, b] = [whole(from), whole(to)];
    if (to.shift) {
      const side = Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y));
      b.x = a.x + (b.x < a.x ? -side : side);
      b.y = a.y + (b.y < a.y ? -side : side);
    }
    const { span, size, settings } = this.painter;
    const [x0, y0, x1, y1] = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
    const hole = new Map();
    if (!settings.filled && x1 - x0 >= 2 * size && y1 - y0 >= 2 * size) {
      this.raster(x0 + size, y0 + size, x1 - size, y1 - size, (y, left, right) => hole.set(y, [left, right]));
    }
    this.raster(x0, y0, x1, y1, (y, left, right) => {
      const [from, to] = hole.get(y) ?? [right + 1, right];
      span(y, left, Math.min(right, from - 1));
      span(y, Math.max(left, to + 1), right);
    });
  }
}

/** Fills a closed way of points, or draws it as wide as the brush. */
function closed(points, { buffer, size, settings, span }) {
  if (!settings.filled) {
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      raster.stroke(a.x, a.y, b.x, b.y, size, buffer.height, span);
    });
    return;
  }
  const corners = points.map(whole).filter((a, i, all) => i === 0 || a.x !== all[i - 1].x || a.y !== all[i - 1].y);
  if (corners.length > 2) raster.polygon(corners, buffer.height, span);
}

function drawWay(context, view, points) {
  const path = new Path2D();
  points.forEach(({ x, y }, i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  view.strokePath(context, path, { width: 1.5, dash: true });
}

/** Freehand outline of an area. */
export class Lasso {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    this.points = [point];
  }

  extend(points) {
    this.points.push(...points);
  }

  end() {
    closed(this.points, this.painter);
  }

  draw(context, view) {
    drawWay(context, view, this.points);
  }
}

/** Corner by corner; closed by a click on the first corner, a double click or Enter. */
export class Polygon {
  constructor(painter) {
    this.painter = painter;
    this.corners = [];
    this.open = true;
  }

  begin(point, view) {
    const near = (corner, pixels) => corner && Math.hypot(corner.x - point.x, corner.y - point.y) * view.scale < pixels;
    const { corners } = this;
    if (corners.length > 2 && (near(corners[0], 9) || near(corners[corners.length - 1], 4))) this.open = false;
    else corners.push(point);
    this.next = point;
  }

  extend(points) {
    this.next = points[points.length - 1];
    if (this.open) this.corners[this.corners.length - 1] = this.next;
  }

  hover(point) {
    this.next = point;
  }

  end() {
    if (!this.open) closed(this.corners, this.painter);
    return this.open;
  }

  finish() {
    if (this.corners.length > 2) closed(this.corners, this.painter);
  }

  takeBack() {
    this.corners.pop();
    return this.corners.length > 0;
  }

  draw(context, view) {
    drawWay(context, view, [...this.corners, this.next ?? this.corners[0]]);
    const marks = new Path2D();
    for (const { x, y } of this.corners) marks.rect(x - 3 / view.scale, y - 3 / view.scale, 6 / view.scale, 6 / view.scale);
    view.strokePath(context, marks, { width: 1.5 });
  }
}

/** The connected pixels (over sides) of the label under the pointer; all of that label with the setting `everywhere` or Shift. */
export class Fill {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    const { buffer, settings, allowed, name, notice, fill } = this.painter;
    const { x, y } = whole(point);
    const old = buffer.at(x, y);
    if (old === null) return;
    if (allowed && !allowed[old]) {
      notice(`${name(old)} is locked: nothing was filled`);
      return;
    }
    const { ids, width, height } = buffer;
    if (settings.everywhere || point.shift) fill(ids.map((id) => +(id === old)));
    else fill(connected(width, height, [y * width + x], (i) => ids[i] === old));
  }

  extend() {}

  end() {}
}

/**
 * Fills what the painted label encloses. On another label: the area up to the painted label, whatever is in it. On the painted label
 * itself: all holes of that region.
 */
export class Enclose {
  constructor(painter) {
    this.painter = painter;
  }

  begin(point) {
    const { buffer, id, name, notice, fill } = this.painter;
    const { x, y } = whole(point);
    const { ids, width, height } = buffer;
    const at = y * width + x;
    const old = buffer.at(x, y);
    if (old === null) return;
    const region = old === id ? connected(width, height, [at], (i) => ids[i] === id, true) : null;
    const holes = enclosed(width, height, region ? (i) => region[i] === 1 : (i) => ids[i] === id);
    const area = region ? holes : connected(width, height, [at], (i) => holes[i] === 1);
    if (area.includes(1)) fill(area);
    else notice(region ? `this region of ${name(id)} has no holes` : `no closed outline of ${name(id)} is around this place`);
  }

  extend() {}

  end() {}
}

/** Gives whole clusters to the label: those under the pointer and on its way. */
export class ClusterBrush {
  constructor(painter, clusters) {
    this.painter = painter;
    this.clusters = clusters;
  }

  begin(point) {
    if (!this.clusters) {
      this.painter.notice("there are no clusters here: the tool needs a generated sample");
      return;
    }
    this.last = point;
    this.extend([point]);
  }

  extend(points) {
    if (!this.clusters) return;
    for (const point of points) {
      const [a, b] = [whole(this.last), whole(point)];
      raster.line(a.x, a.y, b.x, b.y, (x, y) => {
        const key = this.clusters.key(x, y, point.shift);
        if (key !== this.key) this.clusters.fill(x, y, point.shift, this.painter);
        this.key = key;
      });
      this.last = point;
    }
  }

  end() {}
}
