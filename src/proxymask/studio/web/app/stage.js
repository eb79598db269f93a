// The arrangement of mask and picture, zoom, what is shown, and the cursor's label.

import { arrowKeys, byId, choose, icon, iconButton, make, press } from "./dom.js";
import { keyOf } from "./keys.js";
import { say, sayCursor } from "./messages.js";

const VIEWS = { side: ["side", "Side by side"], overlay: ["overlay", "Overlay"], wipe: ["slider", "Slider"] };
const CONDITIONS = { labels: "mask", scribble: "scribble", ink: "pencil", clusters: "clusters" };

/** `facial_hair` -> "facial hair". */
const plain = (name) => name.replaceAll("_", " ");

export class Stage {
  constructor(state, result) {
    Object.assign(this, { state, result });
    this.#buildViews();
    this.#buildZoom();
    this.#buildLooking();
    this.#buildWipe();
    this.#buildTabs();
    this.conditions = make("div", { class: "segments", role: "radiogroup", "aria-label": "What is drawn" });
    byId("conditions-place").append(this.conditions);
    arrowKeys(this.conditions, "button", true);
    state.addEventListener("settings", ({ detail }) => this.#concerns(detail) && this.arrange());
    state.addEventListener("canvas", () => this.#canvasShown());
    state.addEventListener("view", ({ detail }) => this.#viewed(detail));
    state.addEventListener("cursor", ({ detail }) => this.#cursor(detail));
    result.onPicture = () => this.#underlay();
    result.onAsking = (asking) => press(this.origin, asking);
    this.arrange();
  }

  useBundle() {
    const { state } = this;
    this.conditions.replaceChildren(
      ...state.conditions.map(({ name, reads, mode }) =>
        make("button", { type: "button", role: "radio", title: `Paint: ${reads} (${keyOf("condition")})`, dataset: { condition: name }, on: { click: () => this.#useCondition(name) } }, icon(CONDITIONS[mode]), make("span", { text: reads })),
      ),
    );
    this.conditions.hidden = state.conditions.length < 2;
    this.#canvasShown();
  }

  #useCondition(name) {
    this.state.change({ condition: name }, `to ${name}`);
  }

  nextCondition() {
    const names = this.state.conditions.map(({ name }) => name);
    this.#useCondition(names[(names.indexOf(this.state.work.condition) + 1) % names.length]);
    say(this.state.condition.reads);
  }

  #buildViews() {
    this.views = {};
    for (const [name, [image, words]] of Object.entries(VIEWS)) {
      this.views[name] = make(
        "button",
        { type: "button", role: "radio", title: `${words} (${keyOf("view")})`, "aria-label": words, dataset: { view: name }, on: { click: () => this.state.set({ view: name }) } },
        icon(image),
      );
      byId("views").append(this.views[name]);
    }
    arrowKeys(byId("views"), "button", true);
    this.opacity = make("input", {
      type: "range",
      min: "0",
      max: "1",
      step: "0.01",
      "aria-label": "Opacity of the labels",
      title: "Opacity of the labels",
      on: { input: () => this.state.set({ opacity: Number(this.opacity.value) }) },
    });
    this.opacityRow = make("div", { class: "slide" }, icon("mask"), this.opacity, make("output", { class: "number" }));
    byId("opacity-place").append(this.opacityRow);
  }

  next() {
    const names = Object.keys(VIEWS);
    const name = names[(names.indexOf(this.state.settings.view) + 1) % names.length];
    this.state.set({ view: name });
    say(VIEWS[name][1]);
  }

  #buildZoom() {
    const button = (image, words, action) => iconButton(image, `${words} (${keyOf(action)})`, { on: { click: () => this.state.canvas.act(action) } });
    this.zoomValue = make("button", { type: "button", class: "button bare zoom-value", title: "Zoom; press to fit", "aria-label": "Fit", on: { click: () => this.state.canvas.fit() } });
    byId("zoom").append(button("minus", "Zoom out", "zoom-"), this.zoomValue, button("plus", "Zoom in", "zoom+"), button("fit", "Fit", "fit"));
  }

  #buildLooking() {
    this.proxy = iconButton("proxy", `Proxy mask (${keyOf("proxy")})`, { on: { click: () => this.state.set({ proxy: !this.state.settings.proxy }) } });
    this.origin = iconButton("source", `Where a point of the picture comes from (${keyOf("origin")})`, { on: { click: () => this.result.ask(!this.result.asking) } });
    byId("looking").append(this.proxy, this.origin);
  }

  #buildWipe() {
    const wipe = byId("wipe");
    const handle = make("button", {
      type: "button",
      class: "wipe-handle",
      role: "slider",
      "aria-label": "Divider: picture on the left, mask on the right",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    }, icon("slider"));
    this.handle = handle;
    wipe.append(handle);
    const to = (share) => this.state.set({ wipe: Math.min(1, Math.max(0, share)) });
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const { canvas } = this.state;
      to(canvas.toBuffer(event.clientX, event.clientY).x / canvas.width);
    });
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
      if (!step) return;
      to(this.state.settings.wipe + step);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #buildTabs() {
    this.tabs = {};
    for (const [name, image, words] of [["tools", "tools", "Tools"], ["labels", "labels", "Labels"], ["style", "style", "Style"]]) {
      const button = make(
        "button",
        { type: "button", "aria-expanded": "false", "aria-controls": { tools: "tools", labels: "palette", style: "styles" }[name], on: { click: () => this.state.set({ panel: this.state.settings.panel === name ? "none" : name }) } },
        icon(image),
        make("span", { text: words }),
      );
      this.tabs[name] = button;
      byId("tabs").append(button);
    }
  }

