/** The view: zoom and pan, drawing of the ids through a table of colours, pictures under and over them, outlines and the cursor. */

import { union } from "./buffer.js";

const MIN_SCALE = 0.25;
const MAX_SCALE = 64;

/** Patterns of 8 x 8 pixels, a bit each, for those who cannot tell the colours: plain, stripes, dots, checks, grid, zigzag, bricks. */
const PATTERNS = [
  [0, 0, 0, 0, 0, 0, 0, 0],
  [0x81, 0xc0, 0x60, 0x30, 0x18, 0x0c, 0x06, 0x03],
  [0, 0x66, 0x66, 0, 0, 0x66, 0x66, 0],
  [0xff, 0, 0, 0, 0xff, 0, 0, 0],
  [0x81, 0x03, 0x06, 0x0c, 0x18, 0x30, 0x60, 0xc0],
  [0x33, 0x33, 0xcc, 0xcc, 0x33, 0x33, 0xcc, 0xcc],
  [0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88],
  [0xff, 0x80, 0x80, 0x80, 0xff, 0x80, 0x80, 0x80],
  [0x18, 0x24, 0x42, 0x81, 0x18, 0x24, 0x42, 0x81],
  [0x81, 0x42, 0x24, 0x18, 0x18, 0x24, 0x42, 0x81],
  [0xff, 0x80, 0x80, 0x80, 0xff, 0x08, 0x08, 0x08],
  [0x10, 0, 0, 0, 0x01, 0, 0, 0],
];

/** Colours of labels that have none (Okabe and Ito 2008: told apart by the colour-blind). */
const DEFAULT_COLORS = "#8fa3ad #e69f00 #56b4e9 #009e73 #f0e442 #0072b2 #d55e00 #cc79a7 #5b4b8a #b2df8a #444444".split(" ");

/** The colour of a label that the palette does not define. @returns {string} `#rrggbb` */
export function defaultColor(id) {
  return DEFAULT_COLORS[id % DEFAULT_COLORS.length];
}

/** `#rrggbb` or [r, g, b] -> [r, g, b]. */
export function parseColor(color) {
  return Array.isArray(color) ? color : [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16) || 0);
}

/**
 * The outline of a region as unit edges joined to lines, in buffer coordinates.
 * @param {(x: number, y: number) => number} at value of a pixel of the rectangle; edges run where the value changes; outside it is -1
 * @param {import("./buffer.js").Rect} rect
 * @returns {Path2D}
 */
export function outline(at, { x0, y0, x1, y1 }) {
  const path = new Path2D();
  const value = (x, y) => (x < x0 || y < y0 || x > x1 || y > y1 ? -1 : at(x, y));
  const along = (from, to, edge, point) => {
    for (let i = from, start = null; i <= to + 1; i++) {
      const on = i <= to && edge(i);
      if (on && start === null) start = i;
      if (on || start === null) continue;
      path.moveTo(...point(start));
      path.lineTo(...point(i));
      start = null;
    }
  };
  for (let y = y0; y <= y1 + 1; y++) along(x0, x1, (x) => value(x, y - 1) !== value(x, y), (x) => [x, y]);
  for (let x = x0; x <= x1 + 1; x++) along(y0, y1, (y) => value(x - 1, y) !== value(x, y), (y) => [x, y]);
  return path;
}

