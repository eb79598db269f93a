// The page: joins canvas, panels, server and keys.

import { matchKey } from "../canvas/keys.js";
import { getJson, paths, setToken } from "./api.js";
import { byId, make } from "./dom.js";
import { Files } from "./files.js";
import { PAGE_KEYS } from "./keys.js";
import { dropToast, say, toast } from "./messages.js";
import { Palette } from "./palette.js";
import { Renders } from "./renders.js";
import { Result } from "./result.js";
import { loadWork, tabName } from "./saves.js";
import { toggleSheet } from "./sheet.js";
import { Socket } from "./socket.js";
import { Stage } from "./stage.js";
import { Start } from "./start.js";
import { drawingMode, State, workOf } from "./state.js";
import { StylePanel } from "./styles.js";
import { buildHeader } from "./header.js";
import { Labelling } from "./labelling.js";
import { stepWords, Tools } from "./tools.js";

const token = takeToken();
setToken(token);
const state = new State(byId("canvas"));
const socket = new Socket(() => ({ session: sessionStorage.getItem("session"), ...(token ? { token } : {}) }));
const renders = new Renders(state, socket);
const files = new Files(state, renders, openBundle);
const result = new Result(state, renders);
const palette = new Palette(state, pickLabel, setLocks, nameCluster);
new Tools(state);
const styles = new StylePanel(state, renders);
const stage = new Stage(state, result);
const start = new Start(state, files);
const header = buildHeader({ state, files, start, socket, renders, step, openBundle, toggleSheet });

header.addMode("label", "Label", byId("label"), () => labelling.show());
const labelling = new Labelling(state, async (name) => {
  try {
    header.useInfo(await getJson(paths.info()));
    if (state.settings.bundle !== name) await openBundle(name);
    header.setMode("paint");
  } catch (error) {
    toast(error.message, { bad: true });
  }
});

/** The token of the address, which is taken out of it, so that it is not in the history of the browser. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given ?? sessionStorage.getItem("token");
}

/** Open a bundle, with the work that was kept for it. */
async function openBundle(name) {
  await state.saveNow();
  const bundle = await getJson(paths.bundle(name));
  if (!bundle.conditions.some(drawingMode)) throw new Error(`${name} has no mapper of masks, scribbles or drawings, so nothing can be painted for it`);
  const fits = ({ key, buffer }) => key.endsWith(workOf(bundle)) && buffer.join() === bundle.buffer.join();
  const kept = await loadWork(state.key + workOf(bundle), fits).catch(() => null);
  renders.reset();
  renders.held = true;
  result.clear();
  state.begin(bundle, kept);
  state.set({ bundle: name });
  header.useBundle();
  styles.useBundle();
  stage.useBundle();
  if (state.unstarted.has(state.work.condition)) await files.attempt(() => files.beginClusters());
  else if (!kept && bundle.segmenter) await files.startFromSample(state.work.seed, true).then(() => state.history.clear(), () => {});
  renders.held = false;
  renders.now();
  if (inLabel()) labelling.show();
  return bundle;
}

async function begin() {
  state.key = await tabName();
  let info;
  for (;;) {
    try {
      info = await getJson(paths.info());
      break;
    } catch (error) {
      toast(error.message, { bad: true, key: "begin" });
      await new Promise((done) => setTimeout(done, 1500));
    }
  }
  dropToast("begin");
  header.useInfo(info);
  const last = info.bundles.includes(state.settings.bundle) && sessionStorage.getItem("session") ? state.settings.bundle : info.bundle;
  try {
    await openBundle(last);
  } catch (error) {
    toast(error.message, { bad: true });
  }
  document.body.dataset.ready = "yes";
}

function pickLabel(id) {
  if (state.condition.mode === "ink") return;
  state.canvas.setLabel(id);
  if (["eraser", "picker", "pan"].includes(state.canvas.tool)) state.canvas.setTool("brush");
}

function setLocks(locks) {
  for (const { id } of state.labels) state.canvas.setLock(id, locks[id] ?? "none");
}

function showPalette() {
  palette.use(state.labels, state.canvas.getTools().locks, state.condition.mode === "clusters");
  palette.mark(state.canvas.label);
}

function nameCluster(id, name) {
  state.nameCluster(id, name);
  showPalette();
}

state.addEventListener("canvas", () => {
  showPalette();
  renders.drawn(true);
  if (!renders.held && state.unstarted.has(state.work.condition)) files.attempt(() => files.beginClusters());
});
state.addEventListener("work", () => palette.showRegions(state.bundle?.styles_per_label && state.work.condition === "mask" ? state.work.regions : {}));
state.addEventListener("tool", ({ detail }) => palette.mark(detail.label));
state.addEventListener("change", ({ detail }) => {
  if (detail.kind === "load" && state.condition.mode === "clusters") showPalette();
  renders.drawn(detail.final);
});
state.addEventListener("notice", ({ detail }) => {
  toast(detail.text, { key: "notice" });
});
state.addEventListener("pen", ({ detail }) => detail.penMode && toast("Pen found: the pen draws, and fingers move the view.", { key: "pen" }));
state.addEventListener("settings", ({ detail }) => {
  if (detail.has("proxy") && state.settings.proxy) renders.now();
  if (detail.has("live")) renders.now();
  if (detail.has("patterns")) palette.showPatterns();
});
state.addEventListener("unsaved", () => toast("This browser does not let the page keep your work: save it as a project.", { bad: true, key: "unsaved" }));

