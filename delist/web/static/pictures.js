/**
 * Fields in which images are chosen and hashed on this device (`pictures` in `public/parts.html`).
 *
 * A form gets hidden fields `picture` that hold hashes. The file input has no name and is never
 * sent, and nothing here makes a request once `pdq.js` has loaded. No image is shown either:
 * nobody should have to see it again, or have somebody else see it on their screen.
 */

import { HashingError, ImageHasher, MIN_QUALITY } from "./pdq.js";

for (const field of document.querySelectorAll(".pictures")) setUp(field);

function setUp(field) {
  const say = sentencesOf(field);
  const most = Number(field.dataset.most);
  const list = field.querySelector(".chosen");
  const input = field.querySelector("input[type=file]");
  const form = field.closest("form");
  let hasher;
  let working = 0;
  input.hidden = false;
  field.querySelector(".without").hidden = true;
  for (const entry of list.children) makeRemovable(entry);
  const refused = document.createElement("p");
  refused.className = "note bad";
  refused.setAttribute("role", "alert");
  refused.hidden = true;
  list.after(refused);

  input.addEventListener("change", async () => {
    const files = [...input.files];
    input.value = "";
    refuse("");
    if (most === 1) list.replaceChildren();
    for (const file of files) {
      if (list.children.length >= most) refuse(say.too_many);
      else await add(file);
    }
  });
  form.addEventListener("submit", (event) => {
    if (!working) return;
    event.preventDefault();
    refuse(say.wait);
  });

  async function add(file) {
    const entry = document.createElement("li");
    const said = document.createElement("span");
    said.className = "said";
    said.textContent = say.working;
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", say.working);
    entry.append(said, " ", bar);
    list.append(entry);
    working += 1;
    field.setAttribute("aria-busy", "true");
    try {
      hasher ??= await ImageHasher.open();
      const found = await hasher.hash(file);
      if (found.quality < MIN_QUALITY) throw new TooPlain();
      const hidden = document.createElement("input");
      hidden.type = "hidden";
      hidden.name = "picture";
      hidden.value = `${found.hex}:${found.corroboratingHex}`;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = say.remove;
      said.textContent = say.ready;
      bar.remove();
      entry.append(hidden, button);
      makeRemovable(entry);
    } catch (error) {
      entry.remove();
      const code = error instanceof HashingError ? error.code : "failed";
      refuse(error instanceof TooPlain ? say.too_plain : (say[code] ?? say.failed));
    } finally {
      working -= 1;
      if (!working) {
        field.removeAttribute("aria-busy");
        hasher?.close(); // whatever the worker held of a picture goes with it
        hasher = undefined;
      }
    }
  }

  function makeRemovable(entry) {
    const button = entry.querySelector("button");
    button.hidden = false;
    button.addEventListener("click", () => {
      entry.remove();
      refuse("");
      input.focus();
    });
  }

  function refuse(sentence) {
    refused.textContent = sentence;
    refused.hidden = !sentence;
  }
}

class TooPlain extends Error {}

function sentencesOf(field) {
  const found = {};
  for (const code of field.querySelectorAll(".sentences dt")) {
    found[code.textContent] = code.nextElementSibling.textContent;
  }
  return found;
}
