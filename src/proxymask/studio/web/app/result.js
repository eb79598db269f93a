// The picture: its zoom, times and notes, the proxy mask, and where a point comes from.

import { sampleAddress } from "./api.js";
import { byId, iconButton, make } from "./dom.js";
import { say } from "./messages.js";

const EMPTY = {
  scribble: "Nothing is painted yet: a few strokes in the colours of the labels are enough.",
  ink: "Nothing is drawn yet: a few lines are enough.",
};

export class Result {
  constructor(state, renders) {
    Object.assign(this, { state, renders, bitmap: null, proxy: null, view: null, point: null, source: null, asking: false });
    this.canvas = make("canvas", { class: "picture", width: 1, height: 1 });
    this.frame = byId("picture-frame");
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "img");
    this.frame.setAttribute("aria-label", "Picture");
    this.ghost = make("div", { class: "ghost", hidden: true });
    this.cross = make("div", { class: "crosshair", hidden: true });
    this.empty = make("p", { class: "picture-frame-empty", text: "The picture comes here." });
    this.frame.append(this.canvas, this.empty, this.ghost, this.cross, make("div", { class: "busy-line" }));
    this.#buildOrigin();
    this.frame.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.frame.addEventListener("pointermove", (event) => this.#dragged(event));
    this.frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.frame.addEventListener("keydown", (event) => this.#keys(event));
    renders.addEventListener("picture", ({ detail }) => detail.main && this.#show(detail.bitmap));
    renders.addEventListener("proxy", ({ detail }) => this.#showProxy(detail));
    renders.addEventListener("origin", ({ detail }) => this.#showOrigin(detail));
    renders.addEventListener("status", () => this.status());
    state.addEventListener("settings", ({ detail }) => (detail.has("proxy") || detail.has("sharp")) && this.draw());
    state.addEventListener("work", () => this.status());
    setInterval(() => this.#age(), 1000);
  }

  /** Forget the picture: another bundle. */
  clear() {
    this.bitmap = this.proxy = null;
    this.empty.hidden = false;
    this.canvas.hidden = true;
    this.closeOrigin();
    this.status();
  }

  #show(bitmap) {
    this.bitmap = bitmap;
    this.draw();
    this.onPicture?.();
  }

  #showProxy({ width, height, ids }) {
    const pixels = new ImageData(width, height);
    const colors = this.state.bundle.cluster_colors;
    ids.forEach((id, i) => pixels.data.set([...(colors[id] ?? [0, 0, 0]), 255], 4 * i));
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.proxy = canvas;
    this.draw();
    this.onPicture?.();
  }

  /** What is to be seen: the picture, or the proxy mask where that is chosen; null where there is none yet. */
  get seen() {
    return this.state.settings.proxy && this.proxy ? this.proxy : this.bitmap;
  }

  draw() {
    const { seen } = this;
    this.canvas.classList.toggle("sharp", this.state.settings.sharp || seen === this.proxy);
    this.empty.hidden = seen !== null;
    this.canvas.hidden = seen === null;
    if (!seen) return;
    this.canvas.width = seen.width;
    this.canvas.height = seen.height;
    this.canvas.getContext("2d").drawImage(seen, 0, 0);
    this.frame.setAttribute("aria-label", `${seen === this.proxy ? "Proxy mask" : "Picture"} in style ${this.state.work.seed}`);
  }

  /** Take the zoom of the canvas over: scale in CSS pixels for a buffer pixel, x and y in CSS pixels. */
  follow({ scale, x, y }) {
    this.view = { scale, x, y };
    const [height, width] = this.state.bundle.buffer;
    for (const { style } of [this.canvas, this.originImage, this.originMap]) {
      Object.assign(style, { width: `${width * scale}px`, height: `${height * scale}px`, transform: `translate(${x}px, ${y}px)` });
    }
    this.#placeCrosses();
  }

  /** A ring where the cursor is on the mask; null: none. Coordinates and radius of the buffer. */
  showCursor(place) {
    this.ghost.hidden = !place || !this.view;
    if (this.ghost.hidden) return;
    const { scale, x, y } = this.view;
    const side = Math.max(6, place.size * scale);
    Object.assign(this.ghost.style, { width: `${side}px`, height: `${side}px`, left: `${x + place.x * scale - side / 2}px`, top: `${y + place.y * scale - side / 2}px` });
  }

  status() {
    const { renders } = this;
    const waiting = renders.waiting !== null;
    byId("panes").classList.toggle("waiting", waiting);
    const notes = [];
    if (renders.empty) notes.push({ text: EMPTY[this.state.canvas.mode] });
    else if (renders.error) notes.push({ text: renders.error, bad: true });
    else {
      if (renders.why) notes.push({ text: renders.why });
      for (const text of renders.notes) if (text !== renders.why) notes.push({ text });
    }
    if (this.state.condition?.mode === "clusters") for (const note of notes) note.text = note.text.replaceAll(/region (\d+)/g, (_, id) => this.state.canvas.nameOf(Number(id)));
    const key = JSON.stringify(notes);
    if (key !== this.notesKey) {
      this.notesKey = key;
      byId("notes").replaceChildren(...notes.map(({ text, bad }) => make("p", { text: text[0].toUpperCase() + text.slice(1), class: bad ? "bad" : null })));
    }
    this.#age();
  }

  #age() {
    const { shown, waiting, socket } = this.renders;
    const place = byId("timing");
    const parts = [];
    if (shown) {
      const seconds = Math.max(0, (performance.now() - shown.arrived) / 1000);
      parts.push(`${Math.round(shown.ms)} ms`);
      if (this.renders.empty) parts.push("of what was drawn before");
      else if (!this.state.canvas?.busy && !waiting && !this.renders.behind) parts.push(seconds < 2 ? "just now" : `${age(seconds)} ago`);
      else parts.push(`older than the mask: ${seconds < 1 ? "under 1 s" : age(seconds)}`);
    } else if (waiting) parts.push("rendering");
    if (!socket.open && shown) parts.push("server away");
    const text = parts.join(" · ");
    if (place.textContent === text) return;
    place.textContent = text;
    place.title = shown ? `Computed in ${shown.ms.toFixed(1)} ms; ${Math.round(shown.took)} ms from request to picture` : "";
  }

  #buildOrigin() {
    this.originImage = make("img", { alt: "", class: "picture", draggable: false });
    this.originMap = make("canvas", { class: "picture", width: 1, height: 1 });
    this.originCross = make("div", { class: "crosshair", hidden: true });
    this.originText = make("span", { class: "caption" });
    const close = iconButton("close", "Close (W)", { on: { click: () => this.ask(false) } });
    const words = make("span", {}, make("strong", { text: "Where this comes from" }), this.originText);
    byId("origin").append(this.originImage, this.originMap, this.originCross, make("div", { class: "origin-head" }, words, close));
  }

  /** Begin or end to ask for points. */
  ask(asking) {
    this.asking = asking;
    this.frame.classList.toggle("asking", asking);
    this.onAsking?.(asking);
    if (!asking) this.closeOrigin();
    else {
      if (this.state.settings.view !== "side") this.state.set({ view: "side" });
      say("Choose a point of the picture: by a click, or by the arrow keys and Enter.");
      this.#openOrigin(`Style ${this.state.work.seed}'s own picture. Click a point of the other one.`);
      this.frame.focus();
    }
  }

  closeOrigin() {
    byId("origin").hidden = true;
    this.point = this.source = null;
    this.#placeCrosses();
  }

  #openOrigin(text) {
    byId("origin").hidden = false;
    this.originText.textContent = text;
    this.originMap.hidden = true;
    this.#showSample(this.state.work.seed);
  }

