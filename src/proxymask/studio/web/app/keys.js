// The shortcuts of the page; they come before those of canvas/keys.js.

import { KEYS, MAC } from "../canvas/keys.js";

export const PAGE_KEYS = [
  { action: "undo", keys: ["Mod+z"], group: "Edit", text: "Undo" },
  { action: "redo", keys: ["Mod+Shift+z", "Mod+y"], group: "Edit", text: "Redo" },

  { action: "dice", keys: ["d"], group: "Style", text: "Another style" },
  { action: "shuffle", keys: ["Shift+d"], group: "Style", text: "Other styles in the strip" },
  { action: "style+", keys: ["j"], group: "Style", text: "Next style of the strip" },
  { action: "style-", keys: ["Shift+j"], group: "Style", text: "Previous style of the strip" },
  { action: "lock", keys: ["k"], group: "Style", text: "Lock the style" },

  { action: "find", keys: ["/"], group: "Labels", text: "Find a label" },
  { action: "label-lock", keys: ["t"], group: "Labels", text: "Lock the label: only over it, never over it, free" },

  { action: "view", keys: ["s"], group: "View", text: "Side by side, overlay, slider" },
  { action: "proxy", keys: ["y"], group: "View", text: "Proxy mask" },
  { action: "origin", keys: ["w"], group: "View", text: "Where a point of the picture comes from" },
  { action: "condition", keys: ["u"], group: "View", text: "Mask, scribble, sketch, clusters" },

  { action: "patterns", keys: ["n"], group: "View", text: "Patterns as well as colours" },

  { action: "start", keys: ["a"], group: "Work", text: "Start from a sample, a file, a blank or an example" },
  { action: "keep", keys: ["Mod+s"], group: "Work", text: "Save as a project" },
  { action: "picture", keys: ["Mod+Shift+s"], group: "Work", text: "Save the picture" },
  { action: "open", keys: ["Mod+o"], group: "Work", text: "Open a project or a mask" },
  { action: "help", keys: ["?"], group: "Help", text: "This sheet" },
];

/** All shortcuts, those of the page first. */
export function allKeys() {
  const own = new Set(PAGE_KEYS.map(({ action }) => action));
  return [...PAGE_KEYS, ...KEYS.filter(({ action }) => !own.has(action))];
}

const NAMES = { Mod: MAC ? "⌘" : "Ctrl", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", Escape: "Esc" };

/** A shortcut as it is written on keys: ["Ctrl", "Z"]. */
export function keyParts(text) {
  const parts = text.endsWith("+") ? [...text.slice(0, -1).split("+").filter(Boolean), "+"] : text.split("+");
  return parts.map((part) => NAMES[part] ?? (/^[a-z]$/.test(part) ? part.toUpperCase() : part));
}

/** The first key of an action as text, for tooltips; null: it has none. */
export function keyOf(action) {
  const found = allKeys().find((entry) => entry.action === action);
  return found ? keyParts(found.keys[0]).join("+") : null;
}
