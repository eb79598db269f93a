// Dialogs and menus.

import { arrowKeys, iconButton, make } from "./dom.js";

/** A dialog with a title, a button that closes it, and a body to fill. */
export function dialog(title, id) {
  const body = make("div", { class: "dialog-body" });
  const close = iconButton("close", "Close (Esc)", { on: { click: () => box.close() } });
  const box = make("dialog", { id, "aria-labelledby": `${id}-title` }, make("div", { class: "dialog-head" }, make("h2", { id: `${id}-title`, text: title }), close), body);
  box.addEventListener("click", (event) => event.target === box && box.close()); // outside
  document.body.append(box);
  return { box, body };
}

/**
 * A menu that opens at a button. `items`: {icon, text, hint, key, act}, or null for a line; or an element, then it is a box of controls.
 */
export function menu(button, label, items) {
  const controls = items instanceof Element;
  const box = make("div", { class: "menu", popover: "auto", role: controls ? "dialog" : "menu", "aria-label": label });
  if (controls) box.append(items);
  else {
    for (const item of items) {
      if (item === null) {
        box.append(make("hr", { role: "separator" }));
        continue;
      }
      const words = make("span", {}, make("span", { text: item.text }), item.hint ? make("small", { text: item.hint }) : null);
      const entry = iconButton(item.icon, item.text, { class: "menu-item", role: "menuitem", dataset: { item: item.name ?? "" } });
      entry.removeAttribute("title");
      entry.removeAttribute("aria-label");
      entry.append(words, item.key ? make("kbd", { text: item.key }) : "");
      entry.addEventListener("click", () => (box.hidePopover(), item.act()));
      box.append(entry);
    }
    arrowKeys(box, ".menu-item");
  }
  document.body.append(box);
  button.setAttribute("aria-haspopup", controls ? "dialog" : "menu");
  button.setAttribute("aria-expanded", "false");
  box.addEventListener("toggle", (event) => {
    const open = event.newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (open) box.querySelector(".menu-item, input, select, button")?.focus();
  });
  box.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    const place = button.getBoundingClientRect();
    box.style.top = `${place.bottom + 6}px`;
    box.style.right = `${Math.max(8, innerWidth - place.right)}px`;
  });
  button.popoverTargetElement = box;
  return box;
}
