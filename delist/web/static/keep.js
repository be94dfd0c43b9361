/** Buttons that copy, save or print what a page shows once. Without scripts they are not there. */

const textOf = (ids) =>
  ids
    .split(" ")
    .map((id) => document.getElementById(id))
    .map((found) => {
      const label = found.closest("dd")?.previousElementSibling?.textContent;
      return label && ids.includes(" ") ? `${label}: ${found.textContent}` : found.textContent;
    })
    .join("\n");

for (const button of document.querySelectorAll("[data-copies]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(textOf(button.dataset.copies));
    button.textContent = button.dataset.done;
  });
}

for (const button of document.querySelectorAll("[data-saves]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const file = new Blob([`${textOf(button.dataset.saves)}\n`], { type: "text/plain" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "note.txt"; // a name that says nothing
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

for (const button of document.querySelectorAll("[data-prints]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
