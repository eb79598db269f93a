// The state of the page. The work (drawings, style, truncation, condition) is undone and redone and kept for each tab; the settings are
// remembered for the browser.

import { History, LabelCanvas } from "../canvas/label_canvas.js";
import { make } from "./dom.js";
import { readSettings, saveWork, writeSettings } from "./saves.js";

const SAVE_WAIT = 250; // ms after the last change
export const STRIP = 6; // styles in the strip
const FIRST_SEED = 6;
const KEPT_HISTORY = 2 * 2 ** 20; // bytes of the history that outlast a reload
export const MAX_SEED = 2 ** 32 - 1;
const LINES = ["sketch", "edges", "hed", "photo-sketch"];

/** Ink of a drawing: 255 is black, 0 is paper. */
const GREYS = Array.from({ length: 256 }, (_, ink) => ({
  id: ink,
  name: ink === 0 ? "paper" : ink === 255 ? "ink" : "faint ink",
  color: `#${(255 - Math.round(ink * 0.91)).toString(16).padStart(2, "0").repeat(3)}`,
}));

const SETTINGS = {
  view: "side", // side, overlay, wipe
  opacity: 0.5, // of the labels, in the overlay
  wipe: 0.5,
  theme: "auto",
  live: true,
  proxy: false,
  sharp: false,
  patterns: false,
  styleLocked: false,
  stripShows: "mask", // this mask in each style, or "samples": the styles' own pictures
  panel: "labels", // of narrow windows
  bundle: null,
  tools: {}, // by condition, as the canvas gives them
  names: {}, // of clusters, by the bundle's hash and the id
};

export const randomSeed = () => crypto.getRandomValues(new Uint16Array(1))[0] % 10000;

/** What is drawn for a condition: "labels", "scribble", "ink" or "clusters"; null: nothing that can be drawn here. */
export function drawingMode({ reads }) {
  if (reads === "mask") return "labels";
  if (reads === "scribble" || reads === "clusters") return reads;
  return LINES.includes(reads) ? "ink" : null;
}

const fresh = (bundle) => ({
  bundle,
  condition: "mask",
  seed: FIRST_SEED,
  strip: Array.from({ length: STRIP }, (_, i) => FIRST_SEED + i),
  truncation: 1,
  regions: {}, // label id -> seed
});

/**
 * Events: `work` and `settings` with {detail: Set of the names that changed}; `canvas`: another canvas is shown; `history`; `unsaved`
 * {detail: error}; and the events of the shown canvas: `change`, `cursor`, `tool`, `view`, `notice`, `action`, `pen`.
 */
export class State extends EventTarget {
  /** @param {HTMLElement} place of the canvases */
  constructor(place) {
    super();
    this.place = place;
    this.settings = { ...SETTINGS, ...readSettings() };
    this.work = fresh(null);
    this.bundle = null; // what api/bundles/{name} says
    this.conditions = []; // those that can be drawn, with `mode`
    this.canvases = {}; // by condition
    this.unstarted = new Set(); // conditions whose canvas begins with a sample when it is first shown
    this.history = new History();
    this.key = null; // of the saved work
    this.saveTimer = 0;
    this.saving = Promise.resolve();
  }

  /** The canvas that is shown. */
  get canvas() {
    return this.canvases[this.work.condition] ?? null;
  }

  /** What is painted with on the shown canvas: {id, name, color}. */
  get labels() {
    const { mode } = this.condition;
    if (mode === "ink") return [{ id: 255, name: "ink", color: "#16181c", key: "", lockable: false }];
    return mode === "clusters" ? this.#clusterLabels(this.canvas) : this.bundle.labels;
  }

