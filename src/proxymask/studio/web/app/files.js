// Files in and out: uploads, samples and examples as masks or drawings; pictures, index masks and projects to keep.

import { decodeRle } from "../canvas/buffer.js";
import { getBlob, paths, post } from "./api.js";
import { chooseFile, download, rgb } from "./dom.js";
import { decodeFrame, encodeFrame, fromBase64 } from "./frames.js";
import { say, toast } from "./messages.js";
import { palettePng } from "./png.js";
import { STRIP } from "./state.js";

export const ACCEPT = "image/*,.npy,.npz,.json,.proxymask";

export class Files {
  /** @param {(name: string) => Promise<void>} openBundle */
  constructor(state, renders, openBundle) {
    Object.assign(this, { state, renders, openBundle });
  }

  // ------------------------------------------------------------------ in

  /**
   * A file that was dropped, pasted or chosen: a project, or what the shown canvas is for.
   *
   * @returns {Promise<string[]>} notes on how it was read; throws an Error in words
   */
  async take(file) {
    if (/\.(json|proxymask)$/i.test(file.name ?? "") || file.type === "application/json") {
      await this.openProject(file);
      return [];
    }
    const name = file.name ? `upload ${file.name}` : "upload";
    const { condition } = this.state;
    if (condition.mode === "ink") return this.takeDrawing(file, name);
    return this.takeMask(file, name);
  }

  /** Bytes of a mask, in any format that the library reads, onto the canvas. `patch`: more of the work that changes with it. */
  async takeMask(file, name, patch = {}) {
    const { bundle } = this.state;
    const address = this.state.condition.mode === "scribble" ? paths.drawing(bundle.name, this.state.condition.reads) : paths.mask(bundle.name);
    const found = await (await post(address, file)).json();
    this.#put(decodeRle(fromBase64(found.rle), found.width * found.height), found, name, patch);
    return found.notes ?? [];
  }

  /** A picture as a drawing onto the canvas. */
  async takeDrawing(file, name, patch = {}) {
    const { bundle, condition } = this.state;
    const blob = await (await post(paths.drawing(bundle.name, condition.reads), file)).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const ids = Uint8Array.from({ length: bitmap.width * bitmap.height }, (_, i) => (data[4 * i] < 128 ? 255 : 0));
    this.#put(ids, bitmap, name, patch);
    return [];
  }

  #put(ids, { width, height }, name, patch) {
    const [h, w] = this.state.bundle.buffer;
    if (width !== w || height !== h) throw new Error(`the server sent ${width} x ${height} pixels, and the canvas has ${w} x ${h}: reload the page`);
    this.state.replaceDrawing(ids, name, patch);
    this.renders.now();
  }

  /** Start from a sample: its own mask, or its lines; with its style, unless the style is locked. */
  async startFromSample(seed) {
    const { bundle, settings, work, condition } = this.state;
    const patch = settings.styleLocked ? {} : { seed };
    if (condition.mode === "ink") await this.takeDrawing(await getBlob(paths.sample(bundle.name, seed, work.truncation)), `sample ${seed}`, patch);
    else await this.takeMask(await getBlob(paths.sampleMask(bundle.name, seed, work.truncation)), `sample ${seed}`, patch);
  }

  async startFromExample({ name, url }) {
    await this.takeMask(await getBlob(url), `example ${name}`);
  }

  startBlank() {
    const { canvas } = this.state;
    this.state.replaceDrawing(new Uint8Array(canvas.width * canvas.height).fill(canvas.background), "blank");
    this.renders.now();
  }

  async openProject(file) {
    const { header, payload } = decodeFrame(await (await post(paths.openProject(), file, "application/json")).arrayBuffer());
    if (header.bundle !== this.state.bundle.name) await this.openBundle(header.bundle);
    const { state } = this;
    if (!state.conditions.some(({ name }) => name === header.condition)) {
      throw new Error(`${state.bundle.name} has no mapper for ${header.condition}, which the project is painted for`);
    }
    const seeds = header.styles.map((style) => style.seed);
    const strip = [...new Set([...seeds.slice(1), ...state.work.strip])].slice(0, STRIP);
    const regions = Object.fromEntries(Object.entries(header.regions ?? {}).map(([id, style]) => [id, style.seed]));
    state.change({ condition: header.condition }, "open project");
    const patch = { seed: seeds[0], strip, truncation: header.truncation, regions };
    state.replaceDrawing(fromPayload(state, decodeRle(payload, header.width * header.height)), "open project", patch);
    this.renders.now();
    say("Project opened");
  }

  /** Let the user choose a file and take it. */
  async choose() {
    const file = await chooseFile(ACCEPT);
    return file && this.attempt(() => this.take(file));
  }

  // ------------------------------------------------------------------ out

  get stem() {
    const { work } = this.state;
    return `${work.bundle}-style${work.seed}`;
  }

  async keepPicture() {
    const { header, payload } = this.renders.request([this.state.work.seed], 1);
    const blob = await (await post(paths.keepPicture(), encodeFrame({ ...header, want: ["picture"] }, payload))).blob();
    download(blob, `${this.stem}.png`);
    say("Picture kept");
  }

  async keepMask() {
    const { bundle, canvas, condition } = this.state;
    const colors = new Map(bundle.labels.map(({ id, color }) => [id, rgb(color)]));
    const grey = condition.mode === "ink";
    const ids = grey ? canvas.ids.map((id) => 255 - id) : canvas.ids;
    const color = (id) => (grey ? [id, id, id] : (colors.get(id) ?? [255, 255, 255]));
    const about = { Software: "proxymask studio", Comment: `${condition.reads} for the bundle ${bundle.name} (${bundle.hash.slice(0, 16)})` };
    download(await palettePng(ids, canvas.width, canvas.height, color, about), `${bundle.name}-${condition.reads}.png`);
    say(grey ? "Drawing kept" : "Mask kept");
  }

  async keepProject() {
    const { work } = this.state;
    const { header, payload } = this.renders.request([work.seed, ...work.strip], 1);
    const blob = await (await post(paths.saveProject(), encodeFrame(header, payload))).blob();
    download(blob, `${this.stem}.json`);
    say("Project kept");
  }

  /** Do it; where it fails, say why over the page. */
  async attempt(action) {
    try {
      const notes = await action();
      if (Array.isArray(notes) && notes.length) toast(notes.join(" "), { key: "file" });
    } catch (error) {
      toast(error.message, { bad: true, key: "file" });
    }
  }
}

/** Ids of the canvas -> what a frame carries: drawings are black (0) on white (255). */
export function toPayload(state) {
  const { ids, mode } = state.canvas;
  return mode === "ink" ? ids.map((id) => 255 - id) : ids;
}

function fromPayload(state, ids) {
  return state.canvas.mode === "ink" ? ids.map((value) => (value < 128 ? 255 : 0)) : ids;
}
