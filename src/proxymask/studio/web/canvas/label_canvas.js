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
 * | ids    | `ids` (read only), `version`, `labelAt(x, y)`, `counts()`, `encode()`, `decode(rle)`, `load(ids, {undoable, name})`, `clear()`, `toPng()`;
 * |        | and the functions `encodeRle`, `decodeRle`, `decodeIdPng(file)` (exact ids of a palette or grey PNG), `encodeIdPng` |
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

import { enclosed, withoutSpecks } from "./areas.js";
import { LabelBuffer, decodeRle, encodeRle } from "./buffer.js";
import { Clusters } from "./clusters.js";
import { Cursor } from "./cursor.js";
import { History } from "./history.js";
import { Input } from "./input.js";
import { KeyboardCursor } from "./keyboard.js";
import { matchKey } from "./keys.js";
import { encodeIdPng } from "./png.js";
import { Select } from "./select.js";
import { Strokes } from "./strokes.js";
import { DEFAULT_SETTINGS, TOOLS, fillMask, makePainter, makeTool } from "./toolbox.js";
import { View, defaultColor, parseColor } from "./view.js";

export { DEFAULT_SETTINGS, History, TOOLS, decodeRle, encodeRle };
export { KEYS, matchKey } from "./keys.js";
export { decodeIdPng, encodeIdPng } from "./png.js";
export { defaultColor };

const MAX_SIZE = 200;

const INK_PALETTE = [
  { id: 0, name: "paper", color: "#ffffff" },
  { id: 255, name: "ink", color: "#16181c" },
];

/** @typedef {{id: number, name: string, color?: string|number[]}} Label color: `#rrggbb` or [r, g, b] */

