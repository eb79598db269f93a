// A palette PNG of a buffer of ids, written without blending, so that the ids come back exactly.

const CRC = new Uint32Array(256);
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  CRC[n] = c >>> 0;
}

function chunk(kind, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + data.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, (crc ^ 0xffffffff) >>> 0);
  return bytes;
}

async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * ids (width * height, row-major) -> Blob of a palette PNG.
 *
 * @param {(id: number) => number[]} color [r, g, b] of an id
 * @param {Object<string, string>} about text fields
 */
export async function palettePng(ids, width, height, color, about = {}) {
  const palette = new Uint8Array(256 * 3);
  for (let id = 0; id < 256; id++) palette.set(color(id), id * 3);
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const size = new Uint8Array(13);
  const view = new DataView(size.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  size.set([8, 3, 0, 0, 0], 8); // 8 bits, palette
  const latin = (text) => Uint8Array.from(text, (letter) => Math.min(letter.charCodeAt(0), 255));
  const texts = Object.entries(about).map(([key, text]) => chunk("tEXt", latin(`${key}\0${text}`)));
  const data = chunk("IDAT", await deflate(rows));
  const start = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const parts = [start, chunk("IHDR", size), chunk("PLTE", palette), ...texts, data, chunk("IEND", new Uint8Array(0))];
  return new Blob(parts, { type: "image/png" });
}
