// The WebSocket to the server: it comes back by itself, and says when it does.

import { decodeFrame, encodeFrame } from "./frames.js";

const WAITS = [200, 400, 800, 1500, 3000, 5000]; // ms before the next attempt
const PING = 15_000;

/**
 * Events: `state` {detail: "connecting" | "open" | "lost"}, `message` {detail: {header, payload}}.
 * `open` comes after the server's welcome, with what the server said in `welcome`.
 */
export class Socket extends EventTarget {
  /** @param {() => object} hello header of the first message: session, token */
  constructor(hello) {
    super();
    this.hello = hello;
    this.state = "connecting";
    this.welcome = null;
    this.refusal = null; // why the server did not let the page in
    this.attempt = 0;
    this.timer = 0;
    this.heard = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    setInterval(() => this.#ping(), PING);
    this.connect();
  }

  get open() {
    return this.state === "open";
  }

  connect() {
    clearTimeout(this.timer);
    const address = new URL("ws", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    address.search = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => socket.send(encodeFrame({ type: "hello", ...this.hello() }));
    socket.onmessage = (event) => socket === this.socket && this.#receive(event.data);
    socket.onclose = () => socket === this.socket && this.#lost();
  }

  /** Try again now, where a wait is going on. */
  hurry() {
    if (this.state !== "lost") return;
    this.attempt = 0;
    this.connect();
  }

  /** Returns whether it was sent. */
  send(header, payload) {
    if (!this.open) return false;
    this.socket.send(encodeFrame(header, payload));
    return true;
  }

  #receive(data) {
    this.heard = performance.now();
    let message;
    try {
      message = decodeFrame(data);
    } catch {
      return;
    }
    if (message.header.type === "welcome") {
      this.attempt = 0;
      this.refusal = null;
      this.welcome = message.header;
      this.#become("open");
    } else if (message.header.type === "error" && !this.open) this.refusal = message.header.error;
    if (message.header.type !== "pong") this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #lost() {
    this.#become("lost");
    this.timer = setTimeout(() => this.connect(), WAITS[Math.min(this.attempt++, WAITS.length - 1)]);
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #ping() {
    if (!this.open) return;
    if (performance.now() - this.heard > 2.5 * PING && this.heard) this.socket.close();
    else this.send({ type: "ping", t: Math.round(performance.now()) });
  }
}
