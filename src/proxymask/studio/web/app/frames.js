// Binary frames of the server: u32 little-endian N, N bytes of UTF-8 JSON, payload. Bytes as text for JSON.

/** {header, payload: Uint8Array} -> ArrayBuffer. */
export function encodeFrame(header, payload = new Uint8Array(0)) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const frame = new Uint8Array(4 + text.length + payload.length);
  new DataView(frame.buffer).setUint32(0, text.length, true);
  frame.set(text, 4);
  frame.set(payload, 4 + text.length);
  return frame.buffer;
}

/** ArrayBuffer -> {header, payload}; throws a RangeError or SyntaxError where it is not a frame. */
export function decodeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return { header: JSON.parse(text), payload: new Uint8Array(buffer, 4 + length) };
}

export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
