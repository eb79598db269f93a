/** Which tools there are, their settings, and what they write with. */

import * as raster from "./raster.js";
import { Select } from "./select.js";
import { Box, Brush, ClusterBrush, Enclose, Fill, Lasso, Line, Polygon } from "./tools.js";

/** Tools by name: what {@link LabelCanvas#setTool} takes. */
export const TOOLS = [
  ...["brush", "eraser", "line", "rectangle", "ellipse", "lasso", "polygon"],
  ...["fill", "enclose", "select", "picker", "cluster", "pan"],
];

/** Settings of the tools and their defaults. */
export const DEFAULT_SETTINGS = {
  pressure: false, // the pressure of a pen gives the width of the brush
  mirror: false, // strokes and shapes are painted on the other side too
  filled: true, // rectangle, ellipse, lasso, polygon: the area, or only its outline as wide as the brush
  everywhere: false, // fill, select: all pixels of the label, not only the connected ones
  under: "surrounding", // what a moved region leaves: the "surrounding" labels or "background"
  wheel: "zoom", // what the wheel does without a modifier: "zoom", "size" or "pan" (Ctrl: zoom; Shift or Alt: size)
};

/** The tool for a stroke; null for those that do not draw. @param {import("./tools.js").Painter} painter */
export function makeTool(name, painter, clusters) {
  const make = {
    brush: () => new Brush(painter),
    eraser: () => new Brush(painter),
    line: () => new Line(painter),
    rectangle: () => new Box(painter, raster.rectangle),
    ellipse: () => new Box(painter, raster.ellipse),
    lasso: () => new Lasso(painter),
    polygon: () => new Polygon(painter),
    fill: () => new Fill(painter),
    enclose: () => new Enclose(painter),
    select: () => new Select(painter),
    cluster: () => new ClusterBrush(painter, clusters),
  };
  return make[name]?.() ?? null;
}

/** Writes the id where the mask is 1 and the label that is there is allowed. */
export function fillMask(buffer, mask, id, allowed) {
  const { width, height } = buffer;
  for (let y = 0; y < height; y++) {
    for (let x = 0, from = -1; x <= width; x++) {
      const inside = x < width && mask[y * width + x] === 1;
      if (inside && from < 0) from = x;
      if (inside || from < 0) continue;
      buffer.span(y, from, x - 1, id, allowed);
      from = -1;
    }
  }
}

/** What the tools of a stroke work with. @returns {import("./tools.js").Painter} */
export function makePainter(buffer, state) {
  const { id, allowed, settings } = state;
  const last = buffer.width - 1;
  const span = (y, x0, x1) => {
    buffer.span(y, x0, x1, id, allowed);
    if (settings.mirror) buffer.span(y, last - x1, last - x0, id, allowed);
  };
  return { ...state, buffer, span, fill: (mask) => fillMask(buffer, mask, id, allowed) };
}
