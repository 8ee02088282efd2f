// Any of the book's networks, layer by layer, at any image size: what each layer gives and costs.

const BATCH = 128; // images in a training step of the book
const KEEPS_SHAPE = ["ReLU", "Sigmoid", "Tanh", "Dropout", "BatchNorm2d"];
const COSTS = [["parameters", "parameters"], ["macs", "MACs"], ["bytes", "memory"]];

/** The drawing's rows: a layer with the activations that follow it, or an Inception block. */
function groupsOf(layers) {
  const groups = [];
  for (const layer of layers) {
    if (layer.branches) groups.push({ name: layer.name, kind: "Inception", layers: layer.branches.flat() });
    else if (KEEPS_SHAPE.includes(layer.kind) && groups.length) groups.at(-1).layers.push(layer);
    else groups.push({ name: layer.name, kind: layer.kind, layers: [layer] });
  }
  for (const [i, group] of groups.entries()) {
    const { stride } = group.layers[0];
    group.label = labelOf(group);
    group.also = group.kind === "Inception" ? "four branches" :
      [stride > 1 ? `stride ${stride}` : "", ...group.layers.slice(1).map((layer) => `+ ${layer.kind}`)].join(" ");
    // a stage, a block: the layers of one nn.Sequential inside the net
    group.starts = i > 0 && group.name.split(".")[0] !== groups[i - 1].name.split(".")[0] &&
      (group.name.includes(".") || groups[i - 1].name.includes("."));
  }
  return groups;
}

function labelOf({ name, kind, layers }) {
  if (kind === "Inception") {
    const [stage, block] = name.split(".").map(Number);
    return `Inception ${stage + 1}${"abcde"[block]}`; // the paper's name
  }
  const { kernel } = layers[0];
  return `${kind}${kernel ? ` ${kernel}×${kernel}` : ""}`;
}

/** Each group with its rows at this size (none where the walk has stopped before) and their sums. */
function walkGroups(layers, channels, size) {
  const rows = walk(layers, channels, size);
  const byName = new Map(rows.map((row) => [row.name, row]));
  const groups = groupsOf(layers).map((group) => {
    const own = group.layers.map((layer) => byName.get(layer.name)).filter(Boolean);
    const failed = own.find((row) => row.error);
    if (!own.length || failed) return { ...group, rows: own, failed };
    const field = Math.max(...own.map((row) => row.field[0]));
    return { ...group, rows: own, ...totals(own), field, shape: shapeOf(group, own) };
  });
  return { rows, groups, failed: groups.find((group) => group.failed), ...totals(rows) };
}

/** A group's output: its last layer's, or its four branches' side by side. */
function shapeOf(group, rows) {
  const last = rows.at(-1).shape;
  if (group.kind !== "Inception") return last;
  const ends = rows.filter((row) => /\.(b1|b[234]_2)$/.test(row.name));
  return [ends.reduce((sum, row) => sum + row.shape[0], 0), ...last.slice(1)];
}

/** How a layer's numbers come about: {label, words, sum, value, text}, `sum` being plain arithmetic. */
function arithmetic(layer, row) {
  const [channels, side] = row.input.shape;
  const { kernel: k, stride: s, padding: p } = layer;
  const lines = [];
  const line = (label, words, sum, value, text = whole(value)) => lines.push({ label, words, sum, value, text });
  if (k) {
    const [open, close, words] = layer.ceil ? ["⌈", "⌉", "rounded up"] : ["⌊", "⌋", "rounded down"];
    const out = row.shape[1];
    line("output side", `(n + 2p − k) / s, ${words}, + 1`,
      `${open}(${side} + 2 × ${p} − ${k}) / ${s}${close} + 1`, row.error ? outputSize(side, layer) : out);
    if (row.error) return lines;
    if (layer.ceil && Math.ceil((side + 2 * p - k) / s) + 1 > out) lines[0].sum += " − 1"; // no window may start in the right padding
    if (layer.out) {
      const window = `${k} × ${k} × ${channels}`;
      line("parameters", "channels out × (k × k × channels in + a bias)", `${layer.out} × (${window} + 1)`, row.parameters);
      line("MACs", "numbers in the output × k × k × channels in", `${layer.out} × ${out} × ${out} × (${window})`, row.macs);
    }
  } else if (layer.kind === "Linear") {
    line("parameters", "units × (inputs + a bias)", `${layer.out} × (${channels} + 1)`, row.parameters);
    line("MACs", "units × inputs", `${layer.out} × ${channels}`, row.macs);
  } else if (layer.kind === "BatchNorm2d") {
    line("parameters", "a scale and a shift for each channel", `2 × ${channels}`, row.parameters);
  }
  line("memory", "numbers × 4 bytes", `${shapeText(row.shape)} × ${BYTES_PER_NUMBER}`, row.bytes, bytes(row.bytes));
  const [seen, jump] = row.input.field;
  const reach = k ?? (layer.kind === "AdaptiveAvgPool2d" ? side : 1);
  if (reach > 1) {
    line("receptive field", `what came in sees + (${k ? "k" : "side"} − 1) × pixels from one to the next`,
      `${seen} + (${reach} − 1) × ${jump}`, row.field[0], `${row.field[0]} px`);
  }
  return lines;
}

