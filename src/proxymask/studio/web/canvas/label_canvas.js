/**
 * LabelCanvas: a canvas that paints label ids. Needs no server and no other library; one element, one import:
 *
 *     import { LabelCanvas } from "./canvas/label_canvas.js";
 *     const canvas = new LabelCanvas(document.querySelector("#canvas"), {
 *       width: 256, height: 256, palette: [{ id: 0, name: "background", color: "#8fa3ad" }, { id: 1, name: "skin", color: "#e0ac7e" }],
 *     });
 *     canvas.addEventListener("change", (event) => send(canvas.encode(), event.detail));
 *
 * ## API (stable; each is documented where it is defined)
 *
 * Constructor options: width, height, palette, mode ("labels", "scribble", "ink"), background, history, historyBytes, keyTarget, label.
 *
 * | | |
 * |---|---|
 * | ids    | `ids` (read only), `version`, `labelAt(x, y)`, `counts()`, `encode()`, `decode(rle)`, `load(ids, {undoable, name})`, `clear()` |
 * | paint  | `tool`, `label`, `size`, `setTool(name)`, `setLabel(id)`, `setSize(pixels)`, `settings`, `setSettings({...})`,
 * |        | `setLock(id, "none"/"only"/"never")`, `getLock(id)`, `getTools()`, `setTools(saved)` |
 * | act    | `act(action)`, `undo()`, `redo()`, `finish()`, `cancel()`, `fillEnclosed(id)`, `removeSpecks(pixels)`, `replaceLabel(from, to)` |
 * | colours| `palette`, `setPalette(palette)`, `setPatterns(on)`, `setLabelOpacity(0..1)`, `setTheme("auto"/"light"/"dark")` |
 * | over   | `setPicture("under"/"over", image, {opacity, wipe, smooth})`, `setClusters({width, height, ids}, {lines})` |
 * | view   | `getView()`, `setView(view)`, `fit()`, `zoomBy(factor, clientX, clientY)`, `panBy(dx, dy)`, `toBuffer(clientX, clientY)`, `toClient(x, y)` |
 * | input  | `handleKey(event)`, `setPenMode(on)`, `busy`, `history` ({@link History}: push({undo, redo, bytes, name, merge})), `destroy()` |
 *
 * ## Events (CustomEvent, `event.detail`)
 *
 * - `change` {kind, final, dirty, version}: ids changed. While a stroke is drawn, at most once a frame with `final: false`; at its end once
 *   with `final: true`. kind: the tool, "undo", "redo", "load", "cancel", or the name of the action. dirty: {x0, y0, x1, y1} inclusive.
 *   Nothing is dispatched where no pixel changed.
 * - `cursor` {x, y, label, name, keyboard, cluster}: pixel and label under the pointer or the keyboard cursor; x is null when it left.
 * - `history` {canUndo, canRedo, bytes}
 * - `tool` {tool, label, size, settings, locks}: any of them changed.
 * - `view` {scale, x, y, fitted}
 * - `pen` {penMode}
 * - `notice` {text}: why a tool did nothing, in words.
 * - `action` {action}: a shortcut of keys.js that is not the canvas's own ("help"); the page calls `preventDefault()` where it took it.
 *
 * Modes: "labels": ids of the palette, the eraser paints `background` (0). "scribble": as labels, but 255 is nothing (not drawn) and is
 * what the eraser paints. "ink": 255 is ink, 0 is paper; the tools paint ink, the eraser paper; the palette is not needed.
 * Canvases may share one History, so that mask, drawing, style and settings are undone in order.
 * @module canvas/label_canvas
 */

import { LabelBuffer, decodeRle, encodeRle, union } from "./buffer.js";
import { History } from "./history.js";
import { Input } from "./input.js";
import { matchKey } from "./keys.js";
import * as raster from "./raster.js";
import { Brush } from "./tools.js";
import { View, outline } from "./view.js";

