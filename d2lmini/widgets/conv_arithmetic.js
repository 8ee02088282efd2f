// A window that steps over an image: where it fits, and the sum of products that it makes there.

const RANGES = { kernel: [1, 11], stride: [1, 5], padding: [0, 5], size: [3, 16] };
const FILTERS = ["vertical edge", "horizontal edge", "sharpen", "blur", "ones"];
const TRIES = [ // first layers of the book's networks, on an image that can be drawn
  ["LeNet’s 5×5", { kernel: 5, stride: 1, padding: 2 }],
  ["AlexNet’s 11×11", { kernel: 11, stride: 4, padding: 1, size: 16 }],
  ["VGG’s 3×3", { kernel: 3, stride: 1, padding: 1 }],
  ["NiN’s 1×1", { kernel: 1, stride: 1, padding: 0 }],
];

/** A k × k kernel of small integers, row by row. A single number has no neighbours: it is 1. */
function kernelValues(filter, k) {
  const middle = Math.floor(k / 2), tent = (i) => Math.min(i + 1, k - i);
  return Array.from({ length: k * k }, (_, at) => {
    const i = Math.floor(at / k), j = at % k;
    if (k === 1 || filter === "ones") return 1;
    if (filter === "blur") return tent(i) * tent(j);
    if (filter === "sharpen") return i === middle && j === middle ? k * k : -1;
    return Math.sign(2 * (filter === "vertical edge" ? j : i) - (k - 1));
  });
}

/** The window's products at output row and column: k rows of {x, w, padded}. */
function products(image, kernel, { kernel: k, stride, padding, size }, row, column) {
  return Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_, j) => {
    const y = row * stride + i - padding, x = column * stride + j - padding;
    const padded = y < 0 || x < 0 || y >= size || x >= size;
    return { x: padded ? 0 : image[y * size + x], w: kernel[i * k + j], padded };
  }));
}

const sumOf = (numbers) => numbers.reduce((total, n) => total + n, 0);
const productSum = (rows) => sumOf(rows.flat().map(({ x, w }) => x * w));

/** The output, row by row; empty where the window does not fit. */
function convolve(image, kernel, state) {
  const out = Math.max(0, outputSize(state.size, state));
  return Array.from({ length: out * out }, (_, at) =>
    productSum(products(image, kernel, state, Math.floor(at / out), at % out)));
}

/** For each row (or column) of the padded input: does any window lie on it? */
function covered({ kernel, stride, padding, size }, out) {
  return Array.from({ length: size + 2 * padding }, (_, i) => {
    const last = Math.min(out - 1, Math.floor(i / stride));
    return last >= 0 && i < last * stride + kernel;
  });
}

/** Input cells, the padding left out, that no window covers. */
function unusedCells(state, out) {
  const seen = covered(state, out).slice(state.padding, state.padding + state.size).filter(Boolean).length;
  return state.size ** 2 - seen ** 2;
}

const signed = (n) => String(n).replace("-", "−");
const bracketed = (n) => (n < 0 ? `(${signed(n)})` : String(n));

// ---- drawing
const DIGIT = 6.8; // width of a digit of 12 px
const LEGIBLE = 15; // the smallest cell that is written in; smaller ones are shaded as a picture
const TALL = 22; // the line of a panel's title
const LEAST = 72; // width of a panel, for its title

/** Where the panels lie and how large a cell is: in one line, or the input above the rest. */
function layout(width, { kernel: k, size, padding }, out) {
  const extent = Math.max(size + 2 * padding, k);
  const wide = width >= 520, gap = wide ? 40 : 16;
  const room = (cells, unit) => Math.max(cells * unit, LEAST);
  const right = (unit) => room(k, unit) + gap + room(out, unit);
  let unit = Math.min(34, (width - 2) / extent), rest = 34;
  if (wide) while (unit > 5 && room(extent, unit) + gap + right(unit) > width - 2) unit -= 0.2;
  while (rest > 5 && right(rest) > width - 2) rest -= 0.2;
  if (wide) rest = unit;
  const input = { x: 1, y: TALL, unit };
  const high = extent * unit;
  const top = (cells) => (wide ? TALL + Math.max(0, (high - cells * rest) / 2) : 2 * TALL + high + 14);
  const x = wide ? 1 + room(extent, unit) + gap : 1;
  return {
    wide, gap, input, kernel: { x, y: top(k), unit: rest },
    output: { x: x + room(k, rest) + gap, y: top(out), unit: rest },
    height: 4 + Math.max(input.y + high, top(k) + k * rest, top(out) + out * rest),
  };
}

const f = (n) => n.toFixed(1);

