/**
 * LabelCanvas: a canvas that paints label ids. Needs no server and no other library; one element, one import:
 *
 *     import { LabelCanvas } from "./canvas/label_canvas.js";
 *     const canvas = new LabelCanvas(document.querySelector("#canvas"), {
 *       width: 256, height: 256, palette: [{ id: 0, name: "background", color: "#8fa3ad" }, { id: 1, name: "skin", color: "#e0ac7e" }],
 *     });
 *     canvas.addEventListener("change", (event) => send(canvas.encode(), event.detail));
 *
 * All public members of {@link LabelCanvas} and {@link ToolState} are stable; each is documented where it is defined.
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
 */

import { enclosed, withoutSpecks } from "./areas.js";
import { LabelBuffer, checkLength, decodeRle, encodeRle } from "./buffer.js";
import { Clusters } from "./clusters.js";
import { Cursor } from "./cursor.js";
import { History } from "./history.js";
import { Input } from "./input.js";
import { KeyboardCursor } from "./keyboard.js";
import { matchKey } from "./keys.js";
import { Select } from "./select.js";
import { act } from "./shortcuts.js";
import { Strokes } from "./strokes.js";
import { ToolState } from "./tool_state.js";
import { DEFAULT_SETTINGS, TOOLS, fillMask, makePainter, makeTool } from "./toolbox.js";
import { View, defaultColor } from "./view.js";

export { DEFAULT_SETTINGS, History, TOOLS, decodeRle, encodeRle };
export { KEYS, matchKey } from "./keys.js";
export { defaultColor };

const INK_PALETTE = [
  { id: 0, name: "paper", color: "#ffffff" },
  { id: 255, name: "ink", color: "#16181c" },
];

const TEXT_FIELDS = "textarea, select, input:not([type=range], [type=checkbox], [type=radio], [type=color], [type=button])";

/** @typedef {{id: number, name: string, color?: string|number[]}} Label color: `#rrggbb` or [r, g, b] */

export class LabelCanvas extends ToolState {
  #view;
  #input;
  #buffer;
  #strokes;
  #keyboard;
  #cursor;
  #picking = false;
  #stop = new AbortController();