export { History, decodeRle, encodeRle };
export { KEYS, matchKey } from "./keys.js";
export { defaultColor } from "./view.js";

const MAX_SIZE = 200;

/** Tools by name: what {@link LabelCanvas#setTool} takes. */
export const TOOLS = ["brush", "eraser", "line", "rectangle", "ellipse", "lasso", "polygon", "fill", "enclose", "select", "picker", "cluster", "pan"];

/** Settings of the tools and their defaults. */
export const DEFAULT_SETTINGS = {
  pressure: false, // the pressure of a pen gives the width of the brush
  mirror: false, // strokes and shapes are painted on the other side too
  filled: true, // rectangle, ellipse, lasso, polygon: the area, or only its outline as wide as the brush
  everywhere: false, // fill: all pixels of the label, not only the connected ones
  under: "surrounding", // what a moved region leaves: "surrounding" labels or "background"
  wheel: "zoom", // what the wheel does without a modifier: "zoom", "size" or "pan" (Ctrl: zoom; Shift or Alt: size)
};

const INK_PALETTE = [
  { id: 0, name: "paper", color: "#ffffff" },
  { id: 255, name: "ink", color: "#16181c" },
];

/** @typedef {{id: number, name: string, color?: string|number[]}} Label color: `#rrggbb` or [r, g, b] */

export class LabelCanvas extends EventTarget {
  #view;
  #input;
  #buffer;
  #stroke = null; // {tool, name}: what is being drawn
  #dirty = null; // changed since the last final `change`
  #frameDirty = null; // changed since the last `change`
  #allowed = null; // 256 flags, null: no locks
  #locks = new Map();
  #hover = null; // last point under the pointer
  #keys = null; // keyboard cursor {x, y}
  #lastLabel;
  #stop = new AbortController();

