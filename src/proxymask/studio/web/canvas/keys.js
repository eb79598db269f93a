/** The table of shortcuts, and which of them a key press means. The sheet of shortcuts and the handlers read the same table. */

/**
 * @typedef {object} Shortcut
 * @property {string} action name for {@link LabelCanvas#act}
 * @property {string[]} keys as `b`, `Shift+g`, `Mod+z` (Mod: Ctrl, on a Mac Command): the character typed, or `KeyboardEvent.key`
 * @property {string} group
 * @property {string} text
 */

const TABLE = {
  Tools: [
    ["tool:brush", "b", "Brush"],
    ["tool:eraser", "e", "Eraser"],
    ["tool:line", "l", "Line"],
    ["tool:rectangle", "r", "Rectangle"],
    ["tool:ellipse", "o", "Ellipse"],
    ["tool:lasso", "q", "Lasso"],
    ["tool:polygon", "p", "Polygon"],
    ["tool:fill", "g", "Fill"],
    ["tool:enclose", "Shift+g", "Fill enclosed area"],
    ["tool:select", "v", "Move and scale a region"],
    ["tool:picker", "i", "Pick a label from the canvas"],
    ["tool:cluster", "c", "Give regions of the generator to the label (when labelling)"],
    ["tool:pan", "h", "Move the view"],
  ],
  Brush: [
    ["size-", "[", "Smaller"],
    ["size+", "]", "Larger"],
    ["mirror", "m", "Mirror strokes left and right"],
  ],
  Labels: [
    ["label:0-9", "0 … 9", "Label of this number (with Shift: 10 more)"],
    ["label-", ",", "Previous label"],
    ["label+", ".", "Next label"],
    ["swap", "x", "Last label used"],
  ],
  Edit: [
    ["undo", "Mod+z", "Undo"],
    ["redo", ["Mod+Shift+z", "Mod+y"], "Redo"],
    ["finish", "Enter", "Close the polygon, put down what is moved"],
    ["cancel", "Escape", "Cancel"],
    ["delete", ["Delete", "Backspace"], "Delete the selected region or the last corner"],
  ],
  View: [
    ["fit", "f", "Fit"],
    ["zoom+", ["+", "="], "Zoom in (also the wheel)"],
    ["zoom-", "-", "Zoom out"],
    ["patterns", "n", "Patterns as well as colours"],
    ["space", " ", "Hold and drag: move the view"],
  ],
  "Keyboard cursor": [
    ["left", "ArrowLeft", "Move, also a selected region (Shift: by 10; Ctrl: scale it)"],
    ["right", "ArrowRight", "Move"],
    ["up", "ArrowUp", "Move"],
    ["down", "ArrowDown", "Move"],
    ["space", " ", "Hold to paint"],
    ["finish", "Enter", "Begin to paint, and end"],
  ],
  Help: [
    ["help", "?", "This sheet"],
  ],
};

/** @type {Shortcut[]} */
export const KEYS = Object.entries(TABLE).flatMap(([group, rows]) =>
  rows.map(([action, keys, text]) => ({ action, keys: [keys].flat(), group, text })),
);

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
  const numbered = table.some((entry) => entry.action === "label:0-9");
  const number = numbered && digit && !altGr && !mod && !event.altKey && (code[0] === "D" || key === digit[1]);
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
