// The bar at the top: modes, bundle, history, files, settings, help, connection.

import { arrowKeys, byId, choose, iconButton, make } from "./dom.js";
import { keyOf } from "./keys.js";
import { toast } from "./messages.js";
import { menu } from "./popups.js";
import { stepWords } from "./tools.js";

const NARROW = matchMedia("(max-width: 720px)");

/** Fill the header; returns what the page needs of it. */
export function buildHeader({ state, files, start, socket, renders, step, openBundle, toggleSheet }) {
  // history
  const undo = iconButton("undo", `Undo (${keyOf("undo")})`, { on: { click: () => step("undo") } });
  const redo = iconButton("redo", `Redo (${keyOf("redo")})`, { on: { click: () => step("redo") } });
  byId("history").append(undo, redo);
  const showHistory = () => {
    undo.disabled = !state.history.canUndo;
    redo.disabled = !state.history.canRedo;
    for (const [button, entries, word, key] of [[undo, state.history.done, "Undo", "undo"], [redo, state.history.undone, "Redo", "redo"]]) {
      const name = entries.at(-1)?.name;
      button.title = name ? `${word} ${stepWords(name)} (${keyOf(key)})` : `${word} (${keyOf(key)})`;
    }
  };
  state.addEventListener("history", showHistory);
  showHistory();

  // start and save
  const startButton = iconButton("start", `Start from a sample, a file, a blank or an example (${keyOf("start")})`, { id: "start-button", on: { click: () => start.show() } }, "Start from");
  startButton.setAttribute("aria-haspopup", "dialog");
  const keepButton = iconButton("keep", "Save the picture, the mask or the project", { id: "keep-button" }, "Save");
  for (const [button, words] of [[startButton, "Start from"], [keepButton, "Save"]]) button.setAttribute("aria-label", words);
  byId("work").append(startButton, keepButton);
  const keeping = (action) => () => files.attempt(action);
  menu(keepButton, "Save", [
    { icon: "image", name: "picture", text: "Picture", hint: "PNG with bundle, seeds and licence", key: keyOf("picture"), act: keeping(() => files.keepPicture()) },
    { icon: "mask", name: "mask", text: "Mask or drawing", hint: "PNG whose pixel values are label ids", act: keeping(() => files.keepMask()) },
    { icon: "project", name: "project", text: "Project", hint: "all that is needed to go on", key: keyOf("keep"), act: keeping(() => files.keepProject()) },
    null,
    { icon: "open", name: "open", text: "Open a project or a mask", key: keyOf("open"), act: () => files.choose() },
  ]);

  // settings
  const settingsButton = iconButton("settings", "Settings");
  const helpButton = iconButton("help", `Shortcuts (${keyOf("help")})`, { on: { click: toggleSheet } });
  byId("page").append(settingsButton, helpButton);
  const bundlePart = make("div", { class: "menu-part", hidden: true }, make("span", { class: "heading", text: "model" }));
  menu(settingsButton, "Settings", make("div", {}, bundlePart, settingsControls(state, renders)));

  // bundle
  const bundle = make("select", { class: "field", "aria-label": "Model", title: "Model" });
  const placeBundle = () => {
    const alone = bundle.options.length < 2;
    (NARROW.matches ? bundlePart : byId("bundle-place")).append(bundle);
    bundlePart.hidden = !NARROW.matches;
    bundle.disabled = alone;
  };
  NARROW.addEventListener("change", placeBundle);
  bundle.addEventListener("change", async () => {
    try {
      await openBundle(bundle.value);
    } catch (error) {
      toast(error.message, { bad: true });
    }
    bundle.value = state.work.bundle;
  });

  // modes: what takes the page below the bar
  const modes = {};
  const setMode = (name) => {
    choose(Object.values(modes).map(({ button }) => button), modes[name].button);
    for (const each of Object.keys(modes)) modes[each].place.hidden = each !== name;
    document.body.dataset.mode = name;
    modes[name].entered?.();
  };
  const addMode = (name, text, place, entered = null) => {
    const button = make("button", { type: "button", role: "radio", text, dataset: { mode: name }, on: { click: () => setMode(name) } });
    modes[name] = { button, place, entered };
    byId("modes").append(button);
    byId("modes").hidden = Object.keys(modes).length < 2;
    choose(Object.values(modes).map((each) => each.button), modes.paint.button);
  };
  arrowKeys(byId("modes"), "button", true);
  addMode("paint", "Paint", byId("paint"));
  document.body.dataset.mode = "paint";

  // connection
  const showConnection = () => {
    const place = byId("connection");
    place.dataset.state = socket.state;
    const words = { open: "connected", connecting: "connecting", lost: socket.refusal ?? "server away, trying again" }[socket.state];
    place.textContent = words;
    place.title = words;
  };
  socket.addEventListener("state", showConnection);
  showConnection();

  return {
    /**
     * Add a mode to the switch: its name, what the switch says, the element that it shows, and what is called when it is entered.
     * With "paint" alone there is no switch.
     */
    addMode,
    setMode,
    useInfo(info) {
      bundle.replaceChildren(...info.bundles.map((name) => make("option", { value: name, text: name })));
      placeBundle();
    },
    useBundle() {
      bundle.value = state.work.bundle;
      bundle.title = `Model ${state.bundle.name}: ${state.bundle.licence}`;
    },
  };
}

/** Theme and what is remembered of how the page looks and renders. */
function settingsControls(state, renders) {
  const themes = ["auto", "light", "dark"].map((name) => make("button", { type: "button", role: "radio", text: name, dataset: { theme: name }, on: { click: () => state.set({ theme: name }) } }));
  const group = make("div", { class: "segments", role: "radiogroup", "aria-label": "Colours of the page" }, ...themes);
  arrowKeys(group, "button", true);
  const boxes = {};
  const check = (name, text) => {
    boxes[name] = make("input", { type: "checkbox", on: { change: () => state.set({ [name]: boxes[name].checked }) } });
    return make("label", { class: "check" }, boxes[name], make("span", { text }));
  };
  const measured = make("p", { class: "caption" });
  const box = make(
    "div",
    {},
    make("div", { class: "menu-part" }, make("span", { class: "heading", text: "colours of the page" }), group),
    make("div", { class: "menu-part" }, make("span", { class: "heading", text: "picture" }), check("live", "Render while painting"), measured, check("sharp", "Show the pixels as squares")),
    make("div", { class: "menu-part" }, make("span", { class: "heading", text: "mask" }), check("patterns", "Patterns as well as colours")),
  );
  const show = () => {
    choose(themes, themes.find((button) => button.dataset.theme === state.settings.theme));
    for (const [name, each] of Object.entries(boxes)) each.checked = state.settings[name];
    const ms = renders.estimate;
    const quick = ms < 50 ? "so it is rendered while you paint" : "so it is rendered when a stroke ends";
    measured.textContent = Number.isFinite(ms) ? `A picture takes ${Math.round(ms)} ms here, ${state.settings.live ? quick : "and it is rendered when a stroke ends"}.` : "";
  };
  state.addEventListener("settings", show);
  renders.addEventListener("status", show);
  show();
  return box;
}