  /**
   * @param {HTMLElement} host empty element with a size; gets the canvases, the focus and the pointer events
   * @param {object} options
   * @param {number} options.width pixels of the buffer
   * @param {number} options.height
   * @param {Label[]} [options.palette]
   * @param {"labels"|"scribble"|"ink"} [options.mode]
   * @param {number} [options.background] what the eraser paints: 0 for labels, 255 for scribbles, 0 (paper) for ink
   * @param {number} [options.label] the label to begin with; the first of the palette that is not the background
   * @param {History} [options.history] shared with other canvases and the page
   * @param {number} [options.historyBytes] cap of an own history
   * @param {EventTarget} [options.keyTarget] where shortcuts are heard; the host (null: nowhere, the page calls `handleKey`)
   */
  constructor(host, { width, height, palette = [], mode = "labels", background, label, history, historyBytes, keyTarget = host }) {
    super();
    this.host = host;
    this.mode = mode;
    this.background = background ?? (mode === "scribble" ? 255 : 0);
    this.#buffer = new LabelBuffer(width, height, this.background);
    this.history = history || new History(historyBytes ? { capBytes: historyBytes } : {});
    this.settings = { ...DEFAULT_SETTINGS };
    this.tool = "brush";
    this.size = Math.max(1, Math.round(Math.min(width, height) / (mode === "ink" ? 80 : 16)));
    this.#view = new View(host, this.#buffer, {
      transparent: mode === "labels" ? null : this.background,
      paper: mode === "ink" ? "#ffffff" : null,
      onView: () => this.#emit("view", this.getView()),
      onFrame: () => this.#flush(false),
      drawOver: (context) => this.#drawOver(context),
    });
    this.setPalette(mode === "ink" ? INK_PALETTE : palette);
    this.#view.resize();
    this.label = label ?? (mode === "ink" ? 255 : (this.palette.find((entry) => entry.id !== this.background)?.id ?? 1));
    this.#lastLabel = this.label;
    this.#input = new Input(host, {
      begin: (sample, tool) => this.#begin(this.#point(sample), tool),
      extend: (samples) => this.#extend(samples.map((sample) => this.#point(sample))),
      end: () => this.#end(),
      abort: () => this.#abort(),
      hover: (sample) => this.#hoverAt(sample && this.#point(sample)),
      panBy: (dx, dy) => this.panBy(dx, dy),
      zoomBy: (factor, x, y) => this.zoomBy(factor, x, y),
      sizeBy: (steps) => this.setSize(this.size * 1.15 ** steps, Math.sign(steps)),
      penMode: (penMode) => this.#emit("pen", { penMode }),
      wheel: () => this.settings.wheel,
    });
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-roledescription", "paint canvas");
    if (!host.hasAttribute("aria-label")) host.setAttribute("aria-label", mode === "ink" ? "Drawing" : "Label mask");
    const { signal } = this.#stop;
    this.history.addEventListener("change", () => this.#emitHistory(), { signal });
    for (const name of keyTarget ? ["keydown", "keyup"] : []) {
      keyTarget.addEventListener(name, (event) => this.handleKey(event) && event.preventDefault(), { signal });
    }
  }

  get width() {
    return this.#buffer.width;
  }

  get height() {
    return this.#buffer.height;
  }

  // ---- ids -------------------------------------------------------------------------------------------------------------------------

  /** The ids, row-major; read only. */
  get ids() {
    return this.#buffer.ids;
  }

  /** Rises whenever a pixel changes: equal versions, equal ids. */
  get version() {
    return this.#buffer.version;
  }

  /** Id at a pixel; null outside. */
  labelAt(x, y) {
    return this.#buffer.at(Math.floor(x), Math.floor(y));
  }

  /** Pixels of each id. @returns {Uint32Array} 256 counts */
  counts() {
    const counts = new Uint32Array(256);
    for (const id of this.#buffer.ids) counts[id]++;
    return counts;
  }

  /** The ids as run-length data: (u8 id, u16 little-endian run) repeated. @returns {Uint8Array} */
  encode() {
    return encodeRle(this.#buffer.ids);
  }

  /** Replaces the ids by run-length data (see {@link load}). @throws {RangeError} where it does not fit the canvas */
  decode(rle, options) {
    this.load(decodeRle(rle, this.width * this.height), options);
  }

  /**
   * Replaces all ids.
   * @param {Uint8Array} ids width x height
   * @param {{undoable?: boolean, name?: string}} [options] not undoable: it is no step of the history
   */
  load(ids, { undoable = true, name = "load" } = {}) {
    this.#step(name, () => this.#buffer.replace(ids), undoable);
  }

  /** Everything becomes background. */
  clear() {
    this.load(new Uint8Array(this.width * this.height).fill(this.background), { name: "clear" });
  }

  // ---- colours and layers ----------------------------------------------------------------------------------------------------------

  /** @param {Label[]} palette */
  setPalette(palette) {
    this.palette = palette.map((entry) => ({ ...entry }));
    this.#view.setPalette(this.palette);
  }

  /** Patterns as well as colours. */
  setPatterns(on) {
    this.#view.patterns = on;
    this.#view.redraw();
  }

  /** How far the labels cover a picture under them, 0 to 1. */
  setLabelOpacity(opacity) {
    this.#view.opacity = opacity;
    this.#view.redraw();
  }

  /** Light or dark checks where nothing is painted. @param {"auto"|"light"|"dark"} theme */
  setTheme(theme) {
    this.#view.setTheme(theme);
  }

  /**
   * A picture under or over the labels, scaled to the buffer.
   * @param {"under"|"over"} slot
   * @param {CanvasImageSource|null} image null: none
   * @param {{opacity?: number, wipe?: number|null, smooth?: boolean}} [options] wipe: only the left part, 0 to 1 of the width
   */
  setPicture(slot, image, options) {
    this.#view.setPicture(slot, image, options);
  }

  /**
   * Clusters as super-pixels for the tool "cluster".
   * @param {{width: number, height: number, ids: Uint8Array}|null} clusters a map over the whole canvas, as coarse as it likes
   * @param {{lines?: boolean}} [options] lines: the borders are drawn
   */
  setClusters(clusters, { lines = true } = {}) {
    this.clusters = clusters;
    this.#view.lines = clusters && lines ? null : null;
    this.#view.redraw();
  }

  // ---- tools -----------------------------------------------------------------------------------------------------------------------

  /** @param {string} name one of {@link TOOLS} */
  setTool(name) {
    if (!TOOLS.includes(name)) throw new RangeError(`there is no tool ${name}; the tools are ${TOOLS.join(", ")}`);
    if (name === this.tool) return;
    this.finish();
    this.tool = name;
    this.#emitTool();
    this.#view.redrawOver();
  }

  /** What is painted. */
  setLabel(id) {
    if (id === this.label) return;
    this.#lastLabel = this.label;
    this.label = id;
    this.#emitTool();
    this.#view.redrawOver();
  }

  /** Diameter of the brush in buffer pixels. */
  setSize(size, atLeast = 0) {
    let rounded = Math.round(size);
    if (rounded === this.size) rounded += atLeast;
    rounded = Math.max(1, Math.min(MAX_SIZE, rounded));
    if (rounded === this.size) return;
    this.size = rounded;
    this.#emitTool();
    this.#view.redrawOver();
  }

  /** Changes some of the {@link DEFAULT_SETTINGS}. */
  setSettings(settings) {
    for (const [name, value] of Object.entries(settings)) if (name in DEFAULT_SETTINGS) this.settings[name] = value;
    this.#emitTool();
    this.#view.redrawOver();
  }

  /**
   * @param {number} id
   * @param {"none"|"only"|"never"} lock only: tools paint only over labels locked so; never: they never paint over this label
   */
  setLock(id, lock) {
    if (lock === "none") this.#locks.delete(id);
    else this.#locks.set(id, lock);
    const only = [...this.#locks.values()].includes("only");
    this.#allowed = this.#locks.size ? Uint8Array.from({ length: 256 }, (_, at) => +(only ? this.#locks.get(at) === "only" : this.#locks.get(at) !== "never")) : null;
    this.#emitTool();
  }

  /** @returns {"none"|"only"|"never"} */
  getLock(id) {
    return this.#locks.get(id) || "none";
  }

  /** Tool, label, size, settings and locks, as JSON: what a page remembers. */
  getTools() {
    return { tool: this.tool, label: this.label, size: this.size, settings: { ...this.settings }, locks: Object.fromEntries(this.#locks) };
  }

  /** Takes what {@link getTools} gave; what is missing or unknown is left as it is. */
  setTools(saved) {
    if (TOOLS.includes(saved?.tool)) this.setTool(saved.tool);
    if (this.palette.some((entry) => entry.id === saved?.label)) this.setLabel(saved.label);
    if (Number.isFinite(saved?.size)) this.setSize(saved.size);
    if (saved?.settings) this.setSettings(saved.settings);
    for (const [id, lock] of Object.entries(saved?.locks ?? {})) if (["only", "never"].includes(lock)) this.setLock(+id, lock);
  }

  // ---- actions ---------------------------------------------------------------------------------------------------------------------

  /**
   * Does what a shortcut of keys.js means.
   * @param {string} action
   * @returns {boolean} false where there was nothing to do
   */
  act(action) {
    const [name, value] = action.split(":");
    const simple = {
      tool: () => this.setTool(value),
      "size-": () => this.setSize(this.size / 1.15, -1),
      "size+": () => this.setSize(this.size * 1.15, 1),
      mirror: () => this.setSettings({ mirror: !this.settings.mirror }),
      "label-": () => this.#nextLabel(-1),
      "label+": () => this.#nextLabel(1),
      swap: () => this.setLabel(this.#lastLabel),
      undo: () => this.undo(),
      redo: () => this.redo(),
      finish: () => this.finish(),
      cancel: () => this.cancel(),
      fit: () => this.fit(),
      "zoom+": () => this.zoomBy(1.25),
      "zoom-": () => this.zoomBy(0.8),
      patterns: () => this.setPatterns(!this.#view.patterns),
    };
    if (name === "label") {
      if (this.palette.some((entry) => entry.id === +value)) this.setLabel(+value);
      return true;
    }
    if (simple[name]) return simple[name]() !== false;
    return !this.#emit("action", { action }, true);
  }

  #nextLabel(step) {
    const at = this.palette.findIndex((entry) => entry.id === this.label);
    const count = this.palette.length;
    if (count) this.setLabel(this.palette[(at + step + count) % count].id);
  }

  /** Takes back the stroke being drawn, or the last step. @returns {boolean} false where there is nothing to undo */
  undo() {
    if (this.cancel()) return true;
    return this.history.undo() !== null;
  }

  /** @returns {boolean} false where there is nothing to redo */
  redo() {
    if (this.busy) return false;
    return this.history.redo() !== null;
  }

  /** Ends what is being drawn as it is (Enter). @returns {boolean} false where nothing was */
  finish() {
    if (!this.busy) return false;
    this.#input.drop();
    this.#end();
    return true;
  }

  /** Takes back what is being drawn (Escape). @returns {boolean} false where nothing was */
  cancel() {
    if (!this.busy) return false;
    this.#input.drop();
    this.#abort();
    return true;
  }

  /** Whether something is being drawn. */
  get busy() {
    return this.#stroke !== null;
  }

  // ---- view and input --------------------------------------------------------------------------------------------------------------

  /** @returns {{scale: number, x: number, y: number, fitted: boolean}} CSS pixels for a buffer pixel; place of the buffer's corner */
  getView() {
    const { scale, x, y, fitted } = this.#view;
    return { scale, x, y, fitted };
  }

  setView(view) {
    this.#view.set(view);
  }

  /** The whole canvas, as large as its element allows; kept when the element changes its size. */
  fit() {
    this.#view.fit();
  }

  /** Zooms to a point of the window, the middle of the element where none is given. */
  zoomBy(factor, clientX = null, clientY = null) {
    this.#view.zoomBy(factor, clientX, clientY);
  }

  panBy(dx, dy) {
    this.#view.panBy(dx, dy);
  }

  /** Buffer coordinates of a point of the window. @returns {{x: number, y: number}} */
  toBuffer(clientX, clientY) {
    return this.#view.toBuffer(clientX, clientY);
  }

  /** The point of the window at buffer coordinates. @returns {{x: number, y: number}} */
  toClient(x, y) {
    return this.#view.toClient(x, y);
  }

  /** In pen mode fingers only move the view. On after the first pen event. */
  setPenMode(on) {
    this.#input.setPenMode(on);
  }

  /**
   * Does what a `keydown` or `keyup` means.
   * @param {KeyboardEvent} event
   * @returns {boolean} true where it was a shortcut: the caller prevents its default
   */
  handleKey(event) {
    const match = matchKey(event);
    if (!match) return false;
    const down = event.type === "keydown";
    if (match.action === "space") {
      this.#input.space = down;
      return true;
    }
    if (!down) return false;
    return this.act(match.action);
  }

  destroy() {
    this.#stop.abort();
    this.#input.destroy();
    this.#view.destroy();
  }

  // ---- strokes ---------------------------------------------------------------------------------------------------------------------

  #point(sample) {
    return { ...sample, ...this.#view.toBuffer(sample.x, sample.y) };
  }

  #painter(id) {
    const buffer = this.#buffer;
    const { settings, size } = this;
    const allowed = this.#allowed;
    const last = buffer.width - 1;
    const span = settings.mirror
      ? (y, x0, x1) => {
          buffer.span(y, x0, x1, id, allowed);
          buffer.span(y, last - x1, last - x0, id, allowed);
        }
      : (y, x0, x1) => buffer.span(y, x0, x1, id, allowed);
    return { buffer, settings, size, id, span };
  }

  #begin(point, override) {
    if (this.busy) this.#end();
    const name = override || this.tool;
    const tool = new Brush(this.#painter(name === "eraser" ? this.background : this.label));
    this.#buffer.begin();
    this.#stroke = { name, tool };
    tool.begin(point);
    this.#hoverAt(point);
    this.#drawn();
  }

  #extend(points) {
    if (!this.#stroke) return;
    this.#stroke.tool.extend(points);
    this.#hoverAt(points[points.length - 1]);
    this.#drawn();
  }

  #end() {
    if (!this.#stroke) return;
    const { name, tool } = this.#stroke;
    this.#stroke = null;
    tool.end();
    this.#commit(name);
  }

  #abort() {
    if (!this.#stroke) return;
    this.#stroke = null;
    this.#buffer.revert();
    this.#buffer.commit();
    this.#drawn();
    this.#flush(true, "cancel");
  }

  /** One step that is done at once. */
  #step(name, write, undoable = true) {
    this.finish();
    this.#buffer.begin();
    write();
    this.#commit(name, undoable);
  }

  #commit(name, undoable = true) {
    const diff = this.#buffer.commit();
    this.#drawn();
    if (diff && undoable) {
      this.history.push({ name, bytes: diff.bytes, undo: () => this.#apply(diff, "before", "undo"), redo: () => this.#apply(diff, "after", "redo") });
    }
    this.#flush(true, name);
  }

  #apply(diff, side, kind) {
    this.finish();
    this.#buffer.apply(diff, side);
    this.#drawn();
    this.#flush(true, kind);
  }

  /** Takes note of changed pixels and has them drawn. */
  #drawn() {
    const rect = this.#buffer.takeDirty();
    if (!rect) return;
    this.#dirty = union(this.#dirty, rect);
    this.#frameDirty = union(this.#frameDirty, rect);
    this.#view.redrawIds(rect);
  }

  #flush(final, kind = this.#stroke?.name) {
    const dirty = final ? this.#dirty : this.#frameDirty;
    if (!dirty) return;
    this.#frameDirty = null;
    if (final) this.#dirty = null;
    this.#emit("change", { kind, final, dirty, version: this.version });
  }

  // ---- cursor ----------------------------------------------------------------------------------------------------------------------

  #hoverAt(point) {
    this.#hover = point;
    this.#view.redrawOver();
    const x = point && Math.floor(point.x);
    const y = point && Math.floor(point.y);
    const id = point && this.#buffer.at(x, y);
    const inside = id !== null && id !== undefined;
    const name = inside ? (this.palette.find((entry) => entry.id === id)?.name ?? null) : null;
    this.#emit("cursor", { x: inside ? x : null, y: inside ? y : null, label: inside ? id : null, name, keyboard: false, cluster: null });
  }

  #drawOver(context) {
    if (this.#hover) this.#drawBrush(context, this.#hover);
  }

  #drawBrush(context, point) {
    const d = this.size;
    const { top, half, even } = raster.brush(d);
    const [cx, cy] = [raster.snap(point.x, d), raster.snap(point.y, d)];
    const inside = (x, y) => +(x - cx >= -half[y - cy - top] && x - cx <= half[y - cy - top] - even);
    const path = outline((x, y) => (inside(x, y) ? 1 : -1), { x0: cx + top, y0: cy + top, x1: cx + top + d - 1, y1: cy + top + d - 1 });
    this.#view.strokePath(context, path);
  }

  // ---- events ----------------------------------------------------------------------------------------------------------------------

  #emit(name, detail, cancelable = false) {
    return this.dispatchEvent(new CustomEvent(name, { detail, cancelable }));
  }

  #emitTool() {
    this.#emit("tool", this.getTools());
  }

  #emitHistory() {
    this.#emit("history", { canUndo: this.history.canUndo, canRedo: this.history.canRedo, bytes: this.history.bytes });
  }
}
