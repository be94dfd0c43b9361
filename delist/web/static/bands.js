/** The pixels of a decoded picture, band by band: the canvas is only read, it scales nothing. */

import { HashingError } from "./hashing-error.js";

/** Eight megabytes a band: what is read costs memory twice, in the canvas and out of it. */
const BAND_PIXELS = 1 << 21;

/**
 * Yield the pixels of a picture, on white, some rows at a time.
 *
 * With `step` 2 the rows come in pairs; of an odd number of rows, each band ends with the first
 * row of the next one, which halving looks at too.
 */
export function* bands(bitmap, step) {
  const { width, height } = bitmap;
  const extra = step === 2 ? height & 1 : 0;
  const most = Math.min(height - extra, step * Math.max(1, Math.floor(BAND_PIXELS / width / step)));
  const canvas = newCanvas(width, most + extra);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (!context) throw new HashingError("out_of_memory");
  try {
    refuseNoise(context);
    context.imageSmoothingEnabled = false;
    for (let top = 0; top + extra < height; top += most) {
      const rows = Math.min(most, height - extra - top);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, rows + extra);
      context.drawImage(bitmap, 0, -top);
      yield { pixels: context.getImageData(0, 0, width, rows + extra).data, top, rows };
    }
  } finally {
    canvas.width = canvas.height = 0; // frees its memory at once
  }
}

/** Read back what we have drawn: protection against tracking gives noise instead of pixels. */
function refuseNoise(context) {
  const steps = 16;
  for (let x = 0; x < steps; x += 1) {
    context.fillStyle = `rgb(${x * 16} ${255 - x * 16} ${(x * 80) % 256})`;
    context.fillRect(x, 0, 1, 1);
  }
  const { data } = context.getImageData(0, 0, steps, 1);
  for (let x = 0; x < steps; x += 1) {
    const drawn = [x * 16, 255 - x * 16, (x * 80) % 256];
    if (drawn.some((value, colour) => Math.abs(value - data[4 * x + colour]) > 2)) {
      throw new HashingError("canvas_blocked");
    }
  }
}

function newCanvas(width, height) {
  if (typeof OffscreenCanvas === "function") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}