export class LabelCanvas extends EventTarget {
  #view;
  #input;
  #buffer;
  #strokes;
  #keyboard;
  #cursor;
  #allowed = null; // 256 flags by id: may be painted over; null: no locks
  #locks = new Map();
  #lastLabel;
  #lastTool = "brush"; // before the picker
  #picking = false;
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
      onFrame: () => this.#strokes.flush(false),
      drawOver: (context) => {
        this.#strokes.tool?.draw?.(context, this.#view);
        this.#cursor.draw(context);
      },
    });
    this.#cursor = new Cursor(this, this.#view);
    this.#strokes = new Strokes(this.#buffer, this.#view, this.history, (name) => this.#makeTool(name), (detail) => this.#emit("change", detail));
    this.setPalette(mode === "ink" ? INK_PALETTE : palette);
    this.#view.resize();
    this.label = label ?? (mode === "ink" ? 255 : (this.palette.find((entry) => entry.id !== this.background)?.id ?? 1));
    this.#lastLabel = this.label;
    const begin = (point, override) => this.#begin(point, override);
    const extend = (points) => this.#extend(points);
    const end = () => this.#end();
    this.#input = new Input(host, {
      begin: (sample, tool) => (this.#keyboard.leave(), begin(this.#point(sample), tool)),
      extend: (samples) => extend(samples.map((sample) => this.#point(sample))),
      end,
      abort: () => this.#strokes.abort(),
      hover: (sample) => this.#pointerAt(sample && this.#point(sample)),
      panBy: (dx, dy) => this.panBy(dx, dy),
      zoomBy: (factor, x, y) => this.zoomBy(factor, x, y),
      sizeBy: (steps) => this.setSize(this.size * 1.15 ** steps, Math.sign(steps)),
      penMode: (penMode) => this.#emit("pen", { penMode }),
      wheel: () => this.settings.wheel,
      panning: () => this.tool === "pan",
    });
    this.#keyboard = new KeyboardCursor(this.#buffer, {
      begin,
      extend,
      end,
      hover: (point) => (this.#view.reveal(point), this.#hoverAt(point)),
      nudge: (dx, dy, scale) => this.#nudge(dx, dy, scale),
      start: () => this.#cursor.at ?? { x: width / 2, y: height / 2 },
      pan: (on) => this.#holdPan(on),
    });
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-roledescription", "paint canvas");
    if (!host.hasAttribute("aria-label")) host.setAttribute("aria-label", mode === "ink" ? "Drawing" : "Label mask");
    const { signal } = this.#stop;
    this.history.addEventListener("change", () => this.#emitHistory(), { signal });
    host.addEventListener("blur", () => (this.#keyboard.lift(), this.#holdPan(false)), { signal });
    for (const name of keyTarget ? ["keydown", "keyup"] : []) {
      keyTarget.addEventListener(name, (event) => this.handleKey(event) && event.preventDefault(), { signal });
    }
    this.#showCursor();
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

  /** The ids as a PNG file with the palette's colours. @returns {Promise<Blob>} */
  toPng() {
    const colors = Array.from({ length: 256 }, (_, id) => parseColor(this.palette.find((entry) => entry.id === id)?.color ?? defaultColor(id)));
    return encodeIdPng(this.#buffer.ids, this.width, this.height, colors);
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
    if (ids.length !== this.width * this.height) throw new RangeError(`expected ${this.width * this.height} ids (${this.width} x ${this.height}), got ${ids.length}`);
    this.#strokes.step(name, () => this.#buffer.replace(ids), undoable);
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
    this.#cursor.clusters = clusters && new Clusters(clusters, this.width, this.height);
    this.#cursor.cache.clear();
    this.#view.lines = clusters && lines ? this.#cursor.clusters.outline(null) : null;
    this.#view.redraw();
  }

  // ---- tools -----------------------------------------------------------------------------------------------------------------------

  /** @param {string} name one of {@link TOOLS} */
  setTool(name) {
    if (!TOOLS.includes(name)) throw new RangeError(`there is no tool ${name}; the tools are ${TOOLS.join(", ")}`);
    if (name === this.tool) return;
    this.finish();
    if (this.tool !== "picker") this.#lastTool = this.tool;
    this.tool = name;
    this.#showCursor();
    this.#emitTool();
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
    if (saved?.locks) for (const id of this.#locks.keys()) this.setLock(id, "none");
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
      delete: () => this.delete(),
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

  /** Takes back the last corner, the stroke being drawn, or the last step. @returns {boolean} false where there is nothing to undo */
  undo() {
    if (this.busy) return this.delete(false) || this.cancel();
    return this.history.undo() !== null;
  }

  /** @returns {boolean} false where there is nothing to redo */
  redo() {
    if (this.busy) return false;
    return this.history.redo() !== null;
  }

  /** Ends what is being drawn as it is (Enter): closes the polygon, puts the region down. @returns {boolean} false where nothing was */
  finish() {
    this.#keyboard.lift();
    this.#input.drop();
    return this.#strokes.finish();
  }

  /** Takes back what is being drawn (Escape). @returns {boolean} false where nothing was */
  cancel() {
    this.#keyboard.held = null;
    this.#input.drop();
    return this.#strokes.abort();
  }

  /** Removes the last corner of the polygon, or the selected region. @returns {boolean} false where there is neither */
  delete(region = true) {
    const { tool } = this.#strokes;
    if (tool?.takeBack) {
      if (!tool.takeBack()) this.cancel();
      this.#view.redrawOver();
      return true;
    }
    if (!region || !(tool instanceof Select)) return false;
    tool.delete();
    return this.finish();
  }

  /** Whether something is drawn that is no step of the history yet: a stroke, a polygon, a region that is moved. */
  get busy() {
    return this.#strokes.busy;
  }

  /** Fills all holes of a label: what no way over sides leads out of. Locked labels in them stay. */
  fillEnclosed(id = this.label) {
    const { width, height, ids } = this.#buffer;
    this.#strokes.step("fillEnclosed", () => this.#fill(enclosed(width, height, (i) => ids[i] === id), id));
  }

  /** Gives connected areas (corners connect) of fewer than `pixels` pixels the label that surrounds most of them. Locked ones stay. */
  removeSpecks(pixels) {
    const { width, height, ids } = this.#buffer;
    this.#strokes.step("removeSpecks", () => this.#buffer.replace(withoutSpecks(ids, width, height, pixels, (id) => !this.#allowed || this.#allowed[id] === 1)));
  }

  /** Gives all pixels of one label another. */
  replaceLabel(from, to) {
    this.#strokes.step("replaceLabel", () => this.#fill(this.ids.map((id) => +(id === from)), to));
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
   * Does what a `keydown` or `keyup` means. Keys typed into a field are left alone; arrows, Space, Enter and Delete are taken only where the
   * canvas or nothing has the focus.
   * @param {KeyboardEvent} event
   * @returns {boolean} true where it was a shortcut: the caller prevents its default
   */
  handleKey(event) {
    const match = matchKey(event);
    const { target } = event;
    if (!match || target?.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target?.tagName)) return false;
    const { action } = match;
    const place = action in { left: 1, right: 1, up: 1, down: 1, space: 1, finish: 1, delete: 1 };
    if (place && target !== this.host && target !== document.body) return false;
    if (action === "finish" && this.busy && !this.#keyboard.held) return event.type === "keydown" && this.finish();
    if (place && action !== "delete") return this.#keyboard.key(match, event);
    if (event.type !== "keydown") return false;
    if (action.startsWith("label:")) return this.#pickNumber(+action.slice(6), match.shift);
    return this.act(action);
  }

  destroy() {
    this.#stop.abort();
    this.#input.destroy();
    this.#view.destroy();
  }

  #pickNumber(digit, shift) {
    const id = [shift ? digit + 10 : digit, digit].find((wanted) => this.palette.some((entry) => entry.id === wanted));
    if (id !== undefined && this.mode !== "ink") this.setLabel(id);
    return true;
  }

  #holdPan(on) {
    this.#input.space = this.#cursor.panning = on;
    this.#showCursor();
  }

  // ---- strokes ---------------------------------------------------------------------------------------------------------------------

  #point(sample) {
    return { ...sample, ...this.#view.toBuffer(sample.x, sample.y) };
  }

  #name(id) {
    return this.palette.find((entry) => entry.id === id)?.name ?? `label ${id}`;
  }

  #fill(mask, id) {
    fillMask(this.#buffer, mask, id, this.#allowed);
  }

  #makeTool(name) {
    const id = name === "eraser" ? this.background : this.label;
    const locked = (at) => this.getLock(at) === "never";
    const notice = (text) => this.#emit("notice", { text });
    const { size, settings, background } = this;
    const painter = makePainter(this.#buffer, { id, size, settings, background, allowed: this.#allowed, locked, notice, name: (at) => this.#name(at) });
    return makeTool(name, painter, this.#cursor.clusters);
  }

  #begin(point, override) {
    const name = override ?? this.tool;
    this.#hoverAt(point);
    if (name === "picker") {
      this.#picking = true;
      this.#pick(point);
    } else this.#strokes.begin(point, name);
  }

  #extend(points) {
    this.#hoverAt(points[points.length - 1]);
    if (this.#picking) this.#pick(points[points.length - 1]);
    else this.#strokes.extend(points);
  }

  #end() {
    if (!this.#picking) {
      this.#strokes.end();
      return;
    }
    this.#picking = false;
    if (this.tool === "picker") this.setTool(this.#lastTool);
  }

  #pick({ x, y }) {
    const id = this.labelAt(x, y);
    if (id !== null && this.mode !== "ink" && id !== (this.mode === "scribble" ? 255 : null)) this.setLabel(id);
  }

  #nudge(dx, dy, scale) {
    const { tool } = this.#strokes;
    if (!(tool instanceof Select) || !tool.selected) return false;
    tool.nudge(dx, dy, scale);
    this.#strokes.drawn();
    return true;
  }

  // ---- cursor ----------------------------------------------------------------------------------------------------------------------

  #pointerAt(point) {
    if (!point && this.#keyboard.at) return;
    this.#keyboard.leave();
    this.#hoverAt(point);
  }

  #hoverAt(point) {
    this.#cursor.at = point;
    this.#cursor.keyboard = this.#keyboard.at;
    if (point) this.#strokes.tool?.hover?.(point);
    this.#view.redrawOver();
    const [x, y] = point ? [Math.floor(point.x), Math.floor(point.y)] : [-1, -1];
    const id = this.#buffer.at(x, y);
    const on = id !== null;
    this.#emit("cursor", {
      x: on ? x : null,
      y: on ? y : null,
      label: id,
      name: on ? this.#name(id) : null,
      keyboard: this.#keyboard.at !== null,
      cluster: this.#cursor.clusters?.at(x, y) ?? null,
    });
  }

  #showCursor() {
    const tool = this.#cursor.panning ? "pan" : this.tool;
    this.host.style.cursor = tool === "pan" ? "grab" : tool === "select" ? "default" : "crosshair";
    this.#view.redrawOver();
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
