// Boxes that scroll sideways: the keyboard must reach them, and on paper they shrink until they fit.
(() => {
  const paper = 640; // CSS pixels between the margins of A4 and of US letter
  const least = 0.5; // of the size of a listing; longer lines are broken
  function inside(box) {
    const contents = document.createRange();
    contents.selectNodeContents(box);
    return contents.getBoundingClientRect().width;
  }
  function fit() {
    if (matchMedia("print").matches) return; // the boxes have shrunk already
    for (const box of document.querySelectorAll("table, pre, math")) {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
      } else if (box.tabIndex === 0) {
        box.removeAttribute("tabindex");
      }
      const width = box.style.width;
      if (box.tagName === "TABLE") box.style.width = "min-content";
      const needs = box.tagName === "math" ? inside(box) : box.scrollWidth;
      box.style.width = width;
      const share = Math.min(1, paper / Math.max(needs, 1));
      box.style.setProperty("--on-paper", box.tagName === "PRE" ? Math.max(share, least) : share);
    }
  }
  addEventListener("load", fit);
  addEventListener("resize", fit);
  addEventListener("toggle", fit, true); // a folded part was opened
})();
