// When which picture is asked for, and what came back.

import { encodeRle } from "../canvas/buffer.js";
import { toPayload } from "./files.js";

const LIVE_MS = 50; // a picture that takes less is rendered while painting
const KEPT = 40; // requests whose answers are still known
const MEASURED = 5; // pictures whose time is looked at
const MOST_STYLES = 12; // of a request
const MOST_THUMBS = 60; // pictures of styles that are kept

/**
 * At most one picture is waited for; the newest wins. Nothing is sent where nothing changed.
 *
 * A request has the main style first. While painting it is alone; afterwards the strip's styles whose pictures are old come with it.
 *
 * Events: `picture` {seed, main, bitmap, blob}, `proxy` {width, height, ids}, `origin` {seed, width, height, map} or {error}, `status`.
 */
export class Renders extends EventTarget {
  constructor(state, socket) {
    super();
    this.state = state;
    this.socket = socket;
    this.id = Date.now(); // ids rise, also over a reload
    this.originId = 0;
    this.known = new Map(); // id -> request
    this.timer = 0;
    this.held = false; // while a bundle is being opened
    this.reset();
    socket.addEventListener("message", (event) => this.#receive(event.detail));
  }

  /** Another bundle: pictures and times of the former do not count. */
  reset() {
    this.times = []; // ms of the last pictures
    this.average = null; // their median
    this.thumbs = new Map(); // seed -> {look, bitmap, id}
    this.shown = null; // {request, ms, queued, arrived, took}
    this.waiting = null; // the request whose main picture has not come
    this.again = false; // the drawing changed since
    this.last = null; // the last request that was sent
    this.notes = [];
    this.why = this.error = this.runs = null;
  }

  /** After a new connection all is sent again. */
  forget() {
    this.last = this.waiting = null;
    this.again = false;
  }

  /** ms that one picture takes, at first as the server measured it. */
  get estimate() {
    return this.average ?? this.state.bundle?.render_ms ?? Infinity;
  }

  get live() {
    return this.state.settings.live && this.estimate < LIVE_MS;
  }

  /** Whether the shown picture is not that of the drawing and style. */
  get behind() {
    return this.shown === null || this.shown.request.look !== this.look() || this.shown.request.seed !== this.state.work.seed;
  }

  /** Whether nothing is drawn yet: a mask is never empty, a scribble or a drawing may be. */
  get empty() {
    const { canvas } = this.state;
    return canvas !== null && canvas.mode !== "labels" && canvas.ids.every((id) => id === canvas.background);
  }

  /** The drawing as runs; encoded once for each change. */
  #payload() {
    this.runs ??= encodeRle(toPayload(this.state));
    return this.runs;
  }

