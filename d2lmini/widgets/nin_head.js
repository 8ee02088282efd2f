// NiN's head: what a classifier costs on the same maps, four ways, and the ten class maps.

const CHANNELS = [16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024];
const SIDES = Array.from({ length: 14 }, (_, i) => i + 1);
const HIDDEN = 4096; // units of AlexNet's hidden layers
const LEAST_DOT = 2; // pixels
const WRITTEN_OUT = 9; // numbers of a map whose mean is written as a sum
const NUMBERS_IN = 3; // cells along a side of a map whose numbers are written in it

/** The four heads, as layers that `walk` reads. */
function heads(classes) {
  const flatten = { name: "flatten", kind: "Flatten" };
  const pool = { name: "average of each map", kind: "AdaptiveAvgPool2d" };
  const linear = (out) => ({ name: `linear to ${whole(out)}`, kind: "Linear", out });
  const conv = (kernel, padding) =>
    ({ name: `conv ${kernel}×${kernel} to ${classes}`, kind: "Conv2d", out: classes, kernel, stride: 1, padding });
  return [
    { name: "AlexNet’s head", note: `flatten, linear to ${HIDDEN}, to ${HIDDEN}, to ${classes}`, layers: [flatten, linear(HIDDEN), linear(HIDDEN), linear(classes)] },
    { name: "one linear layer", note: `flatten, linear to ${classes}`, layers: [flatten, linear(classes)] },
    { name: "NiN’s head", note: `conv 3×3 to ${classes} maps, 1×1, 1×1, average of each`, layers: [conv(3, 1), conv(1, 0), conv(1, 0), pool, flatten] },
    { name: "GoogLeNet’s head", note: `average of each map, linear to ${classes}`, layers: [pool, flatten, linear(classes)] },
  ];
}

/** The heads with parameters and MACs on `channels` maps of side × side. */
function headCosts(channels, side, classes = 10) {
  return heads(classes).map((head) => {
    const rows = walk(head.layers, channels, side);
    return { ...head, rows, ...totals(rows) };
  });
}

/** The power of ten whose square is easiest to see beside a square of `most` and side `pixels`. */
function keyCount(most, pixels) {
  const atTwelvePixels = most * (12 / pixels) ** 2;
  return 10 ** Math.round(Math.log10(atTwelvePixels));
}

const mean = (map) => map.flat().reduce((sum, n) => sum + n, 0) / map.flat().length;

/** Means of one image's class maps, which are its logits, and their softmax. */
function scores(maps) {
  const logits = maps.map(mean);
  return { logits, probabilities: softmax(logits) };
}

const SQUARE = 132; // pixels, side of the largest square

