// Files in and out: uploads, samples, examples; pictures, index masks, projects.

import { decodeRle } from "../canvas/buffer.js";
import { getBlob, paths, post } from "./api.js";
import { chooseFile, download } from "./dom.js";
import { decodeFrame, encodeFrame, fromBase64 } from "./frames.js";
import { say, toast } from "./messages.js";
import { MAX_SEED, STRIP } from "./state.js";

export const ACCEPT = "image/*,.npy,.json";

export class Files {
  /** @param {(name: string) => Promise<void>} openBundle */
  constructor(state, renders, openBundle) {
    Object.assign(this, { state, renders, openBundle });
  }

  /**
   * A file that was dropped, pasted or chosen: a project, or what the shown canvas is for (annotations are JSON too).
   *
   * @returns {Promise<string[]>} notes on how it was read; throws an Error in words
   */
  async take(file) {
    const json = /\.json$/i.test(file.name ?? "") || file.type === "application/json";
    if (json && (await file.text()).includes('"proxymask-project"')) return this.openProject(file);
    const name = file.name ? `upload ${file.name}` : "upload";
    const { condition } = this.state;
    return condition.mode === "labels" ? this.takeMask(file, name) : this.takeDrawing(file, name);
  }

  /** A mask, in any format that the library reads, onto the canvas. `patch`: more of the work that changes with it. */
  async takeMask(file, name, patch = {}) {
    const { bundle } = this.state;
    const found = await (await post(`${paths.mask(bundle.name)}?name=${encodeURIComponent(file.name ?? "the mask")}`, file)).json();
    if (bundle !== this.state.bundle) throw new Error("Another model was opened meanwhile.");
    this.#put(decodeRle(fromBase64(found.rle), found.width * found.height), found, name, patch);
    return found.notes ?? [];
  }

  /** A drawing onto the canvas: strokes of a scribble, or lines. A photo, which is no drawing, gives its lines. */
  async takeDrawing(file, name, patch = {}, fromPhoto = false) {
    const { bundle, condition } = this.state;
    const address = `${paths.drawing(bundle.name, condition.name)}&name=${encodeURIComponent(file.name ?? "the drawing")}`;
    const notes = [];
    let answer;
    try {
      answer = await post(`${address}&from_photo=${fromPhoto}`, file);
    } catch (error) {
      if (fromPhoto || condition.mode !== "ink" || error.away) throw error;
      try {
        answer = await post(`${address}&from_photo=true`, file);
      } catch {
        throw error;
      }
      notes.push("This is no drawing, so its lines were drawn.");
    }
    const { ids, width, height } = await greys(await answer.blob());
    this.#put(fromPayload(this.state, ids), { width, height }, name, patch);
    return notes;
  }

