/** Pointers and the wheel: what is a stroke, what moves the view. */

/** A touch becomes a stroke after this time or way, so that the first finger of a pinch leaves no dot. */
const TOUCH_DELAY = 60; // ms
const TOUCH_SLOP = 4; // CSS pixels
/** A second finger within this time takes the stroke of the first back; later it ends it. */
const PINCH_TIME = 300; // ms

/** A position of a pointer in the window; pressure 0 to 1, 0.5 where the device has none; ctrl: also Command; type: mouse, pen, touch. */
export function sample(event, keys = event) {
  return {
    x: event.clientX,
    y: event.clientY,
    pressure: event.pointerType === "pen" ? event.pressure : 0.5,
    shift: keys.shiftKey,
    alt: keys.altKey,
    ctrl: keys.ctrlKey || keys.metaKey,
    type: event.pointerType,
  };
}

/**
 * Turns the pointer events of an element into strokes and moves of the view.
 *
 * A pen or the left mouse button draws at once. A finger draws after a short delay, two fingers move and zoom the view. After the first pen
 * event, fingers only move the view (`penMode`). The pointer is captured, so that a stroke goes on outside. A touch that the system cancels
 * (a palm, a gesture) is taken back; a cancelled stroke of a pen or mouse is kept.
 */
export class Input {
  /**
   * @param {HTMLElement} element
   * @param {object} actions begin(sample, tool), extend(samples), end(), abort(): a stroke, `tool` for this stroke only or null;
   *   hover(sample or null); panBy(dx, dy), zoomBy(factor, x, y): moves of the view; sizeBy(steps); penMode(on);
   *   wheel() -> what the wheel does, "zoom", "size" or "pan"; panning() -> whether a drag moves the view
   */
  constructor(element, actions) {
    this.element = element;
    this.actions = actions;
    this.penMode = false;
    /** Space is held: dragging moves the view. */
    this.space = false;
    this.active = null; // the pointer that is down; kind: "stroke", "pan", or "wait" for a finger that may begin a pinch
    /** @type {Map<number, {x: number, y: number}>} fingers on the element */
    this.fingers = new Map();
    this.navigating = false;
    this.abortAll = new AbortController();
    const { signal } = this.abortAll;
    const on = (name, handler, options = {}) => element.addEventListener(name, handler, { signal, ...options });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#cancel(event));
    on("lostpointercapture", (event) => this.#up(event));
    on("pointerleave", () => !this.active && this.actions.hover(null));
    on("contextmenu", (event) => event.preventDefault());
    on("dragstart", (event) => event.preventDefault());
    on("wheel", (event) => this.#wheel(event), { passive: false });
    // Safari scrolls and zooms in spite of touch-action
    for (const name of ["touchmove", "gesturestart", "gesturechange"]) on(name, (event) => event.preventDefault(), { passive: false });
    addEventListener("blur", () => (this.space = false), { signal });
  }

  destroy() {
    clearTimeout(this.active?.timer);
    this.abortAll.abort();
  }

  /** Whether a stroke is being drawn. */
  get drawing() {
    return this.active?.kind === "stroke";
  }

  /** Forgets the stroke that is being drawn; the pointer has to be put down again. */
  drop() {
    clearTimeout(this.active?.timer);
    this.active = null;
  }

  setPenMode(on) {
    if (on === this.penMode) return;
    this.penMode = on;
    this.actions.penMode(on);
  }

  #down(event) {
    this.element.focus({ preventScroll: true, focusVisible: false });
    const { pointerId: id, pointerType: type } = event;
    const now = sample(event);
    if (type === "touch") {
      this.fingers.set(id, { x: now.x, y: now.y });
      this.#capture(id);
      const { active } = this;
      if (active && !active.touch) return; // a palm while the pen draws
      if (this.penMode || this.navigating || this.actions.panning() || this.fingers.size > 1) {
        if (active) this.#leaveStroke(event.timeStamp - active.start < PINCH_TIME);
        this.navigating = true;
      } else {
        const timer = setTimeout(() => this.#start(), TOUCH_DELAY);
        this.active = { id, kind: "wait", touch: true, start: event.timeStamp, last: now, queue: [now], timer };
      }
      return;
    }
    if (type === "pen") this.setPenMode(true);
    if (this.active) {
      if (!this.active.touch) return; // a further button of the same pointer, or another pointer
      this.#leaveStroke(true);
    }
    this.#capture(id);
    const pan = event.button === 1 || this.space || (this.actions.panning() && event.button === 0);
    if (pan) event.preventDefault(); // the middle button scrolls
    this.active = { id, kind: pan ? "pan" : "stroke", touch: false, start: event.timeStamp, last: now, queue: [], timer: 0 };
    if (!pan) this.actions.begin(now, event.buttons & 32 ? "eraser" : event.button === 2 || event.altKey ? "picker" : null);
  }

  #capture(id) {
    try {
      this.element.setPointerCapture(id);
    } catch {
      // the pointer is gone already
    }
  }

  /** A finger that waited begins its stroke. */
  #start() {
    const { active } = this;
    clearTimeout(active.timer);
    active.kind = "stroke";
    const [first, ...more] = active.queue;
    active.queue = [];
    this.actions.begin(first, null);
    if (more.length) this.actions.extend(more);
  }

