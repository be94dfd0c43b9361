/**
 * From the pixels of a picture to its hashes: formulas alone, no file, no page, no worker.
 *
 * The *web* path of `indexer/hashing` (docs/adr/0002), step by step and in whole numbers, so that
 * one picture has one hash in every browser and on the server: what a browser's canvas makes of
 * a scaled picture is not specified, so nothing is scaled by it here.
 *
 * (1) Halve by means of 2x2 while both sides are at least 1024.
 * (2) Luma: ITU-R BT.601 in 65536ths.
 * (3) Bilinear to 512x512 between pixel centres, edges clamped, cut to 8 bits.
 * (4) Box filter five wide, twice along each axis: nine samples count 1-2-3-4-5-4-3-2-1.
 *     Sampled at 8i + 4, cut to whole numbers: the block of 64x64.
 * (5) Frequencies 1-16 of a 64-point DCT-II along both axes, each compared with their lower median.
 *
 * Sources: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019);
 * W. Jarosz, "Fast Image Convolutions" (2001); SWGFL/pdq for the numbers of (3) and (4).
 */

export const BLOCK_SIDE = 64;

const CANVAS = 512;
const FREQUENCIES = 16;
const BITS = FREQUENCIES * FREQUENCIES;
const LOWER_MEDIAN = BITS / 2 - 1;
const TAPS = [1, 2, 3, 4, 5, 4, 3, 2, 1];
const TAPS_TOTAL = 625; // 25 along each axis
const BLEND_STEPS = 2 * CANVAS;
const QUALITY_DIVISOR = 90;
const CELLS = 16;
const CELL = BLOCK_SIDE / CELLS;
const REACH = 3;
const LAYOUT = "01";

/** How often a picture is halved before it is drawn on 512x512. */
export function halvings(width, height) {
  let times = 0;
  for (let side = Math.min(width, height); side >= 2 * CANVAS; side >>= 1) times += 1;
  return times;
}

/**
 * Halve pixels by the means of 2x2; a side with an odd number of them counts 1-2-1 along it.
 *
 * @param {Uint8Array|Uint8ClampedArray} pixels RGBA.
 * @param {{width: number, rows: number, oddRows: boolean}} of width, rows given, and whether the
 *   picture has an odd number of rows: then one row more than twice the halved ones is given.
 * @param {Uint8Array} halved RGBA, written from `offset` on; the fourth byte is let be.
 */
export function halve(pixels, { width, rows, oddRows }, halved, offset = 0) {
  const downs = oddRows ? 2 : 1;
  const rights = (width & 1) + 1;
  const shift = (downs * rights) >> 1;
  const across = width >> 1;
  const stride = 4 * width;
  if (shift === 0) {
    halveEven(pixels, stride, rows, halved, offset);
    return;
  }
  let to = offset;
  for (let y = 0; y < rows >> 1; y += 1) {
    for (let x = 0; x < across; x += 1, to += 4) {
      for (let colour = 0; colour < 3; colour += 1) {
        let sum = 0;
        for (let down = 0; down < downs; down += 1) {
          for (let right = 0; right < rights; right += 1) {
            const at = (2 * y + down) * stride + 4 * (2 * x + right) + colour;
            const below = at + stride;
            sum += (pixels[at] + pixels[at + 4] + pixels[below] + pixels[below + 4] + 2) >> 2;
          }
        }
        halved[to + colour] = sum >> shift;
      }
    }
  }
}

/** Do the same where both sides are even, as most are: three times as fast without inner loops. */
function halveEven(pixels, stride, rows, halved, offset) {
  let to = offset;
  for (let y = 0; y < rows >> 1; y += 1) {
    const end = (2 * y + 1) * stride;
    for (let at = 2 * y * stride; at < end; at += 8, to += 4) {
      const below = at + stride;
      halved[to] = (pixels[at] + pixels[at + 4] + pixels[below] + pixels[below + 4] + 2) >> 2;
      halved[to + 1] =
        (pixels[at + 1] + pixels[at + 5] + pixels[below + 1] + pixels[below + 5] + 2) >> 2;
      halved[to + 2] =
        (pixels[at + 2] + pixels[at + 6] + pixels[below + 2] + pixels[below + 6] + 2) >> 2;
    }
  }
}

/**
 * Take whole luma of pixels.
 *
 * @param {Uint8Array|Uint8ClampedArray} pixels RGBA; the fourth byte is not looked at.
 * @param {Uint8Array} luma written from `offset` on.
 */
export function takeLuma(pixels, luma, offset = 0) {
  const count = pixels.length >> 2;
  for (let i = 0, at = 0; i < count; i += 1, at += 4) {
    luma[offset + i] =
      (19595 * pixels[at] + 38470 * pixels[at + 1] + 7471 * pixels[at + 2] + 32768) >>> 16;
  }
}

/** Draw luma on 512x512, filter and sample: Int32Array of 64x64, row by row, 0-255. */
export function blockOf(luma, width, height) {
  return sampled(drawn(luma, width, height));
}

/** Tell which of 16x16 frequencies of a block lie above their lower median: 64 hex digits. */
export function digestOf(block) {
  const values = frequenciesOf(block);
  const median = values.slice().sort()[LOWER_MEDIAN];
  const bytes = new Uint8Array(BITS / 8);
  values.forEach((value, k) => {
    if (value > median) bytes[bytes.length - 1 - (k >> 3)] |= 1 << (k & 7);
  });
  return hexOf(bytes);
}

