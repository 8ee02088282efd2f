// An Inception block's budget: what each of its four paths gives and costs.

const CHANNELS = ["in_channels", "c1", "c2_reduce", "c2", "c3_reduce", "c3", "c4"];
const IMAGES = { 96: "96 px, as in this book", 224: "224 px, as in the paper" };
const STEP = 8; // of the channel sliders
const PATHS = [
  { name: "1×1", color: "var(--blue)", sliders: [["c1", "gives"]] },
  { name: "3×3", color: "var(--orange)", sliders: [["c2_reduce", "reduces to"], ["c2", "gives"]] },
  { name: "5×5", color: "var(--green)", sliders: [["c3_reduce", "reduces to"], ["c3", "gives"]] },
  { name: "pool", color: "var(--purple)", sliders: [["c4", "gives"]] },
];

// ---- arithmetic

const convolution = (out, kernel) =>
  ({ kind: "Conv2d", name: `${kernel}×${kernel}`, out, kernel, stride: 1, padding: (kernel - 1) / 2 });
const POOL = { kind: "MaxPool2d", name: "3×3 max-pool", kernel: 3, stride: 1, padding: 1 };

/** Costs of the block in `state` (the traits), of each path with and without its 1×1 reduction,
 *  and of one plain convolution to as many channels. */
function budget(state) {
  const cost = (layers) => {
    const rows = walk(layers, state.in_channels, state.side);
    return { rows, channels: rows.at(-1).shape[0], ...totals(rows) };
  };
  const sum = (parts, key) => parts.reduce((total, part) => total + part[key], 0);
  const both = (parts) => ({ parameters: sum(parts, "parameters"), macs: sum(parts, "macs") });
  const first = convolution(state.c1, 1), last = [POOL, convolution(state.c4, 1)];
  const three = convolution(state.c2, 3), five = convolution(state.c3, 5);
  const paths = [
    [first],
    [convolution(state.c2_reduce, 1), three],
    [convolution(state.c3_reduce, 1), five],
    last,
  ].map(cost);
  const straight = [[first], [three], [five], last].map(cost);
  const width = sum(paths, "channels");
  return {
    paths, straight, width,
    block: both(paths),
    unreduced: both(straight),
    plain3: cost([convolution(width, 3)]),
    plain5: cost([convolution(width, 5)]),
  };
}

/** 64, 128, 32, 32 → 2 : 4 : 1 : 1 */
function ratio(counts) {
  const divisor = counts.reduce(function common(a, b) { return b ? common(b, a % b) : a; });
  return counts.map((n) => n / divisor).join(" : ");
}

/** The paper's block with these channels, if any. */
const presetOf = (blocks, state) =>
  blocks.find(({ channels }) => CHANNELS.every((name) => channels[name] === state[name]));

/** The image size from which the block's map comes, if the map is one of GoogLeNet's. */
function imageOf(blocks, state) {
  const candidates = [presetOf(blocks, state) ?? blocks].flat();
  const sizes = Object.keys(blocks[0].sides);
  return sizes.find((size) => candidates.some(({ sides }) => sides[size] === state.side));
}

/** The map's side for another image size: that of the same stage, or for a side of the reader's
 *  own that of the nearest. */
function sideFor(blocks, state, size) {
  const from = imageOf(blocks, state);
  const same = from && [presetOf(blocks, state) ?? blocks].flat().find(({ sides }) => sides[from] === state.side);
  if (same) return same.sides[size];
  const off = ({ sides }) => Math.abs(sides[size] - state.side);
  return blocks.reduce((best, block) => (off(block) < off(best) ? block : best)).sides[size];
}

const code = (s) =>
  `d2l.Inception(${s.in_channels}, ${s.c1}, (${s.c2_reduce}, ${s.c2}), (${s.c3_reduce}, ${s.c3}), ${s.c4})`;

/** With no line break inside a ratio, or between a number and its sign. */
const unbroken = (text) => text.replace(/ (?=[:%×])|(?<=:) /g, "\u00a0");

/** A cost against another in words: "37 % of" or "1.31 times". */
function against(cost, other) {
  const share = cost / other;
  return share < 0.995 ? `${percent(share)} of` : `${three(share)} times`;
}

