// VGG's width ratio: the network to scale, where its cost sits, and the runs recorded with it.

const RATIOS = [1, 2, 4, 8, 16];
const SIZES = [32, 64, 96, 224]; // pixels
const NUM_CLASSES = 10;
const LEARNT = 0.5; // a run that ends below has not
const HEADS = [
  ["fixed", "4096 – 4096 – 10, whatever the ratio"],
  ["small", "512 – 512 – 10 (class size)"],
  ["scaled", "4096 ÷ ratio, twice, then 10"],
  ["pooled", "average of each map, then 10"],
];

/** Units of the hidden linear layers. */
const hiddenUnits = (head, ratio) =>
  ({ fixed: [4096, 4096], small: [512, 512], scaled: [4096 / ratio, 4096 / ratio], pooled: [] })[head];

/** The layers of the narrowed network, named as in nn.Sequential, in columns: five blocks, the head. */
function vggColumns(table, ratio, head) {
  const columns = table.map(([convs, channels, lastKernel = 3], block) => {
    const out = Math.floor(channels / ratio);
    const layers = [];
    for (let i = 0; i < convs; i++) {
      const kernel = i === convs - 1 ? lastKernel : 3;
      const padding = Math.floor(kernel / 2);
      layers.push({ name: `${block}.${2 * i}`, kind: "Conv2d", out, kernel, stride: 1, padding });
      layers.push({ name: `${block}.${2 * i + 1}`, kind: "ReLU" });
    }
    layers.push({ name: `${block}.${2 * convs}`, kind: "MaxPool2d", kernel: 2, stride: 2, padding: 0 });
    return { label: `block ${block + 1}`, convs, channels: out, full: channels, layers };
  });
  let next = table.length;
  const named = (layer) => ({ name: String(next++), ...layer });
  const before = head === "pooled" ? [{ kind: "AdaptiveAvgPool2d" }, { kind: "Flatten" }] : [{ kind: "Flatten" }];
  let layers = before.map(named);
  for (const out of hiddenUnits(head, ratio)) {
    layers.push(...[{ kind: "Linear", out }, { kind: "ReLU" }, { kind: "Dropout" }].map(named));
    columns.push({ label: "linear", units: out, layers });
    layers = [];
  }
  layers.push(named({ kind: "Linear", out: NUM_CLASSES }));
  columns.push({ label: head === "pooled" ? "mean, linear" : "linear", units: NUM_CLASSES, layers });
  return columns;
}

/** The columns with their rows and totals, and the totals of all, for one grey image. */
function vggCosts(table, ratio, size, head) {
  const columns = vggColumns(table, ratio, head);
  const rows = walk(columns.flatMap((column) => column.layers), 1, size);
  let start = 0;
  for (const column of columns) {
    column.rows = rows.slice(start, (start += column.layers.length));
    Object.assign(column, totals(column.rows), { side: column.rows[0].shape[1] });
  }
  const part = (kind) => rows.filter((row) => row.kind === kind);
  return {
    columns, rows, ...totals(rows),
    convs: totals(part("Conv2d")), linears: totals(part("Linear")),
  };
}

/** The Python expression that builds this network. */
function vggCode(config, table, ratio, size, head) {
  const name = `d2l.${config.replace("-", "", 1).replaceAll("-", "_")}`;
  const conv = ratio === 1 ? name : `d2l.narrow(${name}, ${ratio})`;
  if (head === "pooled") {
    const channels = Math.floor(table[table.length - 1][1] / ratio);
    return `nn.Sequential(*d2l.vgg(${conv}, hidden=(), image_size=32)[:5], ` +
      `nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(${channels}, ${NUM_CLASSES}))`;
  }
  const [units] = hiddenUnits(head, ratio);
  const hidden = units === 4096 ? "" : `, hidden=(${units}, ${units})`;
  return `d2l.vgg(${conv}${hidden}${size === 224 ? "" : `, image_size=${size}`})`;
}

const colourOf = (column) => (column.convs ? "var(--blue)" : "var(--orange)");

