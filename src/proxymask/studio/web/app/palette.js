// The labels: colour, name, number key, lock; with search.

import { arrowKeys, byId, icon, iconButton, make, setIcon } from "./dom.js";
import { say } from "./messages.js";

export const LOCKS = { free: "only", only: "never", never: "free" };
const LOCK_WORDS = {
  free: (name) => `${name} is not locked: press to paint only over it`,
  only: (name) => `painting only over ${name}: press to never paint over it`,
  never: (name) => `never painting over ${name}: press to unlock it`,
};

/** Show the kind of a label's lock on its button. */
export function showLock(button, kind, name) {
  button.dataset.lock = kind;
  button.title = LOCK_WORDS[kind](name);
  button.setAttribute("aria-label", button.title);
  setIcon(button, kind);
}

export class Palette {
  /**
   * @param {(id: number) => void} onPick
   * @param {(locks: Object<number, string>) => void} onLocks
   * @param {(id: number, name: string) => void} onName
   */
  constructor(state, onPick, onLocks, onName) {
    Object.assign(this, { state, onPick, onLocks, items: [], current: 0 });
    this.name = make("input", { class: "field", maxLength: 60, autocomplete: "off", "aria-label": "Name of this region", title: "Name this region", on: { change: () => onName(this.current, this.name.value) } });
    this.search = make("input", {
      class: "field",
      type: "search",
      placeholder: "Find a label",
      autocomplete: "off",
      spellcheck: false,
      "aria-label": "Find a label by name or number",
      title: "Find a label (/)",
      on: { input: () => this.#filter(), keydown: (event) => this.#searchKeys(event) },
    });
    this.list = make("ul", { class: "label-list", "aria-label": "Labels" });
    this.none = make("p", { class: "empty", hidden: true });
    byId("palette").append(make("div", { class: "palette-head" }, make("div", { class: "find" }, icon("search"), this.search), make("div", { class: "find" }, icon("pencil"), this.name)), this.none, this.list);
    arrowKeys(this.list, ".label-pick");
  }

  /** Labels {id, name, color} to choose from; `named`: they can be renamed. */
  use(labels, locks, named = false) {
    this.labels = labels;
    this.locks = { ...locks };
    this.search.value = "";
    this.items = labels.map((label, i) => this.#item(label, i));
    this.list.replaceChildren(...this.items.map((item) => item.row));
    this.showPatterns();
    this.search.parentElement.hidden = labels.length < 6;
    this.name.parentElement.hidden = !named;
    byId("palette").classList.toggle("few", labels.length <= 12 && !named);
    this.#filter();
  }

  #item(label, i) {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = label.color;
    const name = label.name.replaceAll("_", " ");
    const pick = make(
      "button",
      { type: "button", class: "label-pick", tabIndex: i === 0 ? 0 : -1, title: name, on: { click: () => this.onPick(label.id) } },
      swatch,
      make("span", { class: "label-name", text: name }),
      make("span", { class: "region-mark", hidden: true }),
      make("span", { class: "label-key", text: label.key ?? (label.id < 10 ? String(label.id) : "") }),
    );
    pick.setAttribute("aria-pressed", "false");
    const lock = label.lockable === false ? null : iconButton("free", "", { on: { click: () => this.turnLock(label.id) } });
    const row = make("li", { class: "label-item" }, pick, lock);
    const item = { label, name, row, pick, lock };
    this.#showLock(item);
    return item;
  }

  #showLock({ label, name, lock }) {
    if (lock) showLock(lock, this.locks[label.id] ?? "free", name);
  }

  /** The next kind of lock of a label. */
  turnLock(id) {
    const item = this.items.find(({ label }) => label.id === id);
    if (!item?.lock) return;
    const kind = LOCKS[this.locks[id] ?? "free"];
    if (kind === "free") delete this.locks[id];
    else this.locks[id] = kind;
    this.#showLock(item);
    say(LOCK_WORDS[kind](item.name).split(":")[0]);
    this.onLocks({ ...this.locks });
  }

  /** The canvas's patterns on the swatches too, where it shows them. */
  showPatterns() {
    const { canvas, settings, condition } = this.state;
    const on = settings.patterns && condition?.mode !== "ink";
    for (const { label, pick } of this.items) pick.firstChild.style.backgroundImage = on ? `url(${canvas.patternOf(label.id)})` : "";
  }

  /** Mark the label that is painted with. */
  mark(id) {
    this.current = id;
    for (const { label, row, pick } of this.items) {
      const on = label.id === id;
      row.classList.toggle("chosen", on);
      if (on) this.name.value = label.name;
      pick.setAttribute("aria-pressed", String(on));
      if (on && !this.list.contains(document.activeElement)) this.#reveal(row);
    }
  }

  /** Scroll to a row. (`scrollIntoView` would also let Tab go on from there.) */
  #reveal(row) {
    const [at, all] = [row, this.list].map((element) => element.getBoundingClientRect());
    this.list.scrollBy(Math.min(0, at.left - all.left) || Math.max(0, at.right - all.right), Math.min(0, at.top - all.top) || Math.max(0, at.bottom - all.bottom));
  }

  /** Show which labels have a style of their own: label id -> seed. */
  showRegions(regions) {
    for (const { label, name, pick } of this.items) {
      const mark = pick.querySelector(".region-mark");
      const seed = regions[label.id];
      mark.hidden = seed === undefined;
      mark.textContent = seed === undefined ? "" : `style ${seed}`;
      pick.title = seed === undefined ? name : `${name}, in style ${seed}`;
    }
  }

  /** The label with that id, or undefined. */
  find(id) {
    return this.items.find(({ label }) => label.id === id);
  }

  focusSearch() {
    if (this.search.parentElement.hidden) this.items[0]?.pick.focus();
    else {
      this.search.focus();
      this.search.select();
    }
  }

  #filter() {
    const text = this.search.value.trim().toLowerCase();
    let found = 0;
    for (const { label, name, row } of this.items) {
      row.hidden = text !== "" && !name.toLowerCase().includes(text) && !label.name.toLowerCase().includes(text) && String(label.id) !== text;
      found += !row.hidden;
    }
    this.none.hidden = found > 0;
    this.none.textContent = found ? "" : `No label is named “${this.search.value.trim()}”.`;
  }

  #searchKeys(event) {
    if (event.key === "Escape") {
      this.search.value = "";
      this.#filter();
      byId("canvas").querySelector("[tabindex]")?.focus();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      const first = this.items.find(({ row }) => !row.hidden);
      if (!first) return;
      if (event.key === "Enter") {
        this.onPick(first.label.id);
        say(first.name);
      }
      first.pick.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