  /** The stroke of a finger gives way to a pinch or a pen. */
  #leaveStroke(takeBack) {
    const { active } = this;
    clearTimeout(active.timer);
    this.active = null;
    if (active.kind !== "stroke") return;
    if (takeBack) this.actions.abort();
    else this.actions.end();
  }

  #move(event) {
    const { pointerId: id } = event;
    const now = sample(event);
    if (event.pointerType === "pen") this.setPenMode(true);
    if (this.fingers.has(id) && this.navigating) {
      this.#navigate(id, now);
      return;
    }
    const { active } = this;
    if (active?.id !== id) {
      if (!active && event.pointerType !== "touch") this.actions.hover(now);
      return;
    }
    if (active.kind === "pan") {
      this.actions.panBy(now.x - active.last.x, now.y - active.last.y);
      active.last = now;
      return;
    }
    const events = event.getCoalescedEvents?.() ?? [];
    const samples = events.length ? events.map((one) => sample(one, event)) : [now];
    if (active.kind === "stroke") {
      this.actions.extend(samples);
      return;
    }
    active.queue.push(...samples);
    if (Math.hypot(now.x - active.queue[0].x, now.y - active.queue[0].y) >= TOUCH_SLOP) this.#start();
  }

  /** Two fingers move and zoom, one moves. */
  #navigate(id, now) {
    const spread = () => {
      const [a, b = a] = this.fingers.values();
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
    };
    const old = spread();
    this.fingers.set(id, { x: now.x, y: now.y });
    const fresh = spread();
    this.actions.panBy(fresh.x - old.x, fresh.y - old.y);
    if (old.distance > 8 && fresh.distance > 8) this.actions.zoomBy(fresh.distance / old.distance, fresh.x, fresh.y);
  }

  #up(event) {
    const { pointerId: id } = event;
    this.fingers.delete(id);
    if (this.fingers.size === 0) this.navigating = false;
    const { active } = this;
    if (active?.id !== id) return;
    if (active.kind === "wait") this.#start();
    this.active = null;
    if (active.kind !== "stroke") return;
    this.actions.end();
    this.actions.hover(event.type === "pointerup" && !active.touch ? sample(event) : null);
  }

  #cancel(event) {
    const { pointerId: id } = event;
    this.fingers.delete(id);
    if (this.fingers.size === 0) this.navigating = false;
    const { active } = this;
    if (active?.id !== id) return;
    clearTimeout(active.timer);
    this.active = null;
    if (active.kind !== "stroke") return;
    if (active.touch) this.actions.abort();
    else this.actions.end();
  }

  #wheel(event) {
    event.preventDefault(); // also Ctrl and wheel, which zooms the page
    const unit = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    const main = Math.abs(dy) >= Math.abs(dx) ? dy : dx; // Shift turns the wheel on some systems
    if (this.drawing && !event.ctrlKey) return;
    const does = event.ctrlKey || event.metaKey ? "zoom" : event.shiftKey || event.altKey ? "size" : this.actions.wheel();
    const pinch = event.ctrlKey && Math.abs(main) < 50; // of a touch pad
    if (does === "pan") this.actions.panBy(-dx, -dy);
    else if (does === "size") this.actions.sizeBy(-main / 100);
    else this.actions.zoomBy(Math.exp(-Math.max(-200, Math.min(200, main)) * (pinch ? 0.01 : 0.002)), event.clientX, event.clientY);
  }
}
