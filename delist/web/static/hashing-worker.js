/**
 * Hashes pictures beside the page, so that the page stays answerable. Started by `pdq.js`.
 *
 * In: `{id, blob}`. Out: `"ready"` once, then `{id, result}` or `{id, code}` for each. A file
 * comes as a reference, and no pixel goes back.
 */

import { HashingError, hashImage } from "./pdq.js";

self.addEventListener("message", async ({ data: { id, blob } }) => {
  try {
    self.postMessage({ id, result: await hashImage(blob) });
  } catch (error) {
    self.postMessage({ id, code: error instanceof HashingError ? error.code : "failed" });
  }
});

// Some browsers have workers, but no canvas in them: the page then does the work itself.
self.postMessage(typeof OffscreenCanvas === "function" ? "ready" : "no_canvas");