/** What the present block comes to, in words. */
function verdict(b) {
  const given = b.paths.map((path) => path.channels);
  const { parameters } = b.block;
  const shares = b.paths.map((path) => path.parameters / parameters);
  const dearest = shares.indexOf(Math.max(...shares));
  const saved = b.unreduced.parameters / parameters;
  return [
    `${given.join(" + ")} = ${b.width} channels, ${ratio(given)}, for ${whole(parameters)} parameters: ` +
      `${against(parameters, b.plain3.parameters)} what ${b.width} plain 3×3 filters cost (${whole(b.plain3.parameters)}).`,
    `The ${PATHS[dearest].name} path takes ${percent(shares[dearest])} of them ` +
      `and gives ${percent(given[dearest] / b.width)} of the channels.`,
    saved > 1.005
      ? `Without its two 1×1 reductions the block would cost ${three(saved)} times as much.`
      : `The two 1×1 reductions save nothing here: without them the block would cost ${against(b.unreduced.parameters, parameters)} this.`,
  ].map(unbroken);
}

// ---- drawing

const TEXT = 7; // a character's width at 12 px, rounded up
const box = (x, y, width, height, rest) => `<rect x="${x}" y="${y}" width="${width}" height="${height}" ${rest}/>`;
const words = (x, y, text, rest = "") => `<text x="${x}" y="${y}" ${rest}>${escaped(text)}</text>`;

/** Something that is `top` wide above and `bottom` wide below, centred on x. */
const funnel = (x, y, top, bottom, height, rest) =>
  `<path d="M${x - top / 2} ${y}h${top}L${x + bottom / 2} ${y + height}h${-bottom}z" ${rest}/>`;

const BAR = 190; // where the output's bar begins
const COSTS = BAR + 46; // where the costs hang from
const DEPTH = 190; // the height of 25 weights for each input channel
const HEIGHT = COSTS + DEPTH + 20;

/** The block as pipes, and its costs as columns that hang from the output's channels. */
function picture(state, b, width) {
  return pipes(state, b, width) + columns(state, b, width);
}

function pipes(state, b, width) {
  const lane = width / 4;
  const scale = (lane - 12) / Math.max(...CHANNELS.map((name) => state[name]));
  const inside = state.in_channels * scale;
  let svg = "", at = 0;
  b.paths.forEach((path, i) => {
    const { color } = PATHS[i];
    const x = lane * (i + 0.5), out = path.channels * scale;
    const reduced = path.rows.length > 1 ? path.rows[0].shape[0] : state.in_channels;
    const middle = reduced * scale, isPool = i === 3;
    const tint = `fill="${color}" opacity="0.25"`, solid = `fill="${color}"`;
    // pipes are tinted, layers with weights are solid
    svg += funnel(x, 24, inside, inside, 36, tint);
    if (isPool) svg += box(x - inside / 2, 60, inside, 20, `fill="none" stroke="${color}" stroke-width="2" stroke-dasharray="4 3"`);
    else if (middle !== inside || path.rows.length > 1) svg += funnel(x, 60, inside, middle, 20, solid);
    else svg += funnel(x, 60, inside, inside, 20, tint);
    svg += funnel(x, 80, middle, middle, 38, tint) + funnel(x, 118, middle, out, 20, solid) + funnel(x, 138, out, out, 18, tint);
    const label = (y, text, rest = "") => words(x, y, text, `text-anchor="middle" ${rest}`);
    if (isPool) svg += label(75, lane > 90 ? "3×3 max-pool" : "max-pool", 'class="halo"');
    else if (path.rows.length > 1) svg += label(54, "1×1") + label(96, reduced);
    svg += label(113, isPool ? "1×1" : PATHS[i].name) + label(153, path.channels, 'font-weight="700"');
    // the output's bar has a scale of its own: its whole width is the whole output
    const share = (path.channels / b.width) * width;
    svg += `<path d="M${x - out / 2} 156h${out}C${x + out / 2} 176 ${at + share} 172 ${at + share} ${BAR}h${-share}C${at} 172 ${x - out / 2} 176 ${x - out / 2} 156z" ${tint}/>`;
    svg += box(at, BAR, share, 20, `${solid} stroke="var(--paper)"`);
    if (share > 4 * TEXT + 4) {
      svg += words(at + share / 2, BAR + 15, PATHS[i].name, 'text-anchor="middle" font-weight="700" style="fill:var(--paper)"');
    }
    at += share;
  });
  const side = `${state.side} × ${state.side}`;
  const entry = width > 420 ? `the input: ${state.in_channels} channels of ${side} numbers, to all four paths` : `input: ${state.in_channels} channels, ${side}`;
  const given = b.paths.map((path) => path.channels);
  return box(0.5, 0.5, width - 1, 23, 'fill="var(--surface)" stroke="var(--line)"') +
    words(width / 2, 17, entry, 'text-anchor="middle" font-weight="700"') + svg +
    words(width / 2, BAR + 37, `output: ${b.width} channels, ${ratio(given)}`, 'text-anchor="middle" font-weight="700"');
}