/** A grid of numbers: shaded by size, orange and marked − where negative; written where they fit. */
function gridHtml({ x, y, unit }, columns, values, most, softAt = () => false) {
  const labels = values.map(signed);
  const fits = Math.max(LEGIBLE, Math.max(...labels.map((label) => label.length)) * DIGIT + 2) <= unit;
  const strength = fits ? 0.36 : 0.85; // a number must stand out from its cell
  const shades = new Map(), texts = [];
  let marks = "";
  values.forEach((value, at) => {
    const column = at % columns, left = x + column * unit, top = y + Math.floor(at / columns) * unit;
    const level = Math.ceil((9 * Math.abs(value)) / most) / 9;
    const key = `fill="var(--${value < 0 ? "orange" : "sky"})" fill-opacity="${(strength * level).toFixed(2)}"`;
    if (value) shades.set(key, `${shades.get(key) ?? ""}M${f(left)} ${f(top)}h${f(unit)}v${f(unit)}h${f(-unit)}z`);
    if (!fits) {
      if (value < 0 && unit >= 9) marks += `M${f(left + unit / 2 - 3)} ${f(top + unit / 2)}h6`;
      return;
    }
    // a row is one element, each character at its place: laid out far sooner than an element a number
    const soft = softAt(at);
    if (!column || texts.at(-1).soft !== soft) texts.push({ x: [], y: top + unit / 2 + 4, soft, text: "" });
    const row = texts.at(-1), start = left + (unit - labels[at].length * DIGIT) / 2;
    for (let i = 0; i < labels[at].length; i++) row.x.push(f(start + i * DIGIT));
    row.text += labels[at];
  });
  const rows = values.length / columns;
  let lines = "";
  for (let i = 0; i <= rows; i++) lines += `M${f(x)} ${f(y + i * unit)}h${f(columns * unit)}`;
  for (let i = 0; i <= columns; i++) lines += `M${f(x + i * unit)} ${f(y)}v${f(rows * unit)}`;
  return [...shades].map(([key, d]) => `<path d="${d}" ${key}/>`).join("") +
    `<path d="${lines}" stroke="var(--line)" fill="none"/>` +
    (marks && `<path d="${marks}" stroke="var(--ink)" fill="none"/>`) +
    texts.map((t) => `<text x="${t.x.join(" ")}" y="${f(t.y)}"${t.soft ? ' class="soft"' : ""}>${t.text}</text>`).join("");
}

/** The outline of cells × cells of a panel from row and column on. */
const outline = ({ x, y, unit }, row, column, cells, style) =>
  `<rect x="${f(x + column * unit)}" y="${f(y + row * unit)}" width="${f(cells * unit)}" height="${f(cells * unit)}" fill="none" ${style}/>`;

function drawPanels(place, state, image, kernel, output, out, pattern) {
  const { kernel: k, size, padding } = state;
  const { x, y, unit } = place.input;
  const total = size + 2 * padding;
  const inside = (i) => i >= padding && i < padding + size;
  const seen = covered(state, out);
  const padded = [];
  let unused = "";
  for (let i = 0; i < total; i++) {
    for (let j = 0; j < total; j++) {
      padded.push(inside(i) && inside(j) ? image[(i - padding) * size + j - padding] : 0);
      if (out && !(seen[i] && seen[j])) unused += `M${f(x + j * unit)} ${f(y + i * unit)}h${f(unit)}v${f(unit)}h${f(-unit)}z`;
    }
  }
  const title = (panel, text) => `<text x="${f(panel.x)}" y="${f(panel.y - 8)}" font-weight="700">${text}</text>`;
  const sign = (panel, text) => (place.wide ? `<text x="${f(panel.x - place.gap / 2)}" y="${f(TALL + (total * unit) / 2 + 7)}" text-anchor="middle" style="font-size:20px">${text}</text>` : "");
  const dark = 'stroke="var(--ink)" stroke-width="1.6"';
  return `<defs><pattern id="${pattern}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0v6" stroke="var(--ink)" stroke-width="1.6"/></pattern></defs>` +
    title(place.input, padding ? `input ${size}×${size}, padded to ${total}×${total}` : `input ${size}×${size}`) +
    gridHtml(place.input, total, padded, 9, (at) => !(inside(Math.floor(at / total)) && inside(at % total))) +
    (padding ? outline(place.input, 0, 0, total, 'stroke="var(--soft)" stroke-dasharray="3 3"') : "") +
    outline(place.input, padding, padding, size, dark) +
    `<path d="${unused}" fill="url(#${pattern})" opacity="0.55"/>` +
    sign(place.kernel, "∗") + title(place.kernel, `kernel ${k}×${k}`) +
    gridHtml(place.kernel, k, kernel, Math.max(...kernel.map(Math.abs))) +
    outline(place.kernel, 0, 0, k, 'stroke="var(--accent)" stroke-width="2"') +
    sign(place.output, "=") + title(place.output, out ? `output ${out}×${out}` : "no output") +
    (out ? gridHtml(place.output, out, output, Math.max(1, ...output.map(Math.abs))) + outline(place.output, 0, 0, out, dark) : "");
}

