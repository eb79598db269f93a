// The tools and their options.

import { arrowKeys, byId, choose, iconButton, make } from "./dom.js";
import { keyOf } from "./keys.js";
import { toast } from "./messages.js";

/** Tool: [icon, name, what it does]; null: a line between groups. */
export const TOOLS = {
  brush: ["brush", "Brush", "Paints the chosen label."],
  eraser: ["eraser", "Eraser", "Paints the background."],
  line: ["line", "Line", "A straight line, as wide as the brush."],
  rectangle: ["rectangle", "Rectangle", "Shift: a square."],
  ellipse: ["ellipse", "Ellipse", "Shift: a circle."],
  lasso: ["lasso", "Lasso", "Draw around an area to paint it."],
  polygon: ["polygon", "Polygon", "Click the corners; Enter or a double click closes it."],
  fill: ["fill", "Fill", "Gives the label to the area that is clicked."],
  enclose: ["enclosed", "Fill enclosed", "Draw a rough outline; what it encloses is painted."],
  select: ["move", "Move region", "Drag a region to move it, its corners to scale it."],
  picker: ["picker", "Pick label", "Takes the label that is clicked. With other tools: right button, or Alt."],
  pan: ["hand", "Move view", "With any tool: hold Space, or two fingers."],
};
const ORDER = ["brush", "eraser", "line", null, "rectangle", "ellipse", "lasso", "polygon", null, "fill", "enclose", "select", null, "picker", "pan"];
const SIZED = ["brush", "eraser", "line"];
const SHAPES = ["rectangle", "ellipse", "lasso", "polygon"];
const MOST = 200;

export class Tools {
  constructor(state) {
    this.state = state;
    this.buttons = {};
    const bar = byId("toolbar");
    for (const name of ORDER) {
      if (name === null) {
        bar.append(make("hr"));
        continue;
      }
      const [icon, words] = TOOLS[name];
      const key = keyOf(`tool:${name}`);
      const button = iconButton(icon, key ? `${words} (${key})` : words, { role: "radio", dataset: { tool: name }, on: { click: () => this.pick(name) } });
      button.setAttribute("aria-label", words);
      if (key) button.setAttribute("aria-keyshortcuts", key);
      this.buttons[name] = button;
      bar.append(button);
    }
    arrowKeys(bar, "button");
    state.addEventListener("tool", () => this.update());
    state.addEventListener("canvas", () => this.update());
    this.#build();
  }

  pick(name) {
    this.state.canvas.setTool(name);
  }

  #build() {
    const set = (patch) => this.state.canvas.setSettings(patch);
    this.title = make("span");
    this.size = make("input", {
      type: "range",
      min: "0",
      max: "100",
      "aria-label": "Size of the brush",
      title: "Size of the brush ([ and ], or Shift and the wheel)",
      on: { input: () => this.state.canvas.setSize(toSize(Number(this.size.value))) },
    });
    this.sizeValue = make("output", { class: "number" });
    this.sizeRow = make("div", { class: "slide" }, make("span", { class: "caption", text: "size" }), this.size, this.sizeValue);
    this.check = {};
    const check = (name, text, title) => {
      const box = make("input", { type: "checkbox", on: { change: () => set({ [name]: box.checked }) } });
      this.check[name] = { box, row: make("label", { class: "check", title }, box, make("span", { text })) };
      return this.check[name].row;
    };
    this.outline = make("input", { type: "checkbox", on: { change: () => set({ filled: !this.outline.checked }) } });
    this.outlineRow = make("label", { class: "check", title: "The outline alone, as wide as the brush" }, this.outline, make("span", { text: "outline only" }));
    this.specksSize = make("input", { class: "field number", type: "number", min: "1", max: "999", value: "12", "aria-label": "Pixels below which a speck is removed" });
    this.specksSize.style.width = "58px";
    const enclosed = iconButton("enclosed", "Paint what the chosen label encloses", { on: { click: () => this.#enclosed() } }, "Fill holes");
    const specks = iconButton("specks", "Remove specks of fewer pixels than this", { on: { click: () => this.#specks() } }, "Specks");
    this.fillRow = make("div", { class: "row" }, enclosed, specks, this.specksSize);
    this.hint = make("p", { class: "caption" });
    byId("options").append(
      make("div", { class: "title" }, this.title),
      this.sizeRow,
      this.outlineRow,
      check("everywhere", "everywhere", "All pixels of that label, not only the connected ones"),
      check("pressure", "pen pressure", "The pressure of a pen gives the width"),
      check("mirror", "mirror left and right (M)", "What is painted is painted on the other side too"),
      this.fillRow,
      this.hint,
    );
  }

  #enclosed() {
    if (!this.#changes((canvas) => canvas.fillEnclosed(canvas.label))) toast("Nothing is enclosed by this label.", { key: "notice" });
  }

  #specks() {
    const pixels = Math.max(1, Math.round(Number(this.specksSize.value) || 1));
    if (!this.#changes((canvas) => canvas.removeSpecks(pixels))) toast(`There is no speck of fewer than ${pixels} pixels.`, { key: "notice" });
  }

  /** Whether an action changes the drawing. */
  #changes(action) {
    const { canvas } = this.state;
    const { version } = canvas;
    action(canvas);
    return canvas.version !== version;
  }

  update() {
    const { canvas } = this.state;
    if (!canvas) return;
    const { tool, settings, size } = canvas;
    choose(Object.values(this.buttons), this.buttons[tool]);
    const [, words, hint] = TOOLS[tool] ?? [null, tool, ""];
    this.title.textContent = words;
    const outlined = SHAPES.includes(tool) && !settings.filled;
    this.sizeRow.hidden = !SIZED.includes(tool) && !outlined;
    this.size.value = String(toSlider(size));
    this.sizeValue.value = `${size} px`;
    this.outlineRow.hidden = !SHAPES.includes(tool);
    this.outline.checked = !settings.filled;
    this.check.everywhere.row.hidden = tool !== "fill";
    this.check.pressure.row.hidden = !SIZED.includes(tool) || tool === "line";
    this.check.mirror.row.hidden = !(SIZED.includes(tool) || SHAPES.includes(tool));
    for (const [name, { box }] of Object.entries(this.check)) box.checked = Boolean(settings[name]);
    this.fillRow.hidden = tool !== "fill" && tool !== "enclose";
    this.hint.textContent = hint;
    this.hint.hidden = SIZED.includes(tool) && tool !== "line";
  }
}

const STEPS = { fillEnclosed: "fill holes", removeSpecks: "remove specks" };

/** A step of the history in words. */
export const stepWords = (name) => STEPS[name] ?? TOOLS[name]?.[1].toLowerCase() ?? name;

/** 0..100 of the slider -> diameter 1..MOST, finer for small ones. */
const toSize = (at) => Math.max(1, Math.round(MOST ** (at / 100)));
const toSlider = (size) => Math.round((100 * Math.log(size)) / Math.log(MOST));

