/** One history for the mask, the style and the settings. */

/**
 * @typedef {object} Entry
 * @property {() => void} undo
 * @property {() => void} redo
 * @property {number} [bytes] memory that the entry holds; at least 64 are counted
 * @property {string} [name] what the step is, for a person
 * @property {*} [data] of the page: what undo and redo need, so that it can keep the step; of merged entries `before` and `after` are joined
 * @property {string} [merge] a further entry of the same `merge` within a second joins the last one (a slider is one step)
 */

/**
 * Steps that can be undone and redone. The oldest are forgotten where all together exceed `capBytes`.
 * Dispatches `change` after each push, undo, redo and clear.
 */
export class History extends EventTarget {
  /** @param {{capBytes?: number}} [options] */
  constructor({ capBytes = 32 * 2 ** 20 } = {}) {
    super();
    this.capBytes = capBytes;
    /** @type {Entry[]} */
    this.done = [];
    /** @type {Entry[]} */
    this.undone = [];
    /** Memory held by all entries. */
    this.bytes = 0;
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  /** Adds a step that has happened; what was undone is forgotten. @param {Entry} entry */
  push(entry) {
    for (const old of this.undone) this.bytes -= old.bytes;
    this.undone = [];
    const now = Date.now();
    const last = this.done[this.done.length - 1];
    if (entry.merge && last && last.merge === entry.merge && now - last.time < 1000) {
      if (last.data) last.data = { ...entry.data, before: last.data.before };
      last.redo = entry.redo;
      last.time = now;
    } else {
      const bytes = Math.max(64, entry.bytes || 0);
      this.done.push({ ...entry, bytes, time: now });
      this.bytes += bytes;
      while (this.bytes > this.capBytes && this.done.length) this.bytes -= this.done.shift().bytes;
    }
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Entry|null} the entry that was undone */
  undo() {
    const entry = this.done.pop();
    if (!entry) return null;
    entry.undo();
    delete entry.merge;
    this.undone.push(entry);
    this.dispatchEvent(new Event("change"));
    return entry;
  }

  /** @returns {Entry|null} the entry that was redone */
  redo() {
    const entry = this.undone.pop();
    if (!entry) return null;
    entry.redo();
    this.done.push(entry);
    this.dispatchEvent(new Event("change"));
    return entry;
  }

  clear() {
    this.restore([], []);
  }

  /** Steps of an earlier history, the oldest first; of the undone ones that is the last to redo. */
  restore(done, undone) {
    this.done = done;
    this.undone = undone;
    this.bytes = [...done, ...undone].reduce((sum, { bytes }) => sum + bytes, 0);
    this.dispatchEvent(new Event("change"));
  }
}