/** The window over the input, its products in it where they fit, and the output's cell. */
function drawWindow({ input, output }, { kernel: k, stride }, rows, row, column) {
  if (!rows) return outline(input, 0, 0, k, 'stroke="var(--bad)" stroke-width="3" stroke-dasharray="7 4"');
  const [top, left] = [row * stride, column * stride];
  const labels = rows.map((terms) => terms.map(({ x, w }) => `${x}·${signed(w)}`));
  let cells = "";
  if (Math.max(...labels.flat().map((label) => label.length)) * 6.2 <= input.unit) {
    const texts = labels.flatMap((terms, i) => terms.map((label, j) =>
      `<text x="${f(input.x + (left + j + 0.5) * input.unit)}" y="${f(input.y + (top + i + 0.5) * input.unit + 4)}" style="font-size:11px">${label}</text>`));
    cells = `<g text-anchor="middle">${outline(input, top, left, k, 'style="fill:var(--paper)"')}${texts.join("")}</g>`;
  }
  const bold = 'stroke="var(--accent)" stroke-width="3"';
  return cells + outline(input, top, left, k, bold) + outline(output, row, column, 1, bold);
}

function sumHtml(rows) {
  const terms = rows.map((row, i) => row.map(({ x, w, padded }, j) =>
    `<span>${i || j ? "+ " : '<i class="conv-lead">+ </i>'}<b${padded ? ' class="conv-padded"' : ""}>${x}</b>·${bracketed(w)}</span>`).join("") +
    `<span>${i === rows.length - 1 ? `= <b>${signed(productSum(rows))}</b>` : ""}</span>`);
  return terms.join("");
}

let figures = 0;

