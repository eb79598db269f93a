/**
 * The table of shortcuts, and which of them a key press means. The sheet of shortcuts and the handlers read the same table.
 * @module canvas/keys
 */

/**
 * @typedef {object} Shortcut
 * @property {string} action name for {@link LabelCanvas#act}
 * @property {string[]} keys as `b`, `Shift+g`, `Mod+z` (Mod: Ctrl, on a Mac Command); the key is the character typed, or its `KeyboardEvent.key`
 * @property {string} group
 * @property {string} text
 */

/** @type {Shortcut[]} */
export const KEYS = [
  { action: "tool:brush", keys: ["b"], group: "Tools", text: "Brush" },
  { action: "tool:eraser", keys: ["e"], group: "Tools", text: "Eraser" },
  { action: "tool:line", keys: ["l"], group: "Tools", text: "Line" },
  { action: "tool:rectangle", keys: ["r"], group: "Tools", text: "Rectangle" },
  { action: "tool:ellipse", keys: ["o"], group: "Tools", text: "Ellipse" },
  { action: "tool:lasso", keys: ["q"], group: "Tools", text: "Lasso" },
  { action: "tool:polygon", keys: ["p"], group: "Tools", text: "Polygon" },
  { action: "tool:fill", keys: ["g"], group: "Tools", text: "Fill" },
  { action: "tool:enclose", keys: ["Shift+g"], group: "Tools", text: "Fill enclosed area" },
  { action: "tool:select", keys: ["v"], group: "Tools", text: "Move and scale a region" },
  { action: "tool:picker", keys: ["i"], group: "Tools", text: "Pick a label from the canvas" },
  { action: "tool:cluster", keys: ["c"], group: "Tools", text: "Give clusters to the label" },
  { action: "tool:pan", keys: ["h"], group: "Tools", text: "Move the view" },

  { action: "size-", keys: ["["], group: "Brush", text: "Smaller" },
  { action: "size+", keys: ["]"], group: "Brush", text: "Larger" },
  { action: "mirror", keys: ["m"], group: "Brush", text: "Mirror strokes left and right" },

  { action: "label:0-9", keys: ["0 … 9"], group: "Labels", text: "Label of this number (with Shift: 10 more)" },
  { action: "label-", keys: [","], group: "Labels", text: "Previous label" },
  { action: "label+", keys: ["."], group: "Labels", text: "Next label" },
  { action: "swap", keys: ["x"], group: "Labels", text: "Last label used" },

  { action: "undo", keys: ["Mod+z"], group: "Edit", text: "Undo" },
  { action: "redo", keys: ["Mod+Shift+z", "Mod+y"], group: "Edit", text: "Redo" },
  { action: "finish", keys: ["Enter"], group: "Edit", text: "Close the polygon, put down what is moved" },
  { action: "cancel", keys: ["Escape"], group: "Edit", text: "Cancel" },
  { action: "delete", keys: ["Delete", "Backspace"], group: "Edit", text: "Delete the selected region or the last corner" },

  { action: "fit", keys: ["f"], group: "View", text: "Fit" },
  { action: "zoom+", keys: ["+", "="], group: "View", text: "Zoom in (also the wheel)" },
  { action: "zoom-", keys: ["-"], group: "View", text: "Zoom out" },
  { action: "patterns", keys: ["n"], group: "View", text: "Patterns as well as colours" },
  { action: "space", keys: [" "], group: "View", text: "Hold and drag: move the view" },

  { action: "left", keys: ["ArrowLeft"], group: "Keyboard cursor", text: "Move (Shift: 10 pixels; a selected region: itself, with Ctrl its size)" },
  { action: "right", keys: ["ArrowRight"], group: "Keyboard cursor", text: "Move" },
  { action: "up", keys: ["ArrowUp"], group: "Keyboard cursor", text: "Move" },
  { action: "down", keys: ["ArrowDown"], group: "Keyboard cursor", text: "Move" },
  { action: "space", keys: [" "], group: "Keyboard cursor", text: "Hold to paint" },
  { action: "finish", keys: ["Enter"], group: "Keyboard cursor", text: "Begin to paint, and end" },

  { action: "help", keys: ["?"], group: "Help", text: "This sheet" },
];

/** Physical keys of characters that some keyboards reach by AltGr or not at all; places on a US keyboard. */
const PLACES = { "[": "BracketLeft", "]": "BracketRight", "-": "Minus", "=": "Equal", ",": "Comma", ".": "Period" };

/** On a Mac the Command key is the one of shortcuts. */
export const MAC = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? "");

function parse(text) {
  const parts = text === "+" ? ["+"] : text.split("+");
  const key = parts.pop() || "+";
  const letter = /^[a-z]$/.test(key);
  return {
    key,
    letter,
    named: key.length > 1 || key === " ",
    code: letter ? `Key${key.toUpperCase()}` : PLACES[key],
    mod: parts.includes("Mod"),
    shift: parts.includes("Shift"),
  };
}

/**
 * What a `keydown` or `keyup` means.
 *
 * The character typed decides, so that Ctrl+Z is where the keyboard has its Z, and `[` may be typed with AltGr. Where the character is none
 * of the table's and no Latin letter (another alphabet, a dead key, ü), the place of the key decides. The digit keys are numbers by place
 * (a French keyboard types them with Shift only); with Shift, where their character is none of the table's.
 * @param {KeyboardEvent} event
 * @param {Shortcut[]} [table]
 * @returns {{action: string, shift: boolean, mod: boolean}|null}
 */
export function matchKey(event, table = KEYS) {
  const { key, code, shiftKey: shift } = event;
  if (event.isComposing) return null;
  const altGr = event.getModifierState?.("AltGraph") || (event.ctrlKey && event.altKey);
  const mod = !altGr && (event.ctrlKey || event.metaKey);
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code || "");
  const found = (action) => ({ action, shift, mod });
  const number = digit && !altGr && !mod && !event.altKey && (code[0] === "D" || key === digit[1]) && table.some((entry) => entry.action === "label:0-9");
  if (number && !shift) return found(`label:${digit[1]}`);
  const typed = key.length === 1 ? key.toLowerCase() : key;
  const rows = table.flatMap((entry) => entry.keys.map((text) => ({ entry, ...parse(text) })));
  const fits = (row) => {
    if (row.mod !== mod && !row.named) return false;
    if (row.named) return !event.altKey || altGr;
    if (event.altKey && (row.letter || !altGr) && !MAC) return false;
    return row.letter ? row.shift === shift && !altGr : true; // a character other than a letter is typed with whatever it needs
  };
  const byKey = rows.find((row) => row.key === typed && fits(row));
  if (byKey) return found(byKey.entry.action);
  if (number) return found(`label:${digit[1]}`);
  if (/^[a-z]$/.test(typed) || (key.length > 1 && !/^(Dead|Unidentified|Process)$/.test(key))) return null;
  const byPlace = rows.find((row) => row.code && row.code === code && !altGr && row.shift === shift && fits(row));
  return byPlace ? found(byPlace.entry.action) : null;
}
