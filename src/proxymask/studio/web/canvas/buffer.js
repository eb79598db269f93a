/** The exact buffer of label ids, its changes as tiles, and run-length encoding. Pure data: no DOM. */

/** Side of a tile in pixels; changes are kept tile by tile. */
export const TILE = 32;

/**
 * Run-length encoding: repeated (u8 id, u16 little-endian run length of 1 to 65535), row-major.
 * @param {Uint8Array} ids
 * @returns {Uint8Array}
 */
export function encodeRle(ids) {
  let runs = 0;
  for (let i = 0; i < ids.length; runs++) i = runEnd(ids, i);
  const bytes = new Uint8Array(runs * 3);
  for (let i = 0, at = 0; i < ids.length; at += 3) {
    const end = runEnd(ids, i);
    bytes[at] = ids[i];
    bytes[at + 1] = (end - i) & 255;
    bytes[at + 2] = (end - i) >> 8;
    i = end;
  }
  return bytes;
}

function runEnd(ids, start) {
  const id = ids[start];
  const limit = Math.min(ids.length, start + 65535);
  let i = start + 1;
  while (i < limit && ids[i] === id) i++;
  return i;
}

/**
 * The ids that {@link encodeRle} encoded.
 * @param {Uint8Array} bytes
 * @param {number} length number of ids expected
 * @returns {Uint8Array}
 * @throws {RangeError} where the runs do not add up to `length` or a run is empty
 */
export function decodeRle(bytes, length) {
  if (bytes.length % 3) throw new RangeError(`run-length data has ${bytes.length} bytes, not a multiple of 3`);
  const ids = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const run = bytes[i + 1] | (bytes[i + 2] << 8);
    if (run === 0) throw new RangeError("run-length data has an empty run");
    if (at + run > length) throw new RangeError(`run-length data is longer than ${length} pixels`);
    ids.fill(bytes[i], at, at + run);
    at += run;
  }
  if (at !== length) throw new RangeError(`run-length data covers ${at} of ${length} pixels`);
  return ids;
}

/** @throws {RangeError} where there are not width x height ids */
export function checkLength(ids, width, height) {
  if (ids.length !== width * height) throw new RangeError(`expected ${width * height} ids (${width} x ${height}), got ${ids.length}`);
}

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Rect pixels, all four bounds inclusive */
/** @typedef {{tiles: {index: number, before: Uint8Array, after: Uint8Array}[], bytes: number, rect: Rect}} Diff */

/** The smallest rectangle around both; either may be null. */
export function union(a, b) {
  if (!a || !b) return a || b;
  return { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) };
}

/** Label ids, `width` x `height`, row-major. Writes happen between {@link begin} and {@link commit}. */
export class LabelBuffer {
  /**
   * @param {number} width
   * @param {number} height
   * @param {number} fill id of all pixels at the start
   */
  constructor(width, height, fill = 0) {
    this.width = width;
    this.height = height;
    this.ids = new Uint8Array(width * height).fill(fill);
    this.columns = Math.ceil(width / TILE);
    /** Rises with each write that changed a pixel. */
    this.version = 0;
    /** @type {Rect|null} what changed since {@link takeDirty} */
    this.dirty = null;
    /** Whether a lock kept a pixel of the running step. */
    this.blocked = false;
    /** @type {Map<number, Uint8Array>|null} tiles as they were at `begin` */
    this.before = null;
  }