  #put(ids, { width, height }, name, patch) {
    const { canvas } = this.state;
    if (width !== canvas.width || height !== canvas.height) {
      throw new Error(`the server sent ${width} x ${height} pixels, and the canvas has ${canvas.width} x ${canvas.height}: reload the page`);
    }
    this.state.replaceDrawing(ids, name, patch);
    this.renders.now();
  }

  /** Put the clusters of the style's own sample onto a canvas that was never painted on; no step of the history. */
  async beginClusters() {
    const { state } = this;
    const { bundle, canvas } = state;
    const work = { ...state.work };
    const map = await getBlob(paths.sampleClusters(bundle.name, work.seed, work.truncation));
    const { ids } = await greys(await (await post(paths.drawing(bundle.name, work.condition), map)).blob());
    if (state.unstarted.has(work.condition)) canvas.load(ids, { undoable: false });
  }

  /** Start from a sample: its own mask, clusters or lines; with its style, unless the style is locked. */
  async startFromSample(seed, first) {
    const { bundle, settings, work, condition } = this.state;
    const patch = settings.styleLocked ? {} : { seed };
    const { mode } = condition;
    const path = { ink: paths.sample, clusters: paths.sampleClusters }[mode] ?? paths.sampleMask;
    const blob = await getBlob(path(bundle.name, seed, work.truncation));
    if (first && this.state.history.canUndo) throw new Error();
    if (mode === "ink" || mode === "clusters") await this.takeDrawing(blob, `sample ${seed}`, patch, mode === "ink");
    else await this.takeMask(blob, `sample ${seed}`, patch);
  }

  async startFromExample({ name, url }) {
    await this.takeMask(await getBlob(url), `example ${name}`);
  }

  startBlank() {
    const { canvas } = this.state;
    this.state.replaceDrawing(new Uint8Array(canvas.width * canvas.height).fill(canvas.background), "blank");
    this.renders.now();
  }

  /** Open a project file; returns notes. */
  async openProject(file) {
    const { header, payload } = decodeFrame(await (await post(paths.openProject(), file, "application/json")).arrayBuffer());
    if (header.bundle !== this.state.bundle.name) await this.openBundle(header.bundle);
    const { state } = this;
    const condition = state.conditions.find(({ name, reads }) => name === header.condition || reads === header.condition);
    if (!condition) throw new Error(`${state.bundle.name} has no mapper for ${header.condition}, which the project is painted for`);
    const ids = decodeRle(payload, header.width * header.height);
    const { canvas } = state;
    if (canvas.width !== header.width || canvas.height !== header.height) {
      throw new Error(`the project is painted at ${header.width} x ${header.height} pixels, and ${state.bundle.name} takes ${canvas.width} x ${canvas.height}`);
    }
    const kept = header.settings?.strip;
    const strip = Array.isArray(kept) ? kept.filter((seed) => Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED).slice(0, STRIP) : [];
    const regions = Object.fromEntries(Object.entries(header.regions ?? {}).map(([id, style]) => [id, style.seed]));
    state.change({ condition: condition.name }, "open project");
    const patch = { seed: header.styles[0].seed, truncation: header.truncation, regions, ...(strip.length ? { strip } : {}) };
    state.replaceDrawing(fromPayload(state, ids), "open project", patch);
    this.renders.now();
    say("Project opened");
    return header.notes ?? [];
  }

  /** Let the user choose a file and take it. */
  async choose() {
    const file = await chooseFile(ACCEPT);
    return file && this.attempt(() => this.take(file));
  }

  get stem() {
    const { work } = this.state;
    return `${work.bundle}-style${work.seed}`;
  }

  async keepPicture() {
    const { header, payload } = this.renders.request([this.state.work.seed]);
    download(await (await post(paths.keepPicture(), encodeFrame(header, payload))).blob(), `${this.stem}.png`);
    say("Picture saved");
  }

  /** The mask as an index PNG; a drawing as a grey one. */
  async keepMask() {
    const { bundle, condition } = this.state;
    const { header, payload } = this.renders.request([this.state.work.seed]);
    download(await (await post(paths.keepMask(), encodeFrame(header, payload))).blob(), `${bundle.name}-${condition.reads}.png`);
    say(condition.mode === "ink" ? "Drawing saved" : "Mask saved");
  }

  async keepProject() {
    const { work } = this.state;
    const { header, payload } = this.renders.request([work.seed]);
    const frame = encodeFrame({ ...header, settings: { strip: work.strip } }, payload);
    download(await (await post(paths.saveProject(), frame)).blob(), `${this.stem}.json`);
    say("Project saved");
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

/** Ids of the canvas -> what a frame carries: drawings are grey, black on white. */
export function toPayload({ canvas }) {
  return canvas.mode === "ink" ? canvas.ids.map((id) => 255 - id) : canvas.ids;
}

function fromPayload({ canvas }, ids) {
  return canvas.mode === "ink" ? ids.map((value) => 255 - value) : ids;
}

/** The values of a grey picture. */
async function greys(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { ids: Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]), width, height };
}
