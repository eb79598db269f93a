// Trainings in the background: progress, stop, resume, paint with what is done.

import { getBlob, getJson, send } from "./api.js";
import { iconButton, make } from "./dom.js";
import { say, toast } from "./messages.js";
import { dialog } from "./popups.js";

const ROOT = "api/labelling/jobs";
const EVERY = 2000; // ms between two looks
const WORDS = { waiting: "waits for its turn", running: "running", stopped: "stopped", done: "ready", failed: "failed" };

export class Jobs {
  /** `paintWith(name)`: open a bundle and paint. */
  constructor(paintWith) {
    Object.assign(this, { paintWith, jobs: [], timer: 0, previews: new Map(), known: new Map() });
    this.element = make("div", { class: "jobs", role: "region", "aria-label": "Trainings" });
    const { box, body } = dialog("Train", "train");
    this.box = box;
    this.name = make("input", { class: "field", maxLength: 60, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]*", required: true, "aria-label": "Name of the model", title: "letters, digits, - and _" });
    this.length = make("select", { class: "field", "aria-label": "Length" }, ...[["1", "normal"], ["0.25", "quick, to try the labels"], ["0.01", "trial: 1 % of the steps"]].map(([value, text]) => make("option", { value, text })));
    this.form = make(
      "form",
      { class: "label-form", method: "dialog" },
      make("p", { text: "A segmenter, a mapper and a detail network learn your labels in the background: paint on meanwhile. It goes on when the studio is started again." }),
      make("label", { class: "field-row" }, make("span", { text: "Name" }), this.name),
      make("label", { class: "field-row" }, make("span", { text: "Length" }), this.length),
      make("button", { type: "submit", class: "button main", text: "Train" }),
    );
    body.append(this.form);
  }

  /** Ask for name and length, then call `start(name, scale)`. */
  ask(set, start) {
    const plain = set.name.replaceAll(/[^A-Za-z0-9_-]+/g, "-").replace(/^[-_]+/, "") || "model";
    const taken = new Set(this.jobs.map(({ name }) => name));
    let name = plain;
    for (let i = 2; taken.has(name); i++) name = `${plain}-${i}`;
    this.name.value = name;
    this.form.onsubmit = () => start(this.name.value, Number(this.length.value));
    this.box.showModal();
    this.name.select();
  }

  /** All jobs; `watch`: look again while one is running. */
  show(jobs, watch = false) {
    for (const job of jobs) {
      const news = (this.known.get(job.id) ?? job.state) !== job.state && job.state;
      if (news === "done") toast(`${job.name} is ready: paint with it.`, { key: job.id, lasts: 20_000 });
      if (news === "failed") toast(`${job.name}: ${job.error}`, { bad: true, key: job.id });
      this.known.set(job.id, job.state);
    }
    this.jobs = jobs;
    const at = this.element.querySelector(":focus")?.title;
    if (!this.element.matches(":active")) this.element.replaceChildren(...jobs.map((job) => this.#item(job)));
    if (at) this.element.querySelector(`[title="${at}"]`)?.focus();
    if (watch) this.watch();
  }

  added(job) {
    say(`${job.name}: the training has begun`);
    this.show([job, ...this.jobs.filter(({ id }) => id !== job.id)], true);
  }

  watch() {
    clearTimeout(this.timer);
    if (!this.jobs.some(({ state }) => state === "running" || state === "waiting")) return;
    this.timer = setTimeout(async () => {
      try {
        this.show(await getJson(ROOT));
      } catch {
        // away: look again
      }
      this.watch();
    }, EVERY);
  }

  #item(job) {
    const { progress } = job;
    const parts = [make("div", { class: "job-head" }, make("strong", { text: job.name }), make("span", { class: job.state === "failed" ? "bad" : "caption", text: WORDS[job.state] }))];
    if (progress) {
      const bar = make("progress", { max: progress.total || 1, "aria-label": `Progress of ${job.name}` });
      if (progress.total) bar.value = progress.done;
      const count = progress.total ? `: ${progress.done.toLocaleString("en")} of ${progress.total.toLocaleString("en")}` : "";
      const left = progress.left === null ? "" : `, ${duration(progress.left)} left of this stage`;
      parts.push(bar, make("p", { class: "caption", text: `${progress.stage}${count}${left}` }));
      parts.push(this.#preview(job));
    }
    if (job.error) parts.push(make("p", { class: "bad", text: job.error }));
    const act = (verb) => async () => {
      try {
        const now = await (await send("POST", `${ROOT}/${job.id}/${verb}`)).json();
        this.show(this.jobs.map((each) => (each.id === now.id ? now : each)), true);
      } catch (error) {
        toast(error.message, { bad: true });
      }
    };
    const buttons = make("div", { class: "row" });
    if (job.state === "running" || job.state === "waiting") buttons.append(iconButton("stop", `Stop ${job.name}`, { on: { click: act("stop") } }, "Stop"));
    if (job.state === "stopped" || job.state === "failed") buttons.append(iconButton("play", `Go on with ${job.name}`, { on: { click: act("resume") } }, "Go on"));
    if (job.state === "done") buttons.append(iconButton("brush", `Paint with ${job.name}`, { class: "button main", on: { click: () => this.paintWith(job.name) } }, "Paint with it"));
    parts.push(buttons);
    return make("div", { class: "job", dataset: { job: job.id, state: job.state } }, ...parts);
  }

  #preview(job) {
    const image = make("img", { class: "job-preview", alt: `What ${job.name} paints so far`, hidden: true });
    const kept = this.previews.get(job.id);
    if (kept) {
      image.src = kept.address;
      image.hidden = false;
    }
    if (job.preview && (!kept || Date.now() - kept.at > 10_000)) {
      getBlob(`${ROOT}/${job.id}/preview.png`).then(
        (blob) => {
          if (kept) URL.revokeObjectURL(kept.address);
          this.previews.set(job.id, { address: URL.createObjectURL(blob), at: Date.now() });
        },
        () => {},
      );
    }
    return image;
  }
}

/** Seconds in words. */
function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
