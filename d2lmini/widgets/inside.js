// Inside the network: the maps of each stage for a chosen image, and the probabilities.

const NUMBERS_UP_TO = 7; // cells along a side of a map whose numbers are written in it

/** Least, mean and most of each kept channel, and the channel of the largest mean. */
function statistics(stage, image) {
  const maps = levelsOf(stage, image);
  const value = (level) => valueOf(stage, image, level);
  const rows = maps.map((levels) => {
    const sum = levels.reduce((total, level) => total + level, 0);
    return { least: value(Math.min(...levels)), mean: value(sum / levels.length), most: value(Math.max(...levels)) };
  });
  return { maps, rows, top: highest(rows.map((row) => row.mean)) };
}

const columnsFor = (count) => (count <= 4 ? 2 : count <= 9 ? 3 : 4);

function render({ model, el }) {
  const state = () => ["image", "stage", "channel", "stages", "probabilities"].map((name) => model.get(name));
  const classes = model.get("classes");
  const colours = coloursOf(model.get("ramp"));
  const stages = model.get("stages");

  const root = frame(el, `Inside ${model.get("name")}`);
  add(root, "p", { class: "d2l-note" },
    "Choose an image, then slide from stage to stage: what is left of the garment, and what is added? Tap a map to enlarge it.");
  const markWrong = picker(root, model);
  slider(toolbar(root), model, "stage", {
    label: "after stage", values: stages.map((_, i) => i),
    text: (i) => `${i + 1} of ${stages.length}: ${stages[i].label}`,
  });

  const path = add(root, "p", { class: "d2l-path" });
  const shapes = [model.get("input_shape"), ...stages.map((stage) => stage.shape), [classes.length]];
  const steps = shapes.map((shape, i) => {
    if (i > 0) path.append(" → ");
    return add(path, "span", {}, times(...shape));
  });

  const board = add(root, "div", { class: "d2l-inside" });
  const inputBox = add(board, "figure", { class: "d2l-input" });
  const input = add(inputBox, "div", { class: "d2l-picture", role: "img" });
  const inputText = add(inputBox, "figcaption");
  const bigBox = add(board, "figure", { class: "d2l-big" });
  const frameOfBig = add(bigBox, "div");
  const big = add(frameOfBig, "canvas", { role: "img" });
  const cells = add(frameOfBig, "div", { class: "d2l-cells", "aria-hidden": "true" });
  const bigText = add(bigBox, "figcaption");
  const mapsBox = add(board, "div", { class: "d2l-maps-box" });
  const heading = add(mapsBox, "p", { class: "d2l-head" });
  const tiles = radios(mapsBox, model, "channel", {
    label: "channel", count: Math.max(...stages.map((stage) => stage.shown)), className: "d2l-maps",
    text: (i) => `channel ${i}`,
    fill: (box, i) => ({ canvas: add(box, "canvas", { "aria-hidden": "true" }), text: add(box, "span", { "aria-hidden": "true" }, i) }),
  });
  const grid = tiles[0].box.parentNode;
  const scale = add(mapsBox, "div", { class: "d2l-scale" });
  const [least, , most] = ["span", "i", "span"].map((tag) => add(scale, tag));
  scale.children[1].style.background = rampCss(colours);
  const answerBox = add(board, "div", { class: "d2l-answer" });
  add(answerBox, "p", { class: "d2l-head" }, "probability of each class");
  const fillBars = probabilityBars(answerBox, classes);

  const sentence = add(root, "p");
  const say = speaker(root);
  const fillTable = folded(root, "The maps in numbers");

  watch(model, ["image", "stage", "channel", "stages", "probabilities"], () => {
    const [image, at, wanted, all, probabilities] = state();
    const stage = all[at];
    const { shape: [channels, height, width], size, shown } = stage;
    const { maps, rows, top } = statistics(stage, image);
    const channel = Math.min(wanted, shown - 1);
    const truth = model.get("labels")[image];

    steps.forEach((step, i) => { step.className = i === at + 1 ? "here" : ""; });
    markWrong(probabilities.map((row, i) => highest(row) !== model.get("labels")[i]));
    pictureAt(input, model, image);
    input.setAttribute("aria-label", imageName(model, image));
    rewrite(inputText, `input ${times(...model.get("input_shape"))}<br>${escaped(imageName(model, image))}`);

    tiles.forEach(({ box, input, canvas }, i) => {
      box.hidden = i >= shown;
      if (i < shown) paint(canvas, maps[i], size, stage.levels, colours);
      input.checked = i === channel;
    });
    grid.style.setProperty("--columns", columnsFor(shown));
    grid.style.setProperty("--aspect", size[1] / size[0]);
    const named = `${stage.label}: ${times(channels, height, width)}`;
    const kept = shown < channels ? `, the first ${shown} of ${channels} maps` : "";
    heading.textContent = named + kept + (stage.shrunk ? `, drawn as ${times(...size)}` : "");
    const [low, high] = stage.ranges[image];
    least.textContent = number(low);
    most.textContent = number(high);

    const row = rows[channel];
    const near = rounded((high - low) / (stage.levels - 1));
    paint(big, maps[channel], size, stage.levels, colours);
    const text = `channel ${channel}: ${near(row.least)} to ${near(row.most)}`;
    big.setAttribute("aria-label", `${text}, mean ${near(row.mean)}`);
    rewrite(bigText, `${text}<br>mean ${near(row.mean)}`);
    cells.hidden = Math.max(...size) > NUMBERS_UP_TO;
    cells.style.setProperty("--columns", size[1]);
    rewrite(cells, cells.hidden ? "" : cellsHtml(
      [...maps[channel]].map((level) => near(valueOf(stage, image, level))),
      (i) => maps[channel][i] / (stage.levels - 1), colours, false));

    fillBars(probabilities[image], truth);
    const { field } = stage;
    const sees = field > model.get("input_shape")[1] ? ` The window that a number sees, ${times(field, field)} pixels, is larger than the input.`
      : field ? ` Each number sees ${times(field, field)} pixels of the input.` : "";
    const zeros = stage.zeros[image];
    const empty = zeros > 0 ? ` ${chance(zeros)} of the numbers are 0.` : "";
    const strongest = high > low
      ? ` Channel ${top} is the ${shown < channels ? "brightest shown" : "brightest"} (mean ${near(rows[top].mean)}).` : "";
    const words = `After stage ${at + 1}, ${stage.label}, the image has become ${channels} ` +
      `${channels > 1 ? "maps" : "map"} of ${times(height, width)}.${sees}${empty}${strongest} ` +
      verdict(classes, probabilities[image], truth);
    sentence.textContent = words;
    say(words);
    fillTable(["channel", "smallest", "mean", "largest"],
      () => rows.map(({ least, mean, most }, i) => [i, near(least), near(mean), near(most)]));
  });
}

export { levelsOf, valueOf, statistics, softmax, isBright, coloursOf };
export default { render };
