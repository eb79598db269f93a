// The dialog "Start from": a file, a blank, an example, a sample.

import { getJson, imageAddress, paths, sampleAddress } from "./api.js";
import { chooseFile, iconButton, icon, make } from "./dom.js";
import { ACCEPT } from "./files.js";
import { dialog } from "./popups.js";

const AT_ONCE = 12; // samples

export class Start {
  constructor(state, files) {
    Object.assign(this, { state, files, count: 0 });
    const { box, body } = dialog("Start from", "start");
    this.box = box;
    this.problem = make("div", { class: "problem", role: "alert" });
    const choose = iconButton("upload", "Choose a file", { class: "button main", autofocus: true, on: { click: () => this.#choose() } }, "Choose a file");
    this.dropText = make("span");
    this.drop = make("div", { class: "drop" }, choose, this.dropText);
    this.first = make("div", { class: "choices" });
    this.samples = make("div", { class: "choices" });
    this.samplesTitle = make("h3");
    this.more = iconButton("plus", "More samples", { on: { click: () => this.#addSamples() } }, "More");
    this.samplePart = make("section", {}, this.samplesTitle, this.samples, make("p", {}, this.more));
    body.append(this.problem, make("section", {}, this.drop), make("section", {}, make("h3", { text: "A blank or an example" }), this.first), this.samplePart);
    this.drop.addEventListener("dragover", () => this.drop.classList.add("over"));
    for (const kind of ["dragleave", "drop"]) this.drop.addEventListener(kind, () => this.drop.classList.remove("over"));
  }

  get open() {
    return this.box.open;
  }

  async show() {
    const { bundle, condition, settings } = this.state;
    this.say("");
    const words = {
      labels: "or drop or paste a mask: label ids, a palette or the colours of the labels, in any size; or a project",
      scribble: "or drop or paste strokes in the colours of the labels; or a project",
      clusters: "or drop or paste a map of regions, whose pixel values are their numbers; or a project",
      ink: "or drop or paste a drawing or a picture, whose lines are drawn; or a project",
    };
    this.dropText.textContent = words[condition.mode];
    this.box.style.setProperty("--aspect", bundle.size[1] / bundle.size[0]);
    this.samplesTitle.textContent =
      condition.mode === "ink" ? "The lines of a sample" : `A sample's own ${condition.mode === "clusters" ? "regions" : "mask"}${settings.styleLocked ? " (your style stays: it is locked)" : ", with its style"}`;
    this.samplePart.hidden = condition.mode === "scribble" || (condition.mode === "labels" && bundle.segmenter === false);
    this.count = 0;
    this.samples.replaceChildren();
    if (!this.samplePart.hidden) this.#addSamples();
    this.#showFirst();
    this.box.showModal();
  }

  /** A problem in place; "": none. */
  say(text) {
    this.problem.replaceChildren(...(text ? [icon("alert"), make("span", { text })] : []));
    if (text) this.problem.scrollIntoView({ block: "nearest" });
  }

  /** Do it and close; where it fails, say why here. */
  async attempt(action) {
    this.say("");
    this.box.setAttribute("aria-busy", "true");
    try {
      await action();
      this.box.close();
    } catch (error) {
      this.say(error.message);
    } finally {
      this.box.removeAttribute("aria-busy");
    }
  }

  /** A file that was dropped or pasted while this is open. */
  take(file) {
    return this.attempt(() => this.files.take(file));
  }

  async #choose() {
    const file = await chooseFile(ACCEPT);
    if (file) await this.take(file);
  }

  #choice(name, text, act) {
    const image = make("img", { alt: "", draggable: false });
    return { image, button: make("button", { type: "button", class: "choice", title: name, on: { click: () => this.attempt(act) } }, image, make("span", { text })) };
  }

  async #showFirst() {
    const blank = make("button", { type: "button", class: "choice", on: { click: () => this.attempt(async () => this.files.startBlank()) } });
    const tile = make("span", { class: "tile" }, icon("blank"));
    blank.append(tile, make("span", { text: "Blank" }));
    this.first.replaceChildren(blank);
    const { bundle, condition } = this.state;
    if (condition.mode !== "labels") return;
    try {
      for (const example of await getJson(paths.examples(bundle.name))) {
        const words = example.name.split("/").at(-1).replaceAll(/[-_]/g, " ");
        const { image, button } = this.#choice(example.name, words, () => this.files.startFromExample(example));
        this.first.append(button);
        imageAddress(example.url).then((address) => (image.src = address), () => button.remove());
      }
    } catch (error) {
      this.say(error.message);
    }
  }

  #addSamples() {
    const { bundle, work } = this.state;
    for (let i = 0; i < AT_ONCE; i++) {
      const seed = this.count++;
      const { image, button } = this.#choice(`Sample ${seed}`, String(seed), () => this.files.startFromSample(seed));
      button.setAttribute("aria-label", `Sample ${seed}`);
      this.samples.append(button);
      sampleAddress(bundle.name, seed, work.truncation).then((address) => (image.src = address), (error) => this.say(error.message));
    }
  }
}
