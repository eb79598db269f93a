// The style: seed, dice, lock, truncation, a style for a label, and the strip of styles.

import { sampleAddress } from "./api.js";
import { arrowKeys, byId, iconButton, make, press, setIcon } from "./dom.js";
import { say } from "./messages.js";
import { MAX_SEED, randomSeed, STRIP } from "./state.js";

export class StylePanel {
  constructor(state, renders) {
    Object.assign(this, { state, renders, thumbs: [] });
    this.#build();
    state.addEventListener("work", () => this.update());
    state.addEventListener("settings", ({ detail }) => (detail.has("styleLocked") || detail.has("stripShows")) && this.update());
    renders.addEventListener("picture", () => this.#drawThumbs());
    renders.addEventListener("status", () => this.#drawThumbs());
  }

  #build() {
    this.sample = make("img", { alt: "", draggable: false });
    this.sampleBox = make("div", { class: "style-sample" }, this.sample, make("span", { text: "style" }));
    this.seed = make("input", {
      class: "field seed",
      type: "text",
      inputMode: "numeric",
      autocomplete: "off",
      spellcheck: false,
      "aria-label": "Seed of the style",
      title: "Seed of the style: any whole number",
      on: { change: () => this.#typed(), keydown: (event) => this.#step(event) },
    });
    this.dice = iconButton("dice", "Another style (D)", { on: { click: () => this.roll() } });
    this.lock = iconButton("unlock", "Lock the style: dice and samples leave it (K)", { on: { click: () => this.toggleLock() } });
    this.scope = make("select", { class: "field", "aria-label": "What the style is for", on: { change: () => this.update() } });
    this.scopeRow = make("div", { class: "scope" }, make("span", { class: "caption", text: "for" }), this.scope);
    this.same = iconButton("close", "The label takes the picture's style again", { on: { click: () => this.#setSeed(null) } });
    this.truncation = make("input", {
      type: "range",
      min: "0",
      max: "1.2",
      step: "0.05",
      "aria-label": "Truncation: lower is more typical, higher more varied",
      title: "Truncation: lower is more typical, higher more varied",
      on: {
        input: () => {
          this.state.change({ truncation: Number(this.truncation.value) }, "truncation", "truncation");
          this.renders.soon();
        },
        change: () => this.renders.now(),
      },
    });
    this.truncationValue = make("output", { class: "number" });
    const controls = make(
      "div",
      { class: "style-controls" },
      this.scopeRow,
      make("div", { class: "row" }, this.seed, this.dice, this.lock, this.same),
      make("div", { class: "slide" }, make("span", { class: "caption", text: "truncation" }), this.truncation, this.truncationValue),
    );
    this.list = make("div", { class: "strip-list", role: "radiogroup", "aria-label": "This mask in several styles" });
    arrowKeys(this.list, ".thumb", true);
    this.shuffle = iconButton("shuffle", "Other styles in the strip (Shift+D)", { on: { click: () => this.shuffleStrip() } });
    this.shows = iconButton("image", "Show the styles' own pictures", {
      on: {
        click: () => {
          this.state.set({ stripShows: this.state.settings.stripShows === "mask" ? "samples" : "mask" });
          this.renders.now();
        },
      },
    });
    const side = make("div", { class: "strip-side" }, this.shuffle, this.shows);
    byId("styles").append(
      make("div", { class: "style-main" }, this.sampleBox, controls),
      make("div", { class: "strip" }, side, this.list),
    );
  }

  /** The label whose style is chosen; null: the style of the picture. */
  get label() {
    return this.scopeRow.hidden || this.scope.value === "" ? null : this.scope.value;
  }

  get chosenSeed() {
    const { seed, regions } = this.state.work;
    return this.label === null ? seed : (regions[this.label] ?? seed);
  }

  /** Choose a style for the picture or for the label; null: the label has none of its own. */
  #setSeed(seed, name = "style") {
    if (this.label === null) this.state.change({ seed }, name);
    else {
      const regions = { ...this.state.work.regions };
      if (seed === null) delete regions[this.label];
      else regions[this.label] = seed;
      this.state.change({ regions }, name);
    }
    this.renders.now();
  }

  /** A style by chance. */
  roll() {
    if (this.state.settings.styleLocked) return say("The style is locked.");
    const seed = randomSeed();
    this.#setSeed(seed, "another style");
    return say(`Style ${seed}`);
  }

  toggleLock() {
    this.state.set({ styleLocked: !this.state.settings.styleLocked });
    say(this.state.settings.styleLocked ? "Style locked" : "Style not locked");
  }

  /** Other styles in the strip; the chosen one stays where it is locked or not in the strip. */
  shuffleStrip() {
    const { work, settings } = this.state;
    const strip = Array.from({ length: STRIP }, (_, i) => (settings.styleLocked && work.strip[i] === work.seed ? work.seed : randomSeed()));
    this.state.change({ strip }, "other styles");
    this.renders.now();
  }

  /** The next or previous style of the strip. */
  move(step) {
    const { strip } = this.state.work;
    const at = strip.indexOf(this.chosenSeed);
    this.#pick(strip[at < 0 ? 0 : (at + step + strip.length) % strip.length]);
  }

  #pick(seed) {
    if (this.state.settings.styleLocked && this.label === null && seed !== this.state.work.seed) {
      say("The style is locked.");
      return;
    }
    this.#setSeed(seed);
  }

  #typed() {
    const text = this.seed.value.trim();
    const seed = Number(text);
    const good = /^\d+$/.test(text) && seed <= MAX_SEED;
    this.seed.setAttribute("aria-invalid", String(!good));
    if (good) this.#setSeed(seed);
    else say(`A seed is a whole number from 0 to ${MAX_SEED}.`);
  }

  #step(event) {
    if (event.key === "Enter") this.#typed();
    if (event.key === "Escape") this.update();
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step || this.seed.disabled) return;
    event.preventDefault();
    this.#setSeed(Math.min(MAX_SEED, Math.max(0, this.chosenSeed + step)));
  }

