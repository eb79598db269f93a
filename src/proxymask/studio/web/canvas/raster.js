/**
 * Integer rasterisation. Every function calls `span(y, x0, x1)` with inclusive bounds, which may lie outside the canvas.
 * Coordinates are buffer pixels; pixel (i, j) covers [i, i + 1) x [j, j + 1).
 */

const brushes = new Map();

/**
 * The round brush of a whole diameter d: the pixels whose centre is at most d / 2 from the centre of the brush. The centre is
 * the middle of a pixel for odd d, the corner between four pixels for even d.
 * @param {number} d diameter in pixels, 1 or more
 * @returns {{top: number, half: Int16Array, even: number}} row `top + i` holds the offsets `-half[i]` to `half[i] - even`
 */
export function brush(d) {
  if (!brushes.has(d)) {
    const even = d % 2 ? 0 : 1;
    const half = new Int16Array(d);
    const top = -Math.floor(d / 2);
    for (let i = 0; i < d; i++) {
      const dy = 2 * (top + i) + even; // twice the distance of the row from the centre
      half[i] = Math.floor((Math.sqrt(d * d - dy * dy) + even) / 2);
    }
    brushes.set(d, { top, half, even });
  }
  return brushes.get(d);
}

/** The coordinate at which a brush of diameter d is put for a position: a pixel for odd d, a corner for even d. */
export function snap(position, d) {
  return Math.floor(d % 2 ? position : position + 0.5);
}

/**
 * The points of a line between whole points: n = max(|dx|, |dy|) steps, each coordinate rounded half up.
 * @param {(x: number, y: number) => void} point
 */
export function line(x0, y0, x1, y1, point) {
  const n = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0));
  for (let i = 0; i <= n; i++) {
    point(n ? x0 + Math.floor((2 * i * (x1 - x0) + n) / (2 * n)) : x0, n ? y0 + Math.floor((2 * i * (y1 - y0) + n) / (2 * n)) : y0);
  }
}

/**
 * A brush of diameter d drawn from one position to another: its pixels at all points of the {@link line} between the two.
 * Neighbouring brushes overlap in each row, so that each row is one span.
 */
export function stroke(x0, y0, x1, y1, d, height, span) {
  const { top, half, even } = brush(d);
  const [ax, ay, bx, by] = [snap(x0, d), snap(y0, d), snap(x1, d), snap(y1, d)];
  const first = Math.max(0, Math.min(ay, by) + top);
  const last = Math.min(height - 1, Math.max(ay, by) + top + d - 1);
  if (first > last) return;
  const low = new Int32Array(last - first + 1).fill(0x3fffffff);
  const high = new Int32Array(last - first + 1).fill(-0x3fffffff);
  line(ax, ay, bx, by, (x, y) => {
    const end = Math.min(d - 1, last - y - top);
    for (let i = Math.max(0, first - y - top); i <= end; i++) {
      const row = y + top + i - first;
      if (x - half[i] < low[row]) low[row] = x - half[i];
      if (x + half[i] - even > high[row]) high[row] = x + half[i] - even;
    }
  });
  for (let row = 0; row <= last - first; row++) if (low[row] <= high[row]) span(first + row, low[row], high[row]);
}

/** The pixels from one corner to the other, both included. */
export function rectangle(x0, y0, x1, y1, span) {
  for (let y = Math.min(y0, y1); y <= Math.max(y0, y1); y++) span(y, Math.min(x0, x1), Math.max(x0, x1));
}

/** The pixels whose centre lies in the ellipse that fills the {@link rectangle} from one corner to the other. */
export function ellipse(x0, y0, x1, y1, span) {
  const [left, top] = [Math.min(x0, x1), Math.min(y0, y1)];
  const w = Math.abs(x1 - x0) + 1;
  const h = Math.abs(y1 - y0) + 1;
  for (let j = 0; j < h; j++) {
    const dy = 2 * j - h + 1; // twice the distance from the centre, as is dx
    const rest = w * w * h * h - dy * dy * w * w; // dx * dx * h * h is at most this
    let dx = Math.floor(Math.sqrt(rest) / h);
    while ((dx + 1) * (dx + 1) * h * h <= rest) dx++;
    while (dx * dx * h * h > rest) dx--;
    if ((dx - w + 1) % 2) dx--;
    if (dx >= 0) span(top + j, left + (w - 1 - dx) / 2, left + (w - 1 + dx) / 2);
  }
}

/**
 * A closed polygon: the pixels whose centre it winds around (non-zero rule), and the {@link line} of each edge.
 * @param {{x: number, y: number}[]} corners whole pixels
 */
export function polygon(corners, height, span) {
  const edges = corners.map((a, i) => [a, corners[(i + 1) % corners.length]]);
  const ys = corners.map((corner) => corner.y);
  const last = Math.min(height - 1, ys.reduce((a, b) => Math.max(a, b)));
  for (let y = Math.max(0, ys.reduce((a, b) => Math.min(a, b))); y <= last; y++) {
    const crossings = [];
    for (const [a, b] of edges) {
      if (a.y <= y !== b.y <= y) crossings.push({ x: a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y), turn: a.y < b.y ? 1 : -1 });
    }
    crossings.sort((a, b) => a.x - b.x);
    let winding = 0;
    for (let i = 0; i < crossings.length - 1; i++) {
      winding += crossings[i].turn;
      if (winding) span(y, Math.floor(crossings[i].x) + 1, Math.ceil(crossings[i + 1].x) - 1);
    }
  }
  for (const [a, b] of edges) line(a.x, a.y, b.x, b.y, (x, y) => span(y, x, x));
}