// ---- drawing: the columns to scale, and under each its share of every cost
function drawNetwork(width, { columns, parameters, macs, bytes: memory }, size) {
  const tall = 130, top = 24, left = 2, strip = 62; // strip: height of 100 %
  const pitch = (width - 2 * left) / columns.length;
  const perPixel = tall / size, perChannel = (pitch - 14) / 512, perUnit = tall / 4096;
  const parts = [];
  const box = (x, y, w, h, style) => parts.push(
    `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}" ${style}/>`);
  const say = (x, y, text, more = "") =>
    parts.push(`<text x="${x.toFixed(1)}" y="${y}" ${more}>${text}</text>`);
  const narrow = pitch < 62;
  columns.forEach((column, i) => {
    const middle = left + pitch * (i + 0.5);
    const fill = `fill="${colourOf(column)}" stroke="var(--paper)" stroke-width="0.7"`;
    if (column.convs) {
      const high = Math.max(2, column.side * perPixel);
      const full = column.full * perChannel, wide = Math.max(1.5, column.channels * perChannel);
      const y = top + (tall - high) / 2;
      box(middle - full / 2, y, full, high, `fill="none" stroke="var(--soft)" stroke-dasharray="2 3"`);
      for (let k = column.convs - 1; k >= 0; k--) { // a card for each convolution
        box(middle - wide / 2 + 2.5 * k, y - 2.5 * k, wide, high, fill);
      }
      say(middle, top + tall + 16, narrow ? column.channels : `${column.convs} × ${column.channels}`, 'text-anchor="middle"');
    } else {
      const high = Math.max(2, column.units * perUnit);
      box(middle - 5, top + (tall - high) / 2, 10, high, fill);
      say(middle, top + tall + 16, column.units, 'text-anchor="middle"');
    }
    say(middle, 11, narrow ? (column.convs ? i + 1 : "lin.") : column.label, 'text-anchor="middle" class="soft"');
  });
  const costs = [["parameters", "parameters", parameters], ["MACs", "macs", macs], ["memory of the outputs", "bytes", memory]];
  const firstBase = top + tall + 44 + strip;
  costs.forEach(([label, key, total], k) => {
    const base = firstBase + k * (strip + 40);
    say(left, base - strip - 4, label, 'font-weight="700"');
    parts.push(`<path d="M${left} ${base}H${width - left}" stroke="var(--line)"/>`);
    columns.forEach((column, i) => {
      const share = column[key] / total, x = left + pitch * i + 4, high = share * strip;
      box(x, base - high, pitch - 8, high, `fill="${colourOf(column)}"`);
      const text = share >= 0.005 ? percent(share) : "<1 %";
      say(x + (pitch - 8) / 2, (base + 14).toFixed(0), escaped(text), 'text-anchor="middle"');
    });
  });
  return { height: firstBase + 2 * (strip + 40) + 20, markup: parts.join("") };
}

const lastOf = (run) => run.accuracy[run.accuracy.length - 1];
const learnt = (run) => lastOf(run) >= LEARNT;

/** The runs of one network, and the mean by epoch of those that learnt. */
function runsOf(runs, { config, ratio, size, head }) {
  const own = runs.filter((run) => run.config === config && run.ratio === ratio && run.size === size && run.heads.includes(head));
  const good = own.filter(learnt);
  const epochs = Math.max(0, ...good.map((run) => run.accuracy.length));
  const mean = Array.from({ length: epochs }, (_, i) => {
    const there = good.filter((run) => run.accuracy.length > i);
    return there.reduce((sum, run) => sum + run.accuracy[i], 0) / there.length;
  });
  return { own, mean };
}

/** What its runs reached, in words; one that never learnt is named and left out of the mean. */
function resultOf(name, size, own, mean) {
  if (!own.length) return `No run of ${name} at ${size} px with this head is recorded, and none is guessed.`;
  const last = own.filter(learnt).map(lastOf), silent = own.length - last.length;
  const failed = silent ? ` ${silent} of n = ${own.length} ended below ${LEARNT}${last.length ? " and is not in the mean" : ""}.` : "";
  if (!last.length) return `${name} with this head:${failed}`;
  const seeds = last.length > 1
    ? ` (mean of ${silent ? last.length : `n = ${last.length}`} seeds, from ${Math.min(...last).toFixed(3)} to ${Math.max(...last).toFixed(3)}).`
    : ` (${silent ? "1 seed" : "n = 1 seed"}).`;
  return `${name} with this head: test accuracy ${mean[mean.length - 1].toFixed(3)} after ${mean.length} epochs on Fashion-MNIST${seeds}${failed}`;
}

