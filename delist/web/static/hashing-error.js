/** What can go wrong when a picture is hashed; said so that it helps, and holds nothing of the file. */

export const MESSAGES = Object.freeze({
  empty: "This file is empty. Please choose another one.",
  unreadable_file:
    "Your device did not let us read this file. If it is kept in the cloud, please download it first.",
  too_large: "This file is larger than 128 MB. A smaller copy of the picture works just as well.",
  too_many_pixels: "This picture is too large for a browser. A smaller copy works just as well.",
  too_small: "This picture is too small to be recognised. Please choose a larger copy.",
  heic:
    "This browser cannot open HEIC pictures. Safari on an iPhone, iPad or Mac can; or send yourself " +
    "the picture as JPEG, which works just as well.",
  unsupported_format: "This browser cannot open this kind of picture. A copy as JPEG or PNG works.",
  video: "This is a video. Here only pictures can be hashed; nothing was done with it.",
  drawing: "This is a drawing (SVG), not a photograph. Please choose the photograph itself.",
  document: "This is a document, not a picture. Please choose the picture itself.",
  not_an_image: "This file is not a picture that we know. Please choose a JPEG or PNG.",
  damaged: "This picture is damaged or not complete, and cannot be opened. Please try another copy.",
  canvas_blocked:
    "Your browser's privacy protection keeps pages from reading pictures, this page too. Please allow " +
    "it to read “canvas” data, or use another browser. The picture stays on your device all the same.",
  unsupported_browser: "This browser is too old to do this on your device. Please use a newer one.",
  out_of_memory: "Your device has too little memory for this picture. A smaller copy works as well.",
  took_too_long: "This took too long and was stopped. A smaller copy of the picture may work.",
  cancelled: "Stopped. Nothing was kept.",
  failed: "This picture could not be hashed. It has not left your device. Please try another copy.",
});

export class HashingError extends Error {
  /** @param {keyof MESSAGES} code */
  constructor(code) {
    super(MESSAGES[code] ?? MESSAGES.failed);
    this.name = "HashingError";
    this.code = code in MESSAGES ? code : "failed";
  }
}
