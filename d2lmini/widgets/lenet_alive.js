// LeNet in the page: a pad to draw on, every layer as a picture, any number's arithmetic.

// ---- the pad
/** Grows `cover`, how much of each pixel a stroke has touched (0 to 1), by a line of dabs. */
function dab(cover, [x0, y0], [x1, y1], brush) {
  const steps = Math.max(1, Math.ceil(4 * Math.hypot(x1 - x0, y1 - y0)));
  for (let s = 0; s <= steps; s++) {
    const x = x0 + (s / steps) * (x1 - x0), y = y0 + (s / steps) * (y1 - y0), far = brush / 2 + 0.5;
    for (let r = Math.max(0, Math.floor(y - far)); r <= Math.min(SIDE - 1, y + far); r++) {
      for (let c = Math.max(0, Math.floor(x - far)); c <= Math.min(SIDE - 1, x + far); c++) {
        const share = Math.min(1, Math.max(0, far - Math.hypot(c + 0.5 - x, r + 0.5 - y)));
        cover[r * SIDE + c] = Math.max(cover[r * SIDE + c], share);
      }
    }
  }
}

const painted = (greys, cover, ink) => greys.map((grey, i) => Math.round(grey + (ink - grey) * cover[i]));

// ---- drawing
/** Where the maps of a layer, or other maps, stand on a canvas: one pixel to a number. */
function layout(shape, across = shape[0], gap = shape[2] > 20 ? 2 : 1) {
  const [maps, rows, columns] = shape.length === 3 ? shape : [1, shape[0] / across, across];
  if (shape.length !== 3) across = 1;
  return {
    maps, rows, columns, across, gap,
    width: across * (columns + gap) - gap, height: Math.ceil(maps / across) * (rows + gap) - gap,
  };
}
// of each layer: maps side by side, or a vector's numbers
const WIDE = [1, 6, 6, 6, 8, 8, 8, 40, 40, 28, 28, 10, 10], NARROW = [1, 3, 3, 6, 8, 8, 8, 20, 20, 21, 21, 10, 10];

function spot({ rows, columns, across, gap }, cell) {
  const map = Math.floor(cell / (rows * columns));
  return [
    (map % across) * (columns + gap) + (cell % columns),
    Math.floor(map / across) * (rows + gap) + (Math.floor(cell / columns) % rows),
  ];
}

function cellAt({ maps, rows, columns, across, gap }, x, y) {
  const left = Math.min(across - 1, Math.max(0, Math.floor(x / (columns + gap))));
  const top = Math.max(0, Math.floor(y / (rows + gap)));
  const c = Math.min(columns - 1, Math.max(0, Math.floor(x - left * (columns + gap))));
  const r = Math.min(rows - 1, Math.max(0, Math.floor(y - top * (rows + gap))));
  return (Math.min(maps - 1, top * across + left) * rows + r) * columns + c;
}

const opaque = 255 << 24;
const GREY = Uint32Array.from({ length: 256 }, (_, i) => opaque | (i << 16) | (i << 8) | i);

/** The theme's blue, paper and orange as 257 colours from low to high. */
function palette(root) {
  const style = getComputedStyle(root), canvas = document.createElement("canvas");
  canvas.width = 257; canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const gradient = context.createLinearGradient(0.5, 0, 256.5, 0);
  ["--blue", "--paper", "--orange"].forEach((name, i) => gradient.addColorStop(i / 2, style.getPropertyValue(name).trim()));
  context.fillStyle = gradient;
  context.fillRect(0, 0, 257, 1);
  return new Uint32Array(context.getImageData(0, 0, 257, 1).data.buffer);
}

function paint(canvas, plan, values, colours, low, high) {
  const { rows, columns, width, height } = plan, last = colours.length - 1;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer), factor = last / (high - low);
  for (let i = 0; i < values.length; i += columns) {
    const [x, y] = spot(plan, i), start = y * width + x;
    for (let c = 0; c < columns; c++) {
      pixels[start + c] = colours[Math.max(0, Math.min(last, Math.round((values[i + c] - low) * factor)))];
    }
  }
  context.putImageData(image, 0, 0);
}

const framed = (x, y, width, height, grow = 0) => ["halo", "mark"].map((name) =>
  `<rect class="${name}" x="${x - grow}" y="${y - grow}" width="${width + 2 * grow}" height="${height + 2 * grow}"/>`).join("");

