/** What the shortcuts of keys.js do with a canvas. */

const ACTIONS = {
  tool: (canvas, name) => canvas.setTool(name),
  "size-": (canvas) => canvas.setSize(canvas.size / 1.15, -1),
  "size+": (canvas) => canvas.setSize(canvas.size * 1.15, 1),
  mirror: (canvas) => canvas.setSettings({ mirror: !canvas.settings.mirror }),
  label: pickNumber,
  "label-": (canvas) => canvas.nextLabel(-1),
  "label+": (canvas) => canvas.nextLabel(1),
  swap: (canvas) => canvas.previousLabel(),
  undo: (canvas) => canvas.undo(),
  redo: (canvas) => canvas.redo(),
  finish: (canvas) => canvas.finish(),
  cancel: (canvas) => canvas.cancel(),
  delete: (canvas) => canvas.delete(),
  fit: (canvas) => canvas.fit(),
  "zoom+": (canvas) => canvas.zoomBy(1.25),
  "zoom-": (canvas) => canvas.zoomBy(0.8),
  patterns: (canvas) => canvas.setPatterns(!canvas.patterns),
};

/** The label of a number; where there is none, that of its last digit. */
function pickNumber(canvas, number) {
  const id = [+number, number % 10].find((wanted) => canvas.palette.some((entry) => entry.id === wanted));
  if (id !== undefined && canvas.mode !== "ink") canvas.setLabel(id);
}

/** @returns {boolean|undefined} false where there was nothing to do; undefined where the action is none of the canvas's */
export function act(canvas, action) {
  const [name, value] = action.split(":");
  return name in ACTIONS ? ACTIONS[name](canvas, value) !== false : undefined;
}
