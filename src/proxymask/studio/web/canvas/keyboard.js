/** The keyboard as a brush: arrows move a cursor, Space held or Enter paints. */

const STEPS = { left: [-1, 0], right: [1, 0], up: [0, -1], down: [0, 1] };
const FAR = 10; // pixels with Shift
const FEW = 4; // cells with Shift

export class KeyboardCursor {
  /**
   * @param {{width: number, height: number}} buffer
   * @param {object} hooks begin(point), extend(points), end(): a stroke; hover(point); nudge(dx, dy, scale): moves the selected region,
   *   false where there is none; start() -> where the cursor appears; pan(on): Space without a cursor; step() -> pixels of one key press
   */
  constructor(buffer, hooks) {
    this.buffer = buffer;
    this.hooks = hooks;
    /** @type {{x: number, y: number}|null} whole pixels; null: not in use */
    this.at = null;
    /** What holds the pen down: "space", "finish" (Enter) or null. */
    this.held = null;
  }

  point(shift = false) {
    return { x: this.at.x + 0.5, y: this.at.y + 0.5, pressure: 0.5, shift, alt: false, ctrl: false, type: "key" };
  }

  /** The pointer took over. */
  leave() {
    this.lift();
    this.at = null;
  }

  /** Ends what the keyboard paints. */
  lift() {
    if (this.held) this.hooks.end();
    this.held = null;
  }

  /** @returns {boolean} whether the key was used */
  key({ action, shift, mod }, event) {
    const down = event.type === "keydown";
    if (action in STEPS) return down && this.#arrow(STEPS[action], shift, mod);
    if (action === "space") {
      if (!this.at) this.hooks.pan(down);
      else if (down && !this.held) this.#press("space", shift);
      else if (!down && this.held === "space") this.lift();
      return true;
    }
    if (!down || event.repeat) return down;
    if (this.held === "finish") this.lift();
    else if (this.at && !this.held) this.#press("finish", shift);
    else if (!this.at) this.#appear();
    return true;
  }

  #press(key, shift) {
    this.held = key;
    this.hooks.begin(this.point(shift));
  }

  #appear() {
    const { x, y } = this.hooks.start();
    this.#goTo(Math.floor(x), Math.floor(y));
    this.hooks.hover(this.point());
  }

  #goTo(x, y) {
    this.at = { x: Math.min(this.buffer.width - 1, Math.max(0, x)), y: Math.min(this.buffer.height - 1, Math.max(0, y)) };
  }

  #arrow([dx, dy], shift, mod) {
    const step = this.hooks.step();
    const far = step * (!shift ? 1 : step > 1 ? FEW : FAR);
    if (!this.held && this.hooks.nudge(dx * far, dy * far, mod)) return true;
    if (!this.at) {
      this.#appear();
      return true;
    }
    this.#goTo(this.at.x + dx * far, this.at.y + dy * far);
    if (this.held) this.hooks.extend([this.point()]);
    this.hooks.hover(this.point());
    return true;
  }
}
