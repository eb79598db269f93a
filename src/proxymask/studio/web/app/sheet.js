// The sheet of shortcuts.

import { make } from "./dom.js";
import { allKeys, keyParts } from "./keys.js";
import { dialog } from "./popups.js";

const GROUPS = ["Tools", "Brush", "Labels", "Keyboard cursor", "Edit", "Style", "View", "Work", "Help"];
const ARROWS = ["left", "right", "up", "down"];

let box = null;

/** Open it, or close it. */
export function toggleSheet() {
  box ??= build();
  if (box.open) box.close();
  else box.showModal();
}

function build() {
  const { box: made, body } = dialog("Shortcuts", "sheet");
  const groups = new Map(GROUPS.map((name) => [name, []]));
  for (const entry of shown()) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  const list = make("div", { class: "shortcuts" });
  for (const [group, entries] of groups) {
    const rows = make("dl");
    for (const { keys, text } of entries) {
      const cell = make("dd");
      keys.forEach((key, i) => {
        if (i) cell.append(key.startsWith("Arrow") ? " " : " or ");
        keyParts(key).forEach((part, j) => cell.append(j ? "+" : "", make("kbd", { text: part })));
      });
      rows.append(make("div", {}, make("dt", { text }), cell));
    }
    list.append(make("section", {}, make("h3", { text: group }), rows));
  }
  body.append(
    make("p", { class: "caption", text: "On the canvas: the right button or Alt picks a label; the wheel zooms, with Shift it sets the size of the brush; two fingers move and zoom." }),
    list,
  );
  return made;
}

/** The shortcuts of painting; the four arrows as one. */
function shown() {
  const all = allKeys();
  const arrows = all.filter(({ action }) => ARROWS.includes(action));
  const one = { ...arrows[0], keys: arrows.flatMap(({ keys }) => keys) };
  return all.filter((entry) => !arrows.includes(entry) || entry === arrows[0]).map((entry) => (entry === arrows[0] ? one : entry));
}
