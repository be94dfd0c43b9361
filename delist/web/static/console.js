// What the console adds to its pages: keys, the image while it is held, clocks. Every page can be
// read, and every form sent, without it.
//
// (1) No key acts while somebody types, with a modifier, or in a dialog; all can be switched off.
// (2) The image is asked for by POST, held in memory for this page alone, and shown only while a
//     key or button is held; for who cannot hold one, for some seconds after one press. Whatever
//     takes the attention away veils it again.
// (3) Each look is put on record before it is shown, also at what this page still has.
// (4) What reaches far is asked back: a group, or what is out of results coming back.

const one = (selector) => document.querySelector(selector);
const OFF = "delist-keys-off";

// --- the shift's clock -------------------------------------------------------------------------

const shift = one(".shift");
if (shift) {
  const from = Date.now();
  const before = Number(shift.dataset.minutes);
  const due = Number(shift.dataset.break);
  setInterval(() => {
    const minutes = before + Math.floor((Date.now() - from) / 60000);
    one("#minutes").textContent = minutes;
    const note = one("#break-due");
    if (due && minutes >= due && note.hidden) {
      one("[data-minutes-said]").textContent = minutes;
      note.hidden = false;
    }
  }, 5000);
}

// --- taking back -------------------------------------------------------------------------------

const undo = one("[data-undo]");
if (undo) {
  const until = Date.now() + Number(undo.dataset.undo) * 1000;
  const timer = setInterval(() => {
    const left = Math.ceil((until - Date.now()) / 1000);
    undo.querySelector("[data-left]").textContent = Math.max(0, left);
    if (left <= 0) {
      clearInterval(timer);
      undo.hidden = true;
    }
  }, 500);
}

// --- the image ---------------------------------------------------------------------------------

const viewer = one("#viewer");
const shownS = Number(viewer?.dataset.shownS || 0); // 0: while held
const held = { step: "", busy: false, timer: 0 };
const pictures = new Map();

function veil() {
  held.step = "";
  clearTimeout(held.timer);
  const picture = one("#picture");
  picture.hidden = true;
  picture.removeAttribute("src");
  picture.previousElementSibling.hidden = false;
  if (shownS) for (const button of buttons()) button.setAttribute("aria-pressed", "false");
}

function buttons() {
  return viewer.querySelectorAll("[data-step]");
}

function tell(words) {
  one("#viewer-status").textContent = words;
}

function unveil(step) {
  const picture = one("#picture");
  picture.src = pictures.get(step);
  picture.hidden = false;
  picture.previousElementSibling.hidden = true;
  if (!shownS) return;
  for (const button of buttons()) {
    button.setAttribute("aria-pressed", String(button.dataset.step === step));
  }
  held.timer = setTimeout(() => {
    veil();
    tell("Veiled again.");
  }, shownS * 1000);
}

function ask(address, step) {
  const headers = JSON.parse(document.body.getAttribute("hx-headers"));
  return fetch(address, {
    method: "POST",
    headers: { ...headers, Accept: "image/jpeg, text/plain" },
    body: new URLSearchParams({ step }),
    redirect: "manual",
    cache: "no-store",
  });
}

async function refused(answer) {
  if (answer.type === "opaqueredirect") {
    window.location.reload();
    return true;
  }
  if (answer.ok) return false;
  const plain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
  tell(plain ? await answer.text() : "It could not be shown. Decide from the evidence.");
  return true;
}

// (3)
async function again(step) {
  const answer = await ask(`${viewer.dataset.src}/again`, step);
  if (await refused(answer)) return false;
  one("#exposures").textContent = answer.headers.get("Delist-Seen");
  tell(shownS ? `Shown for ${shownS} s. Press again to veil it.` : "");
  return true;
}

async function load(step) {
  tell("Fetching the image.");
  const answer = await ask(viewer.dataset.src, step);
  if (await refused(answer)) return false;
  pictures.set(step, URL.createObjectURL(await answer.blob()));
  one("#exposures").textContent = answer.headers.get("Delist-Seen");
  one("[data-step=clear]").disabled = false;
  const said = [];
  if (answer.headers.get("Delist-Changed") === "yes") {
    said.push("Other bytes are at the address now than those that this case is about.");
  }
  const frame = Number(answer.headers.get("Delist-Frame"));
  if (answer.headers.get("Delist-Video") === "yes") {
    said.push(
      frame
        ? `It is a video; this is the picture at second ${frame}, which matched.`
        : "It is a video; this is its first picture.",
    );
  } else if (frame) {
    said.push(`It is an animation; this is picture ${frame} of it, which matched (the first is 0).`);
  }
  const how = shownS
    ? `Shown for ${shownS} s. Press again to veil it.`
    : "It shows while you hold the key or button.";
  tell([...said, how].join(" "));
  return true;
}

async function show(step) {
  if (!viewer || held.step === step || (step === "clear" && !pictures.size)) return;
  veil();
  held.step = step;
  if (held.busy) return; // what is under way looks again when it is done
  held.busy = true;
  let ready = false;
  try {
    ready = pictures.has(step) ? await again(step) : await load(step);
  } catch {
    tell("It could not be fetched. Decide from the evidence.");
  }
  held.busy = false;
  const wanted = held.step;
  if (wanted === step) {
    if (ready) unveil(step);
    else held.step = "";
  } else if (wanted) {
    held.step = "";
    show(wanted);
  } else if (shownS) {
    tell("Veiled.");
  }
}