/** Accuracy by epoch: this network's runs thin and their mean bold, the other ratios' means ghosted.
    The axis is that of the runs that learnt; another one runs along its foot. */
function drawCurves(width, runs, state) {
  const height = 210, left = 44, right = 62, top = 12, bottom = 36;
  const all = runs.filter(learnt).flatMap((run) => run.accuracy);
  const least = Math.floor(20 * Math.min(...all, 0.88)) / 20, most = Math.ceil(50 * Math.max(...all, 0.9)) / 50;
  const step = most - least > 0.25 ? 0.1 : 0.05;
  const epochs = Math.max(1, ...runs.map((run) => run.accuracy.length));
  const x = (epoch) => left + ((epoch - 1) / Math.max(1, epochs - 1)) * (width - left - right);
  const y = (value) => top + ((most - Math.max(value, least)) / (most - least)) * (height - top - bottom);
  const line = (values, style) => `<polyline fill="none" points="${values.map((v, i) => `${x(i + 1).toFixed(1)},${y(v).toFixed(1)}`).join(" ")}" ${style}/>`;
  const parts = [];
  for (let tick = least; tick <= most + 1e-9; tick += step) {
    parts.push(`<path d="M${left} ${y(tick).toFixed(1)}H${width - right}" stroke="var(--line)"/>`);
    parts.push(`<text x="${left - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end" class="soft">${tick.toFixed(2)}</text>`);
  }
  for (let epoch = 1; epoch <= epochs; epoch++) {
    parts.push(`<text x="${x(epoch).toFixed(1)}" y="${height - bottom + 17}" text-anchor="middle" class="soft">${epoch}</text>`);
  }
  parts.push(`<text x="${x(1)}" y="${height - 3}" class="soft">epoch</text>`);
  const ends = [];
  for (const ratio of RATIOS) {
    const { own, mean } = runsOf(runs, { ...state, ratio });
    const current = ratio === state.ratio;
    if (!mean.length) continue;
    if (current) own.forEach((run) => parts.push(line(run.accuracy, `stroke="var(--orange)" stroke-width="1" opacity="0.6"`)));
    parts.push(line(mean, current ? `stroke="var(--orange)" stroke-width="3"` : `stroke="var(--soft)" stroke-width="1.2" opacity="0.55"`));
    ends.push({ y: y(mean[mean.length - 1]), at: x(mean.length), text: `ratio ${ratio}`, current });
  }
  ends.sort((a, b) => a.y - b.y).forEach((end, i) => { // labels keep 13 units apart
    if (i) end.y = Math.max(end.y, ends[i - 1].y + 13);
    const style = end.current ? 'font-weight="700"' : 'class="soft"';
    parts.push(`<text x="${end.at + 6}" y="${(end.y + 4).toFixed(1)}" ${style}>${end.text}</text>`);
  });
  return { height, markup: parts.join("") };
}