function render({ model, el }) {
  const classes = model.get("classes");
  const colours = coloursOf(model.get("ramp"));
  const root = frame(el, "NiN’s head");
  const speak = speaker(root);
  let ready = false;
  const say = (words) => { if (ready) speak(words); };
  speak("");

  // ---- what a head costs
  add(root, "p", { class: "d2l-head" }, "What does it cost to classify?");
  add(root, "p", { class: "d2l-note" },
    "Four heads are given the same maps. Change the maps and compare the squares: their areas are the counts.");
  const bar = toolbar(root);
  slider(bar, model, "channels", { label: "maps", values: CHANNELS, text: String });
  slider(bar, model, "side", { label: "of size", values: SIDES, text: (n) => times(n, n) });
  const row = toolbar(root);
  add(row, "span", {}, "as in");
  const presets = model.get("presets").map(([name, channels, side]) => ({
    channels, side,
    node: button(row, `${name}: ${times(channels, side, side)}`, () => put(model, { channels, side })),
  }));
  const table = add(root, "div", { class: "d2l-heads" });
  const lines = heads(classes.length).map(({ name, note }) => {
    const line = add(table, "div", { class: "d2l-head-row" });
    const words = add(line, "p");
    add(words, "b", {}, name);
    add(words, "small", {}, note);
    const cell = (kind) => {
      const box = add(line, "div", { class: `d2l-count ${kind}` });
      const square = add(box, "svg", { "aria-hidden": "true" });
      add(square, "rect", { width: "100%", height: "100%" });
      return { square, text: add(box, "span") };
    };
    return { parameters: cell("parameters"), macs: cell("macs") };
  });
  const key = add(root, "p", { class: "d2l-note d2l-key" });
  const costSentence = add(root, "p");
  const costTable = folded(root, "Each head, layer by layer");

  watch(model, ["channels", "side"], () => {
    const channels = model.get("channels"), side = model.get("side");
    for (const preset of presets) {
      preset.node.setAttribute("aria-pressed", preset.channels === channels && preset.side === side);
    }
    const costs = headCosts(channels, side, classes.length);
    const most = Math.max(...costs.flatMap(({ parameters, macs }) => [parameters, macs]));
    const draw = ({ square, text }, count, unit) => {
      const pixels = Math.max(LEAST_DOT, SQUARE * Math.sqrt(count / most)).toFixed(1);
      square.setAttribute("width", pixels);
      square.setAttribute("height", pixels);
      text.textContent = `${count < 1e6 ? whole(count) : short(count)} ${unit}`;
    };
    costs.forEach(({ parameters, macs }, i) => {
      draw(lines[i].parameters, parameters, "parameters");
      draw(lines[i].macs, macs, "MACs");
    });
    const count = keyCount(most, SQUARE);
    const keySide = SQUARE * Math.sqrt(count / most);
    const pixels = keySide.toFixed(1);
    rewrite(key, `<svg width="${pixels}" height="${pixels}" aria-hidden="true"><rect width="100%" height="100%"/></svg> is ${short(count)}. ` +
      `No square is drawn smaller than ${LEAST_DOT} pixels.`);
    const [alexnet, linear, nin] = costs;
    const factor = (a, b) => (a >= b ? `${number(a / b)} times as many` : `${number(b / a)} times fewer`);
    const words = `On ${channels} maps of ${times(side, side)}, AlexNet’s head has ` +
      `${factor(alexnet.parameters, nin.parameters)} parameters as NiN’s. A single linear layer has ` +
      `${factor(linear.parameters, nin.parameters)} ${linear.parameters >= nin.parameters ? "as" : "than"} NiN’s. NiN’s weights do not depend on the size of ` +
      `the maps, but each is used at ${side * side === 1 ? "one place" : `${side * side} places`}, so it takes ${short(nin.macs)} MACs; the average itself needs no weights.`;
    costSentence.textContent = words;
    say(words);
    costTable(["head", "layer", "output", "parameters", "MACs"], () => costs.flatMap(({ name, rows }) =>
      rows.map(({ name: layer, shape, parameters, macs }) =>
        [name, layer, times(...shape), whole(parameters), whole(macs)])));
  });

  // ---- the ten class maps
  add(root, "p", { class: "d2l-head d2l-second" }, "Each of the last ten maps is a class");
  add(root, "p", { class: "d2l-note" },
    "Choose an image. The mean of a class’s map is its score; softmax makes the ten scores probabilities.");
  const markWrong = picker(root, model);
  const board = add(root, "div", { class: "d2l-classes" });
  const box = add(board, "figure");
  const input = add(box, "div", { class: "d2l-picture", role: "img" });
  const inputText = add(box, "figcaption");
  const cards = add(board, "ul");
  const filled = classes.map((name) => {
    const card = add(cards, "li");
    const title = add(card, "p", {}, name);
    return {
      card, tag: add(title, "small", {}, "true class"), map: add(card, "div", { class: "d2l-cells" }),
      mean: add(card, "span", { class: "d2l-mean" }), bar: add(add(card, "span", { class: "d2l-bar" }), "span"), chance: add(card, "span", { class: "d2l-chance" }),
    };
  });
  const sentence = add(root, "p");
  const scoreTable = folded(root, "Means and probabilities in numbers");

  watch(model, ["image", "class_maps"], () => {
    const image = model.get("image"), all = model.get("class_maps"), labels = model.get("labels");
    const maps = all[image], truth = labels[image];
    const { logits, probabilities } = scores(maps);
    const answer = highest(logits);
    markWrong(all.map((each, i) => highest(scores(each).logits) !== labels[i]));
    pictureAt(input, model, image);
    input.setAttribute("aria-label", imageName(model, image));
    inputText.textContent = imageName(model, image);
    const numbers = maps.flat(2);
    const least = Math.min(0, ...numbers), span = Math.max(...numbers) - least || 1;
    const side = maps[0].length;
    const near = rounded(span / 100);
    filled.forEach(({ card, tag, map, mean, bar, chance: share }, i) => {
      const cells = maps[i].flat();
      card.className = i === answer ? "answer" : "";
      tag.hidden = i !== truth;
      map.style.setProperty("--columns", maps[i][0].length);
      rewrite(map, cellsHtml(
        cells.map((n) => (side <= NUMBERS_IN ? near(n) : "")), (k) => (cells[k] - least) / span, colours, true));
      mean.textContent = `mean ${near(logits[i])}`;
      bar.style.width = `${100 * probabilities[i]}%`;
      share.textContent = chance(probabilities[i]);
    });
    const cells = maps[answer].flat();
    const sum = cells.length <= WRITTEN_OUT && cells.length > 1
      ? `(${cells.map(near).join(" + ")}) ÷ ${cells.length} = ${near(logits[answer])}` : `a mean of ${near(logits[answer])}`;
    const silent = maps.filter((map) => map.flat().every((n) => n === 0)).length;
    const words = `${classes[answer]} has the largest score: ${sum}. ` +
      (silent ? `${silent} of the ${classes.length} maps ${silent > 1 ? "are" : "is"} 0 everywhere. ` : "") +
      verdict(classes, probabilities, truth);
    sentence.textContent = words[0].toUpperCase() + words.slice(1);
    say(words);
    scoreTable(["class", "numbers of its map", "mean (score)", "probability"], () => classes.map((name, i) =>
      [name, maps[i].map((line) => line.map(number).join(", ")).join("; "), number(logits[i]), chance(probabilities[i])]));
  });
  ready = true;
}

export { headCosts, scores, keyCount };
export default { render };