/** Draws a buffer into an element. Scale is in CSS pixels for a buffer pixel, offsets in CSS pixels. */
export class View {
  /**
   * @param {HTMLElement} host
   * @param {import("./buffer.js").LabelBuffer} buffer
   * @param {object} options transparent: an id that is not drawn, or null; paper: a colour behind all instead of the checks, or null;
   *   onView(): the view moved; onFrame(): before each frame; drawOver(context): draws cursors and outlines in buffer coordinates
   */
  constructor(host, buffer, options) {
    this.host = host;
    this.buffer = buffer;
    this.options = options;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fitted = true;
    this.opacity = 1;
    this.patterns = false;
    this.dark = null;
    this.pictures = { under: null, over: null };
    this.lines = null;
    this.lut = new Uint32Array(256);
    this.lut2 = new Uint32Array(256);
    this.pattern = new Uint8Array(256);

    if (getComputedStyle(host).position === "static") host.style.position = "relative";
    host.style.touchAction = "none";
    host.style.userSelect = "none";
    host.style.webkitUserSelect = "none";
    host.style.overflow = "hidden";
    this.main = this.#layer();
    this.top = this.#layer();
    this.image = new ImageData(buffer.width, buffer.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.stage = document.createElement("canvas");
    this.stage.width = buffer.width;
    this.stage.height = buffer.height;
    this.stageContext = this.stage.getContext("2d");

    this.rect = null; // buffer rectangle whose ids are to be drawn again
    this.all = true; // everything is to be drawn again
    this.over = true;
    this.frame = 0;
    this.stale = true; // the place of the element in the window must be read again
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(host);
    this.darkQuery = matchMedia("(prefers-color-scheme: dark)");
    this.onDark = () => this.redraw();
    this.darkQuery.addEventListener("change", this.onDark);
    this.onMoved = () => {
      this.stale = true;
      if (this.ratio !== undefined && this.ratio !== devicePixelRatio) this.resize();
    };
    addEventListener("scroll", this.onMoved, { capture: true, passive: true });
    addEventListener("resize", this.onMoved, { passive: true });
  }

  #layer() {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    Object.assign(canvas.style, { position: "absolute", left: "0", top: "0", width: "100%", height: "100%", pointerEvents: "none" });
    this.host.append(canvas);
    return canvas.getContext("2d");
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    this.frame = -1;
    this.observer.disconnect();
    this.darkQuery.removeEventListener("change", this.onDark);
    removeEventListener("scroll", this.onMoved, { capture: true });
    removeEventListener("resize", this.onMoved);
    this.main.canvas.remove();
    this.top.canvas.remove();
  }

  /** @param {{id: number, color?: string|number[]}[]} palette */
  setPalette(palette) {
    const word = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // all machines with browsers are little-endian
    const colors = new Map(palette.map((entry) => [entry.id, entry.color]));
    for (let id = 0; id < 256; id++) {
      const color = parseColor(colors.get(id) || defaultColor(id));
      const light = 0.3 * color[0] + 0.6 * color[1] + 0.1 * color[2] > 110;
      this.lut[id] = word(color);
      this.lut2[id] = word(color.map((c) => Math.round(light ? c * 0.62 : c + (255 - c) * 0.42)));
      this.pattern[id] = id % PATTERNS.length;
    }
    if (this.options.transparent !== null) this.lut[this.options.transparent] = this.lut2[this.options.transparent] = 0;
    this.redraw();
  }