  /** Put the scopes of the bundle's labels into their place. */
  useBundle() {
    const { bundle } = this.state;
    this.scopeRow.hidden = !bundle.styles_per_label;
    const labels = bundle.labels.map(({ id, name }) => make("option", { value: String(id), text: name }));
    this.scope.replaceChildren(make("option", { value: "", text: "the whole picture" }), ...labels);
    byId("styles").style.setProperty("--aspect", bundle.size[1] / bundle.size[0]);
    this.update();
  }

  update() {
    const { work, settings, bundle } = this.state;
    if (!bundle) return;
    this.scopeRow.hidden = !bundle.styles_per_label || work.condition !== "mask";
    for (const option of this.scope.options) {
      const own = work.regions[option.value];
      const name = option.value === "" ? "the whole picture" : bundle.labels.find(({ id }) => String(id) === option.value).name.replaceAll("_", " ");
      option.text = own === undefined ? name : `${name} · ${own}`;
    }
    const seed = this.chosenSeed;
    this.seed.value = String(seed);
    this.seed.setAttribute("aria-invalid", "false");
    this.seed.disabled = this.dice.disabled = settings.styleLocked;
    this.same.hidden = this.label === null || work.regions[this.label] === undefined;
    press(this.lock, settings.styleLocked);
    setIcon(this.lock, settings.styleLocked ? "lock" : "unlock");
    press(this.shows, settings.stripShows === "samples");
    this.truncation.value = String(work.truncation);
    this.truncationValue.value = work.truncation.toFixed(2);
    this.#showSample(seed, work.truncation);
    this.#drawThumbs();
  }

  async #showSample(seed, truncation) {
    const key = `${this.state.bundle.name} ${seed} ${truncation}`;
    if (this.sampleKey === key) return;
    this.sampleKey = key;
    this.sample.alt = `The generator's own picture of style ${seed}`;
    try {
      const address = await sampleAddress(this.state.bundle.name, seed, truncation);
      if (this.sampleKey === key) this.sample.src = address;
    } catch {
      if (this.sampleKey === key) this.sampleKey = null; // asked for again with the next change
    }
  }

  #drawThumbs() {
    const { work, settings, bundle } = this.state;
    if (!bundle) return;
    const seeds = [...new Set(work.strip)];
    if (this.thumbs.map((thumb) => thumb.seed).join() !== seeds.join()) {
      const focused = this.list.contains(document.activeElement);
      this.thumbs = seeds.map((seed) => this.#thumb(seed));
      this.list.replaceChildren(...this.thumbs.map((thumb) => thumb.button));
      if (focused) this.list.querySelector(".thumb")?.focus();
    }
    const look = this.renders.look();
    const chosen = this.chosenSeed;
    const ofMask = settings.stripShows === "mask" && this.label === null; // for a label, the styles that it may be taken from
    this.list.setAttribute("aria-label", ofMask ? "This mask in several styles" : "Styles, as the generator draws them");
    this.thumbs.forEach((thumb, i) => {
      const { seed, button, canvas, image } = thumb;
      button.setAttribute("aria-checked", String(seed === chosen));
      button.tabIndex = seed === chosen || (i === 0 && !seeds.includes(chosen)) ? 0 : -1;
      canvas.hidden = !ofMask;
      image.hidden = ofMask;
      if (ofMask) {
        const known = this.renders.thumbs.get(seed);
        if (known && known.bitmap !== thumb.drawn) {
          canvas.width = known.bitmap.width;
          canvas.height = known.bitmap.height;
          canvas.getContext("2d").drawImage(known.bitmap, 0, 0);
          thumb.drawn = known.bitmap;
        }
        button.classList.toggle("stale", known?.look !== look);
      } else {
        button.classList.remove("stale");
        const key = `${bundle.name} ${seed} ${work.truncation}`;
        if (thumb.key !== key) {
          thumb.key = key;
          sampleAddress(bundle.name, seed, work.truncation).then(
            (address) => thumb.key === key && (image.src = address),
            () => (thumb.key = null),
          );
        }
      }
    });
  }

  #thumb(seed) {
    const canvas = make("canvas", { width: 1, height: 1 });
    const image = make("img", { alt: "", draggable: false });
    const button = make(
      "button",
      { type: "button", class: "thumb", role: "radio", "aria-label": `Style ${seed}`, title: `Style ${seed}`, on: { click: () => this.#pick(seed) } },
      canvas,
      image,
      make("span", { text: String(seed) }),
    );
    return { seed, button, canvas, image, drawn: null, key: null };
  }
}
