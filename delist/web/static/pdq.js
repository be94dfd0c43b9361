/**
 * Hashes a picture in the browser. The picture never leaves it: nothing here makes a request.
 *
 *     import { ImageHasher, HashingError, MIN_QUALITY } from "/static/pdq.js";
 *
 *     const hasher = await ImageHasher.open();       // loads everything that will be needed
 *     const found = await hasher.hash(input.files[0], { timeoutMs: 60000, signal });
 *     hasher.close();
 *
 * What comes out, `HashedImage`:
 *   hex               64 digits: the PDQ hash along the *web* path, as StopNCII's operator makes it.
 *   quality           0-100; below `MIN_QUALITY` the hash says too little to be sent.
 *   corroboratingHex  66 digits: a second hash, of what PDQ does not look at (docs/adr/0036). It is
 *                     for our server alone: never shown, never sent with a feed, never shared. It is
 *                     not to be computed from `hex`, so it shows later that a match is no accident
 *                     and that who reported had the picture.
 *   width, height     pixels, as shown (after EXIF orientation).
 *   format            `jpeg`, `png`, ...: see `image-file.js`.
 *   animated          only the first picture of it was hashed.
 *
 * What goes wrong is a `HashingError`, never anything else: `code` for programs and translations,
 * `message` a kind sentence in English. The codes are the keys of `MESSAGES`. Neither holds
 * anything of the file.
 *
 * `hashImage(blob)` does the same in the thread it is called in, without a limit of time.
 *
 * Between `open` and the result no request is made, so a page can be used without a network.
 * (After `took_too_long` or `cancelled` the worker is gone; the next `hash` loads it again.)
 * Content-Security-Policy: `script-src 'self'; worker-src 'self'` on the page is enough, and
 * `default-src 'none'` on the scripts: the worker, which alone sees the picture, then cannot make
 * a request even if it tried.
 */

import { bands } from "./bands.js";
import { HashingError } from "./hashing-error.js";
import { inspect } from "./image-file.js";
import {
  blockOf,
  digestOf,
  halve,
  halvings,
  mapOf,
  qualityOf,
  takeLuma,
} from "./pdq-formulas.js";

export { HashingError, MESSAGES } from "./hashing-error.js";

export const MIN_QUALITY = 50;
export const MAX_BYTES = 128 * 1024 * 1024;
/** The largest phone pictures have 200 million pixels: 800 MB once decoded. */
export const MAX_PIXELS = 220_000_000;
/** The widest canvas of all browsers; a picture may be taller, since it is read in bands. */
export const MAX_WIDTH = 32_767;
/** With fewer than 17 samples the sixteenth half wave is noise (docs/adr/0002). */
export const MIN_SIDE = 17;
export const TIMEOUT_MS = 60_000;

const START_MS = 10_000;
/** A decoder that gives up on more than this has more likely run out of memory than met damage. */
const ROOMY_PIXELS = 64_000_000;
const NOT_EVERYWHERE = new Set(["tiff", "jxl", "psd", "avif"]);
const REFUSED = new Map([
  ["video", "video"],
  ["svg", "drawing"],
  ["pdf", "document"],
  ["zip", "document"],
  ["unknown", "not_an_image"],
]);

/**
 * Hash a picture in this thread.
 *
 * (1) Read the file and name its format. (2) Decode upright, without colour management. (3) Read
 * the pixels in bands, on white, and halve them. (4) Luma, block, hashes.
 *
 * @param {Blob} blob
 * @returns {Promise<HashedImage>}
 * @throws {HashingError}
 */
export async function hashImage(blob) {
  try {
    const file = inspect(await bytesOf(blob)); // (1)
    refuseByFormat(file);
    const bitmap = await decoded(blob, file); // (2)
    const { width, height } = bitmap;
    try {
      const block = blockOfBitmap(bitmap);
      return {
        hex: digestOf(block), // (4)
        quality: qualityOf(block),
        corroboratingHex: mapOf(block),
        width,
        height,
        format: file.format,
        animated: file.animated,
      };
    } finally {
      bitmap.close();
    }
  } catch (error) {
    if (error instanceof HashingError) throw error;
    throw new HashingError(error instanceof RangeError ? "out_of_memory" : "failed");
  }
}

async function bytesOf(blob) {
  if (blob.size === 0) throw new HashingError("empty");
  if (blob.size > MAX_BYTES) throw new HashingError("too_large");
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch {
    throw new HashingError("unreadable_file");
  }
}

function refuseByFormat({ format, width, height }) {
  if (REFUSED.has(format)) throw new HashingError(REFUSED.get(format));
  if (width * height > MAX_PIXELS) throw new HashingError("too_many_pixels");
}

