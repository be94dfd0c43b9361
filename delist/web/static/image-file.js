/**
 * What kind of file somebody chose, from its bytes: the name and the declared type are not asked.
 *
 * Nothing is decoded here. Sizes are read from the header so that a picture which would not fit
 * into memory is refused before a decoder makes room for it.
 */

const VIDEO = "video";

/**
 * Name a file's format.
 *
 * @param {Uint8Array} bytes of the whole file.
 * @returns {{format: string, width: number, height: number, animated: boolean}} format: `jpeg`,
 *   `png`, `gif`, `webp`, `bmp`, `avif`, `heic`, `tiff`, `jxl`, `psd`, `svg`, `pdf`, `zip`,
 *   `video` or `unknown`; width and height in pixels as stored, 0 where the header does not say.
 */
export function inspect(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { format: formatOf(bytes), width: 0, height: 0, animated: false };
  try {
    READERS[found.format]?.(view, bytes, found);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // The header is cut: what is not known stays 0, and the decoder will refuse the rest.
  }
  return found;
}

function formatOf(bytes) {
  const starts = (text, at = 0) => textAt(bytes, at, text.length) === text;
  if (starts("\xff\xd8\xff")) return "jpeg";
  if (starts("\x89PNG\r\n\x1a\n")) return "png";
  if (starts("GIF87a") || starts("GIF89a")) return "gif";
  if (starts("RIFF")) return starts("WEBP", 8) ? "webp" : starts("AVI ", 8) ? VIDEO : "unknown";
  if (starts("BM") && textAt(bytes, 6, 4) === "\0\0\0\0") return "bmp";
  if (starts("ftyp", 4)) return mediaFormatOf(bytes);
  if (starts("II*\0") || starts("MM\0*")) return "tiff";
  if (starts("\xff\x0a") || starts("JXL ", 4)) return "jxl";
  if (starts("8BPS")) return "psd";
  if (starts("%PDF")) return "pdf";
  if (starts("PK\x03\x04")) return "zip";
  const videos = ["\x1aE\xdf\xa3", "\0\0\x01\xba", "\0\0\x01\xb3", "FLV", "OggS", "\x30\x26\xb2\x75"];
  if (videos.some((start) => starts(start)) || starts("moov", 4) || starts("mdat", 4)) return VIDEO;
  const head = new TextDecoder().decode(bytes.subarray(0, 2048));
  return /^[^<]*<(?:[?!][^]*?<)*svg[\s>]/i.test(head) ? "svg" : "unknown";
}

/** Read the brands of an ISO base media file (ISO/IEC 14496-12, 4.3): pictures or a film. */
function mediaFormatOf(bytes) {
  const length = Math.min(256, new DataView(bytes.buffer, bytes.byteOffset).getUint32(0));
  const brands = [textAt(bytes, 8, 4)];
  for (let at = 16; at + 4 <= length; at += 4) brands.push(textAt(bytes, at, 4));
  if (brands.some((brand) => brand === "avif" || brand === "avis")) return "avif";
  return /^(?:hei[cxms]|hev[cxms]|mif1|msf1)$/.test(brands[0]) ? "heic" : VIDEO;
}

const READERS = {
  jpeg(view, bytes, found) {
    for (let at = 2; bytes[at] === 0xff; ) {
      const marker = bytes[at + 1];
      if (marker === 0xff) {
        at += 1;
        continue;
      }
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        setSize(found, view.getUint16(at + 7), view.getUint16(at + 5));
        return;
      }
      at += 2 + view.getUint16(at + 2);
    }
  },
  png(view, bytes, found) {
    setSize(found, view.getUint32(16), view.getUint32(20));
    for (let at = 8; textAt(bytes, at + 4, 4) !== "IDAT"; at += 12 + view.getUint32(at)) {
      if (textAt(bytes, at + 4, 4) === "acTL") found.animated = true;
    }
  },
  gif(view, bytes, found) {
    setSize(found, view.getUint16(6, true), view.getUint16(8, true));
    const table = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
    let frames = 0;
    for (let at = 13 + table(view.getUint8(10)); frames < 2; ) {
      const kind = view.getUint8(at);
      if (kind === 0x2c) {
        frames += 1;
        at += 11 + table(view.getUint8(at + 9));
      } else if (kind === 0x21) at += 2;
      else break;
      for (let length = view.getUint8(at); length; length = view.getUint8(at)) at += 1 + length;
      at += 1;
    }
    found.animated = frames > 1;
  },
  webp(view, bytes, found) {
    const chunk = textAt(bytes, 12, 4);
    if (chunk === "VP8X") {
      found.animated = (view.getUint8(20) & 2) !== 0;
      setSize(found, 1 + (view.getUint32(24, true) & 0xffffff), 1 + (view.getUint32(26, true) >>> 8));
    } else if (chunk === "VP8L") {
      const sides = view.getUint32(21, true);
      setSize(found, 1 + (sides & 0x3fff), 1 + ((sides >>> 14) & 0x3fff));
    } else if (chunk === "VP8 ") {
      setSize(found, view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
    }
  },
  bmp(view, bytes, found) {
    setSize(found, Math.abs(view.getInt32(18, true)), Math.abs(view.getInt32(22, true)));
  },
  avif: readExtents,
  heic: readExtents,
};

/** Take the largest of a HEIF file's image spatial extents (ISO/IEC 23008-12, 6.5.3). */
function readExtents(view, bytes, found) {
  found.animated = textAt(bytes, 8, 4) === "avis";
  const end = Math.min(bytes.length - 16, 1 << 16);
  for (let at = 0; at < end; at += 1) {
    if (bytes[at] === 0x69 && textAt(bytes, at, 4) === "ispe") {
      const [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      if (width * height > found.width * found.height) setSize(found, width, height);
    }
  }
}

function setSize(found, width, height) {
  found.width = width;
  found.height = height;
}

function textAt(bytes, at, length) {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