  inside(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Id at a pixel, or null outside. */
  at(x, y) {
    return this.inside(x, y) ? this.ids[y * this.width + x] : null;
  }

  /** Starts a step: from here on the old content of written tiles is kept. */
  begin() {
    if (this.before) throw new Error("a step is already running");
    this.before = new Map();
    this.blocked = false;
  }

  /**
   * Writes `id` over the pixels x0..x1 (inclusive) of row y, clipped to the buffer.
   * @param {Uint8Array|null} allowed 256 flags by the id that is there now; null: everywhere
   */
  span(y, x0, x1, id, allowed = null) {
    if (y < 0 || y >= this.height) return;
    if (x0 < 0) x0 = 0;
    if (x1 >= this.width) x1 = this.width - 1;
    if (x0 > x1) return;
    const { ids } = this;
    let first = -1;
    let last = -1;
    const row = y * this.width;
    for (let i = row + x0; i <= row + x1; i++) {
      const old = ids[i];
      if (old === id) continue;
      if (allowed && !allowed[old]) {
        this.blocked = true;
        continue;
      }
      if (first < 0) {
        first = i;
        this.#keep(x0, x1, y);
      }
      last = i;
      ids[i] = id;
    }
    if (first >= 0) this.#mark(first - row, y, last - row, y);
  }

  /** Writes one pixel (see {@link span}). */
  put(x, y, id, allowed = null) {
    this.span(y, x, x, id, allowed);
  }

  /** Replaces all ids by as many. */
  replace(ids) {
    for (let y = 0; y < this.height; y++) this.#keep(0, this.width - 1, y);
    let first = ids.length;
    let last = -1;
    for (let i = 0; i < ids.length; i++) {
      if (this.ids[i] === ids[i]) continue;
      if (first > i) first = i;
      last = i;
    }
    if (last < 0) return;
    this.ids.set(ids);
    this.#mark(0, Math.floor(first / this.width), this.width - 1, Math.floor(last / this.width));
  }

  /** Takes back all writes of the running step; the step goes on. */
  revert() {
    for (const [index, tile] of this.before) this.#writeTile(index, tile);
  }

  /** Ends the step. @returns {Diff|null} null where nothing changed */
  commit() {
    const tiles = [];
    let bytes = 64;
    let rect = null;
    for (const [index, old] of this.before) {
      const now = this.#readTile(index);
      if (old.every((id, i) => id === now[i])) continue;
      const tile = { index, before: pack(old), after: pack(now) };
      bytes += tile.before.length + tile.after.length + 64;
      rect = union(rect, this.#tileRect(index));
      tiles.push(tile);
    }
    this.before = null;
    return tiles.length ? { tiles, bytes, rect } : null;
  }

  /** Writes the tiles of a diff as they were (`"before"`) or became (`"after"`). */
  apply(diff, side) {
    for (const tile of diff.tiles) {
      const { x0, y0, x1, y1 } = this.#tileRect(tile.index);
      this.#writeTile(tile.index, unpack(tile[side], (x1 - x0 + 1) * (y1 - y0 + 1)));
    }
  }

  /** What changed since the last call. @returns {Rect|null} */
  takeDirty() {
    const { dirty } = this;
    this.dirty = null;
    return dirty;
  }

  #mark(x0, y0, x1, y1) {
    this.version++;
    const d = this.dirty;
    if (!d) {
      this.dirty = { x0, y0, x1, y1 };
      return;
    }
    if (x0 < d.x0) d.x0 = x0;
    if (y0 < d.y0) d.y0 = y0;
    if (x1 > d.x1) d.x1 = x1;
    if (y1 > d.y1) d.y1 = y1;
  }

  #keep(x0, x1, y) {
    if (!this.before) throw new Error("write outside a step");
    const row = Math.floor(y / TILE) * this.columns;
    for (let column = Math.floor(x0 / TILE); column <= Math.floor(x1 / TILE); column++) {
      if (!this.before.has(row + column)) this.before.set(row + column, this.#readTile(row + column));
    }
  }

  #tileRect(index) {
    const x0 = (index % this.columns) * TILE;
    const y0 = Math.floor(index / this.columns) * TILE;
    return { x0, y0, x1: Math.min(x0 + TILE, this.width) - 1, y1: Math.min(y0 + TILE, this.height) - 1 };
  }

  #readTile(index) {
    const { x0, y0, x1, y1 } = this.#tileRect(index);
    const side = x1 - x0 + 1;
    const tile = new Uint8Array(side * (y1 - y0 + 1));
    for (let y = y0; y <= y1; y++) tile.set(this.ids.subarray(y * this.width + x0, y * this.width + x1 + 1), (y - y0) * side);
    return tile;
  }

  #writeTile(index, tile) {
    const { x0, y0, x1, y1 } = this.#tileRect(index);
    const side = x1 - x0 + 1;
    for (let y = y0; y <= y1; y++) {
      const start = (y - y0) * side;
      for (let x = 0; x < side; x++) {
        if (this.ids[y * this.width + x0 + x] === tile[start + x]) continue;
        this.ids.set(tile.subarray(start, start + side), y * this.width + x0);
        this.#mark(x0, y, x1, y);
        break;
      }
    }
  }
}

/** A tile as runs, or as it is where that is no longer. */
function pack(tile) {
  const runs = encodeRle(tile);
  return runs.length < tile.length ? runs : tile;
}

function unpack(packed, length) {
  return packed.length < length ? decodeRle(packed, length) : packed;
}