// ---- the widget
function render({ model, el }) {
  const names = ["kernel", "stride", "padding", "size"];
  const pattern = `conv-hatch-${++figures}`;
  let state, out = 0, output = [], place, image, kernel, width = 640;
  const root = frame(el, "A convolution, one window at a time");
  add(root, "p", { class: "d2l-note" },
    "Step the window, or press a cell of the output; then change the kernel, the stride and the padding, and see where the window still fits.");
  const tries = toolbar(root);
  for (const [text, changes] of TRIES) button(tries, text, () => put(model, changes));
  const bar = toolbar(root);
  bar.classList.add("d2l-sliders");
  const labels = { kernel: "kernel k", stride: "stride s", padding: "padding p", size: "input n" };
  for (const name of names) {
    const [least, most] = RANGES[name];
    const values = Array.from({ length: most - least + 1 }, (_, i) => least + i);
    const text = name === "kernel" || name === "size" ? (n) => `${n} × ${n}` : String;
    slider(bar, model, name, { label: labels[name], values, text });
  }
  const choices = toolbar(root);
  choice(choices, model, "filter", { label: "weights", options: FILTERS });
  choice(choices, model, "image", { label: "image", options: Object.keys(model.get("images")) });

  const formula = add(root, "p", { class: "conv-formula" });
  const verdict = add(root, "p", { class: "conv-verdict" });
  const grid = add(root, "div", {
    class: "conv-grid", tabindex: 0, role: "application", "data-lm-suppress-shortcuts": "true",
    "aria-label": "Input, kernel and output: the arrow keys move the window",
  });
  const svg = drawing(grid, 640, 300, "");
  const panels = add(svg, "g"), pane = add(svg, "g");

  const steps = toolbar(root);
  const move = (by) => {
    const count = output.length;
    if (count) put(model, { step: (((now() + by) % count) + count) % count });
  };
  const back = button(steps, "◂ Back", () => move(-1));
  const forth = button(steps, "Step ▸", () => move(1));
  const positions = []; // as many as the output has cells
  const where = (step) => (out > 0 ? `row ${Math.floor(step / out) + 1}, column ${(step % out) + 1}` : "nowhere");
  const walker = slider(steps, model, "step", { label: "window at", values: positions, text: (step) => where(Math.min(step, Math.max(0, out * out - 1))) });
  walker.parentElement.classList.add("conv-walker");
  const told = add(root, "p");
  const scroll = add(root, "div", { class: "conv-scroll", tabindex: 0, role: "region", "aria-label": "The sum of products at this cell" });
  const sum = add(scroll, "div", { class: "conv-sum" });
  add(root, "p", { class: "d2l-note" },
    "Input numbers are a photograph’s grey levels, from 0 (black) to 9, averaged down to the grid. Stronger blue is larger; orange, with a minus sign, is negative. Grey zeros are padding. Each convolution here has one channel and no bias.");
  const fill = folded(root, "The whole output in numbers");
  const say = speaker(root);

  const now = () => Math.min(model.get("step"), Math.max(0, output.length - 1));

  function drawAll() {
    state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    const { kernel: k, stride: s, padding: p, size: n } = state;
    image = [...model.get("images")[model.get("image")][n]].map(Number);
    kernel = kernelValues(model.get("filter"), k);
    out = Math.max(0, outputSize(n, state));
    output = convolve(image, kernel, state);
    place = layout(width, state, out);
    svg.setAttribute("viewBox", `0 0 ${width} ${place.height.toFixed(0)}`);
    rewrite(panels, drawPanels(place, state, image, kernel, output, out, pattern));

    const steps = (n + 2 * p - k) / s, exact = Number.isInteger(steps);
    rewrite(formula, `output side = ⌊(n + 2p − k) / s⌋ + 1 <span>= ⌊(${n} + 2·${p} − ${k}) / ${s}⌋ + 1</span>` +
      ` <span>= ${exact ? "" : "⌊"}${signed(Number(steps.toFixed(2)))}${exact ? "" : "⌋"} + 1</span> <b>= ${signed(outputSize(n, state))}</b>${out ? "" : ", so there is none"}`);
    const unused = unusedCells(state, out);
    verdict.className = `conv-verdict${out ? "" : " d2l-error"}`;
    verdict.textContent = out
      ? `The window stands in ${whole(out)} × ${whole(out)} = ${whole(out * out)} places, at ${k * k} ${k > 1 ? "multiplications" : "multiplication"} each: ${whole(out * out * k * k)} in all. ` +
        (unused ? `${unused} of the ${n * n} input cells lie under no window (hatched).` : "Every input cell lies under a window.")
      : `✕ The ${k}×${k} window does not fit into ${n + 2 * p}×${n + 2 * p}${p ? " with padding" : ""}: take a kernel of at most ${n + 2 * p}, ${p < RANGES.padding[1] ? "more padding or " : ""}a larger input.`;

    positions.length = 0;
    for (let i = 0; i < output.length; i++) positions.push(i);
    walker.max = Math.max(0, output.length - 1);
    for (const control of [walker, back, forth]) control.disabled = output.length < 2;
    const [side, values] = [out, output];
    fill(["row", ...Array.from({ length: side }, (_, j) => `column ${j + 1}`)], () =>
      Array.from({ length: side }, (_, i) => [i + 1, ...values.slice(i * side, (i + 1) * side).map(signed)]));
    drawStep();
  }

  function drawStep() {
    const step = now(), row = out && Math.floor(step / out), column = out && step % out;
    const rows = out ? products(image, kernel, state, row, column) : null;
    rewrite(pane, drawWindow(place, state, rows, row, column));
    walker.value = step;
    walker.setAttribute("aria-valuetext", where(step));
    walker.nextElementSibling.textContent = where(step);
    sum.style.gridTemplateColumns = `repeat(${state.kernel + 1}, max-content)`;
    rewrite(sum, rows ? sumHtml(rows) : "");
    scroll.hidden = !rows;
    const which = state.kernel > 1 ? `sum of ${state.kernel ** 2} products` : "one product";
    const value = rows ? `At ${where(step)} the ${which} is ${signed(output[step])}.` : "";
    told.textContent = value || "No window, no sum.";
    svg.setAttribute("aria-label", `${out ? `Output of ${out} by ${out} cells. ` : ""}${verdict.textContent} ${value}`);
    say(`${out ? `Output ${out} by ${out}. ${value}` : verdict.textContent}`);
  }
  watch(model, [...names, "filter", "image"], drawAll);
  watch(model, ["step"], drawStep);

  grid.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: out, ArrowUp: -out }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(by);
  });
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect(), scale = width / box.width;
    const { x, y, unit } = place.output;
    const row = Math.floor(((event.clientY - box.top) * scale - y) / unit);
    const column = Math.floor(((event.clientX - box.left) * scale - x) / unit);
    if (row >= 0 && column >= 0 && row < out && column < out) put(model, { step: row * out + column });
  });
  new ResizeObserver(() => {
    const wide = Math.max(240, Math.min(720, root.clientWidth - 32));
    if (Math.abs(wide - width) > 2) { width = wide; drawAll(); }
  }).observe(root);
}

export { kernelValues, convolve, outputSize, unusedCells };
export default { render };
