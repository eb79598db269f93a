/** What runs while something is drawn: the tool, the step of the buffer, the history, and the `change` events. */

import { union } from "./buffer.js";

export class Strokes {
  /**
   * @param {import("./buffer.js").LabelBuffer} buffer
   * @param {import("./view.js").View} view
   * @param {import("./history.js").History} history
   * @param {object} hooks makeTool(name) -> a tool of tools.js for a stroke, null where none draws;
   *   changed(detail): hears of changed pixels; blocked(): locks left nothing to paint
   */
  constructor(buffer, view, history, { makeTool, changed, blocked }) {
    Object.assign(this, { buffer, view, history, makeTool, changed, blocked });
    this.tool = null;
    this.name = null;
    this.down = false; // the pointer is down
    this.dirty = null; // changed since the last final event
    this.fresh = null; // changed since the last event
  }

  /** Whether something is drawn that is no step of the history yet. */
  get busy() {
    return this.tool !== null;
  }

  begin(point, name) {
    if (this.busy && (this.name !== name || this.down)) this.finish();
    if (this.busy && this.tool.begin(point, this.view) === false) this.finish();
    if (!this.busy) {
      const tool = this.makeTool(name);
      if (!tool) return;
      this.buffer.begin();
      this.tool = tool;
      this.name = name;
      tool.begin(point, this.view);
    }
    this.down = true;
    this.drawn();
  }

  extend(points) {
    if (!this.down) return;
    this.tool.extend(points);
    this.drawn();
  }

  /** The pointer goes up. */
  end() {
    if (!this.down) return;
    this.down = false;
    if (this.tool.end()) this.drawn();
    else this.#commit();
  }

  /** Ends what is going on as it is. @returns {boolean} false where nothing is */
  finish() {
    if (!this.busy) return false;
    if (this.down && !this.tool.finish) this.tool.end();
    this.tool.finish?.();
    this.#commit();
    return true;
  }

  /** Takes back what is going on. @returns {boolean} false where nothing is */
  abort() {
    if (!this.busy) return false;
    this.buffer.revert();
    this.#commit("cancel");
    return true;
  }

  /** A step that is done at once. */
  step(name, write, undoable = true) {
    this.finish();
    this.buffer.begin();
    this.name = name;
    write();
    this.#commit(name, undoable);
  }

  #commit(name = this.name, undoable = true) {
    this.tool = null;
    this.name = null;
    this.down = false;
    const diff = this.buffer.commit();
    if (!diff && this.buffer.blocked && name !== "cancel") this.blocked();
    this.drawn();
    if (diff && undoable) this.history.push({ name, bytes: diff.bytes, ...this.entry(diff) });
    this.flush(true, name);
  }

  /** Undo and redo of a diff, which can be kept as `diff`. */
  entry(diff) {
    const apply = (side, kind) => {
      this.abort();
      this.buffer.apply(diff, side);
      this.drawn();
      this.flush(true, kind);
    };
    return { diff, owner: this.buffer.ids, undo: () => apply("before", "undo"), redo: () => apply("after", "redo") };
  }

  /** Takes note of changed pixels and has them drawn. */
  drawn() {
    this.view.redrawOver();
    const rect = this.buffer.takeDirty();
    if (!rect) return;
    this.dirty = union(this.dirty, rect);
    this.fresh = union(this.fresh, rect);
    this.view.redrawIds(rect);
  }

  /** Tells of the pixels that changed since it was last told; final: since the last final time. */
  flush(final, kind = this.name) {
    const dirty = final ? this.dirty : this.fresh;
    if (!dirty) return;
    this.fresh = null;
    if (final) this.dirty = null;
    this.changed({ kind, final, dirty, version: this.buffer.version });
  }
}