function step(which) {
  const name = state.step(which);
  if (name === null) say(which === "undo" ? "Nothing to undo" : "Nothing to redo");
  else {
    say(`${which === "undo" ? "Undone" : "Redone"}: ${stepWords(name)}`);
    renders.now();
  }
}

let wasOpen = false;
let lostTimer = 0;
socket.addEventListener("state", ({ detail }) => {
  if (detail === "open") {
    clearTimeout(lostTimer);
    sessionStorage.setItem("session", socket.welcome.session);
    dropToast("server");
    renders.forget();
    if (state.bundle) renders.now();
    if (wasOpen) toast("The server is back. Your work was sent again.", { key: "server" });
    wasOpen = true;
  } else {
    renders.forget();
    clearTimeout(lostTimer);
    if (wasOpen) lostTimer = setTimeout(() => toast("The server is away. Paint on: your work is kept here and sent when it is back.", { key: "server", lasts: 3_600_000 }), 400);
  }
  result.status();
});

const ACTIONS = {
  undo: () => step("undo"),
  redo: () => step("redo"),
  dice: () => styles.roll(),
  shuffle: () => styles.shuffleStrip(),
  "style+": () => styles.move(1),
  "style-": () => styles.move(-1),
  lock: () => styles.toggleLock(),
  find: () => palette.focusSearch(),
  "label-lock": () => palette.turnLock(state.canvas.label),
  view: () => stage.next(),
  proxy: () => state.set({ proxy: !state.settings.proxy }),
  origin: () => result.ask(!result.asking),
  condition: () => stage.nextCondition(),
  patterns: () => state.set({ patterns: !state.settings.patterns }),
  start: () => start.show(),
  keep: () => files.attempt(() => files.keepProject()),
  picture: () => files.attempt(() => files.keepPicture()),
  open: () => files.choose(),
  help: toggleSheet,
};

const TEXT = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const OWN = new Set(["Enter", " ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);

function keyed(event) {
  if (!state.canvas || event.defaultPrevented) return;
  const onCanvas = state.canvas.host.contains(event.target);
  const free = onCanvas || event.target === document.body;
  if (document.querySelector("dialog[open], .menu:popover-open") && !(event.key === "?" && document.querySelector("#sheet[open]"))) return;
  const mod = event.ctrlKey || event.metaKey;
  if (event.target.matches?.(TEXT) && !(mod && /^[so]$/i.test(event.key))) return;
  if (document.body.dataset.mode === "label") {
    if (labelling.handleKey(event)) event.preventDefault();
    else if (event.key === "?" && event.type === "keydown") toggleSheet();
    return;
  }
  if (!free && OWN.has(event.key) && !mod) return; // of the control that has the focus
  const found = matchKey(event, PAGE_KEYS);
  if (found && ACTIONS[found.action]) {
    event.preventDefault();
    if (event.type === "keydown" && !(event.repeat && !["undo", "redo", "style+", "style-"].includes(found.action))) ACTIONS[found.action]();
  } else if (event.key === "Escape" && result.asking && !state.canvas.busy) result.ask(false);
  else if (state.canvas.handleKey(event)) event.preventDefault();
}
document.addEventListener("keydown", (event) => ["Tab", "F6"].includes(event.key) && (document.body.dataset.keyboard = "yes"), true);
document.addEventListener("pointerdown", () => delete document.body.dataset.keyboard, true);
document.addEventListener("keydown", keyed);
document.addEventListener("keyup", keyed);

const veil = make("div", { class: "drop-veil", hidden: true, text: "Drop a mask, a picture or a project" });
document.body.append(veil);
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;
const showVeil = () => (veil.hidden = depth <= 0 || start.open);
document.addEventListener("dragenter", (event) => carriesFiles(event) && ((depth += 1), showVeil()));
document.addEventListener("dragleave", (event) => carriesFiles(event) && ((depth -= 1), showVeil()));
document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  depth = 0;
  showVeil();
  takeFile(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (!file) return;
  event.preventDefault();
  takeFile(file);
});

const inLabel = () => document.body.dataset.mode === "label";

function takeFile(file) {
  if (!file || !state.bundle || inLabel()) return;
  if (start.open) start.take(file);
  else files.attempt(() => files.take(file));
}

addEventListener("pagehide", () => state.saveTimer && state.saveNow());
document.addEventListener("visibilitychange", () => document.hidden && state.saveTimer && state.saveNow());

window.studio = { state, renders, socket, labelling }; // for the console

begin();
