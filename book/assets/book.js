// Lets the keyboard scroll what is wider than its place: drawings on a phone, and tables. The
// theme does so for code, but looks anew only when the window changes; here also when a folded
// part opens. Figures that answer see to themselves.
(() => {
  const WIDE =
    ".bd-article :is(.table-scroll, :is(p, figure):has(> img, > a > img)):not(.d2l *)";

  function reach() {
    for (const element of document.querySelectorAll(WIDE)) {
      if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    }
  }

  // the theme's buttons, without the inline scripts that a strict host would not run
  document.addEventListener("click", ({ target }) => {
    if (target.closest(".btn-download-pdf-button")) window.print();
    if (target.closest(".btn-fullscreen-button")) window.toggleFullScreen();
  });

  window.addEventListener("load", reach);
  window.addEventListener("resize", reach);
  document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
})();