  /** The picture that the look is taken from. */
  #showSample(seed) {
    const { bundle, work } = this.state;
    if (this.sampleSeed === `${bundle.name} ${seed} ${work.truncation}`) return;
    this.sampleSeed = `${bundle.name} ${seed} ${work.truncation}`;
    this.originImage.alt = `The generator's own picture of style ${seed}`;
    sampleAddress(bundle.name, seed, work.truncation).then(
      (address) => (this.originImage.src = address),
      (error) => {
        this.originText.textContent = error.message;
        this.sampleSeed = null;
      },
    );
  }

  /** The picture is moved by dragging, and zoomed by the wheel, together with the canvas. */
  #dragged(event) {
    if (this.frame.hasPointerCapture(event.pointerId)) this.state.canvas.panBy(event.movementX, event.movementY);
  }

  #wheel(event) {
    event.preventDefault();
    const { canvas } = this.state;
    const [here, there] = [this.frame.getBoundingClientRect(), canvas.host.getBoundingClientRect()];
    const step = Math.max(-200, Math.min(200, event.deltaY * (event.deltaMode === 1 ? 33 : 1)));
    canvas.zoomBy(Math.exp(-0.002 * step), event.clientX - here.left + there.left, event.clientY - here.top + there.top);
  }

  #pressed(event) {
    if (!this.view || event.button > 1) return;
    if (!this.asking || event.button === 1) {
      this.frame.setPointerCapture(event.pointerId);
      return;
    }
    const box = this.frame.getBoundingClientRect();
    const [height, width] = this.state.bundle.buffer;
    const x = (event.clientX - box.left - this.view.x) / (this.view.scale * width);
    const y = (event.clientY - box.top - this.view.y) / (this.view.scale * height);
    if (x >= 0 && y >= 0 && x <= 1 && y <= 1) this.#askAt(x, y);
  }

  #keys(event) {
    if (!this.asking) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const by = event.shiftKey ? 0.1 : 1 / 64;
      const [x, y] = this.point ?? [0.5, 0.5];
      this.#askAt(Math.min(1, Math.max(0, x + by * step[0])), Math.min(1, Math.max(0, y + by * step[1])));
    } else if (event.key === "Enter") this.#askAt(...(this.point ?? [0.5, 0.5]));
    else if (event.key === "Escape") this.ask(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #askAt(x, y) {
    this.point = [x, y];
    if (!this.renders.askOrigin(x, y)) this.originText.textContent = "The server is away: choose the point again when it is back.";
    this.#placeCrosses();
  }

  #placeCrosses() {
    for (const [cross, point] of [[this.cross, this.point], [this.originCross, this.source]]) {
      cross.hidden = !point;
      if (!point) continue;
      const [height, width] = this.state.bundle.buffer;
      const { scale, x, y } = this.view;
      Object.assign(cross.style, { left: `${x + point[0] * width * scale}px`, top: `${y + point[1] * height * scale}px` });
    }
  }

  #showOrigin({ error, seed = this.state.work.seed, width, height, map }) {
    if (!this.asking) return;
    if (error) {
      this.originText.textContent = error;
      return;
    }
    this.#showSample(seed);
    const pixels = new ImageData(width, height);
    // dark where nothing is taken from; the square root shows weak shares
    map.forEach((value, i) => pixels.data.set([8, 9, 14, Math.round(190 * (1 - Math.sqrt(value / 255)))], 4 * i));
    this.originMap.width = width;
    this.originMap.height = height;
    this.originMap.getContext("2d").putImageData(pixels, 0, 0);
    this.originMap.hidden = false;
    const most = map.indexOf(255);
    this.source = [((most % width) + 0.5) / width, (Math.floor(most / width) + 0.5) / height];
    this.#placeCrosses();
    this.originText.textContent = `Style ${seed}'s own picture: from what is bright, most from the ring.`;
    say(`It comes mostly from ${place(...this.source)} of the style's picture.`);
  }
}

function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function place(x, y) {
  const row = y < 0.33 ? "the top" : y > 0.67 ? "the bottom" : "the middle";
  const column = x < 0.33 ? ", left" : x > 0.67 ? ", right" : "";
  return row + column;
}
