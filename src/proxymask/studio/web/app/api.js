// HTTP requests to the server; every failure is an Error with one line in words.

let token = null;

/** Sent with every request; null: none. */
export function setToken(value) {
  token = value;
}

/** A request; the Response, or an Error in words. */
export async function ask(path, options = {}) {
  const headers = token ? { "X-Proxymask-Token": token } : {};
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, headers: { ...headers, ...options.headers }, cache: "no-cache" });
  } catch {
    throw Object.assign(new Error("the server does not answer: is `proxymask studio` still running?"), { away: true });
  }
  if (response.ok) return response;
  let words = `the server refused (${response.status})`;
  try {
    words = (await response.json()).error ?? words;
  } catch {
    // no JSON: the status has to do
  }
  throw new Error(words);
}

export const getJson = async (path) => (await ask(path)).json();
export const getBlob = async (path) => (await ask(path)).blob();

/** POST bytes, a Blob or a frame. */
export function post(path, body, type = "application/octet-stream") {
  return ask(path, { method: "POST", body, headers: { "Content-Type": type } });
}

/** A request with a JSON body, or none. */
export function send(method, path, body = undefined) {
  if (body === undefined) return ask(path, { method });
  return ask(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

const bundlePath = (name) => `api/bundles/${encodeURIComponent(name)}`;

export const paths = {
  info: () => "api/info",
  bundle: (name) => bundlePath(name),
  sample: (name, seed, truncation) => `${bundlePath(name)}/samples/${seed}.png?truncation=${truncation}`,
  sampleMask: (name, seed, truncation) => `${bundlePath(name)}/samples/${seed}.mask.png?truncation=${truncation}`,
  sampleClusters: (name, seed, truncation) => `${bundlePath(name)}/samples/${seed}.clusters.png?truncation=${truncation}`,
  examples: (name) => `${bundlePath(name)}/examples`,
  mask: (name) => `${bundlePath(name)}/mask`,
  drawing: (name, condition) => `${bundlePath(name)}/drawing?condition=${encodeURIComponent(condition)}`,
  keepPicture: () => "api/keep/picture",
  keepMask: () => "api/keep/mask",
  saveProject: () => "api/projects/save",
  openProject: () => "api/projects/open",
};

const images = new Map(); // path -> Promise of an object address, the newest last
const MOST_IMAGES = 200;

/** A picture of the server as an address for <img>; kept. */
export function imageAddress(path) {
  const known = images.get(path);
  if (known) return known;
  const found = getBlob(path).then((blob) => URL.createObjectURL(blob));
  images.set(path, found);
  found.catch(() => images.delete(path));
  if (images.size > MOST_IMAGES) {
    const [oldest, address] = images.entries().next().value;
    images.delete(oldest);
    address.then((url) => URL.revokeObjectURL(url), () => {});
  }
  return found;
}

/** The generator's own picture of a seed. */
export const sampleAddress = (bundle, seed, truncation) => imageAddress(paths.sample(bundle, seed, truncation));