// ---- the widget
function render({ model, el }) {
  const root = frame(el, "VGG’s width: slide the ratio");
  add(root, "p", { class: "d2l-note" },
    "Every block’s channels are divided by the ratio. Watch where parameters, work and memory go. Boxes are as high as the maps and as wide as their channels; the dashed outline is the full width; each further convolution is a card behind. Blue: convolutions; orange: linear layers.");
  const bar = toolbar(root);
  slider(bar, model, "ratio", { label: "width ratio", values: RATIOS, text: (ratio) => (ratio === 1 ? "1 (full width)" : `÷ ${ratio}`) });
  choice(bar, model, "config", { label: "network", options: Object.keys(model.get("tables")) });
  slider(bar, model, "size", { label: "image", values: SIZES, text: (size) => `${size} px` });
  choice(bar, model, "head", { label: "head", options: HEADS });
  const show = facts(root);
  const sentence = add(root, "p", {});
  const network = drawing(root, 640, 360, "");
  const code = add(add(root, "div", { class: "d2l-code" }), "code");
  copyButton(code.parentElement, code, "Copy this line");
  const fill = folded(root, "Every layer of this network");
  add(root, "p", { class: "d2l-title" }, "What it learns");
  const curves = drawing(root, 640, 210, "");
  const learned = add(root, "p", {});
  const recorded = button(root, "Show the recorded form (32 px, head of 512)", () => put(model, { size: 32, head: "small" }));
  const fillRuns = folded(root, "Every recorded run of this network");
  const say = speaker(root);

  let width = 640;
  function draw() {
    const state = Object.fromEntries(["config", "ratio", "size", "head"].map((name) => [name, model.get(name)]));
    const { config, ratio, size, head } = state;
    const table = model.get("tables")[config], batch = model.get("batch_size");
    const costs = vggCosts(table, ratio, size, head);
    const inLinears = costs.linears.parameters / costs.parameters;
    const name = `${config}${ratio === 1 ? "" : `/${ratio}`}`;
    show([
      ["parameters", whole(costs.parameters), `${short(costs.convs.parameters)} in convolutions, ${short(costs.linears.parameters)} in linear layers`],
      ["MACs for an image", short(costs.macs), `${percent(costs.convs.macs / costs.macs)} in convolutions`],
      [`outputs of ${batch} images`, bytes(batch * costs.bytes), "kept for the backward pass"],
      ["weights", bytes(BYTES_PER_NUMBER * costs.parameters), "float32"],
    ]);
    const heaviest = (key) => costs.columns.reduce((a, b) => (b[key] > a[key] ? b : a));
    const place = (key) => {
      const column = heaviest(key);
      const nth = costs.columns.filter((c) => c.units).indexOf(column) + 1;
      return `${column.convs ? column.label : `linear layer ${nth}`} (${percent(column[key] / costs[key])})`;
    };
    sentence.textContent = `In ${name} at ${size} px most parameters sit in ${place("parameters")}, most work in ${place("macs")}, most memory in ${place("bytes")}.`;
    const picture = drawNetwork(width, costs, size);
    network.setAttribute("viewBox", `0 0 ${width} ${picture.height}`);
    network.setAttribute("aria-label", `${name} drawn to scale. ${sentence.textContent}`);
    rewrite(network, picture.markup);
    code.textContent = vggCode(config, table, ratio, size, head);
    fill(["layer", "kind", "output", "parameters", "MACs", "outputs", "receptive field"], () => costs.rows.map((row) =>
      [row.name, row.kind, shapeText(row.shape), whole(row.parameters), whole(row.macs), bytes(row.bytes), row.field[0]]));

    const runs = [...model.get("runs"), ...model.get("own_runs")];
    const { own, mean } = runsOf(runs, state);
    const alike = runs.filter((run) => RATIOS.some((other) => runsOf([run], { ...state, ratio: other }).own.length));
    curves.style.display = alike.length ? "" : "none";
    if (alike.length) {
      const chart = drawCurves(width, alike, state);
      curves.setAttribute("viewBox", `0 0 ${width} ${chart.height}`);
      rewrite(curves, chart.markup);
    }
    learned.textContent = resultOf(name, size, own, mean);
    curves.setAttribute("aria-label", `Test accuracy by epoch. ${learned.textContent}`);
    recorded.hidden = own.length > 0 || !runsOf(runs, { ...state, size: 32, head: "small" }).own.length;
    const epochs = Math.max(0, ...own.map((run) => run.accuracy.length));
    fillRuns(["seed", ...Array.from({ length: epochs }, (_, i) => `epoch ${i + 1}`)], () => own.map((run) => [run.seed, ...run.accuracy.map((a) => a.toFixed(4))]));
    say(`${name}: ${short(costs.parameters)} parameters, ${percent(inLinears)} in linear layers; ${short(costs.macs)} MACs. ${learned.textContent}`);
  }
  watch(model, ["config", "ratio", "size", "head", "runs", "own_runs"], draw);
  new ResizeObserver(() => {
    const now = Math.max(280, Math.min(720, root.clientWidth - 32));
    if (Math.abs(now - width) > 4) { width = now; draw(); }
  }).observe(root);

  whenLive(model, () => {
    const live = toolbar(root);
    const train = button(live, "Train this one", () => {
      put(model, { progress: "starting …" });
      model.send({ kind: "train" });
    });
    const progress = add(live, "output");
    watch(model, ["progress"], () => {
      const text = model.get("progress");
      progress.textContent = text;
      train.disabled = text.endsWith("…");
    });
  });
}

export { vggCosts, vggCode };
export default { render };