  #clusterLabels(canvas = null) {
    const names = this.settings.names[this.bundle.hash] ?? {};
    const all = this.bundle.cluster_colors.map((color, id) => ({ id, name: names[id] ?? `region ${id}`, color: hex(color) }));
    const counts = canvas?.counts() ?? [];
    return all.sort((a, b) => counts[b.id] - counts[a.id] || a.id - b.id); // what is on the canvas comes first
  }

  /** Name a cluster; "": as it was called at first. */
  nameCluster(id, name) {
    const { hash } = this.bundle;
    const names = { ...this.settings.names[hash], [id]: name.trim() || undefined };
    this.set({ names: { ...this.settings.names, [hash]: names } });
    this.canvas.setPalette(this.#clusterLabels(this.canvas));
  }

  /** The condition that is drawn for. */
  get condition() {
    return this.conditions.find(({ name }) => name === this.work.condition);
  }

  set(patch) {
    const changed = Object.keys(patch).filter((name) => this.settings[name] !== patch[name]);
    if (!changed.length) return;
    Object.assign(this.settings, patch);
    writeSettings(this.settings);
    this.#emit("settings", new Set(changed));
  }

  /** Change the work as one step; steps of the same `merge` within a second are one. */
  change(patch, name, merge = undefined) {
    const before = {};
    for (const key of Object.keys(patch)) before[key] = this.work[key];
    if (JSON.stringify(before) === JSON.stringify(patch)) return;
    this.#assign(patch);
    this.history.push(this.#entry({ name, merge, bytes: 300, data: { before, after: patch } }));
  }

  /** A step of the history. Its data: the work `before` and `after`, and the drawings `was` and `is` of a canvas; or a canvas and a `diff`. */
  #entry({ data, ...entry }) {
    const { canvas, diff, was, is, before, after } = data;
    if (diff) return { ...entry, ...this.canvases[canvas].entryOf(diff) };
    const put = (drawing, values) => {
      if (drawing) this.canvases[canvas].load(drawing, { undoable: false });
      this.#assign(values);
    };
    return { ...entry, data, undo: () => put(was, before), redo: () => put(is, after) };
  }

  #assign(patch) {
    const switched = patch.condition !== undefined && patch.condition !== this.work.condition;
    if (switched) this.canvas.finish();
    Object.assign(this.work, patch);
    if (switched) this.#show();
    this.#emit("work", new Set(Object.keys(patch)));
    this.save();
  }

  /** Other ids on the canvas, and more of the work, as one step. */
  replaceDrawing(ids, name, patch = {}) {
    const { canvas } = this;
    canvas.finish();
    const [was, is] = [canvas.ids.slice(), ids.slice()];
    const before = {};
    for (const key of Object.keys(patch)) before[key] = this.work[key];
    const data = { canvas: this.work.condition, was, is, before, after: patch };
    const entry = this.#entry({ name, bytes: 2 * is.length + 300, data });
    entry.redo();
    this.history.push(entry);
  }

  /** Undo or redo a step; returns its name, or null if there was none. */
  step(which) {
    const { history, canvas } = this;
    const entry = (which === "undo" ? history.done : history.undone).at(-1);
    const drawing = canvas.busy;
    if (!canvas[which]()) return null;
    this.save();
    return drawing && which === "undo" ? "stroke" : (entry?.name ?? "step");
  }

  /** Begin a work with a bundle; `kept`: one that was saved. The history begins anew. */
  begin(bundle, kept = null) {
    for (const canvas of Object.values(this.canvases)) canvas.destroy();
    this.bundle = bundle;
    this.conditions = [];
    for (const condition of bundle.conditions) {
      const mode = drawingMode(condition);
      const before = this.conditions.some(({ reads }) => reads === condition.reads);
      if (mode && !before) this.conditions.push({ ...condition, mode });
    }
    this.conditions.sort((a, b) => rank(a) - rank(b));
    this.work = { ...fresh(bundle.name), ...kept?.work, bundle: bundle.name };
    if (!this.condition) this.work.condition = this.conditions[0]?.name ?? "mask";
    this.history = new History();
    this.history.addEventListener("change", () => this.#emit("history"));
    this.canvases = {};
    this.unstarted.clear();
    this.place.replaceChildren();
    for (const { name, mode, reads } of this.conditions) this.canvases[name] = this.#makeCanvas(name, mode, reads, kept?.drawings?.[name]);
    if (kept?.steps) this.history.restore(...kept.steps.map((steps) => steps.map((step) => this.#entry(step))));
    this.#show();
    this.#emit("history");
    this.#emit("work", new Set(["bundle", ...Object.keys(this.work)]));
  }

  #makeCanvas(name, mode, reads, ids) {
    const [height, width] = this.bundle.buffer;
    const words = { labels: "Label mask", scribble: "Scribbles", ink: `Drawing: ${reads}`, clusters: "Map of regions" };
    const host = make("div", { class: "frame", hidden: true, "aria-label": words[mode] });
    this.place.append(host);
    const clusters = mode === "clusters";
    const palette = clusters ? this.#clusterLabels() : this.bundle.labels;
    const canvas = new LabelCanvas(host, { width, height, palette, mode: clusters ? "labels" : mode, history: this.history, keyTarget: null });
    if (mode === "ink") canvas.setPalette(GREYS);
    if (ids?.length === width * height) canvas.load(ids, { undoable: false });
    else if (clusters) this.unstarted.add(name);
    canvas.setTools(this.settings.tools[name]);
    for (const kind of ["change", "cursor", "tool", "view", "notice", "action", "pen"]) {
      canvas.addEventListener(kind, (event) => {
        if (kind === "change") this.unstarted.delete(name), this.save();
        if (kind === "tool") this.set({ tools: { ...this.settings.tools, [name]: event.detail } });
        if (canvas === this.canvas && !this.dispatchEvent(new CustomEvent(kind, { detail: event.detail, cancelable: true }))) event.preventDefault();
      });
    }
    return canvas;
  }

  #show() {
    const { canvas } = this;
    const shown = Object.values(this.canvases).find(({ host }) => !host.hidden);
    for (const each of Object.values(this.canvases)) each.host.hidden = each !== canvas;
    if (!canvas) return;
    if (shown && shown !== canvas) canvas.setView(shown.getView());
    this.#emit("canvas");
  }

  /** Keep the work in the browser soon. */
  save() {
    if (!this.saveTimer) this.saveTimer = setTimeout(() => this.saveNow(), SAVE_WAIT);
  }

  saveNow() {
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    if (!this.bundle || !this.key) return this.saving;
    const drawings = {};
    for (const [name, canvas] of Object.entries(this.canvases)) if (!this.unstarted.has(name)) drawings[name] = canvas.ids.slice();
    const work = structuredClone(this.work);
    const record = { key: this.key + workOf(this.bundle), bundle: work.bundle, buffer: this.bundle.buffer, saved: Date.now(), work, drawings, steps: this.#keptSteps() };
    this.saving = saveWork(record).catch((error) => this.#emit("unsaved", error));
    return this.saving;
  }

  /** The newest steps of the history, done and undone, as data. */
  #keptSteps() {
    let room = KEPT_HISTORY;
    const names = new Map(Object.entries(this.canvases).map(([name, canvas]) => [canvas.ids, name]));
    const { done, undone } = this.history;
    return [done, undone].map((steps) => {
      const kept = steps.slice(steps.findLastIndex(({ bytes }) => (room -= bytes) < 0) + 1);
      return kept.map(({ name, bytes, data, diff, owner }) => ({ name, bytes, data: data ?? { canvas: names.get(owner), diff } }));
    });
  }

  #emit(kind, detail = null) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** The end of the key of its work; another bundle of its name with other labels has its own. */
export const workOf = ({ name, labels }) => `/${name}/${labels.map((label) => label.name)}`;

function rank({ mode }) {
  return ["labels", "scribble", "ink", "clusters"].indexOf(mode);
}

const hex = (color) => `#${color.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