/** Measure how much the digest of a block says, 0-100; below 50 it says little. */
export function qualityOf(block) {
  let steps = 0;
  for (let y = 0; y < BLOCK_SIDE; y += 1) {
    for (let x = 0; x < BLOCK_SIDE; x += 1) {
      const at = BLOCK_SIDE * y + x;
      if (x) steps += percent(block[at] - block[at - 1]);
      if (y) steps += percent(block[at] - block[at - BLOCK_SIDE]);
    }
  }
  return Math.min(100, Math.floor(steps / QUALITY_DIVISOR));
}

/**
 * Make the second hash: where a picture is brighter than around there (docs/adr/0017, 0036).
 *
 * 16x16 cells of 4x4 samples, each one bit: brighter by more than half a step than the mean of
 * the 7x7 cells around it, the edges mirrored.
 *
 * @returns {string} 66 hex digits: the layout, then the bits row by row, the first in the highest.
 */
export function mapOf(block) {
  const cells = new Int32Array(CELLS * CELLS);
  for (let y = 0; y < BLOCK_SIDE; y += 1) {
    for (let x = 0; x < BLOCK_SIDE; x += 1) {
      cells[CELLS * Math.floor(y / CELL) + Math.floor(x / CELL)] += block[BLOCK_SIDE * y + x];
    }
  }
  const width = 2 * REACH + 1;
  const half = (CELL * CELL * width * width) / 2;
  const bytes = new Uint8Array(cells.length / 8);
  for (let y = 0; y < CELLS; y += 1) {
    for (let x = 0; x < CELLS; x += 1) {
      let around = 0;
      for (let down = -REACH; down <= REACH; down += 1) {
        for (let right = -REACH; right <= REACH; right += 1) {
          around += cells[CELLS * mirrored(y + down) + mirrored(x + right)];
        }
      }
      const at = CELLS * y + x;
      if (cells[at] * width * width > around + half) bytes[at >> 3] |= 128 >> (at & 7);
    }
  }
  return LAYOUT + hexOf(bytes);
}

function blendOf(side) {
  const at = new Int32Array(CANVAS);
  const weights = new Int32Array(CANVAS);
  for (let i = 0; i < CANVAS; i += 1) {
    const steps = Math.max(0, (2 * i + 1) * side - CANVAS);
    at[i] = Math.floor(steps / BLEND_STEPS);
    weights[i] = steps % BLEND_STEPS;
  }
  return { at, weights };
}

function drawn(luma, width, height) {
  const rows = blendOf(height);
  const columns = blendOf(width);
  const canvas = new Uint8Array(CANVAS * CANVAS);
  for (let y = 0; y < CANVAS; y += 1) {
    const upper = width * rows.at[y];
    const lower = width * Math.min(rows.at[y] + 1, height - 1);
    for (let x = 0; x < CANVAS; x += 1) {
      const left = columns.at[x];
      const right = Math.min(left + 1, width - 1);
      const weight = columns.weights[x];
      const above = (luma[upper + left] << 10) + (luma[upper + right] - luma[upper + left]) * weight;
      const below = (luma[lower + left] << 10) + (luma[lower + right] - luma[lower + left]) * weight;
      canvas[CANVAS * y + x] = ((above << 10) + (below - above) * rows.weights[y]) >> 20;
    }
  }
  return canvas;
}

function sampled(canvas) {
  const step = CANVAS / BLOCK_SIDE;
  const sums = new Int32Array(BLOCK_SIDE * CANVAS);
  const block = new Int32Array(BLOCK_SIDE * BLOCK_SIDE);
  for (let i = 0; i < BLOCK_SIDE; i += 1) {
    TAPS.forEach((count, tap) => {
      const row = CANVAS * Math.min(step * i + tap, CANVAS - 1);
      for (let x = 0; x < CANVAS; x += 1) sums[CANVAS * i + x] += count * canvas[row + x];
    });
  }
  for (let i = 0; i < BLOCK_SIDE; i += 1) {
    for (let j = 0; j < BLOCK_SIDE; j += 1) {
      let sum = 0;
      TAPS.forEach((count, tap) => {
        sum += count * sums[CANVAS * i + Math.min(step * j + tap, CANVAS - 1)];
      });
      block[BLOCK_SIDE * i + j] = Math.floor(sum / TAPS_TOTAL);
    }
  }
  return block;
}

function frequenciesOf(block) {
  const cosine = (frequency, sample) =>
    Math.cos((Math.PI / (2 * BLOCK_SIDE)) * frequency * (2 * sample + 1));
  const table = Float64Array.from({ length: FREQUENCIES * BLOCK_SIDE }, (_, k) =>
    cosine(1 + Math.floor(k / BLOCK_SIDE), k % BLOCK_SIDE),
  );
  const sums = new Float64Array(FREQUENCIES * BLOCK_SIDE);
  const values = new Float64Array(BITS);
  for (let i = 0; i < FREQUENCIES; i += 1) {
    for (let y = 0; y < BLOCK_SIDE; y += 1) {
      const weight = table[BLOCK_SIDE * i + y];
      for (let x = 0; x < BLOCK_SIDE; x += 1) {
        sums[BLOCK_SIDE * i + x] += weight * block[BLOCK_SIDE * y + x];
      }
    }
    for (let j = 0; j < FREQUENCIES; j += 1) {
      for (let x = 0; x < BLOCK_SIDE; x += 1) {
        values[FREQUENCIES * i + j] += sums[BLOCK_SIDE * i + x] * table[BLOCK_SIDE * j + x];
      }
    }
  }
  return values;
}

function percent(difference) {
  return Math.floor((Math.abs(difference) * 100) / 255);
}

function mirrored(cell) {
  if (cell < 0) return -1 - cell;
  return cell < CELLS ? cell : 2 * CELLS - 1 - cell;
}

function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