function columns(state, b, width) {
  const perChannel = (cost, channels) => cost.macs / state.side ** 2 / channels; // weights
  const tallest = Math.max(25 * state.in_channels, ...b.paths.map((path) => perChannel(path, path.channels)));
  const scale = DEPTH / tallest;
  let svg = box(0, COSTS, width, 0.5, 'fill="var(--line)"'), labels = "", at = 0;
  b.paths.forEach((path, i) => {
    const { color } = PATHS[i];
    const share = (path.channels / b.width) * width;
    const whole = perChannel(path, path.channels) * scale;
    const last = perChannel(path.rows.at(-1), path.channels) * scale;
    const straight = perChannel(b.straight[i], path.channels) * scale;
    const [x, inner] = [at + 1, Math.max(share - 2, 1)];
    if (path.rows.length > 1 && i < 3) {
      svg += box(x, COSTS, inner, straight, `fill="${color}" fill-opacity="0.1" stroke="${color}" stroke-dasharray="3 3"`);
    }
    svg += box(x, COSTS, inner, last, `fill="${color}"`);
    svg += box(x, COSTS + last, inner, whole - last, `fill="${color}" opacity="0.5"`);
    const long = `${short(path.parameters)} parameters`;
    const cost = share > long.length * TEXT + 4 ? long : short(path.parameters);
    if (share > cost.length * TEXT + 4) labels += words(at + share / 2, COSTS + whole + 14, cost, 'class="halo" text-anchor="middle"');
    at += share;
  });
  for (const kernel of [3, 5]) {
    const y = COSTS + kernel ** 2 * state.in_channels * scale;
    const text = `one plain ${kernel}×${kernel}: ${short(b[`plain${kernel}`].parameters)} parameters`;
    svg += `<path d="M0 ${y}H${width}" stroke="var(--ink)" stroke-width="1.5" stroke-dasharray="7 4"/>`;
    labels += words(2, y + 15, text, 'class="halo"');
  }
  return svg + labels;
}

// ---- the figure

function render({ model, el }) {
  const blocks = model.get("blocks"), most = model.get("most");
  const read = () => Object.fromEntries([...CHANNELS, "side"].map((name) => [name, model.get(name)]));
  const root = frame(el, "What does an Inception block cost?");
  add(root, "p", {}, "Pick one of the paper's nine blocks, then slide the channels of its four paths: what does each path give, and what does it cost?");

  const presets = add(toolbar(root), "div", { role: "group", "aria-label": "The paper's blocks", class: "d2l-control" });
  const presetButtons = blocks.map(({ name, channels, sides }) => [name, button(presets, name, () => {
    put(model, { ...channels, side: sides[imageOf(blocks, read()) ?? "96"] });
  })]);
  const images = add(presets.parentNode, "div", { role: "group", "aria-label": "The image", class: "d2l-control" });
  const imageButtons = Object.keys(blocks[0].sides).map((size) => [size, button(images, IMAGES[size], () => {
    put(model, { side: sideFor(blocks, read(), size) });
  })]);
  const range = (name, from, step) => Array.from({ length: (most[name] - from) / step + 1 }, (_, i) => from + i * step);
  const ends = toolbar(root);
  slider(ends, model, "in_channels", { label: "Input channels", values: range("in_channels", STEP, STEP) });
  slider(ends, model, "side", { label: "Map", values: range("side", 1, 1), text: (n) => `${n} × ${n}` });

  const cards = add(root, "div", { style: "display:grid;row-gap:0.6rem;margin-top:0.6rem" });
  const costs = PATHS.map(({ name, color, sliders }) => {
    const title = name === "pool" ? "Pool, then 1×1" : `${name} path`;
    const card = add(cards, "div", {
      role: "group", "aria-label": title, style: `border-top:4px solid ${color};padding:0.2rem 0.35rem;display:flex;flex-direction:column`,
    });
    add(card, "strong", {}, title);
    for (const [trait, label] of sliders) {
      const input = slider(card, model, trait, { label, values: range(trait, STEP, STEP), text: (n) => `${n}` });
      input.setAttribute("aria-label", `${title} ${label}`);
      input.style.cssText = "order:1;width:100%"; // below its label and value
      input.nextSibling.style.minWidth = "2em";
    }
    card.lastChild.style.marginTop = "auto"; // what the paths give stands in one row
    return add(card, "div", { style: "font-size:0.8rem;font-variant-numeric:tabular-nums" });
  });
  const svg = drawing(root, 640, HEIGHT, "The block as four paths, and what each costs");
  svg.setAttribute("font-size", 12);
  add(root, "p", { class: "d2l-note" }, "Above, a path is as wide as its channels; layers with weights are solid. Below, a column is as wide as the channels that a path gives and as long as the weights behind each of them, so its area is its cost; the paler end is the 1×1 reduction. Dotted: the path without its reduction. Dashed: how far one plain convolution would reach, over the whole width.");
  const said = add(root, "div");
  const bars = add(root, "div", { style: "margin:0.6rem 0" });
  const line = add(root, "div", { class: "d2l-code" });
  const python = add(line, "code");
  copyButton(line, python);
  const fill = folded(root, "The numbers, layer by layer");
  const speak = speaker(root);

  let width = 640;
  const paint = (state = read(), b = budget(state)) => {
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    rewrite(svg, picture(state, b, width));
  };
  const draw = () => {
    const state = read(), b = budget(state);
    paint(state, b);
    const sentences = verdict(b);
    svg.setAttribute("aria-label", `An Inception block. ${sentences[0]}`);
    rewrite(said, `<p><strong>${escaped(sentences[0])}</strong> ${escaped(sentences.slice(1).join(" "))}</p>`);
    const preset = presetOf(blocks, state)?.name, image = imageOf(blocks, state);
    for (const [name, node] of presetButtons) node.setAttribute("aria-pressed", name === preset);
    for (const [size, node] of imageButtons) node.setAttribute("aria-pressed", size === image);
    b.paths.forEach((path, i) => {
      rewrite(costs[i], `<strong>${percent(path.parameters / b.block.parameters)}</strong> of the cost<br>${whole(path.parameters)} parameters<br>${short(path.macs)} MACs`);
    });
    rewrite(bars, comparison(b));
    python.textContent = code(state);
    fill(["layer", "channels", "parameters", "MACs"], () => details(state, b));
    speak(sentences.join(" "));
  };
  watch(model, [...CHANNELS, "side"], draw);
  new ResizeObserver(() => {
    const now = Math.max(240, Math.min(760, Math.round(svg.parentNode.clientWidth - 32)));
    cards.style.gridTemplateColumns = `repeat(${now < 520 ? 2 : 4}, minmax(0, 1fr))`;
    if (now !== width) { width = now; paint(); }
  }).observe(root);
}

