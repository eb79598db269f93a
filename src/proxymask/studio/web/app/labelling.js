// The mode "Label": samples of the generator are labelled, and networks are trained on them.

import { LabelCanvas, decodeRle, encodeRle } from "../canvas/label_canvas.js";
import { ask, getJson, sampleAddress, send } from "./api.js";
import { arrowKeys, byId, choose, iconButton, make, press } from "./dom.js";
import { decodeFrame, encodeFrame } from "./frames.js";
import { Jobs } from "./jobs.js";
import { COLORS, LabelList } from "./label_list.js";
import { say, toast } from "./messages.js";
import { randomName } from "./saves.js";
import { TOOLS } from "./tools.js";

const ROOT = "api/labelling";
const SAVE_WAIT = 600; // ms after a stroke
const AT_ONCE = 9; // proposals
const OWN_TOOLS = { cluster: ["clusters", "Regions", "A click gives a region that the generator draws as one to the label; Shift: all of its kind."], ...TOOLS };

export class Labelling {
  /** `paintWith(name)`: open that bundle and paint. */
  constructor(state, paintWith) {
    Object.assign(this, { state, set: null, seed: null, canvas: null, timer: 0, saving: Promise.resolve(), opening: 0 });
    this.jobs = new Jobs(paintWith);
    this.#build();
    addEventListener("pagehide", () => this.#save());
  }

  #build() {
    this.problem = make("div", { class: "problem", role: "alert" });
    this.which = make("select", { class: "field", "aria-label": "Label set", on: { change: () => this.#attempt(() => this.#open(this.which.value)).finally(() => (this.which.value = this.set?.id)) } });
    const add = iconButton("plus", "New label set", { on: { click: () => this.#showWelcome() } });
    this.remove = iconButton("trash", "Remove this label set (its files are kept)", { on: { click: () => this.#attempt(() => this.#removeSet()) } });
    this.list = new LabelList((labels) => this.#attempt(() => this.#changeLabels(labels)).then((done) => done ?? this.list.use(this.set.labels)), (id) => this.#pick(id), {
      get: (id) => this.canvas?.getLock(id).replace("none", "free") ?? "free",
      set: (id, kind) => this.canvas?.setLock(id, kind.replace("free", "none")),
    });
    this.toolButtons = Object.entries(OWN_TOOLS).map(([name, [icon, words, hint]]) =>
      iconButton(icon, `${words}. ${hint}`, { role: "radio", dataset: { tool: name }, "aria-label": words, on: { click: () => this.canvas?.setTool(name) } }),
    );
    const bar = make("div", { class: "label-tools", role: "radiogroup", "aria-label": "Tool" }, ...this.toolButtons);
    arrowKeys(bar, "button");
    this.undo = iconButton("undo", "Undo", { on: { click: () => this.canvas?.undo() } });
    this.redo = iconButton("redo", "Redo", { on: { click: () => this.canvas?.redo() } });
    this.size = make("input", { type: "range", min: "1", max: "80", "aria-label": "Size of the brush", on: { input: () => this.canvas?.setSize(Number(this.size.value)) } });
    this.opacity = make("input", { type: "range", min: "0", max: "100", value: "55", "aria-label": "Opacity of the labels", on: { input: () => this.#showOpacity() } });
    this.lines = iconButton("grid", "Show the borders of regions", { on: { click: () => this.#showClusters(!this.linesShown) } });
    this.start = iconButton("mask", "Begin with what the model reads in this sample", { on: { click: () => this.#startFromModel() } }, "Model's reading");
    this.unlabel = iconButton("trash", "Take this sample out of the label set", { on: { click: () => this.#attempt(() => this.#unlabel()) } });
    this.kept = make("span", { class: "caption label-kept", role: "status" });
    this.under = make("span", { class: "caption" });
    this.place = make("div", { class: "label-canvas" });
    this.samples = make("div", { class: "label-samples" });
    this.other = make("input", { class: "field number", type: "number", min: "0", max: "4294967295", "aria-label": "Seed of another sample", placeholder: "seed" });
    const openOther = make("form", { class: "row", on: { submit: (event) => (event.preventDefault(), this.#attempt(() => this.#openSample(Number(this.other.value)))) } }, this.other, iconButton("open", "Label the sample of this seed", { type: "submit" }));
    this.train = iconButton("train", "Train on the labelled samples", { class: "button main", on: { click: () => this.#askTrain() } }, "Train");
    this.trainHint = make("p", { class: "caption" });
    const left = make("div", { class: "label-left" }, make("div", { class: "row" }, this.which, add, this.remove), this.list.element);
    const slide = (text, input) => make("div", { class: "slide" }, make("span", { class: "caption", text }), input);
    const bars = make("div", { class: "stagebar" }, slide("size", this.size), slide("labels", this.opacity), this.lines, make("span", { class: "grow" }), this.undo, this.redo, this.start, this.unlabel);
    const middle = make("div", { class: "label-middle" }, bar, bars, this.place, make("div", { class: "footline" }, this.kept, this.under));
    const right = make("div", { class: "label-right" }, make("h2", { class: "heading", text: "samples to label" }), this.samples, openOther, make("h2", { class: "heading", text: "train" }), this.train, this.trainHint, this.jobs.element);
    this.work = make("div", { class: "label-work", hidden: true }, left, middle, right);
    this.welcome = make("div", { class: "label-welcome" });
    byId("label").append(this.problem, this.work, this.welcome);
  }

  /** While the canvas is replaced nothing can be painted on the old one. */
  async #replacing(action) {
    this.opening += 1;
    this.place.inert = true;
    try {
      await this.#save();
      if (this.dirty) {
        if (!confirm(`${this.kept.textContent}. Go on without it?`)) return undefined;
        clearTimeout(this.timer);
        this.dirty = false;
      }
      return await action();
    } finally {
      this.opening -= 1;
      this.place.inert = this.opening > 0;
    }
  }

  async #attempt(action) {
    this.problem.textContent = "";
    try {
      return await action();
    } catch (error) {
      this.problem.textContent = error.message;
      return undefined;
    }
  }

  async show() {
    await this.#attempt(async () => {
      const all = await getJson(ROOT);
      this.sets = all.sets;
      this.jobs.show(all.jobs, true);
      const mine = this.sets.filter((set) => set.bundle === this.state.bundle?.name);
      const wanted = this.sets.find(({ id }) => id === this.set?.id && this.set.bundle === this.state.bundle?.name) ?? mine.at(-1);
      if (wanted) await this.#open(wanted.id);
      else this.#showWelcome();
    });
  }

  #showWelcome() {
    this.work.hidden = true;
    this.welcome.hidden = false;
    const { bundle } = this.state;
    const name = make("input", { class: "field", value: `labels ${this.sets?.length ? this.sets.length + 1 : 1}`, maxLength: 60, "aria-label": "Name of the label set" });
    const drafts = new LabelList(() => {}, () => {});
    const begin = bundle?.labels.length ? bundle.labels : ["background", "part 1", "part 2"].map((text, id) => ({ id, name: text, color: COLORS[id] }));
    drafts.use(begin);
    const go = make("button", { type: "submit", class: "button main", text: "Begin to label" });
    const form = make(
      "form",
      { class: "label-form", on: { submit: (event) => (event.preventDefault(), this.#attempt(() => this.#create(name.value, drafts.labels))) } },
      make("h2", { text: "Labels of your own" }),
      make("p", { text: "Name the kinds of region that you want to paint with. Then label one sample of the generator, or a few: the studio proposes which. From these it trains a model that paints with your labels." }),
      make("label", { class: "field-row" }, make("span", { text: "Name" }), name),
      drafts.element,
      make("div", { class: "row" }, go, this.sets?.length ? make("button", { type: "button", class: "button", text: "Back", on: { click: () => this.show() } }) : null),
    );
    this.welcome.replaceChildren(form);
    name.select();
  }

  async #create(name, labels) {
    const made = await (await send("POST", `${ROOT}/sets`, { name, bundle: this.state.bundle.name, labels: labels.map(({ name: text, color }) => ({ name: text, color })) })).json();
    this.sets = [...(this.sets ?? []), made];
    await this.#open(made.id);
  }

  #open(id) {
    return this.#replacing(() => this.#openSet(id));
  }

  async #openSet(id) {
    const set = await getJson(`${ROOT}/sets/${id}`);
    if (set.bundle !== this.state.bundle.name) throw new Error(`this label set is of samples of ${set.bundle}: choose that model first`);
    this.welcome.hidden = true;
    this.welcome.replaceChildren();
    this.work.hidden = false;
    this.#use(set);
    this.which.replaceChildren(...this.sets.filter(({ bundle }) => bundle === set.bundle).map((each) => make("option", { value: each.id, text: each.name })));
    this.which.value = set.id;
    this.kept.textContent = "Choosing samples to label…";
    this.proposed = await getJson(`${ROOT}/sets/${set.id}/proposals?count=${AT_ONCE}`);
    await this.#openSample(set.samples[0] ?? this.proposed[0].seed);
  }

  #use(set) {
    this.set = set;
    this.list.use(set.labels);
    this.canvas?.setPalette(set.labels);
    const count = set.samples.length;
    this.train.disabled = !count;
    this.trainHint.textContent = count ? `${count} ${count === 1 ? "sample is" : "samples are"} labelled. One is enough, up to 16 make it better.` : "Label a sample first: one is enough.";
  }

  async #removeSet() {
    if (!this.set || !confirm(`Remove the label set “${this.set.name}”? Its files stay in the workspace folder.`)) return;
    await send("DELETE", `${ROOT}/sets/${this.set.id}`);
    this.set = null;
    await this.show();
  }

  #changeLabels(labels) {
    return this.#replacing(async () => {
      const set = await (await send("PATCH", `${ROOT}/sets/${this.set.id}`, { version: this.set.version, labels: labels.map(({ name, color, id }) => ({ name, color, was: id ?? null })) })).json();
      this.#use(set);
      await this.#load(this.seed);
      return true;
    });
  }

  #pick(id) {
    this.canvas?.setLabel(id);
    if (["eraser", "picker", "pan"].includes(this.canvas?.tool)) this.canvas.setTool("cluster");
  }

  async #openSample(seed) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 4294967295) throw new Error("a seed is a whole number from 0 to 4294967295");
    await this.#replacing(() => this.#load(seed));
  }

  async #load(seed) {
    const { bundle } = this.state;
    const [height, width] = bundle.buffer;
    const [address, parts] = await Promise.all([sampleAddress(bundle.name, seed, 1), getParts(`${ROOT}/sets/${this.set.id}/samples/${seed}`)]);
    const picture = new Image();
    picture.src = address;
    await picture.decode();
    const tools = this.canvas?.getTools();
    this.canvas?.destroy();
    const host = make("div", { class: "frame", "aria-label": `Labels of sample ${seed}` });
    this.place.replaceChildren(host);
    const canvas = new LabelCanvas(host, { width, height, palette: this.set.labels, mode: "scribble", background: 0, keyTarget: null }); // label 0 is not tinted
    this.canvas = canvas;
    Object.assign(this, { seed, editor: randomName(), after: parts.editor });
    canvas.setPicture("under", picture, { smooth: true });
    this.linesShown ??= true;
    this.clusters = parts.clusters;
    this.reading = parts.model ?? null;
    canvas.setClusters(this.clusters, { lines: this.linesShown });
    if (parts.mask) canvas.load(scaled(parts.mask, width, height), { undoable: false });
    if (tools) canvas.setTools(tools);
    else canvas.setTool("cluster");
    this.#showOpacity();
    canvas.addEventListener("change", ({ detail }) => detail.final && this.#changed());
    canvas.addEventListener("history", () => this.#showState());
    canvas.addEventListener("tool", () => this.#showState());
    canvas.addEventListener("notice", ({ detail }) => toast(detail.text, { key: "notice" }));
    canvas.addEventListener("cursor", ({ detail }) => this.#cursor(detail));
    this.dirty = false;
    this.kept.textContent = parts.mask ? this.#keptWords("This") : `Not labelled yet: it joins the label set with your first stroke. What you leave is ${this.set.labels[0].name}.`;
    this.start.hidden = !this.reading;
    this.#showState();
    this.#showSamples();
  }

  #keptWords(first) {
    return `${first} sample is in the label set. What is not coloured is ${this.set.labels[0].name}.`;
  }

  #showState() {
    const { canvas } = this;
    if (!canvas) return;
    choose(this.toolButtons, this.toolButtons.find((button) => button.dataset.tool === canvas.tool));
    this.undo.disabled = !canvas.history.canUndo;
    this.redo.disabled = !canvas.history.canRedo;
    this.size.value = String(canvas.size);
    this.list.mark(canvas.label);
    this.unlabel.disabled = !this.set.samples.includes(this.seed);
    press(this.lines, this.linesShown);
  }

  /** What is under the pointer or the keyboard cursor. */
  #cursor({ name, cluster, keyboard }) {
    const words = name === null ? "" : `${name}, region ${cluster}`;
    if (words === this.under.textContent) return;
    this.under.textContent = words;
    if (keyboard) say(words);
  }

  #showOpacity() {
    this.canvas?.setLabelOpacity(Number(this.opacity.value) / 100);
  }

  #showClusters(lines) {
    this.linesShown = lines;
    this.canvas?.setClusters(this.clusters, { lines });
    press(this.lines, lines);
  }

  #startFromModel() {
    this.canvas.load(scaled(this.reading, this.canvas.width, this.canvas.height), { name: "the model's reading" });
    this.#changed();
  }

  async #unlabel() {
    await this.#save();
    this.#use(await (await send("DELETE", `${ROOT}/sets/${this.set.id}/samples/${this.seed}`)).json());
    await this.#openSample(this.seed);
  }

  #changed() {
    this.dirty = true;
    this.kept.textContent = "…";
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#save(), SAVE_WAIT);
  }

  #save() {
    clearTimeout(this.timer);
    if (!this.dirty || !this.canvas || !this.set) return this.saving;
    this.dirty = false;
    const { set, seed, canvas, editor, after } = this;
    const frame = encodeFrame({ width: canvas.width, height: canvas.height, version: set.version, editor, after }, encodeRle(canvas.ids));
    this.saving = this.saving
      .catch(() => {})
      .then(() => ask(`${ROOT}/sets/${set.id}/samples/${seed}/mask`, { method: "PUT", body: frame, keepalive: frame.byteLength < 6e4, headers: { "Content-Type": "application/octet-stream" } }))
      .then((response) => response.json())
      .then((now) => {
        if (this.set?.id !== now.id) return;
        const joined = now.samples.length !== this.set.samples.length;
        this.#use(now);
        this.kept.textContent = this.#keptWords("Saved: this");
        this.#showState();
        if (joined) this.#showSamples();
      })
      .catch((error) => {
        this.dirty = true;
        this.kept.textContent = `Not saved: ${error.message}`;
        this.timer = setTimeout(() => this.#save(), 3000);
      });
    return this.saving;
  }

  #showSamples() {
    const { bundle } = this.state;
    this.samples.style.setProperty("--aspect", bundle.size[1] / bundle.size[0]);
    const proposed = this.proposed.filter(({ seed }) => !this.set.samples.includes(seed));
    const items = [...this.set.samples.map((seed) => ({ seed, labelled: true, why: "labelled" })), ...proposed];
    this.samples.replaceChildren(
      ...items.map(({ seed, labelled, why }) => {
        const image = make("img", { alt: "", draggable: false });
        sampleAddress(bundle.name, seed, 1).then((address) => (image.src = address), () => {});
        const words = labelled ? `Sample ${seed}, labelled` : `Sample ${seed}: ${why}`;
        const button = make("button", { type: "button", class: labelled ? "label-sample done" : "label-sample", title: words, "aria-label": words, on: { click: () => this.#attempt(() => this.#openSample(seed)) } }, image, make("small", { text: labelled ? "labelled" : why }));
        button.setAttribute("aria-current", String(seed === this.seed));
        return button;
      }),
    );
  }

  async #askTrain() {
    await this.#save();
    this.jobs.ask(this.set, (name, scale) => this.#attempt(async () => this.jobs.added(await (await send("POST", `${ROOT}/sets/${this.set.id}/train`, { name, steps_scale: scale })).json())));
  }

  /** A key press of the page while this mode is shown; whether it was taken. */
  handleKey(event) {
    return Boolean(this.canvas && !this.opening && !this.work.hidden && this.canvas.handleKey(event));
  }
}

/** The parts of a frame, {name: {width, height, ids}}. */
async function getParts(path) {
  const { header, payload } = decodeFrame(await (await ask(path)).arrayBuffer());
  const parts = { editor: header.editor };
  let at = 0;
  for (const [name, { width, height, bytes }] of Object.entries(header.parts)) {
    parts[name] = { width, height, ids: decodeRle(payload.subarray(at, at + bytes), width * height) };
    at += bytes;
  }
  return parts;
}

/** Ids {width, height, ids} at another size, by nearest neighbour. */
function scaled({ width, height, ids }, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) return ids;
  const out = new Uint8Array(toWidth * toHeight);
  for (let y = 0; y < toHeight; y++) {
    const row = Math.floor(((y + 0.5) * height) / toHeight) * width;
    for (let x = 0; x < toWidth; x++) out[y * toWidth + x] = ids[row + Math.floor(((x + 0.5) * width) / toWidth)];
  }
  return out;
}
