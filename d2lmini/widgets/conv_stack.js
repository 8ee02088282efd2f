// n stacked 3×3 convolutions against the one k×k that sees as much: what each costs.

const DEPTHS = [1, 2, 3, 4, 5];
const CHANNELS = [16, 32, 64, 128, 256, 512];
const SIDES = [7, 14, 28, 56, 112, 224]; // pixels of the map
const NUMBERS = ["no", "one", "two", "three", "four", "five"];

/** Weights, biases and MACs of both, for `channels` in and out on a map of side × side. */
function stackCosts(depth, channels, side) {
  const kernel = 2 * depth + 1; // each 3×3 adds one pixel at either end
  const costs = (layers, k) => {
    const weights = layers * k * k * channels ** 2;
    return { weights, biases: layers * channels, macs: weights * side * side };
  };
  const stack = costs(depth, 3), single = costs(1, kernel);
  return {
    kernel, stack, single,
    saving: 1 - stack.weights / single.weights, // of the single layer's
    more: single.weights / stack.weights - 1, // of the stack's
  };
}

// ---- drawing
const f = (n) => n.toFixed(1);
const square = (x, y, side, style) => `<rect x="${f(x)}" y="${f(y)}" width="${f(side)}" height="${f(side)}" ${style}/>`;
const words = (x, y, text, more = "") => `<text x="${f(x)}" y="${f(y)}" ${more}>${text}</text>`;
const FULL = 'fill="var(--sky)" fill-opacity="0.45" stroke="var(--ink)" stroke-width="0.8"';
const TOP = 'fill="var(--orange)" fill-opacity="0.75" stroke="var(--ink)" stroke-width="0.8"';

/** Seen from the side: rows of numbers, `counts` from the input up, each fed by those below it. */
function pyramid(x, y, width, height, unit, counts, notes) {
  const middle = x + width / 2, rows = counts.length - 1;
  const level = (r) => y + height - unit - (r * (height - unit)) / rows;
  const left = (r) => middle - (counts[r] * unit) / 2;
  let lines = "", boxes = "";
  for (let r = 1; r <= rows; r++) {
    const reach = counts[r - 1] - counts[r] + 1; // numbers below that feed one
    for (let i = 0; i < counts[r]; i++) {
      for (const end of [i, i + reach]) { // the cone's two edges
        lines += `M${f(left(r) + (end === i ? i : i + 1) * unit)} ${f(level(r) + unit)}L${f(left(r - 1) + end * unit)} ${f(level(r - 1))}`;
      }
    }
  }
  counts.forEach((count, r) => {
    for (let i = 0; i < count; i++) boxes += square(left(r) + i * unit, level(r), unit, r === rows ? TOP : FULL);
    boxes += words(left(r) + count * unit + 7, level(r) + unit / 2 + 4, notes[r], 'class="soft"');
  });
  return `<path d="${lines}" stroke="var(--soft)" stroke-width="0.8" fill="none"/>${boxes}`;
}

/** Seen from above: the top number, and what it sees of each layer below, one square in the other. */
function nested(x, y, unit, depth) {
  const kernel = 2 * depth + 1;
  let parts = "";
  for (let r = depth; r >= 0; r--) {
    const side = 2 * r + 1, at = (depth - r) * unit;
    parts += square(x + at, y + at, side * unit, r ? 'fill="var(--sky)" fill-opacity="0.22" stroke="var(--ink)" stroke-width="1.2"' : TOP);
    if (r) parts += words(x + at + 4, y + at + unit / 2 + 4.5, `${side}×${side}`);
  }
  let lines = "";
  for (let i = 1; i < kernel; i++) lines += `M${f(x + i * unit)} ${f(y)}v${f(kernel * unit)}M${f(x)} ${f(y + i * unit)}h${f(kernel * unit)}`;
  return `<path d="${lines}" stroke="var(--line)" stroke-width="0.7"/>${parts}`;
}

const kernelGrid = (x, y, unit, k, colour) => Array.from({ length: k * k }, (_, at) =>
  square(x + (at % k) * unit, y + Math.floor(at / k) * unit, unit, `fill="var(--${colour})" fill-opacity="0.55" stroke="var(--paper)" stroke-width="1.5"`)).join("");

/** Both pyramids and the view from above: side by side, or one above the other. */
function drawFields(width, depth) {
  const kernel = 2 * depth + 1, wide = width >= 560;
  const unit = wide ? Math.min(20, (width / 3 - 82) / kernel) : Math.min(20, (width - 82) / kernel);
  const above = wide ? Math.min(26, (width / 3 - 24) / kernel) : 20;
  const high = 54 + 38 * depth, column = width / 3, top = 26;
  const counts = Array.from({ length: depth + 1 }, (_, r) => kernel - 2 * r);
  const notes = counts.map((_, r) => (r ? `sees ${2 * r + 1}×${2 * r + 1}` : "input"));
  const title = (x, y, text) => words(x, y, text, 'font-weight="700"');
  const step = wide ? 0 : high + 50;
  const at = (i) => (wide ? [i * column, top] : [0, top + i * step]);
  const room = wide ? column - 78 : width - 78; // notes stand to the right
  const [stack, single, plan] = [at(0), at(1), at(2)];
  const markup =
    title(stack[0], stack[1] - 10, depth > 1 ? `${NUMBERS[depth]} 3×3 layers` : "one 3×3 layer") +
    pyramid(...stack, room, high, unit, counts, notes) +
    title(single[0], single[1] - 10, `one ${kernel}×${kernel} layer`) +
    pyramid(...single, room, high, unit, [kernel, 1], ["input", `sees ${kernel}×${kernel}`]) +
    title(plan[0], plan[1] - 10, "the stack from above") +
    nested(plan[0] + 1, plan[1] + 2, above, depth);
  return { markup, height: 8 + (wide ? top + Math.max(high, kernel * above) : plan[1] + kernel * above) };
}

