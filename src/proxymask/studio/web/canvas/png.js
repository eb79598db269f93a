/**
 * PNG files of ids, exactly: reads the indices of palette and grey PNGs (a browser's own decoder gives colours), writes palette PNGs.
 * @module canvas/png
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const MAX_PIXELS = 2 ** 24;

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/**
 * Reads an indexed or grey PNG of up to 8 bits.
 * @param {ArrayBuffer|Uint8Array} file
 * @returns {Promise<{width: number, height: number, ids: Uint8Array, palette: number[][]|null}>} ids: palette indices or grey values
 * @throws {RangeError} for other PNGs and other files
 */
export async function decodeIdPng(file) {
  const bytes = new Uint8Array(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new RangeError("this is not a PNG file");
  let header = null;
  let palette = null;
  const data = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const body = bytes.subarray(at + 8, at + 8 + length);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (body.length < length) break;
    if (name === "IHDR") header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: body[8], kind: body[9], interlaced: body[12] };
    if (name === "PLTE") palette = Array.from({ length: Math.floor(length / 3) }, (_, i) => [...body.subarray(3 * i, 3 * i + 3)]);
    if (name === "IDAT") data.push(body);
    at += 12 + length;
  }
  if (!header) throw new RangeError("this PNG file has no header");
  const { width, height, bits, kind, interlaced } = header;
  if (![0, 3].includes(kind) || bits > 8 || interlaced) throw new RangeError("this PNG file has no palette and is not grey with 8 bits, or is interlaced");
  if (width * height > MAX_PIXELS) throw new RangeError(`this PNG file has ${width} x ${height} pixels, too many for a mask`);
  const stride = Math.ceil((width * bits) / 8);
  const raw = await through(new DecompressionStream("deflate"), await new Blob(data).arrayBuffer());
  if (raw.length < (stride + 1) * height) throw new RangeError("this PNG file ends early");
  const ids = new Uint8Array(width * height);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1);
    const row = raw.subarray(start + 1, start + 1 + stride);
    unfilter(row, above, raw[start]);
    for (let x = 0; x < width; x++) {
      const bit = x * bits;
      ids[y * width + x] = (row[bit >> 3] >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
    }
    above = row;
  }
  return { width, height, ids, palette };
}

/** Undoes a filter of a row in place; one byte for each step to the left, as pixels have at most 8 bits. */
function unfilter(row, above, filter) {
  for (let i = 0; i < row.length; i++) {
    const [a, b, c] = [row[i - 1] ?? 0, above[i], above[i - 1] ?? 0];
    const p = a + b - c;
    const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
    const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    row[i] += [0, a, b, (a + b) >> 1, paeth][filter];
  }
}

/**
 * Writes ids as a PNG with a palette.
 * @param {Uint8Array} ids row-major
 * @param {number[][]} palette 256 colours [r, g, b] or fewer; missing ones are black
 * @returns {Promise<Blob>}
 */
export async function encodeIdPng(ids, width, height, palette) {
  const colors = new Uint8Array(768);
  palette.forEach((color, i) => colors.set(color, 3 * i));
  const raw = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) raw.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const packed = await through(new CompressionStream("deflate"), raw);
  const parts = [chunk("IHDR", header), chunk("PLTE", colors), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
  return new Blob([Uint8Array.from(SIGNATURE), ...parts], { type: "image/png" });
}

function chunk(name, body) {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(body, 8);
  let crc = -1;
  for (const byte of bytes.subarray(4, 8 + body.length)) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  view.setUint32(8 + body.length, ~crc);
  return bytes;
}