async function decoded(blob, file) {
  const { format } = file;
  if (typeof createImageBitmap !== "function") throw new HashingError("unsupported_browser");
  let bitmap;
  try {
    const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
    bitmap = await createImageBitmap(blob, options);
  } catch (error) {
    // Browsers that do not know the options say so by their type.
    if (error instanceof TypeError) throw new HashingError("unsupported_browser");
    if (format === "heic") throw new HashingError("heic");
    if (NOT_EVERYWHERE.has(format)) throw new HashingError("unsupported_format");
    throw new HashingError(file.width * file.height > ROOMY_PIXELS ? "out_of_memory" : "damaged");
  }
  const { width, height } = bitmap;
  const tooSmall = Math.min(width, height) < MIN_SIDE;
  if (!tooSmall && width <= MAX_WIDTH && width * height <= MAX_PIXELS) return bitmap;
  bitmap.close();
  throw new HashingError(tooSmall ? "too_small" : "too_many_pixels");
}

/** Read a picture band by band, so that its pixels are never held a second time. */
function blockOfBitmap(bitmap) {
  const times = halvings(bitmap.width, bitmap.height);
  let { width, height } = bitmap;
  if (!times) {
    const luma = new Uint8Array(width * height);
    for (const { pixels, top } of bands(bitmap, 1)) takeLuma(pixels, luma, top * width);
    return blockOf(luma, width, height);
  }
  let halved = new Uint8Array((width >> 1) * (height >> 1) * 4);
  for (const { pixels, top, rows } of bands(bitmap, 2)) {
    halve(pixels, { width, rows, oddRows: (height & 1) === 1 }, halved, (top >> 1) * (width >> 1) * 4);
  }
  for (let time = 1; ; time += 1) {
    [width, height] = [width >> 1, height >> 1];
    if (time === times) break;
    const next = new Uint8Array((width >> 1) * (height >> 1) * 4);
    halve(halved, { width, rows: height, oddRows: (height & 1) === 1 }, next);
    halved = next;
  }
  const luma = new Uint8Array(width * height);
  takeLuma(halved, luma);
  return blockOf(luma, width, height);
}

/** Hashes pictures beside the page, one after another; in the page where there are no workers. */
export class ImageHasher {
  #worker = null;
  #inPage = false;
  #last = Promise.resolve();
  #count = 0;

  /** Load what will be needed. Never fails: what cannot be had is reported by `hash`. */
  static async open() {
    const hasher = new ImageHasher();
    await hasher.#start();
    return hasher;
  }

  /**
   * @param {Blob} blob
   * @param {{timeoutMs?: number, signal?: AbortSignal}} options
   * @returns {Promise<HashedImage>}
   * @throws {HashingError}
   */
  hash(blob, { timeoutMs = TIMEOUT_MS, signal } = {}) {
    const hashing = this.#last.then(() => this.#hashNow(blob, timeoutMs, signal));
    this.#last = hashing.catch(() => {});
    return hashing;
  }

  /** End the worker, and with it whatever it holds of a picture. */
  close() {
    this.#worker?.terminate();
    this.#worker = null;
  }

  async #start() {
    const worker = await startedWorker();
    if (worker) this.#worker = worker;
    else this.#inPage = true;
  }

  async #hashNow(blob, timeoutMs, signal) {
    if (!this.#worker && !this.#inPage) await this.#start();
    if (signal?.aborted) throw new HashingError("cancelled");
    if (this.#inPage) return hashImage(blob); // nothing could end it: no limit of time
    const worker = this.#worker;
    const id = (this.#count += 1);
    const ended = new AbortController();
    try {
      return await new Promise((resolve, reject) => {
        const stop = (code) => {
          this.close();
          reject(new HashingError(code));
        };
        const timer = setTimeout(stop, timeoutMs, "took_too_long");
        const until = { signal: ended.signal };
        ended.signal.addEventListener("abort", () => clearTimeout(timer));
        signal?.addEventListener("abort", () => stop("cancelled"), until);
        worker.addEventListener("error", () => stop("failed"), until);
        worker.addEventListener("messageerror", () => stop("failed"), until);
        const answered = ({ data }) => {
          if (data.id !== id) return;
          if (data.result) resolve(data.result);
          else reject(new HashingError(data.code));
        };
        worker.addEventListener("message", answered, until);
        worker.postMessage({ id, blob });
      });
    } finally {
      ended.abort();
    }
  }
}

/** Start the worker; null where there is none to be had, or none with a canvas. */
async function startedWorker() {
  let worker;
  let timer;
  try {
    worker = new Worker(new URL("./hashing-worker.js", import.meta.url), { type: "module" });
    const word = await new Promise((resolve) => {
      worker.addEventListener("message", ({ data }) => resolve(data), { once: true });
      worker.addEventListener("error", () => resolve("error"), { once: true });
      timer = setTimeout(resolve, START_MS, "no_answer");
    });
    if (word === "ready") return worker;
  } catch {
    // No workers at all, or none allowed here: the page can do it.
  } finally {
    clearTimeout(timer);
  }
  worker?.terminate();
  return null;
}