  /** Whether settings of that name are shown here; tools change with every stroke of a slider. */
  #concerns(names) {
    return [...names].some((name) => name !== "tools");
  }

  arrange() {
    const { settings } = this.state;
    document.documentElement.dataset.theme = settings.theme;
    const panes = byId("panes");
    panes.classList.toggle("side", settings.view === "side");
    panes.classList.toggle("one", settings.view !== "side");
    byId("picture-pane").hidden = settings.view !== "side";
    choose(Object.values(this.views), this.views[settings.view]);
    this.opacityRow.hidden = settings.view !== "overlay";
    this.opacity.value = String(settings.opacity);
    this.opacityRow.querySelector("output").value = `${Math.round(100 * settings.opacity)} %`;
    byId("wipe").hidden = settings.view !== "wipe";
    press(this.proxy, settings.proxy);
    byId("paint").dataset.panel = settings.panel;
    for (const [name, button] of Object.entries(this.tabs)) button.setAttribute("aria-expanded", String(settings.panel === name));
    for (const canvas of Object.values(this.state.canvases)) {
      canvas.setTheme(settings.theme);
      canvas.setPatterns(settings.patterns);
    }
    if (settings.view !== "side" && this.result.asking) this.result.ask(false);
    this.#underlay();
    this.#placeWipe();
  }

  /** The picture in the canvas itself: under the labels, or over them up to the divider. */
  #underlay() {
    const { canvas, settings } = this.state;
    if (!canvas) return;
    const { seen } = this.result;
    const smooth = !settings.sharp && seen !== this.result.proxy;
    canvas.setPicture("under", settings.view === "overlay" ? seen : null, { smooth });
    canvas.setPicture("over", settings.view === "wipe" ? seen : null, { wipe: settings.wipe, smooth });
    canvas.setLabelOpacity(settings.view === "overlay" ? settings.opacity : 1);
  }

  #canvasShown() {
    const { state } = this;
    const buttons = [...this.conditions.children];
    choose(buttons, buttons.find((button) => button.dataset.condition === state.work.condition));
    this.arrange();
    this.#viewed(state.canvas.getView());
    byId("cursor").replaceChildren();
  }

  #viewed(view) {
    if (!this.state.canvas) return;
    this.zoomValue.textContent = `${Math.round(100 * view.scale)} %`;
    this.result.follow(view);
    this.#placeWipe();
  }

  #placeWipe() {
    const { canvas, settings } = this.state;
    if (!canvas || settings.view !== "wipe") return;
    const { left } = byId("panes").getBoundingClientRect();
    byId("wipe").style.left = `${canvas.toClient(settings.wipe * canvas.width, 0).x - left}px`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * settings.wipe)));
    this.handle.setAttribute("aria-valuetext", `${Math.round(100 * settings.wipe)} % picture`);
  }

  #cursor({ x, y, label, name, keyboard }) {
    const place = byId("cursor");
    const { canvas } = this.state;
    if (x === null) {
      place.replaceChildren();
      this.result.showCursor(null);
      this.said = null;
      return;
    }
    const words = name ? plain(name) : "nothing";
    if (label !== this.swatched || !place.firstChild) {
      this.swatched = label;
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = canvas.palette.find(({ id }) => id === label)?.color ?? "transparent";
      place.replaceChildren(swatch, make("span"));
    }
    place.lastChild.textContent = `${words} · ${x}, ${y}`;
    this.result.showCursor({ x: x + 0.5, y: y + 0.5, size: ["brush", "eraser", "line"].includes(canvas.tool) ? canvas.size : 1 });
    const told = keyboard ? `${words}, ${x}, ${y}` : words;
    if (told !== this.said) {
      this.said = told;
      sayCursor(told, keyboard ? 150 : 400);
    }
  }
}
