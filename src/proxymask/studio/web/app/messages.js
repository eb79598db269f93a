// What the page says: toasts, and live regions for screen readers.

import { byId, iconButton, make } from "./dom.js";

const LASTS = 6000; // ms

/** A message over the page. `bad`: it stays 20 seconds. A message with the same `key` replaces the former. */
export function toast(text, { bad = false, key = null, lasts = LASTS } = {}) {
  const place = byId("toasts");
  if (key) for (const old of [...place.children]) if (old.dataset.key === key) old.remove();
  const close = iconButton("close", "Close this message", { on: { click: () => box.remove() } });
  const box = make("div", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : "status", dataset: key ? { key } : {} });
  box.append(make("span", { text }), close);
  place.append(box);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => box.remove(), bad ? 20_000 : lasts);
}

/** Take away the message of that key. */
export function dropToast(key) {
  for (const box of [...byId("toasts").children]) if (box.dataset.key === key) box.remove();
}

/** Say to screen readers alone. */
export function say(text) {
  const live = byId("live");
  live.textContent = live.textContent === text ? `${text}\u00a0` : text;
}

let cursorTimer = 0;

/** Say the label under the cursor; only the last one of a quick movement. */
export function sayCursor(text, wait = 250) {
  clearTimeout(cursorTimer);
  cursorTimer = setTimeout(() => {
    byId("live-cursor").textContent = text;
  }, wait);
}
