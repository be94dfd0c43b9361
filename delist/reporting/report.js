"use strict";
(function () {
  var link = document.querySelector(".leave");
  function leave() {
    document.documentElement.hidden = true;
    document.title = "";
    // Takes this page's place in the history, so that "back" does not lead here.
    window.location.replace(link.href);
  }
  link.addEventListener("click", function (event) { event.preventDefault(); leave(); });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") { leave(); } });
  // A page that the browser had kept in memory is not shown again.
  window.addEventListener("pageshow", function (event) { if (event.persisted) { leave(); } });
})();
