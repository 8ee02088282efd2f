// Starts a lecture: sets its formulas, waits for its figures, makes what is too large fit, and lets
// reveal.js show it.
(() => {
  const WIDTH = 1280, HEIGHT = 720;
  const MOST = 1.3, LEAST = 0.6; // times the size of text; lecture.py parts what is longer
  const WIDE = "pre, table, .katex-display";
  const GAP = 28, PADDING = 32; // of a figure's columns, and beside them
  const PAGE_KEYS = ["PageUp", "PageDown"]; // sent by the clickers that teachers hold

  // reveal.js takes every <section> within a slide for a slide. A figure's own becomes a <div>.
  const create = document.createElement.bind(document);
  document.createElement = (tag, ...options) => {
    if (tag !== "section") return create(tag, ...options);
    const box = create("div");
    box.setAttribute("role", "region");
    return box;
  };

  for (const place of document.querySelectorAll(".math")) {
    const displayMode = !place.matches(".inline");
    const output = place.closest(".notes") ? "mathml" : "htmlAndMathml"; // notes have no style
    katex.render(place.textContent, place, { displayMode, throwOnError: false, output });
    if (!displayMode && /^[,.;:?!)]/.test(place.nextSibling?.data ?? "")) {
      place.after("\u2060"); // joins it to its comma
    }
  }

  /** Figures are mounted by widgets.js; one that cannot be leaves its still picture. */
  async function mounted() {
    const missing = ".d2l-widget[data-model]:not(:has(.d2l))";
    const until = performance.now() + 5000;
    while (document.querySelector(missing) && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  // ---------------------------------------------------------------------- fitting

  const overflows = (slide) =>
    slide.scrollHeight > HEIGHT ||
    slide.scrollWidth > WIDTH ||
    [...slide.querySelectorAll(WIDE)].some((e) => !inFigure(e) && tooWide(e));
  const tooWide = (e) => e.scrollWidth > (e.matches("pre") ? e : e.parentElement).clientWidth;

  /** The largest text with which a slide's content fits it. */
  function fit(slide) {
    const fits = (size) => {
      slide.style.setProperty("--fit", size.toFixed(2));
      return !overflows(slide);
    };
    let most = slide.querySelector(".picture, .drawing") ? 1 : MOST, least = LEAST;
    if (fits(most)) return;
    while (most - least > 0.01) {
      const size = (most + least) / 2;
      if (fits(size)) least = size;
      else most = size;
    }
    fits(least);
  }

  // [columns, width]: a figure is a column for pages; on a slide it may stand in two or three
  const SHAPES = [
    [1, 640], [1, 760], [1, 1240], [2, 900], [2, 1240], [2, 1420], [3, 1260], [3, 1500],
  ];

  /** Figures in the shape that makes them largest. They draw anew after a change of width, so all
   *  of them are tried at once, a shape after the other. */
  async function fitFigures(figures) {
    const best = new Map();
    for (const [columns, wide] of SHAPES) {
      for (const figure of figures) shape(figure, columns, wide, 1);
      await frames(2);
      for (const figure of figures) {
        const { size, zoom } = measure(figure, columns, wide);
        if (size > (best.get(figure)?.size ?? 0)) best.set(figure, { size, columns, wide, zoom });
      }
    }
    for (const [figure, { columns, wide, zoom }] of best) shape(figure, columns, wide, zoom);
    await frames(2);
    for (const [figure, { columns, wide, zoom }] of best) { // what a zoom rounds
      const slide = figure.closest("section");
      for (let less = zoom; overflows(slide) && less > zoom - 0.1; less -= 0.01) {
        shape(figure, columns, wide, less);
      }
    }
  }

  function shape(figure, columns, wide, zoom) {
    figure.classList.toggle("in-columns", columns > 1);
    figure.style.setProperty("--parts", columns);
    figure.style.setProperty("--wide", `${wide}px`);
    figure.style.setProperty("--zoom", zoom.toFixed(2));
    // drawings ask this how wide they may be
    const inner = figure.querySelector(".d2l");
    const column = (wide - PADDING - GAP * (columns - 1)) / columns + PADDING;
    if (inner) Object.defineProperty(inner, "clientWidth", { value: column, configurable: true });
  }

  /** How far a figure of this shape can be zoomed, and how large its drawings are then. */
  function measure(figure, columns, wide) {
    const inner = figure.querySelector(".d2l") ?? figure;
    const outside = (e) => e.scrollWidth > e.clientWidth + 2 && !e.matches(".d2l-spoken");
    const parts = [...inner.querySelectorAll("div, p, li")];
    if (columns > 1 && parts.some(outside)) return { size: 0 };
    const top = (e) => e.getBoundingClientRect().top;
    const room = HEIGHT - 44 - (top(figure) - top(figure.closest("section")));
    const zoom = Math.min(1.5, room / (inner.offsetHeight + 4), 1180 / wide);
    return { zoom, size: zoom * Math.min(1, wide / columns / 440) };
  }

  /** Waits for n frames, but not for ever: a tab in the background draws none. */
  async function frames(n) {
    for (let i = 0; i < n; i++) {
      await new Promise((resolve) => {
        requestAnimationFrame(resolve);
        setTimeout(resolve, 500);
      });
    }
  }

  /** Lays every slide out once, as it will be shown. */
  async function fitAll() {
    const figures = [...document.querySelectorAll(".d2l-widget")];
    const withFigure = new Set(figures.map((figure) => figure.closest("section")));
    document.documentElement.classList.add("fitting");
    for (const slide of document.querySelectorAll("section.page")) {
      if (withFigure.has(slide)) continue;
      slide.classList.add("measured");
      fit(slide);
      slide.classList.remove("measured");
    }
    for (const slide of withFigure) slide.classList.add("measured");
    await fitFigures(figures);
    for (const slide of withFigure) slide.classList.remove("measured");
    document.documentElement.classList.remove("fitting");
  }

  // ---------------------------------------------------------------------- keys

  const inFigure = (element) => element?.closest?.(".d2l-widget");

  /** Keys pressed in a figure belong to the figure, but for those of a clicker and Escape. */
  function keyboardCondition(event) {
    return !inFigure(event.target) || PAGE_KEYS.includes(event.key);
  }

  document.addEventListener(
    "keydown",
    (event) => {
      if (!inFigure(event.target)) return;
      if (event.key === "Escape" || PAGE_KEYS.includes(event.key)) document.activeElement.blur();
    },
    true,
  );

  // a figure's links lead to pages of the book, which are not here
  document.addEventListener(
    "click",
    (event) => {
      if (inFigure(event.target) && event.target.closest("a")) event.preventDefault();
    },
    true,
  );

  async function start() {
    const images = [...document.images].map((image) => image.decode().catch(() => {}));
    await Promise.all([mounted(), document.fonts.ready, ...images]);
    for (const figure of document.querySelectorAll(".d2l-widget")) {
      figure.setAttribute("data-prevent-swipe", "");
    }
    await fitAll();
    await Reveal.initialize({
      width: WIDTH, height: HEIGHT, margin: 0, center: false, display: "flex",
      hash: true, navigationMode: "linear", slideNumber: "c/t", transition: "none",
      scrollActivationWidth: null, pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
      keyboardCondition, plugins: [RevealNotes],
    });
    Reveal.on("slidechanged", () => document.activeElement?.blur?.());
    document.documentElement.classList.add("started");
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
