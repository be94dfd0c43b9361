/**
 * The way out of a public page. Loaded before anything is shown, without `defer`.
 *
 * Leaving takes the page's place in the history, and whoever goes "back" to an earlier page of
 * ours in the same tab is led away at once: a mark in the tab's own storage says so, which goes
 * with the tab. Nothing is stored before somebody leaves.
 */
"use strict";
(function () {
  const MARK = "left";
  let away = "https://www.wikipedia.org/";

  function leave() {
    document.documentElement.hidden = true;
    document.title = "";
    try {
      sessionStorage.setItem(MARK, "1");
    } catch {
      // Storage is off: the history of this page is taken care of all the same.
    }
    window.location.replace(away);
  }

  function cameBackAfterLeaving() {
    try {
      if (sessionStorage.getItem(MARK) !== "1") return false;
      if (performance.getEntriesByType("navigation")[0]?.type === "back_forward") return true;
      sessionStorage.removeItem(MARK); // came anew, of their own will
    } catch {
      // as above
    }
    return false;
  }

  if (cameBackAfterLeaving()) leave();

  document.addEventListener("DOMContentLoaded", () => {
    const link = document.querySelector(".leave");
    if (!link) return;
    away = link.href;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      leave();
    });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) leave();
  });
  // A page that the browser had kept in memory is not shown again.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) leave();
  });
})();