  patternOf(id) {
    const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const pixels = new Uint32Array(64);
    for (let i = 0; i < 64; i++) pixels[i] = (PATTERNS[this.pattern[id]][i >> 3] >> (i & 7)) & 1 && this.lut2[id];
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), 8), 0, 0);
    return canvas.toDataURL();
  }

  /** @param {"auto"|"light"|"dark"} theme */
  setTheme(theme) {
    this.dark = theme === "auto" ? null : theme === "dark";
    this.redraw();
  }

  setPicture(slot, image, { opacity = 1, wipe = null, smooth = true } = {}) {
    this.pictures[slot] = image ? { image, opacity, wipe, smooth } : null;
    this.redraw();
  }

  /** Takes the size of the element; to be called once at the start, then it calls itself. */
  resize() {
    const ratio = devicePixelRatio || 1;
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (!width || !height) return;
    this.stale = true;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.main.canvas.width !== w || this.main.canvas.height !== h) {
      for (const { canvas } of [this.main, this.top]) {
        canvas.width = w;
        canvas.height = h;
      }
    }
    if (this.fitted || this.ratio === undefined) this.fit();
    else this.#keepInSight();
    this.ratio = ratio;
    this.redraw();
  }

  #origin() {
    if (this.stale) {
      const box = this.host.getBoundingClientRect();
      this.left = box.left + this.host.clientLeft;
      this.high = box.top + this.host.clientTop;
      this.stale = false;
    }
  }

  /** To be called where the page may have moved the element. */
  moved() {
    this.stale = true;
  }

  /** Buffer coordinates (not rounded) of a point of the window. */
  toBuffer(clientX, clientY) {
    this.#origin();
    return { x: (clientX - this.left - this.x) / this.scale, y: (clientY - this.high - this.y) / this.scale };
  }

  /** The point of the window at buffer coordinates. */
  toClient(x, y) {
    this.#origin();
    return { x: x * this.scale + this.x + this.left, y: y * this.scale + this.y + this.high };
  }

  /** The whole buffer, as large as the element allows. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height) return;
    const margin = Math.min(12, width / 20, height / 20);
    this.scale = Math.max(MIN_SCALE, Math.min((width - 2 * margin) / this.buffer.width, (height - 2 * margin) / this.buffer.height));
    this.x = (width - this.buffer.width * this.scale) / 2;
    this.y = (height - this.buffer.height * this.scale) / 2;
    this.fitted = true;
    this.#moved();
  }

  /** Zooms so that the point of the window (the middle where none is given) stays where it is. */
  zoomBy(factor, clientX = null, clientY = null) {
    this.#origin();
    const px = clientX === null ? this.host.clientWidth / 2 : clientX - this.left;
    const py = clientY === null ? this.host.clientHeight / 2 : clientY - this.high;
    const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, this.scale * factor));
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.#keepInSight();
    this.#moved();
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.#keepInSight();
    this.#moved();
  }

  set({ scale, x, y, fitted = false }) {
    if (fitted) return this.fit();
    Object.assign(this, { scale: Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale)), x, y, fitted: false });
    this.#keepInSight();
    return this.#moved();
  }

  /** At least 40 CSS pixels of the buffer stay in sight. */
  #keepInSight() {
    const { clientWidth: width, clientHeight: height } = this.host;
    this.x = Math.min(width - 40, Math.max(40 - this.buffer.width * this.scale, this.x));
    this.y = Math.min(height - 40, Math.max(40 - this.buffer.height * this.scale, this.y));
  }

  /** Moves the view where a buffer position is out of sight. */
  reveal({ x, y }) {
    const missing = (at, length) => Math.min(0, length - 24 - at) + Math.max(0, 24 - at);
    const dx = missing(x * this.scale + this.x, this.host.clientWidth);
    const dy = missing(y * this.scale + this.y, this.host.clientHeight);
    if (dx || dy) this.panBy(dx, dy);
  }

  #moved() {
    this.redraw();
    this.options.onView();
  }

  /** Draws everything in the next frame. */
  redraw() {
    this.all = true;
    this.#schedule();
  }

  /** Draws the ids of a rectangle of the buffer in the next frame. */
  redrawIds(rect) {
    this.rect = union(this.rect, rect);
    this.#schedule();
  }

  /** Draws cursor and outlines in the next frame. */
  redrawOver() {
    this.over = true;
    this.#schedule();
  }

  #schedule() {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.frame = 0;
    if (!this.host.clientWidth || !this.host.clientHeight) return; // hidden: drawn when it is shown, which changes its size
    this.options.onFrame();
    const whole = { x0: 0, y0: 0, x1: this.buffer.width - 1, y1: this.buffer.height - 1 };
    const rect = this.all ? whole : this.rect;
    if (rect) {
      this.#colour(rect);
      this.#compose(rect, this.all);
    }
    if (this.all || this.over) this.#drawTop();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.rect = null;
    this.all = false;
    this.over = false;
    this.moved(); // the page may have, since the last frame
  }

  #colour({ x0, y0, x1, y1 }) {
    const { width, ids } = this.buffer;
    const { pixels, lut, lut2 } = this;
    for (let y = y0; y <= y1; y++) {
      if (this.patterns) {
        for (let x = x0; x <= x1; x++) {
          const id = ids[y * width + x];
          pixels[y * width + x] = (PATTERNS[this.pattern[id]][y & 7] >> (x & 7)) & 1 ? lut2[id] : lut[id];
        }
      } else {
        for (let i = y * width + x0; i <= y * width + x1; i++) pixels[i] = lut[ids[i]];
      }
    }
    this.stageContext.putImageData(this.image, 0, 0, x0, y0, x1 - x0 + 1, y1 - y0 + 1);
  }

  /** Puts the layers together, within the device pixels of a rectangle of the buffer. */
  #compose(rect, all) {
    const context = this.main;
    const ratio = this.main.canvas.width / this.host.clientWidth || 1;
    const k = this.scale * ratio;
    const [ox, oy] = [Math.round(this.x * ratio), Math.round(this.y * ratio)];
    const [w, h] = [Math.round(this.buffer.width * k), Math.round(this.buffer.height * k)];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.save();
    if (all) context.clearRect(0, 0, this.main.canvas.width, this.main.canvas.height);
    context.beginPath();
    if (all) context.rect(ox, oy, w, h);
    else {
      const [left, top] = [ox + Math.floor((rect.x0 / this.buffer.width) * w) - 1, oy + Math.floor((rect.y0 / this.buffer.height) * h) - 1];
      const right = ox + Math.ceil(((rect.x1 + 1) / this.buffer.width) * w) + 1;
      const bottom = oy + Math.ceil(((rect.y1 + 1) / this.buffer.height) * h) + 1;
      const [cl, ct] = [Math.max(left, ox), Math.max(top, oy)];
      context.rect(cl, ct, Math.min(right, ox + w) - cl, Math.min(bottom, oy + h) - ct);
    }
    context.clip();
    const { under, over } = this.pictures;
    if (this.options.transparent !== null || under || this.opacity < 1) {
      context.fillStyle = this.options.paper || this.#checks(ratio);
      context.fillRect(ox, oy, w, h);
    }
    this.#picture(under, ox, oy, w, h);
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.stage, ox, oy, w, h);
    context.globalAlpha = 1;
    this.#picture(over, ox, oy, w, h);
    if (this.lines) {
      context.setTransform(w / this.buffer.width, 0, 0, h / this.buffer.height, ox, oy);
      context.lineWidth = ratio / k;
      context.strokeStyle = "rgba(255,255,255,0.55)";
      context.stroke(this.lines);
      context.strokeStyle = "rgba(0,0,0,0.45)";
      context.setLineDash([(2 * ratio) / k, (2 * ratio) / k]);
      context.stroke(this.lines);
      context.setLineDash([]);
    }
    context.restore();
  }

  #picture(slot, x, y, w, h) {
    if (!slot || slot.opacity <= 0) return;
    const context = this.main;
    context.save();
    if (slot.wipe !== null) {
      context.beginPath();
      context.rect(x, y, Math.round(w * slot.wipe), h);
      context.clip();
    }
    context.globalAlpha = slot.opacity;
    context.imageSmoothingEnabled = slot.smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(slot.image, x, y, w, h);
    context.restore();
  }

  #checks(ratio) {
    const dark = this.dark ?? this.darkQuery.matches;
    if (this.checksOf !== `${dark} ${ratio}`) {
      const side = Math.round(8 * ratio);
      const tile = document.createElement("canvas");
      tile.width = tile.height = 2 * side;
      const context = tile.getContext("2d");
      context.fillStyle = dark ? "#2a2d31" : "#ffffff";
      context.fillRect(0, 0, 2 * side, 2 * side);
      context.fillStyle = dark ? "#34383d" : "#e9ebee";
      context.fillRect(0, 0, side, side);
      context.fillRect(side, side, side, side);
      this.checks = this.main.createPattern(tile, "repeat");
      this.checksOf = `${dark} ${ratio}`;
    }
    return this.checks;
  }

  #drawTop() {
    const context = this.top;
    const ratio = this.top.canvas.width / this.host.clientWidth || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.canvas.width, this.top.canvas.height);
    const k = this.scale * ratio;
    context.setTransform(k, 0, 0, k, Math.round(this.x * ratio), Math.round(this.y * ratio));
    this.options.drawOver(context);
  }

  /** Strokes a path in buffer coordinates so that it is seen on any colour; width in CSS pixels. */
  strokePath(context, path, { width = 1, dash = false, color = "#ffffff" } = {}) {
    context.lineJoin = "miter";
    context.setLineDash([]);
    context.strokeStyle = "rgba(0,0,0,0.85)";
    context.lineWidth = (width + 1.6) / this.scale;
    context.stroke(path);
    context.strokeStyle = color;
    context.lineWidth = width / this.scale;
    if (dash) context.setLineDash([4 / this.scale, 4 / this.scale]);
    context.stroke(path);
    context.setLineDash([]);
  }
}
