/** Connected areas of a label map: fill, holes, specks, surroundings. Pure functions of ids, row-major. */

/** Calls `visit` for each neighbour of pixel i: the four at its sides, with `eight` also those at its corners. */
function neighbours(i, width, height, eight, visit) {
  const x = i % width;
  const [left, right, up, down] = [x > 0, x < width - 1, i >= width, i < width * (height - 1)];
  if (left) visit(i - 1);
  if (right) visit(i + 1);
  if (up) visit(i - width);
  if (down) visit(i + width);
  if (!eight) return;
  if (up && left) visit(i - width - 1);
  if (up && right) visit(i - width + 1);
  if (down && left) visit(i + width - 1);
  if (down && right) visit(i + width + 1);
}

/**
 * The pixels connected to the starts among those for which `member` holds.
 * @param {number[]} starts indices
 * @param {(i: number) => boolean} member
 * @param {boolean} [eight] corners connect too
 * @returns {Uint8Array} 1 where connected
 */
export function connected(width, height, starts, member, eight = false) {
  const mask = new Uint8Array(width * height);
  const stack = [];
  const add = (i) => {
    if (mask[i] || !member(i)) return;
    mask[i] = 1;
    stack.push(i);
  };
  for (const start of starts) add(start);
  while (stack.length) neighbours(stack.pop(), width, height, eight, add);
  return mask;
}

/** The region that is moved as one: equal ids connected to pixel `at`, also over corners, or all of them. @returns {Uint8Array} 1 in it */
export function region(ids, width, height, at, everywhere) {
  return everywhere ? ids.map((id) => +(id === ids[at])) : connected(width, height, [at], (i) => ids[i] === ids[at], true);
}

/** Indices of the pixels at the border of the map. */
export function border(width, height) {
  const found = [];
  for (let x = 0; x < width; x++) found.push(x, x + width * (height - 1));
  for (let y = 0; y < height; y++) found.push(y * width, y * width + width - 1);
  return found;
}

/**
 * The pixels that a wall encloses: no way over sides leads from them to the border of the map without crossing it.
 * @param {(i: number) => boolean} wall
 * @returns {Uint8Array} 1 where enclosed; the wall is not
 */
export function enclosed(width, height, wall) {
  const open = connected(width, height, border(width, height), (i) => !wall(i));
  return open.map((reached, i) => +(!reached && !wall(i)));
}

/**
 * Connected components of equal ids.
 * @returns {{of: Int32Array, pixels: number[][]}} component of each pixel; the pixels of each component
 */
export function components(ids, width, height, eight = true) {
  const of = new Int32Array(ids.length).fill(-1);
  const pixels = [];
  for (let start = 0; start < ids.length; start++) {
    if (of[start] >= 0) continue;
    const list = [start];
    const id = ids[start];
    of[start] = pixels.length;
    for (let at = 0; at < list.length; at++) {
      neighbours(list[at], width, height, eight, (i) => {
        if (of[i] >= 0 || ids[i] !== id) return;
        of[i] = pixels.length;
        list.push(i);
      });
    }
    pixels.push(list);
  }
  return { of, pixels };
}

/**
 * Specks: components (corners connect) of fewer than `pixels` pixels. Each takes the label with most sides along its border; the smaller
 * id where two have as many. Specks that border only on specks take theirs after those.
 * @param {(id: number) => boolean} [mayChange] labels whose specks are removed
 * @returns {Uint8Array} the new ids
 */
export function withoutSpecks(ids, width, height, pixels, mayChange = () => true) {
  const result = ids.slice();
  const found = components(ids, width, height);
  let waiting = found.pixels.filter((list) => list.length < pixels && mayChange(ids[list[0]]));
  const pending = new Uint8Array(found.pixels.length);
  for (const list of waiting) pending[found.of[list[0]]] = 1;
  while (waiting.length) {
    const settled = [];
    for (const list of waiting) {
      const sides = new Uint32Array(256);
      for (const i of list) neighbours(i, width, height, false, (j) => !pending[found.of[j]] && sides[result[j]]++);
      const most = sides.reduce((best, count, id) => (count > sides[best] ? id : best), 0);
      if (sides[most]) settled.push([list, most]);
    }
    if (!settled.length) break; // all is specks
    for (const [list, id] of settled) {
      pending[found.of[list[0]]] = 0;
      for (const i of list) result[i] = id;
    }
    waiting = waiting.filter((list) => pending[found.of[list[0]]]);
  }
  return result;
}

/**
 * What is around a region: each of its pixels gets the label of the nearest pixel outside, counted in steps over sides.
 * @param {Uint8Array} mask 1 in the region
 * @param {number} otherwise where there is nothing outside
 * @returns {Uint8Array} ids; those outside the region unchanged
 */
export function surroundings(ids, width, height, mask, otherwise) {
  const result = ids.map((id, i) => (mask[i] ? otherwise : id));
  const reached = mask.map((inside) => +!inside);
  let front = [];
  for (let i = 0; i < ids.length; i++) if (reached[i]) front.push(i);
  while (front.length) {
    const next = [];
    for (const i of front) {
      neighbours(i, width, height, false, (j) => {
        if (reached[j]) return;
        reached[j] = 1;
        result[j] = result[i];
        next.push(j);
      });
    }
    front = next;
  }
  return result;
}