// One press shows, the next one veils: also by a switch, a voice, a screen reader.
function press(step) {
  if (held.step !== step) {
    show(step);
    return;
  }
  veil();
  tell("Veiled.");
}

const look = shownS ? press : show;

function veilOnRelease(button) {
  button.addEventListener("pointerdown", () => show(button.dataset.step));
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) show(button.dataset.step);
  });
  for (const end of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) {
    button.addEventListener(end, veil);
  }
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

function veilOnPress(button) {
  button.addEventListener("click", () => press(button.dataset.step));
  button.addEventListener("keydown", (event) => {
    if (event.repeat) event.preventDefault(); // a key that is held long is one press
  });
}

if (viewer) {
  one("#viewer-buttons").hidden = false;
  for (const button of buttons()) (shownS ? veilOnPress : veilOnRelease)(button);
  window.addEventListener("blur", veil);
  document.addEventListener("visibilitychange", veil);
  document.addEventListener("keyup", (event) => {
    if (!shownS && (event.key === "v" || event.key === "c")) veil();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && held.step) veil();
  });
  window.addEventListener("pagehide", () => {
    veil();
    for (const address of pictures.values()) URL.revokeObjectURL(address);
    pictures.clear();
  });
}

// --- deciding ----------------------------------------------------------------------------------

const decide = one("#decide");

function chosen() {
  return decide?.querySelector("input[type=radio]:checked");
}

function fitGround() {
  const ground = one("#ground");
  const verdict = chosen()?.value;
  if (!ground || !verdict) return;
  for (const group of ground.querySelectorAll("optgroup")) {
    group.disabled = group.dataset.verdict !== verdict;
  }
  const current = ground.selectedOptions[0];
  if (!current?.value || current.parentElement.disabled) {
    ground.value = ground.querySelector(`optgroup[data-verdict="${verdict}"] option`).value;
  }
}

// (4)
function farReaching() {
  const group = one("#group");
  if (group?.checked) {
    return `The same is decided for ${group.dataset.count} near-duplicates that you have not looked at.`;
  }
  if (decide.dataset.lifts && chosen()?.value === "not_ncii") {
    return "The image is out of results now, and comes back to them.";
  }
  return "";
}

function openDialog(dialog) {
  if (viewer) veil();
  dialog.showModal();
}

function asked(words) {
  const dialog = one("#confirm");
  one("#confirm-text").textContent = words;
  dialog.returnValue = "no";
  openDialog(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function guard(form, reasonToAsk) {
  let sure = false;
  form.addEventListener("submit", async (event) => {
    const words = reasonToAsk();
    if (sure || !words) {
      for (const button of form.querySelectorAll("button")) button.disabled = true;
      return;
    }
    event.preventDefault();
    if (await asked(words)) {
      sure = true;
      form.requestSubmit();
    }
  });
}

if (decide) {
  decide.addEventListener("change", (event) => {
    if (event.target.type === "radio") fitGround();
  });
  guard(decide, farReaching);
}
for (const form of document.querySelectorAll("form[data-confirm]")) {
  guard(form, () => form.dataset.confirm);
}
// A page that comes back from the browser's memory may be sent again.
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form button:disabled")) button.disabled = false;
});

// --- keys --------------------------------------------------------------------------------------

const keys = one("#keys");

function click(name) {
  one(`[data-press="${name}"]`)?.click();
}

function choose(number) {
  const radio = decide?.querySelector(`[data-key="${number}"]`);
  if (radio) {
    radio.checked = true;
    radio.focus();
    fitGround();
  }
}

const ACTS = {
  n: () => click("n"),
  v: () => look("veiled"),
  c: () => look("clear"),
  1: () => choose(1),
  2: () => choose(2),
  3: () => choose(3),
  r: () => one("#ground")?.focus(),
  m: () => one("#more")?.focus(),
  g: () => one("#group")?.click(),
  d: () => decide?.requestSubmit(),
  u: () => undo && !undo.hidden && click("u"),
  x: () => click("x"),
  q: () => window.location.assign("/console"),
  "/": () => window.location.assign("/console/search"),
  b: () => one('[data-key="b"]')?.requestSubmit(),
  "?": () => openDialog(keys),
};

// (1)
function types(target) {
  if (target.closest("textarea, select, [contenteditable]")) return true;
  const field = target.closest("input");
  return Boolean(field) && !["radio", "checkbox"].includes(field.type);
}

function switchedOff() {
  try {
    return localStorage.getItem(OFF) === "yes";
  } catch {
    return false;
  }
}

if (keys) {
  const box = one("#keys-on");
  box.checked = !switchedOff();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(OFF, box.checked ? "no" : "yes");
    } catch {
      // Without storage it holds until the page is left.
    }
  });
  const opener = one("[data-keys]");
  opener.hidden = false;
  opener.addEventListener("click", () => openDialog(keys));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && types(event.target) && !one("dialog[open]")) {
      event.target.blur();
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (types(event.target) || one("dialog[open]") || (!box.checked && event.key !== "?")) return;
    const act = ACTS[event.key];
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act();
  });
}