  /**
   * @param {HTMLElement} host empty element with a size; gets the canvases, the focus and the pointer events
   * @param {object} options width, height: pixels of the buffer
   *   palette: {@link Label}s
   *   mode: "labels", "scribble" or "ink"
   *   background: what the eraser paints; 0 for labels, 255 for scribbles, 0 (paper) for ink
   *   label: the one to begin with; the first of the palette that is not the background
   *   history: shared with other canvases and the page; or historyBytes: cap of an own one
   *   keyTarget: where shortcuts are heard; the host (null: nowhere, the page calls `handleKey`)
   */
  constructor(host, { width, height, palette = [], mode = "labels", background, label, history, historyBytes, keyTarget = host }) {
    const ink = mode === "ink";
    const nothing = background ?? (mode === "scribble" ? 255 : 0);
    const first = label ?? (ink ? 255 : (palette.find((entry) => entry.id !== nothing)?.id ?? 1));
    super({ palette: ink ? INK_PALETTE : palette, label: first, size: Math.max(1, Math.round(Math.min(width, height) / (ink ? 80 : 16))) });
    this.host = host;
    this.mode = mode;
    this.background = nothing;
    this.#buffer = new LabelBuffer(width, height, this.background);
    this.history = history || new History(historyBytes ? { capBytes: historyBytes } : {});
    this.#view = new View(host, this.#buffer, {
      transparent: mode === "labels" ? null : this.background,
      paper: mode === "ink" ? "#ffffff" : null,
      onView: () => this.#emit("view", this.getView()),
      onFrame: () => this.#strokes.flush(false),
      drawOver: (context) => (this.#strokes.tool?.draw?.(context, this.#view), this.#cursor.draw(context)),
    });
    this.#cursor = new Cursor(this, this.#view);
    this.#strokes = new Strokes(this.#buffer, this.#view, this.history, {
      makeTool: (tool) => this.#makeTool(tool),
      changed: (detail) => this.#emit("change", detail),
      blocked: () => this.#emit("notice", { text: "nothing was painted: the labels here are locked" }),
    });
    this.setPalette(this.palette);
    this.#view.resize();
    const stroke = { begin: (...args) => this.#begin(...args), extend: (points) => this.#extend(points), end: () => this.#end() };
    this.#input = new Input(host, {
      begin: (sample, tool) => {
        this.#keyboard.leave();
        this.#view.moved();
        stroke.begin(this.#point(sample), tool);
      },
      extend: (samples) => stroke.extend(samples.map((sample) => this.#point(sample))),
      end: stroke.end,
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
      ...stroke,
      hover: (point) => (this.#view.reveal(point), this.#hoverAt(point)),
      nudge: (dx, dy, scale) => this.#nudge(dx, dy, scale),
      start: () => this.#cursor.at ?? { x: width / 2, y: height / 2 },
      pan: (on) => this.#holdPan(on),
      step: () => (this.tool === "cluster" && this.#cursor.clusters?.cell) || 1,
    });
    host.tabIndex = 0;
    host.setAttribute("role", "application");
    host.setAttribute("aria-roledescription", "paint canvas");
    if (!host.hasAttribute("aria-label")) host.setAttribute("aria-label", mode === "ink" ? "Drawing" : "Label mask");
    const { signal } = this.#stop;
    this.addEventListener("tool", () => this.#showCursor());
    const tell = ({ canUndo, canRedo, bytes }) => this.#emit("history", { canUndo, canRedo, bytes });
    this.history.addEventListener("change", () => tell(this.history), { signal });
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
   * @param {{undoable?: boolean, name?: string}} [options] not undoable: no step of the history; the caller makes it a part of a
   *   step of its own, or clears the history, whose steps before it no longer fit
   */
  load(ids, { undoable = true, name = "load" } = {}) {
    checkLength(ids, this.width, this.height);
    this.#strokes.step(name, () => this.#buffer.replace(ids), undoable);
  }

  /** An entry of the history from the `diff` of an earlier one of a canvas like this. */
  entryOf(diff) {
    return this.#strokes.entry(diff);
  }

  /** Everything becomes background. */
  clear() {
    this.load(new Uint8Array(this.width * this.height).fill(this.background), { name: "clear" });
  }

  /** @param {Label[]} palette */
  setPalette(palette) {
    this.palette = palette.map((entry) => ({ ...entry }));
    this.#view.setPalette(this.palette);
  }

  /** Address of a picture of an id's pattern, 8 pixels a side, transparent between: for a swatch. */
  patternOf(id) {
    return this.#view.patternOf(id);
  }

  get patterns() {
    return this.#view.patterns;
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
   * A picture "under" or "over" the labels, scaled to the buffer; null: none.
   * @param {{opacity?: number, wipe?: number|null, smooth?: boolean}} [options] wipe: only the left part, 0 to 1 of the width
   */
  setPicture(slot, image, options) {
    this.#view.setPicture(slot, image, options);
  }

  /**
   * Clusters as super-pixels for the tool "cluster".
   * @param {{width: number, height: number, ids: Uint8Array}|null} clusters a map over the whole canvas, of any size
   * @param {{lines?: boolean}} [options] lines: their borders are drawn
   */
  setClusters(clusters, { lines = true } = {}) {
    this.#cursor.clusters = clusters && new Clusters(clusters, this.width, this.height);
    this.#cursor.cache.clear();
    this.#view.lines = clusters && lines ? this.#cursor.clusters.outline(null) : null;
    this.#view.redraw();
  }

  /** Does what a shortcut of keys.js means. @returns {boolean} false where there was nothing to do */
  act(action) {
    return act(this, action) ?? !this.#emit("action", { action }, true);
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
    const mayChange = (id) => !this.allowed || this.allowed[id] === 1;
    this.#strokes.step("removeSpecks", () => this.#buffer.replace(withoutSpecks(ids, width, height, pixels, mayChange)));
  }

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
    this.#view.moved();
    return this.#view.toBuffer(clientX, clientY);
  }

  /** The point of the window at buffer coordinates. @returns {{x: number, y: number}} */
  toClient(x, y) {
    this.#view.moved();
    return this.#view.toClient(x, y);
  }

  /** In pen mode fingers only move the view. On after the first pen event. */
  setPenMode(on) {
    this.#input.setPenMode(on);
  }

  /**
   * Does what a `keydown` or `keyup` means. Keys typed into a field are left alone; arrows, Space, Enter and Delete are taken only where
   * the canvas or nothing has the focus.
   * @param {KeyboardEvent} event
   * @returns {boolean} true where it was a shortcut: the caller prevents its default
   */
  handleKey(event) {
    const match = matchKey(event);
    const { target } = event;
    if (!match || target?.isContentEditable || target?.matches?.(TEXT_FIELDS)) return false;
    const { action } = match;
    const place = action in { left: 1, right: 1, up: 1, down: 1, space: 1, finish: 1, delete: 1 };
    if (place && target !== this.host && target !== document.body) return false;
    if (action === "finish" && this.busy && !this.#keyboard.held) return event.type === "keydown" && this.finish();
    if (place && action !== "delete") return this.#keyboard.key(match, event);
    if (event.type !== "keydown") return false;
    return this.act(match.shift && action.startsWith("label:") ? `label:1${action.slice(6)}` : action);
  }

  destroy() {
    this.#stop.abort();
    this.#input.destroy();
    this.#view.destroy();
  }

  #holdPan(on) {
    this.#input.space = this.#cursor.panning = on;
    this.#showCursor();
  }

  #point(sample) {
    return { ...sample, ...this.#view.toBuffer(sample.x, sample.y) };
  }

  #fill(mask, id) {
    fillMask(this.#buffer, mask, id, this.allowed);
  }

  #makeTool(tool) {
    const id = tool === "eraser" ? this.background : this.label;
    const notice = (text) => this.#emit("notice", { text });
    const { size, settings, background, allowed } = this;
    const locked = (at) => allowed && !allowed[at];
    const name = (at) => this.nameOf(at);
    const painter = makePainter(this.#buffer, { id, size, settings, background, allowed, locked, notice, name });
    return makeTool(tool, painter, this.#cursor.clusters);
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
    if (!this.#picking) this.#strokes.end();
    else if (this.tool === "picker") this.previousTool();
    this.#picking = false;
  }

  #pick({ x, y }) {
    const id = this.labelAt(x, y);
    if (id !== null && this.mode !== "ink" && !(this.mode === "scribble" && id === 255)) this.setLabel(id);
  }

  #nudge(dx, dy, scale) {
    const { tool } = this.#strokes;
    if (!(tool instanceof Select) || !tool.selected) return false;
    tool.nudge(dx, dy, scale);
    this.#strokes.drawn();
    return true;
  }

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
    const place = on ? { x, y, label: id, name: this.nameOf(id) } : { x: null, y: null, label: null, name: null };
    this.#emit("cursor", { ...place, keyboard: this.#keyboard.at !== null, cluster: this.#cursor.clusters?.at(x, y) ?? null });
  }

  #showCursor() {
    const tool = this.#cursor.panning ? "pan" : this.tool;
    this.host.style.cursor = tool === "pan" ? "grab" : tool === "select" ? "default" : "crosshair";
    this.#view.redrawOver();
  }

  #emit(name, detail, cancelable = false) {
    return this.dispatchEvent(new CustomEvent(name, { detail, cancelable }));
  }
}