const NOTES = {
  Flatten: "The same numbers in one row; each still sees what it saw.",
  Linear: "Every unit sees all that its inputs see together.",
  ReLU: "max(0, x) of each number: the shape stays.",
  Sigmoid: "1 / (1 + e⁻ˣ) of each number: the shape stays.",
  Dropout: "Sets numbers to 0 at random in training only: the shape stays.",
  AvgPool2d: "The mean of each window: nothing to learn.",
  MaxPool2d: "The largest number of each window: nothing to learn.",
  AdaptiveAvgPool2d: "The mean of each map, whatever its size: nothing to learn.",
};

function detailHtml(group) {
  return group.rows.map((row) => {
    const layer = group.layers.find(({ name }) => name === row.name);
    const path = row.name.split(".").map((part) => (/^\d/.test(part) ? `[${part}]` : `.${part}`)).join("");
    const lines = arithmetic(layer, row).map(({ label, words, sum, text }) =>
      `<div><dt>${label}</dt><dd><b>${sum} = ${text}</b><small>${words}</small></dd></div>`);
    const note = row.error ? `${capital(row.error)}.` : NOTES[layer.kind];
    return `<div><p><b>${labelOf({ ...layer, layers: [layer] })}</b> <code>net${path}</code>` +
      `<small>${row.input.shape.map(whole).join(" × ")} → ${row.error ? "nothing" : row.shape.map(whole).join(" × ")}</small></p>` +
      `${note ? `<p class="d2l-note">${note}</p>` : ""}<dl>${lines.join("")}</dl></div>`;
  }).join("");
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const count = (n) => (n < 1e6 ? whole(n) : short(n));

// ---- drawing
const FACE = 34, DEPTH = 40, BAR = 40; // units of the image's side, of the deepest map, of the longest flat output
const MIDDLE = 30; // height of a face's centre

/** Paths of a box: front, top and right side. */
function boxPaths(high, depth) {
  const f = (n) => n.toFixed(1);
  const [x, y, dx, dy] = [1.5, MIDDLE + high / 2, 0.8 * depth, 0.3 * depth];
  return [
    `M${x} ${f(y)}v${f(-high)}h${f(high)}v${f(high)}z`,
    `M${x} ${f(y - high)}l${f(dx)} ${f(-dy)}h${f(high)}l${f(-dx)} ${f(dy)}z`,
    `M${f(x + high)} ${f(y)}v${f(-high)}l${f(dx)} ${f(-dy)}v${f(high)}z`,
  ];
}

function mapDrawing(parent) {
  const svg = add(parent, "svg", { viewBox: "0 0 74 50", class: "walk-map", "aria-hidden": "true" });
  const paths = [0.45, 0.22, 0.75].map((opacity) => add(svg, "path", { "fill-opacity": opacity }));
  return [...paths, add(svg, "path", { class: "walk-window" })];
}

/** Why a window does not fit: the map, padding included, inside the window's dashed outline. */
function showMisfit(paths, { kernel, padding }, map) {
  const side = (FACE * (map + 2 * padding)) / kernel;
  const square = (high) => `M1.5 8v${high.toFixed(1)}h${high.toFixed(1)}v${(-high).toFixed(1)}z`;
  [square(side), "", "", square(FACE)].forEach((d, i) => paths[i].setAttribute("d", d));
}

/** An output to scale: a map as a box, a flat one as an upright bar. */
function showMap(paths, shape, size, { deepest, longest }) {
  const drawn = ["", "", "", ""];
  if (shape?.length === 3) {
    [drawn[0], drawn[1], drawn[2]] = boxPaths(Math.max(2, (FACE * shape[1]) / size), Math.max(1.5, DEPTH * Math.sqrt(shape[0] / deepest)));
  } else if (shape) {
    const high = Math.max(2, BAR * Math.sqrt(shape[0] / longest));
    drawn[0] = `M1.5 ${(25 - high / 2).toFixed(1)}h5v${high.toFixed(1)}h-5z`;
  }
  drawn.forEach((d, i) => paths[i].setAttribute("d", d));
}

/** One row's elements; `toggle` unfolds it. */
function makeRow(list, group, i, id, toggle) {
  const item = add(list, "li", { class: group.starts ? "walk-starts" : null });
  const row = add(item, "div", { class: "walk-row" });
  const map = mapDrawing(row);
  const name = add(row, "div", { class: "walk-name" });
  const head = add(name, "div");
  const opener = add(head, "button", { type: "button", "aria-expanded": "false", "aria-controls": `${id}-${i}` }, group.label);
  opener.addEventListener("click", toggle);
  add(head, "span", { class: "walk-also" }, ` ${group.also}`);
  const shape = add(name, "div", { class: "walk-shape" });
  const cells = COSTS.map(([key, label]) => {
    const cell = add(row, "div", { class: `walk-cost walk-${key}` });
    add(cell, "small", {}, `${label} `);
    return [add(cell, "span"), add(cell, "i")];
  });
  const sees = add(row, "div", { class: "walk-sees" });
  const svg = add(sees, "svg", { viewBox: "0 0 22 22", "aria-hidden": "true" });
  add(svg, "rect", { x: 1, y: 1, width: 20, height: 20, class: "walk-image" });
  const field = add(svg, "rect", { class: "walk-field" });
  add(sees, "small", {}, "sees ");
  const fieldText = add(sees, "span");
  const detail = add(item, "div", { class: "walk-detail", id: `${id}-${i}`, hidden: "" });
  return { row, item, map, opener, shape, cells, sees, field, fieldText, detail };
}

function showRow(parts, group, { size, scale, most, open }) {
  const { row, map, opener, shape, cells, sees, field, fieldText, detail } = parts;
  const failed = group.failed, reached = group.rows.length > 0, fine = reached && !failed;
  row.className = `walk-row${failed ? " walk-failed" : ""}${reached ? "" : " walk-unreached"}`;
  if (failed) showMisfit(map, group.layers.find((layer) => layer.name === failed.name), failed.input.shape[1]);
  else showMap(map, group.shape, size, scale);
  shape.textContent = fine ? group.shape.map(whole).join(" × ") : failed ? `✕ ${failed.error}` : "not reached";
  for (const [i, [text, bar]] of cells.entries()) {
    const value = group[COSTS[i][0]];
    text.parentNode.hidden = !fine;
    if (!fine) continue;
    text.textContent = i === 2 ? bytes(value) : count(value);
    text.className = value ? "" : "walk-none";
    bar.style.width = value ? `max(1px, ${((100 * value) / most[i]).toFixed(1)}%)` : "0";
  }
  sees.hidden = !fine;
  if (fine) {
    const side = Math.max(1.5, 20 * Math.min(1, group.field / size)), corner = 11 - side / 2;
    for (const [key, value] of [["x", corner], ["y", corner], ["width", side], ["height", side]]) field.setAttribute(key, value.toFixed(1));
    fieldText.textContent = `${group.field} px`;
  }
  opener.disabled = !reached;
  opener.setAttribute("aria-expanded", String(open && reached));
  detail.hidden = !(open && reached);
  rewrite(detail, open && reached ? detailHtml(group) : "");
  detail.classList.toggle("walk-many", group.layers.length > 3);
}

let walks = 0;

// ---- the widget
function render({ model, el }) {
  const nets = model.get("nets");
  const id = `walk-${++walks}`;
  const root = frame(el, "Walk through a network, layer by layer");
  add(root, "p", { class: "d2l-note" },
    "Slide the image’s size and watch every layer follow. Press a row to see its arithmetic.");
  const bar = toolbar(root);
  choice(bar, model, "net", {
    label: "network", options: Object.entries(nets).map(([name, { title }]) => [name, title]),
    onChange: (name) => ({ size: nets[name].size, layer: "" }),
  });
  choice(bar, model, "channels", { label: "channels", options: [[1, "1 (grey)"], [3, "3 (colour)"]] });
  const sizeBar = toolbar(root);
  sizeBar.classList.add("walk-size");
  slider(sizeBar, model, "size", {
    label: "image", values: model.get("sizes"), text: (size) => `${size} × ${size} pixels`,
  });
  const showFacts = facts(root);
  const told = add(root, "div", { class: "walk-told" });
  const verdict = add(told, "p", { class: "walk-verdict" });
  const rescue = button(told, "", () => {
    const { layers } = nets[model.get("net")];
    put(model, { size: leastSize(layers, model.get("channels"), model.get("size")) });
    verdict.focus(); // the button has gone
  });
  verdict.tabIndex = -1;
  const list = add(root, "ol", { class: "walk" });
  add(root, "p", { class: "d2l-note" },
    "Each box is an output: its face is the map, to scale with the image; its depth grows with the square root of the channels, as does the height of the bar that stands for a flat output. The longest bar of a column is its largest value. Memory: the outputs of one image in float32, activations included. “Sees”: the side of the receptive field, padding included.");
  const fill = folded(root, "Every layer in numbers");
  const say = speaker(root);


  let built, parts, image;
  function build(name) {
    built = name;
    list.innerHTML = "";
    const head = add(list, "li", { class: "walk-row walk-head", "aria-hidden": "true" });
    for (const text of ["output", "layer", ...COSTS.map(([, label]) => label), "sees"]) add(head, "span", {}, text);
    const first = add(add(list, "li"), "div", { class: "walk-row" });
    const map = mapDrawing(first);
    const cell = add(first, "div", { class: "walk-name" });
    add(cell, "b", {}, "the image");
    image = { map, shape: add(cell, "div", { class: "walk-shape" }) };
    parts = groupsOf(nets[name].layers).map((group, i) => makeRow(list, group, i, id, () =>
      put(model, { layer: model.get("layer") === group.name ? "" : group.name })));
  }

  function draw() {
    const [name, size, channels, layer] = ["net", "size", "channels", "layer"].map((trait) => model.get(trait));
    const { title, layers } = nets[name];
    if (built !== name) build(name);
    const result = walkGroups(layers, channels, size);
    const { groups, failed } = result;
    const done = groups.filter((group) => group.shape);
    const largest = (dimensions) => Math.max(channels, ...done.map(({ shape }) => (shape.length === dimensions ? shape[0] : 1)));
    const scale = { deepest: largest(3), longest: largest(1) };
    const most = COSTS.map(([key]) => Math.max(...done.map((group) => group[key])));
    showMap(image.map, [channels, size, size], size, scale);
    image.shape.textContent = `${channels} × ${size} × ${size}`;
    groups.forEach((group, i) => showRow(parts[i], group, { size, scale, most, open: layer === group.name }));

    const shown = (text) => (failed ? "–" : text);
    showFacts([
      ["parameters", shown(whole(result.parameters)), failed ? "" : bytes(BYTES_PER_NUMBER * result.parameters)],
      ["MACs for an image", shown(count(result.macs))],
      ["outputs, one image", shown(bytes(result.bytes))],
      [`outputs, batch of ${BATCH}`, shown(bytes(BATCH * result.bytes)), failed ? "" : "kept for the backward pass"],
    ]);
    verdict.className = `walk-verdict${failed ? " d2l-error" : ""}`;
    rescue.hidden = !failed;
    if (failed) {
      const least = leastSize(layers, channels, size);
      verdict.textContent = `${title} stops at ${placeOf(groups, failed)}: ${failed.failed.error}. Use ${least} pixels or more.`;
      rescue.textContent = `Set ${least} pixels`;
    } else {
      const [where, work, memory] = COSTS.map(([key], i) => {
        const group = groups.find((other) => other[key] === most[i]);
        return `${placeOf(groups, group)} (${percent(group[key] / result[key])})`;
      });
      verdict.textContent = `At ${size} × ${size} pixels the largest share of ${title}’s parameters is in ${where}, of its MACs in ${work}, of its memory in ${memory}.`;
    }
    fill(
      ["layer", "kind", "output", "parameters", "MACs", "memory", "receptive field"],
      () => result.rows.map(({ name: path, kind, error, shape, parameters, macs, bytes: memory, field }) => {
        const cells = error ? [error, "", "", "", ""] : [shape.map(whole).join(" × "), whole(parameters), whole(macs), bytes(memory), field[0]];
        return Object.assign([path, kind, ...cells], { bad: Boolean(error) });
      }),
    );
    const total = `${whole(result.parameters)} parameters, ${count(result.macs)} MACs. `;
    say(`${failed ? "" : total}${verdict.textContent}`);
  }
  watch(model, ["net", "size", "channels", "layer"], draw);
}

/** A group in words: "the 3rd Conv2d", or its label where there is no other of its kind. */
function placeOf(groups, group) {
  const alike = groups.filter(({ kind }) => kind === group.kind);
  if (group.kind === "Inception") return group.label;
  return alike.length < 2 ? `the ${group.kind}` : `the ${nth(alike.indexOf(group) + 1)} ${group.kind}`;
}
const nth = (n) => `${n}${n % 10 < 4 && (n < 10 || n > 20) ? ["th", "st", "nd", "rd"][n % 10] : "th"}`;

export { walk, walkGroups, groupsOf, leastSize, arithmetic };
export default { render };
