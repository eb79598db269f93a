// Small helpers for elements. Texts are set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("../icons.svg", import.meta.url).pathname;

/** The element with that id. */
export const byId = (id) => document.getElementById(id);

/** An icon of icons.svg; hidden from screen readers, because the control around it has the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

/** Put another icon into a control that has one. */
export function setIcon(element, name) {
  element.querySelector("use").setAttribute("href", `${ICONS}#${name}`);
}

/**
 * Make an element. `attributes`: `class`, `text`, `on` ({event: handler}), `dataset`, properties by name (`disabled`, `value`, ...),
 * or attributes (`aria-label`, `role`, ...). null and undefined are left out.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button with an icon; `label` is its name for screen readers and its tooltip. */
export function iconButton(name, label, attributes = {}, text = null) {
  const button = make("button", { type: "button", class: text ? "button" : "button bare", title: label, ...attributes }, icon(name));
  if (text) button.append(make("span", { text }));
  else button.setAttribute("aria-label", attributes["aria-label"] ?? label);
  return button;
}

/** Pressed or not, of a toggle button. */
export function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

/** Mark one of several radio-like buttons. */
export function choose(buttons, chosen) {
  for (const button of buttons) {
    const on = button === chosen;
    button.setAttribute(button.getAttribute("role") === "tab" ? "aria-selected" : "aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
  }
}

/** Arrow keys move the focus inside a group of buttons, of which one can be reached by Tab; with `act` they press it too. */
export function arrowKeys(group, selector, act = false) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const all = [...group.querySelectorAll(selector)].filter((each) => !each.disabled && each.offsetParent !== null);
    const at = all.indexOf(event.target.closest(selector));
    if (at < 0) return;
    const next = Math.abs(step) === Infinity ? (step < 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length;
    for (const each of all) each.tabIndex = -1;
    all[next].tabIndex = 0;
    all[next].focus();
    if (act) all[next].click();
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Give a file to the browser to save. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Let the user choose one file; null if none was chosen. */
export function chooseFile(accept) {
  return new Promise((resolve) => {
    const input = make("input", { type: "file", accept, hidden: true, "aria-label": "file" });
    input.addEventListener("change", () => (resolve(input.files[0] ?? null), input.remove()));
    input.addEventListener("cancel", () => (resolve(null), input.remove()));
    document.body.append(input);
    input.click();
  });
}