/** The block beside its alternatives, as bars of their parameters. */
function comparison(b) {
  const forms = [
    ["this block", b.block, b.paths.map((path, i) => [path.parameters, PATHS[i].color])],
    ["the block without its 1×1 reductions", b.unreduced, b.straight.map((path, i) => [path.parameters, PATHS[i].color])],
    [`one plain 3×3 to ${b.width} channels`, b.plain3],
    [`one plain 5×5 to ${b.width} channels`, b.plain5],
  ];
  const most = Math.max(...forms.map(([, { parameters }]) => parameters));
  return forms.map(([name, { parameters, macs }, parts = [[parameters, "var(--soft)"]]]) => {
    const times = name === "this block" ? "" : `, ${three(parameters / b.block.parameters)} ×`;
    const bar = parts.map(([n, color]) => `<span style="width:${(100 * n) / most}%;background:${color};height:12px"></span>`).join("");
    return `<div style="display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;margin-top:0.35rem"><span>${name}</span>` +
      `<span style="font-variant-numeric:tabular-nums"><strong>${whole(parameters)}</strong> parameters, ${short(macs)} MACs${unbroken(times)}</span></div>` +
      `<div aria-hidden="true" style="display:flex">${bar}</div>`;
  }).join("");
}

/** The folded table: every layer, then the sums. */
function details(state, b) {
  const rows = b.paths.flatMap((path, i) => path.rows.map((row, j) => [
    `${PATHS[i].name} path: ${row.name}`, `${j && row.kind === "Conv2d" ? path.rows[j - 1].shape[0] : state.in_channels} → ${row.shape[0]}`,
    whole(row.parameters), whole(row.macs),
  ]));
  const sums = [
    ["the block", b.block], ["without the 1×1 reductions; the pool keeps its 1×1", b.unreduced],
    ["one plain 3×3", b.plain3], ["one plain 5×5", b.plain5],
  ].map(([name, { parameters, macs }]) => [name, `${state.in_channels} → ${b.width}`, whole(parameters), whole(macs)]);
  const bare = b.width - state.c4 + state.in_channels;
  const last = ["without that 1×1 too, the output would have", `${bare} channels`, "", ""];
  return [...rows, ...sums, last];
}

export { budget, ratio, code, presetOf, imageOf, sideFor };
export default { render };
