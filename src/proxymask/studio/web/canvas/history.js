/** One history for the mask, the style and the settings. */

/**
 * @typedef {object} Entry
 * @property {() => void} undo
 * @property {() => void} redo
 * @property {number} [bytes] memory that the entry holds; at least 64 are counted
 * @property {string} [name] what the step is, for a person
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
    this.done = [];
    this.undone = [];
    this.bytes = 0;
    this.dispatchEvent(new Event("change"));
  }
}