  /** Everything but the main style that a picture depends on, as text. */
  look() {
    const { bundle, condition, truncation, regions } = this.state.work;
    return JSON.stringify([digest(this.#payload()), bundle, condition, truncation, regions]);
  }

  /** The drawing changed; `final`: the stroke has ended. */
  drawn(final) {
    this.runs = null;
    if (final) this.now();
    else this.soon();
  }

  /** While something is being changed (a stroke, a slider): as soon as the last picture has come, where pictures are quick. */
  soon() {
    if (!this.live) return;
    if (this.waiting) this.again = true;
    else this.#send(false);
  }

  /** A change is done: the picture is wanted now, and one that is waited for is not wanted any more. */
  now() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#send(true), 0); // several changes of one step are one request
  }

  /** The seeds of the strip whose pictures are old. */
  #lacking() {
    const { settings, work } = this.state;
    if (settings.stripShows !== "mask") return [];
    const look = this.look();
    return [...new Set(work.strip)].filter((seed) => seed !== work.seed && this.thumbs.get(seed)?.look !== look);
  }

  /** A request for these seeds: header and payload. */
  request(seeds, id = 0) {
    const { bundle, condition, truncation, regions } = this.state.work;
    const [height, width] = this.state.bundle.buffer;
    const header = { type: "render", id, bundle, condition, width, height, truncation, styles: seeds.map((seed) => ({ seed })), want: ["picture"] };
    if (this.state.settings.proxy) header.want.push("proxy");
    if (Object.keys(regions).length && this.state.bundle.styles_per_label && condition === "mask") {
      header.regions = Object.fromEntries(Object.entries(regions).map(([label, seed]) => [label, { seed }]));
    }
    return { header, payload: this.#payload() };
  }

  #send(final) {
    if (!this.state.bundle || !this.socket.open || this.held) return;
    this.again = false;
    if (this.empty) {
      this.#status();
      return;
    }
    const main = this.state.work.seed;
    const others = final ? this.#lacking() : [];
    const { header, payload } = this.request([main, ...others].slice(0, MOST_STYLES));
    const subject = JSON.stringify({ ...header, styles: [main] });
    const { last } = this;
    if (last && last.subject === subject && equal(last.payload, payload) && others.every((seed) => last.seeds.includes(seed))) return;
    header.id = this.id += 1;
    const seeds = header.styles.map((style) => style.seed);
    const request = { id: header.id, seeds, seed: main, look: this.look(), subject, payload, sent: performance.now() };
    this.last = this.waiting = request;
    this.known.set(request.id, request);
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    this.socket.send(header, payload);
    this.#status();
  }

  /** Ask where the shown picture takes the look of a point from; x and y in 0..1. */
  askOrigin(x, y) {
    this.originId += 1;
    return this.socket.send({ type: "attention", id: this.originId, x, y });
  }

  #receive({ header, payload }) {
    if (header.type === "picture") this.#picture(header, payload).catch(({ message }) => this.#refused({ id: header.id, error: message }));
    else if (header.type === "proxy") {
      const { width, height } = header;
      const ids = payload.slice();
      this.#emit("proxy", { width, height, ids: ids.length > width * height ? new Uint16Array(ids.buffer) : ids }); // ids above 255 take two bytes
    }
    else if (header.type === "attention") {
      if (header.id === this.originId) this.#emit("origin", { seed: header.seed, width: header.width, height: header.height, map: payload.slice() });
    } else if (header.type === "error") this.#refused(header);
  }

  #refused({ id, error }) {
    if (id !== null && id === this.originId) this.#emit("origin", { error });
    else if (id === null || this.last === null || id >= this.last.id) {
      this.waiting = this.last = null;
      this.error = error;
      this.#status();
    }
  }

  async #picture(header, payload) {
    const request = this.known.get(header.id);
    if (!request) return;
    const arrived = performance.now();
    if (header.index === 0) {
      if (this.waiting && this.waiting.id <= header.id) this.waiting = null;
      this.notes = header.notes ?? [];
      this.why = header.why ?? null;
      this.error = null;
      if (header.unchanged) {
        if (this.shown) this.shown.request = request;
      } else this.#measure(header.ms);
    }
    if (!this.waiting && this.again) this.#send(false); // before the picture is decoded: the server works meanwhile
    if (payload.length) {
      const blob = new Blob([payload], { type: `image/${header.format ?? "png"}` });
      const bitmap = await createImageBitmap(blob);
      const seed = request.seeds[header.index];
      if (!(this.thumbs.get(seed)?.id > header.id)) this.#keepThumb(seed, { look: request.look, bitmap, id: header.id });
      const main = header.index === 0 && !(this.shown?.request.id > header.id);
      if (main) this.shown = { request, ms: header.ms, queued: header.queued_ms ?? 0, arrived, took: arrived - request.sent };
      this.#emit("picture", { seed, main, bitmap, blob });
    }
    this.#status();
  }

  /** The median of the last times: the first picture of a style takes longer, because the style is made. */
  #measure(ms) {
    this.times = [...this.times.slice(1 - MEASURED), ms];
    this.average = this.times.toSorted((a, b) => a - b)[Math.floor((this.times.length - 1) / 2)];
  }

  #keepThumb(seed, thumb) {
    this.thumbs.delete(seed);
    this.thumbs.set(seed, thumb);
    if (this.thumbs.size > MOST_THUMBS) this.thumbs.delete(this.thumbs.keys().next().value);
  }

  #status() {
    this.#emit("status");
  }

  #emit(kind, detail = null) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** 32-bit FNV-1a and the length, as text. */
function digest(bytes) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return `${bytes.length}.${hash >>> 0}`;
}