/** Frames around what a box of rows and columns holds of each of the maps. */
function boxes(plan, box, maps) {
  if (!box) return framed(0, 0, plan.width, plan.height);
  const [top, left, bottom, right] = box.map((side, k) => Math.max(0, Math.min(side, (k % 2 ? plan.columns : plan.rows) - 1)));
  return maps.map((map) => {
    const [x, y] = spot(plan, map * plan.rows * plan.columns);
    return framed(x + left, y + top, right - left + 1, bottom - top + 1);
  }).join("");
}

function render({ model, el }) {
  const classes = model.get("classes"), labels = model.get("labels");
  const [mean, std] = [model.get("mean"), model.get("std")];
  const matrices = unpack(model.get("weights"));
  const view = model.get("images"), bytesOf = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const picture = (i) => Array.from(bytesOf.subarray(784 * i, 784 * (i + 1)));
  const truth = () => labels[model.get("image")];

  const root = frame(el, "LeNet at work: draw, and watch every layer answer");
  add(root, "p", {}, `Draw a garment with mouse, finger or pen, or change a picture. All ${whole(matrices.reduce((sum, { length }) => sum + length, 0))} trained weights are in this page, and each layer answers as you draw. Click any number to see how it comes about.`);
  const top = add(root, "div", { class: "lenet-top" });
  const left = add(top, "div"), right = add(top, "div");
  const plate = (parent, attributes) => {
    const box = add(parent, "div", { "data-lm-suppress-shortcuts": "true", ...attributes });
    return { box, canvas: add(box, "canvas", { "aria-hidden": "true" }), over: add(box, "svg", { "aria-hidden": "true", preserveAspectRatio: "none" }) };
  };

  const pad = plate(left, { class: "lenet-plate lenet-pad", tabindex: 0, role: "application", "aria-label": "Drawing pad of 28 × 28 pixels. Arrow keys move the cursor, Space or Enter paints, Shift with an arrow key paints along." });
  pad.over.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
  const tools = toolbar(left);
  tick(tools, model, "eraser", { label: "Eraser" });
  const choose = (i) => put(model, { image: i, pixels: i < 0 ? Array(784).fill(0) : picture(i) });
  button(tools, "Clear", () => choose(-1));
  const restore = button(tools, "Restore", () => choose(model.get("image")));
  slider(tools, model, "brush", { label: "Brush", values: [1, 2, 3, 4], text: (n) => `${n} pixel${n > 1 ? "s" : ""}` });
  slider(tools, model, "ink", { label: "Ink", values: [20, 40, 60, 80, 100], text: (n) => `${n} % white` });
  add(left, "p", { class: "d2l-note" }, "Keyboard: arrows move, Space or Enter paints, Shift with an arrow paints along.");

  const pictures = add(right, "fieldset", { class: "lenet-pictures" });
  add(pictures, "legend", {}, "Test images, two of each class");
  const group = newId("pictures");
  const order = [0, 1].flatMap((which) => classes.map((_, k) => 2 * k + which));
  const radios = [];
  for (const i of order) {
    const label = add(pictures, "label", { title: classes[labels[i]] });
    radios[i] = add(label, "input", { type: "radio", name: group, "aria-label": `${classes[labels[i]]} ${(i % 2) + 1}`, "data-lm-suppress-shortcuts": "true" });
    radios[i].addEventListener("change", () => choose(i));
    add(label, "canvas", { "aria-hidden": "true" });
  }
  const said = add(right, "p", { class: "lenet-said" });
  const bars = add(right, "div", { class: "lenet-bars" });
  const rows = classes.map((name) => ({
    name: add(bars, "span", {}, name), fill: add(add(bars, "span", { class: "bar", "aria-hidden": "true" }), "i"), share: add(bars, "span", { class: "share" }),
  }));
  const note = add(right, "p", { class: "d2l-note" });

  add(root, "p", { class: "d2l-note" }, "Every layer, live. Sums are blue where negative and orange where positive, in full colour from 6 on; after a sigmoid black is 0 and white is 1. Choose a number by a click, or with the arrow keys and Page Up and Page Down. Maps, rows and columns count from 0.");
  const walk = add(root, "div", { class: "lenet-walk" });
  const lens = add(walk, "div", { class: "lenet-lens" }), glass = add(lens, "div", { class: "lenet-glass", role: "region", "aria-label": "Arithmetic of the chosen number", tabindex: 0 });
  choice(glass, model, "layer", {
    label: "Layer", options: LAYERS.map(({ name }, i) => [i, name]),
    onChange: (layer) => ({ cell: middle(layer) }),
  });
  const heading = add(glass, "p"), factors = add(glass, "div");
  const seen = ["seen", "× weights", "= products"].map((text) => ({ label: add(factors, "span", {}, text), canvas: add(add(factors, "div", { class: "lenet-plate" }), "canvas", { "aria-hidden": "true" }) }));
  const lines = add(glass, "div");
  const fillProducts = folded(glass, "All its products"), products = glass.querySelector("details");
  const strips = LAYERS.map(({ name, shape }, layer) => {
    const row = add(walk, "div", { class: "lenet-row" }), head = add(row, "p");
    add(head, "b", {}, name);
    add(head, "span", {}, shape.join(" × "));
    const value = add(head, "span");
    const strip = { ...plate(row, { class: `lenet-plate lenet-strip${layer > 10 ? " flat" : ""}`, role: "application" }), row, value };
    strip.box.addEventListener("click", (event) => {
      const rect = strip.box.getBoundingClientRect(), { width, height } = strip.plan;
      const cell = cellAt(strip.plan, ((event.clientX - rect.left) / rect.width) * width, ((event.clientY - rect.top) / rect.height) * height);
      put(model, { layer, cell });
      strip.box.focus({ preventScroll: true });
    });
    strip.box.addEventListener("keydown", (event) => {
      const [dx, dy] = ARROWS[event.key] ?? [0, 0], page = { PageUp: -1, PageDown: 1 }[event.key] ?? 0;
      if (!dx && !dy && !page) return;
      event.preventDefault();
      if (page) {
        const next = Math.max(0, Math.min(LAYERS.length - 1, layer + page));
        put(model, { layer: next, cell: next === layer ? model.get("cell") : middle(next) });
        strips[next].box.focus();
      } else put(model, { cell: neighbour(strip.plan, model.get("cell"), dx, dy) });
    });
    return strip;
  });
  const say = speaker(root);
  const fillShares = folded(root, "The ten logits and probabilities"), fillLayers = folded(root, "The layers in numbers");

  let values, signed = GREY, narrow = false; // until the page knows the theme and the width
  const range = (layer) => (layer === 0 ? [GREY, -mean / std, (1 - mean) / std]
    : ["conv", "linear"].includes(LAYERS[layer].kind) ? [signed, -6, 6] : [GREY, 0, 1]);

  function arrange() {
    strips.forEach((strip, layer) => {
      strip.plan = layout(LAYERS[layer].shape, (narrow ? NARROW : WIDE)[layer]);
      strip.over.setAttribute("viewBox", `0 0 ${strip.plan.width} ${strip.plan.height}`);
      strip.row.style.order = 2 * layer;
      if (!layer) strip.box.style.width = `${100 * (SIDE / ((narrow ? NARROW : WIDE)[1] * (SIDE + 2) - 2))}%`;
    });
  }
  function colour() {
    strips.forEach(({ canvas, plan }, layer) => paint(canvas, plan, values[layer], ...range(layer)));
    paint(pad.canvas, layout([1, SIDE, SIDE]), model.get("pixels"), GREY, 0, 255);
  }
  function glance() {
    const layer = model.get("layer"), cell = Math.min(model.get("cell"), size(layer) - 1);
    const { kind, name, shape } = LAYERS[layer], spoken = where(layer, cell, classes), value = number(values[layer][cell], layer > 11 ? 4 : 3);
    rewrite(heading, `${name}, ${escaped(spoken)}<br><span class="lenet-value">${value}</span>`);
    const sums = ["conv", "pool", "linear"].includes(kind), made = sums ? arithmetic(matrices, values, layer, cell) : null;
    factors.hidden = kind !== "conv" && kind !== "linear";
    products.hidden = !sums;
    if (!factors.hidden) {
      const maps = kind === "conv" ? [made.parts.length, KERNEL, KERNEL] : LAYERS[layer - 1].shape;
      factors.className = `lenet-factors${maps[0] === 1 ? " square" : ""}`;
      const plan = layout(maps, kind === "conv" ? maps[0] : WIDE[layer - 1]);
      const most = (list) => Math.max(1e-9, ...list.map(Math.abs));
      [made.x, made.w, made.products].forEach((list, i) => paint(seen[i].canvas, plan, list, ...(i ? [signed, -most(list), most(list)] : range(layer - 1))));
    }
    rewrite(lines, written({ values, layer, cell, made, greys: model.get("pixels"), mean, std, classes }));
    if (sums && products.open) {
      fillProducts(["place", "number", "weight", "product"],
        () => made.at.map((at, i) => [at < 0 ? "padding" : layer > 7 ? at : place(layer - 1, at).join(", "), number(made.x[i], 4), number(made.w[i], 4), number(made.products[i], 4)]));
    }
    const shown = `${spoken}: ${value}`;
    strips[layer].value.textContent = shown;
    strips[layer].box.setAttribute("aria-label", `${name}, ${shape.join(" × ")}; ${shown}`);
    return shown;
  }
  function mark() {
    const layer = model.get("layer"), cell = Math.min(model.get("cell"), size(layer) - 1), [map] = place(layer, cell);
    const input = layer ? boxes(layout([1, SIDE, SIDE]), field(layer, cell, 0), [0]) : framed(cell % SIDE, Math.floor(cell / SIDE), 1, 1);
    const cursor = model.get("cursor");
    rewrite(pad.over, `${input}<g class="cursor">${framed(cursor % SIDE, Math.floor(cursor / SIDE), 1, 1, 0.3)}</g>`);
    lens.style.order = 2 * layer + 1;
    strips.forEach((strip, i) => {
      const { plan } = strip, chosen = i === layer, [x, y] = spot(plan, chosen ? cell : 0);
      strip.row.classList.toggle("chosen", chosen);
      strip.box.tabIndex = chosen ? 0 : -1;
      if (!chosen) { strip.value.textContent = ""; strip.box.setAttribute("aria-label", `${LAYERS[i].name}, ${LAYERS[i].shape.join(" × ")}`); }
      const same = ["pool", "sigmoid"].includes(LAYERS[layer].kind);
      let frames = "";
      if (chosen) frames = framed(x, y, 1, 1, plan.width > 60 ? 0.6 : 0);
      else if (i === layer - 1 && LAYERS[layer].kind === "sigmoid") frames = framed(...spot(plan, cell), 1, 1, plan.width > 60 ? 0.6 : 0);
      else if (i === layer - 1) frames = boxes(plan, field(layer, cell, i), same ? [map] : Array.from({ length: plan.maps }, (_, m) => m));
      else if (!i) frames = input;
      rewrite(strip.over, frames);
    });
  }
  function answer() {
    const greys = model.get("pixels"), i = model.get("image"), shares = values[12];
    const [text, warning, best] = verdict(classes, shares, greys, i < 0 ? null : picture(i), truth());
    said.textContent = text;
    note.textContent = warning;
    const most = Math.max(...shares);
    rows.forEach(({ name, fill, share }, k) => {
      name.className = shares[k] === most ? "best" : "";
      name.textContent = classes[k] + (k === truth() ? " (true)" : "");
      fill.style.transform = `scaleX(${shares[k]})`;
      share.textContent = percent(shares[k], 1);
    });
    radios.forEach((radio, k) => { radio.checked = k === i; });
    restore.disabled = i < 0 || greys.every((grey, at) => grey === bytesOf[784 * i + at]);
    fillShares(["class", "logit", "probability"], () => classes.map((name, k) => [name, number(values[11][k]), percent(shares[k], 2)]));
    fillLayers(["layer", "shape", "parameters", "smallest", "largest"], () => LAYERS.map(({ name, shape, matrix }, k) =>
      [name, shape.join(" × "), whole(matrix === undefined ? 0 : matrices[matrix].length), number(Math.min(...values[k])), number(Math.max(...values[k]))]));
    return best;
  }

  arrange();
  let drawn = false;
  const tell = (text) => drawn && say(text);
  watch(model, ["pixels", "image"], () => {
    values = forward(matrices, model.get("pixels"), mean, std);
    colour();
    glance();
    const best = answer();
    tell(`The network says ${best}.`);
  });
  watch(model, ["layer", "cell"], () => { mark(); tell(glance()); });
  watch(model, ["cursor"], () => {
    const cursor = model.get("cursor");
    mark();
    tell(`Row ${Math.floor(cursor / SIDE)}, column ${cursor % SIDE}: ${percent(model.get("pixels")[cursor] / 255)} white`);
  });
  drawn = true;
  say(""); // the first is not spoken
  products.addEventListener("toggle", glance);
  radios.forEach((radio, i) => paint(radio.nextSibling, layout([1, SIDE, SIDE]), picture(i), GREY, 0, 255));
  drawOn(pad.box, model);

  const again = () => { signed = palette(root); arrange(); colour(); mark(); glance(); };
  let width;
  new ResizeObserver(() => {
    const known = width;
    width = el.clientWidth;
    narrow = width < 560;
    if (width && (!known || narrow !== known < 560)) again();
  }).observe(el);
  const theme = new MutationObserver(again);
  for (const node of [document.documentElement, document.body]) theme.observe(node, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
  return () => theme.disconnect();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The middle of a layer's first map; the first unit of a vector. */
function middle(layer) {
  const [, rows, columns] = LAYERS[layer].shape;
  return columns ? Math.floor(rows / 2) * columns + Math.floor(columns / 2) : 0;
}

/** The cell one step aside on the canvas, in the next map if need be; at an edge the same. */
function neighbour({ maps, rows, columns, across }, cell, dx, dy) {
  let map = Math.floor(cell / (rows * columns));
  const r = (Math.floor(cell / columns) % rows) + dy, c = (cell % columns) + dx;
  if (c < 0 || c >= columns) {
    if (Math.floor((map + dx) / across) !== Math.floor(map / across)) return cell;
    map += dx;
  }
  if (r < 0 || r >= rows) map += dy * across;
  if (map < 0 || map >= maps) return cell;
  return (map * rows + ((r + rows) % rows)) * columns + ((c + columns) % columns);
}

/** Strokes of mouse, finger or pen, and the keys, write to the pad's pixels: at most one change to
    an animation frame. The kernel, if any, hears at the end of a stroke. */
function drawOn(box, model) {
  let base, cover, last, rect, waiting = 0;
  const begin = () => { base = model.get("pixels"); cover = new Float32Array(SIDE * SIDE); };
  const now = () => painted(base, cover, model.get("eraser") ? 0 : Math.round(2.55 * model.get("ink")));
  const spotOf = (event) => [((event.clientX - rect.left) / rect.width) * SIDE, ((event.clientY - rect.top) / rect.height) * SIDE];
  box.addEventListener("pointerdown", (event) => {
    if (event.button || !event.isPrimary) return;
    box.setPointerCapture(event.pointerId);
    rect = box.getBoundingClientRect();
    begin();
    last = spotOf(event);
    dab(cover, last, last, model.get("brush"));
    model.set("pixels", now());
  });
  box.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const move of event.getCoalescedEvents?.() ?? [event]) {
      const next = spotOf(move);
      dab(cover, last, next, model.get("brush"));
      last = next;
    }
    waiting ||= requestAnimationFrame(() => { waiting = 0; if (last) model.set("pixels", now()); });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    box.addEventListener(end, () => {
      if (!last) return;
      last = null;
      put(model, { pixels: now() });
    });
  }
  box.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key], press = event.key === " " || event.key === "Enter";
    if (!arrow && !press) return;
    event.preventDefault();
    let [x, y] = [model.get("cursor") % SIDE, Math.floor(model.get("cursor") / SIDE)];
    if (arrow) [x, y] = [x + arrow[0], y + arrow[1]].map((side) => Math.max(0, Math.min(SIDE - 1, side)));
    const changes = { cursor: y * SIDE + x };
    if (press || event.shiftKey) {
      begin();
      dab(cover, [x + 0.5, y + 0.5], [x + 0.5, y + 0.5], model.get("brush"));
      changes.pixels = now();
    }
    put(model, changes);
  });
}

export { LAYERS, unpack, forward, field, arithmetic, verdict, dab, painted, layout, cellAt, spot, neighbour };
export default { render };
