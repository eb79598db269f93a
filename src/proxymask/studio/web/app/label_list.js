// Labels to choose from and to edit: colour, name, remove, add.

import { iconButton, make } from "./dom.js";
import { say } from "./messages.js";
import { LOCKS, showLock } from "./palette.js";

export const COLORS = ["#8fa3ad", "#e0ac7e", "#2f6fde", "#d6334a", "#3fa35b", "#a86bd1", "#f2c230", "#22c3c9", "#7a4a21", "#c25e00", "#5b6ee1", "#8fb339", "#e377c2", "#5c5c5c", "#b5e0ff", "#ffd9b3"];

export class LabelList {
  /** `onChange(labels)`: the labels were edited; a label has the `id` that it had, or none. `onPick(id)`. `locks`: get(id), set(id, kind). */
  constructor(onChange, onPick, locks = null) {
    Object.assign(this, { onChange, onPick, locks, labels: [] });
    this.rows = make("ul", { class: "label-list", "aria-label": "Labels" });
    const add = iconButton("plus", "Add a label", { on: { click: () => this.#add() } }, "Add a label");
    this.element = make("div", { class: "label-edit" }, this.rows, add);
  }

  /** Labels {id, name, color}. */
  use(labels) {
    this.labels = labels.map((label) => ({ ...label }));
    this.rows.replaceChildren(...this.labels.map((label, i) => this.#row(label, i)));
  }

  mark(id) {
    for (const [i, row] of [...this.rows.children].entries()) row.classList.toggle("chosen", i === id);
  }

  #row(label, i) {
    const color = make("input", { type: "color", value: label.color, "aria-label": `Colour of ${label.name}`, on: { change: () => this.#edit(i, { color: color.value }) } });
    const name = make("input", { class: "field", value: label.name, maxLength: 60, "aria-label": `Name of label ${i}`, on: { change: () => this.#edit(i, { name: name.value.trim() || label.name }), focus: () => this.onPick(i), keydown: (event) => event.key === "Enter" && (event.preventDefault(), name.blur()) } });
    const remove = iconButton("close", `Remove the label ${label.name}`, { disabled: this.labels.length <= 2, on: { click: () => this.#remove(i) } });
    const pick = make("button", { type: "button", class: "label-number", text: String(i), title: `Paint with ${label.name} (${i})`, "aria-label": `Paint with ${label.name}`, on: { click: () => this.onPick(i) } });
    const lock = this.locks && iconButton("free", "", { on: { click: () => this.#turnLock(lock, i) } });
    if (lock) showLock(lock, this.locks.get(i), label.name);
    return make("li", { class: "label-row" }, pick, color, name, lock, remove);
  }

  #turnLock(button, i) {
    const kind = LOCKS[button.dataset.lock];
    showLock(button, kind, this.labels[i].name);
    say(button.title.split(":")[0]);
    this.locks.set(i, kind);
  }

  #edit(i, patch) {
    this.labels[i] = { ...this.labels[i], ...patch };
    this.use(this.labels);
    this.onChange(this.labels);
  }

  #remove(i) {
    this.labels.splice(i, 1);
    this.use(this.labels);
    this.onChange(this.labels);
  }

  #add() {
    const used = new Set(this.labels.map(({ color }) => color.toLowerCase()));
    const color = COLORS.find((each) => !used.has(each)) ?? `#${Math.floor(Math.random() * 0xffffff).toString(16).padStart(6, "0")}`;
    let number = this.labels.length;
    while (this.labels.some(({ name }) => name === `part ${number}`)) number++;
    this.labels.push({ name: `part ${number}`, color });
    this.use(this.labels);
    this.onChange(this.labels);
    this.rows.lastElementChild.querySelector("input.field").select();
  }
}