/** The weights as the kernels' own cells, each standing for C × C of them. */
function drawWeights(width, depth) {
  const kernel = 2 * depth + 1, top = 26;
  const wide = width >= 480;
  const half = wide ? width / 2 : width;
  const unit = Math.min(18, (half - 14) / (depth * 3.6), (half - 14) / kernel);
  const across = Math.max(1, Math.min(depth, 3)), rows = Math.ceil(depth / across);
  const stackHigh = rows * 3.6 * unit;
  let markup = words(0, 14, `${depth} × 3 × 3 = ${9 * depth} cells`, 'font-weight="700"');
  for (let i = 0; i < depth; i++) {
    markup += kernelGrid((i % across) * 3.6 * unit, top + Math.floor(i / across) * 3.6 * unit, unit, 3, "sky");
  }
  const [x, y] = wide ? [half, top] : [0, top + stackHigh + 28];
  markup += words(x, y - 12, `${kernel} × ${kernel} = ${kernel ** 2} cells`, 'font-weight="700"') + kernelGrid(x, y, unit, kernel, "orange");
  return { markup, height: 6 + (wide ? top + Math.max(stackHigh, kernel * unit) : y + kernel * unit) };
}

// ---- the widget
function render({ model, el }) {
  const root = frame(el, "A stack of 3×3 convolutions, or one large kernel?");
  add(root, "p", { class: "d2l-note" },
    "Stack layers and find the single kernel that sees as much. Which of the two costs less, and by how much?");
  const bar = toolbar(root);
  bar.classList.add("d2l-sliders");
  slider(bar, model, "depth", { label: "3×3 layers", values: DEPTHS });
  slider(bar, model, "channels", { label: "channels C", values: CHANNELS });
  slider(bar, model, "size", { label: "map", values: SIDES, text: (side) => `${side} × ${side}` });
  const verdict = add(root, "p", {});
  add(root, "p", { class: "stack-head" }, "What one number of the output sees");
  const fields = drawing(root, 640, 240, "");
  add(root, "p", { class: "d2l-note" }, "From the side, each row is a layer; the text beside it says how much of the input each number sees. From above, the squares are what the last number sees of each layer below it, out to the input.");
  add(root, "p", { class: "stack-head" }, "What it costs");
  const weights = drawing(root, 640, 160, "");
  const cell = add(root, "p", { class: "d2l-note" });
  const base = add(root, "p", {});
  const fill = folded(root, "Both in numbers", true);
  const say = speaker(root);

  let width = 640;
  function draw() {
    const [depth, channels, size] = ["depth", "channels", "size"].map((name) => model.get(name));
    const { kernel, stack, single, saving, more } = stackCosts(depth, channels, size);
    const name = `${kernel}×${kernel}`, k2 = kernel ** 2, [less, extra] = [saving, more].map((share) => percent(share).replace(" ", "\u00a0"));
    verdict.textContent = depth === 1
      ? "One 3×3 layer is one 3×3 layer. Add a second, and the last number sees 5×5."
      : `${capital(NUMBERS[depth])} 3×3 layers see ${name}, just as one ${name} layer does, with ${9 * depth}C² weights instead of ${k2}C²: ${less} fewer, and ${depth} ReLUs instead of 1.`;
    cell.textContent = `A cell is one weight for each pair of channels: C² = ${channels}² = ${whole(channels ** 2)} weights.`;
    base.textContent = depth === 1 ? "" :
      `Mind what the percentage is of. The stack saves 1 − ${9 * depth}/${k2} = ${less} of the ${name}; the ${name} needs ${k2}/${9 * depth} − 1 = ${extra} more than the stack. ` +
      (more < 1 ? `It is one gap seen from two ends, and ${extra} is not the saving` : `It is one gap seen from two ends: nobody can save ${extra}`) +
      (depth === 3 ? ", though you will meet it quoted as such." : ".");
    for (const [svg, { markup, height }, label] of [
      [fields, drawFields(width, depth), `${depth} stacked 3×3 layers and one ${name} layer both see ${name} of the input.`],
      [weights, drawWeights(width, depth), `${9 * depth} cells of weights in the stack, ${k2} in the single kernel.`],
    ]) {
      svg.setAttribute("viewBox", `0 0 ${width} ${height.toFixed(0)}`);
      svg.setAttribute("aria-label", label);
      rewrite(svg, markup);
    }
    fill(["quantity", `${depth} × 3×3`, `one ${name}`], () => [
      ["receptive field", name, name],
      ["weights", whole(stack.weights), whole(single.weights)],
      ["biases", whole(stack.biases), whole(single.biases)],
      ["parameters", whole(stack.weights + stack.biases), whole(single.weights + single.biases)],
      [`MACs, ${size} × ${size}`, short(stack.macs), short(single.macs)],
    ]);
    say(`${verdict.textContent} ${whole(stack.weights)} weights against ${whole(single.weights)}.`);
  }
  watch(model, ["depth", "channels", "size"], draw);
  new ResizeObserver(() => {
    const wide = Math.max(240, Math.min(720, root.clientWidth - 32));
    if (Math.abs(wide - width) > 2) { width = wide; draw(); }
  }).observe(root);
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

export { stackCosts };
export default { render };
