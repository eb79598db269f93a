/** What the tools are set to: tool, label, size, settings, locks, palette. The part of LabelCanvas that knows neither buffer nor DOM. */

import { DEFAULT_SETTINGS, TOOLS } from "./toolbox.js";

const MAX_SIZE = 200;

/** Dispatches `tool` with {@link getTools} whenever any of it changes. */
export class ToolState extends EventTarget {
  #locks = new Map();
  #lastLabel;
  #lastTool = "brush"; // before the picker

  /** @param {{palette: object[], label: number, size: number}} start */
  constructor({ palette, label, size }) {
    super();
    this.palette = palette;
    this.tool = "brush";
    this.label = this.#lastLabel = label;
    this.size = size;
    this.settings = { ...DEFAULT_SETTINGS };
    /** @type {Uint8Array|null} 256 flags by id: may be painted over; null: no locks */
    this.allowed = null;
  }

  /** Name of a label, for a person. */
  nameOf(id) {
    return this.palette.find((entry) => entry.id === id)?.name ?? `label ${id}`;
  }

  /** @param {string} name one of {@link TOOLS} */
  setTool(name) {
    if (!TOOLS.includes(name)) throw new RangeError(`there is no tool ${name}; the tools are ${TOOLS.join(", ")}`);
    if (name === this.tool) return;
    this.finish();
    if (this.tool !== "picker") this.#lastTool = this.tool;
    this.tool = name;
    this.#changed();
  }

  /** What is painted. */
  setLabel(id) {
    if (id === this.label) return;
    this.#lastLabel = this.label;
    this.label = id;
    this.#changed();
  }

  /** Diameter of the brush in buffer pixels. */
  setSize(size, atLeast = 0) {
    let rounded = Math.round(size);
    if (rounded === this.size) rounded += atLeast;
    rounded = Math.max(1, Math.min(MAX_SIZE, rounded));
    if (rounded === this.size) return;
    this.size = rounded;
    this.#changed();
  }

  /** Changes some of the {@link DEFAULT_SETTINGS}. */
  setSettings(settings) {
    for (const [name, value] of Object.entries(settings)) if (typeof value === typeof DEFAULT_SETTINGS[name]) this.settings[name] = value;
    this.#changed();
  }

  /**
   * @param {number} id
   * @param {"none"|"only"|"never"} lock only: tools paint only over labels locked so; never: they never paint over this label
   */
  setLock(id, lock) {
    if (lock === "none") this.#locks.delete(id);
    else this.#locks.set(id, lock);
    const only = [...this.#locks.values()].includes("only");
    const free = (at) => (only ? this.#locks.get(at) === "only" : this.#locks.get(at) !== "never");
    this.allowed = this.#locks.size ? Uint8Array.from({ length: 256 }, (_, at) => +free(at)) : null;
    this.#changed();
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
    for (const [id, lock] of Object.entries(saved?.locks ?? {})) if (["only", "never"].includes(lock) && this.palette.some((entry) => entry.id === +id)) this.setLock(+id, lock);
  }

  /** The tool before the picker. */
  previousTool() {
    this.setTool(this.#lastTool);
  }

  /** The label before the last one. */
  previousLabel() {
    this.setLabel(this.#lastLabel);
  }

  /** The label that is some places further in the palette. */
  nextLabel(step) {
    const at = this.palette.findIndex((entry) => entry.id === this.label);
    const count = this.palette.length;
    if (count) this.setLabel(this.palette[(at + step + count) % count].id);
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("tool", { detail: this.getTools() }));
  }
}
