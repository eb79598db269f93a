// What the browser keeps: the work of each tab in IndexedDB, tools and settings in localStorage.

const DATABASE = "proxymask-studio";
const STORE = "work";
const MOST = 12; // works kept

function request(action) {
  return new Promise((resolve, reject) => {
    action.onsuccess = () => resolve(action.result);
    action.onerror = () => reject(action.error);
  });
}

let opening, opened;

function database() {
  const asked = indexedDB.open(DATABASE, 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "key" });
  return request(asked);
}

async function store(mode) {
  opened ??= await (opening ??= database());
  return opened.transaction(STORE, mode).objectStore(STORE);
}

/** Keep a work; `work.key` names it. Older ones than the newest MOST are dropped. It is written even if the page closes now. */
export async function saveWork(work) {
  const first = opened?.transaction(STORE, "readwrite").objectStore(STORE) ?? (await store("readwrite"));
  const put = request(first.put(work));
  first.transaction.commit(); // else it would wait for an answer, which a closed page never gets
  await put;
  const kept = await store("readwrite");
  const all = await request(kept.getAll());
  all.sort((a, b) => b.saved - a.saved);
  for (const old of all.slice(MOST)) kept.delete(old.key);
}

/** The work of that key; or the newest one for which `fits`; or null. */
export async function loadWork(key, fits) {
  const kept = await store("readonly");
  const own = await request(kept.get(key));
  if (own && fits(own)) return own;
  const all = (await request(kept.getAll())).filter(fits);
  return all.sort((a, b) => b.saved - a.saved)[0] ?? null;
}

export function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The name of this tab, the same after a reload; a duplicated tab gets its own where the browser can tell. */
export async function tabName() {
  let name = sessionStorage.getItem("tab") ?? randomName();
  if (navigator.locks) {
    const free = await new Promise((resolve) => {
      navigator.locks.request(`proxymask-tab-${name}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock ? new Promise(() => {}) : undefined; // held while the tab lives
      });
    });
    if (!free) name = randomName();
  }
  sessionStorage.setItem("tab", name);
  return name;
}

export function readSettings() {
  try {
    return JSON.parse(localStorage.getItem("proxymask-studio")) ?? {};
  } catch {
    return {};
  }
}

export function writeSettings(settings) {
  try {
    localStorage.setItem("proxymask-studio", JSON.stringify(settings));
  } catch {
    // a full or forbidden store: settings last as long as the page
  }
}
