// Boxes that scroll sideways: the keyboard must reach them, and on paper they shrink until they fit.
(() => {
  const paper = 640; // CSS pixels between the margins of A4 and of US letter
  const least = 0.5; // of the size of a listing; longer lines are broken
  function fit() {
    for (const box of document.querySelectorAll("table, pre, math")) {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
      } else if (box.tabIndex === 0) {
        box.removeAttribute("tabindex");
      }
      if (box.tagName === "math") continue;
      const width = box.style.width;
      if (box.tagName === "TABLE") box.style.width = "min-content";
      const needs = box.scrollWidth;
      box.style.width = width;
      const share = Math.min(1, paper / Math.max(needs, 1));
      box.style.setProperty("--on-paper", box.tagName === "PRE" ? Math.max(share, least) : share);
    }
  }
  addEventListener("load", fit);
  addEventListener("resize", fit);
  addEventListener("toggle", fit, true); // a folded part was opened
})();
