// The state of the page. The work (drawing, style, truncation, condition) is undone and redone and kept for each tab; the settings are
// remembered for the browser.

import { decodeRle, encodeRle } from "../canvas/buffer.js";
import { readSettings, saveWork, writeSettings } from "./saves.js";

const SAVE_WAIT = 250; // ms after the last change
export const PAPER = 255; // id of what is not painted, in scribbles; white paper in drawings
export const STRIP = 6; // styles in the strip
export const MAX_SEED = 2 ** 32 - 1;

const SETTINGS = {
  view: "side", // side, overlay, wipe
  opacity: 0.5,
  wipe: 0.5,
  theme: "auto",
  live: true,
  proxy: false,
  sharp: false,
  patterns: false,
  styleLocked: false,
  stripShows: "mask", // this mask in each style, or the styles' own pictures
  panel: "labels", // of narrow windows
  bundle: null,
  tools: {}, // by condition: as the canvas hands them out
  locks: {},
};

export const randomSeed = () => crypto.getRandomValues(new Uint16Array(1))[0] % 10000;

const fresh = (bundle) => ({
  bundle,
  condition: "mask",
  seed: 0,
  strip: Array.from({ length: STRIP }, (_, i) => i),
  truncation: 1,
  regions: {}, // label id -> seed
});

/**
 * Events: `work` and `settings` with {detail: Set of the names that changed}.
 *
 * `drawings` has, by condition, the ids of the drawings that are not on the canvas now.
 */
export class State extends EventTarget {
  constructor() {
    super();
    this.settings = { ...SETTINGS, ...readSettings() };
    this.work = fresh(null);
    this.bundle = null; // what api/bundles/{name} says
    this.drawings = {};
    this.canvas = null; // set by main.js
    this.key = null; // of the saved work
    this.saveTimer = 0;
    this.saving = Promise.resolve();
  }

  // ------------------------------------------------------------------ settings

  set(patch) {
    const changed = Object.keys(patch).filter((name) => this.settings[name] !== patch[name]);
    if (!changed.length) return;
    Object.assign(this.settings, patch);
    writeSettings(this.settings);
    this.#emit("settings", changed);
  }

  // ------------------------------------------------------------------ work, in the history

  /** Change the work as one step; steps of the same `merge` within a second are one. */
  change(patch, name, merge = null) {
    const before = {};
    for (const key of Object.keys(patch)) before[key] = this.work[key];
    if (Object.keys(patch).every((key) => JSON.stringify(before[key]) === JSON.stringify(patch[key]))) return;
    this.assign(patch);
    this.canvas.history.push({
      name,
      merge: merge ?? undefined,
      bytes: 300,
      undo: () => this.assign(before),
      redo: () => this.assign(patch),
    });
  }

  /** Change the work outside the history. */
  assign(patch) {
    const switched = patch.condition !== undefined && patch.condition !== this.work.condition;
    if (switched) this.drawings[this.work.condition] = this.canvas.ids();
    Object.assign(this.work, patch);
    if (switched) this.#showDrawing();
    this.#emit("work", Object.keys(patch));
    this.save();
  }

  /** Another drawing of the current condition, and more of the work, as one step. */
  replaceDrawing(ids, name, patch = {}) {
    const was = encodeRle(this.canvas.ids());
    const is = encodeRle(ids);
    const before = {};
    for (const key of Object.keys(patch)) before[key] = this.work[key];
    const put = (runs, values) => {
      this.canvas.show(decodeRle(runs, ids.length));
      this.assign({ ...values, drawing: null });
    };
    put(is, patch);
    this.canvas.history.push({
      name,
      bytes: was.length + is.length + 300,
      undo: () => put(was, before),
      redo: () => put(is, patch),
    });
  }

  /** The blank drawing of a condition: label 0 everywhere, or paper. */
  blank(condition = this.work.condition) {
    const [height, width] = this.bundle.buffer;
    return new Uint8Array(width * height).fill(condition === "mask" ? 0 : PAPER);
  }

  /** Begin a work with a bundle; `kept`: one that was saved. The history begins anew. */
  begin(bundle, kept = null) {
    this.bundle = bundle;
    const [height, width] = bundle.buffer;
    this.work = { ...fresh(bundle.name), ...kept?.work, bundle: bundle.name };
    if (!bundle.conditions.some(({ name }) => name === this.work.condition)) this.work.condition = bundle.conditions[0]?.name ?? "mask";
    this.drawings = {};
    for (const [condition, ids] of Object.entries(kept?.drawings ?? {})) {
      if (ids.length === width * height) this.drawings[condition] = ids;
    }
    this.#showDrawing();
    this.canvas.history.clear();
    this.#emit("work", ["bundle", ...Object.keys(this.work)]);
  }

  #showDrawing() {
    const condition = this.work.condition;
    this.canvas.use(condition, this.drawings[condition] ?? this.blank(condition));
    delete this.drawings[condition];
  }

  /** The step `undo` or `redo`; returns its name, or null if there is none. */
  step(which) {
    const entry = this.canvas.history[which]();
    if (entry) this.save();
    return entry ? (entry.name ?? "stroke") : null;
  }

  // ------------------------------------------------------------------ keeping it

  /** Keep the work in the browser soon. */
  save() {
    clearTimeout(this.saveTimer);
    this.saveTimer = setTimeout(() => this.saveNow(), SAVE_WAIT);
  }

  saveNow() {
    clearTimeout(this.saveTimer);
    this.saveTimer = 0;
    if (!this.bundle || !this.key) return this.saving;
    const drawings = { ...this.drawings, [this.work.condition]: this.canvas.ids() };
    const work = structuredClone(this.work);
    const [height, width] = this.bundle.buffer;
    const record = { key: `${this.key}/${work.bundle}`, bundle: work.bundle, size: [width, height], saved: Date.now(), work, drawings };
    this.saving = saveWork(record).catch((error) => this.dispatchEvent(new CustomEvent("unsaved", { detail: error })));
    return this.saving;
  }

  #emit(kind, names) {
    this.dispatchEvent(new CustomEvent(kind, { detail: new Set(names) }));
  }
}
