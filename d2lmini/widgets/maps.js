// Shared by the widgets that look into a trained net: maps that d2lmini.widgets.maps wrote as
// text, their colours, the picker of images and the bars of probabilities.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LEVEL = new Uint8Array(128);
for (let i = 0; i < ALPHABET.length; i++) LEVEL[ALPHABET.charCodeAt(i)] = i;

/** The levels of each kept channel of one image, row by row. In the text they stand column by column. */
function levelsOf({ size: [height, width], shown, text }, image) {
  const cells = height * width;
  return Array.from({ length: shown }, (_, channel) => {
    const start = (image * shown + channel) * cells;
    return Uint8Array.from({ length: cells }, (_, cell) =>
      LEVEL[text.charCodeAt(start + (cell % width) * height + Math.floor(cell / width))]);
  });
}

/** A level's number, on the scale of the image. */
function valueOf({ ranges, levels }, image, level) {
  const [least, most] = ranges[image];
  return least + (level * (most - least)) / (levels - 1);
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

const highest = (numbers) => numbers.reduce((best, n, i) => (n > numbers[best] ? i : best), 0);

const toThree = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3, maximumFractionDigits: 3 });
/** 0.012 · 0.46 · 12.3 · 1,240 */
const number = (n) => (Math.abs(n) < 5e-4 ? "0" : Math.abs(n) >= 1000 ? whole(n)
  : toThree.format(n)).replace("-", "−");
/** Numbers that are known to within `step`: no more decimals than that. */
function rounded(step) {
  const decimals = step > 0 ? Math.min(4, Math.max(0, Math.ceil(-Math.log10(step)))) : 0;
  return (n) => {
    const text = n.toFixed(decimals);
    return Number(text) === 0 ? "0" : text.replace("-", "−");
  };
}
const FIXED_SPACE = "\u00a0"; // a space at which no line breaks
const chance = (p) => (p < 0.005 ? "<1 %" : p > 0.995 ? ">99 %" : percent(p)).replace(" ", FIXED_SPACE);
const times = (...sides) => sides.join(`${FIXED_SPACE}×${FIXED_SPACE}`);

// ---- colours
/** The colours of the levels, dark to bright, as [red, green, blue]. */
const coloursOf = (ramp) => ramp.match(/.{6}/g).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const cssColour = (colour) => `rgb(${colour.join(" ")})`;
const rampCss = (colours) => `linear-gradient(to right, ${colours.map(cssColour).join(", ")})`;
/** Whether black is easier to read on a colour than white (relative luminance, WCAG). */
function isBright(colour) {
  const [r, g, b] = colour.map((c) => (c <= 10 ? c / 3295 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18;
}

/** Draws a map of `levels` (0 … count − 1) on a canvas, a pixel a number. */
function paint(canvas, levels, [height, width], count, colours) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < levels.length; i++) {
    const colour = colours[Math.round((levels[i] * (colours.length - 1)) / (count - 1))];
    pixels.data.set(colour, 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** The numbers of a small map, for a grid that lies on it or is it. `share`: 0 … 1 on the scale. */
function cellsHtml(texts, share, colours, withColour) {
  return texts.map((text, i) => {
    const colour = colours[Math.round(share(i) * (colours.length - 1))];
    const style = withColour ? ` style="background:${cssColour(colour)}"` : "";
    return `<span class="${isBright(colour) ? "on-bright" : "on-dark"}"${style}>${text}</span>`;
  }).join("");
}

// ---- one of many, by tapping or with the arrow keys
/** A group of radio buttons for the trait `name`; `fill(label, i)` draws each. */
function radios(parent, model, name, { label, count, text, className, fill }) {
  const group = add(parent, "div", { class: className, role: "radiogroup", "aria-label": label });
  const id = newId("radios");
  return Array.from({ length: count }, (_, i) => {
    const box = add(group, "label", { class: "d2l-pick" });
    const input = add(box, "input", {
      type: "radio", name: id, value: i, "aria-label": text(i), "data-lm-suppress-shortcuts": "true",
    });
    input.addEventListener("change", () => put(model, { [name]: i }));
    return { box, input, ...fill(box, i) };
  });
}

/** Shows one of the pictures that stand side by side in the sheet. */
function pictureAt(node, model, i) {
  const count = model.get("labels").length;
  node.style.backgroundSize = `${100 * count}% 100%`;
  node.style.backgroundPosition = `${count > 1 ? (100 * i) / (count - 1) : 0}% 0`;
}

const imageName = (model, i) =>
  `${model.get("classes")[model.get("labels")[i]]}, test image ${model.get("index")[i]}`;

/** The pictures to choose from, in a frame that keeps their sheet; returns the function that marks the wrong answers. */
function picker(parent, model) {
  const count = model.get("labels").length;
  parent.style.setProperty("--sheet", `url(${model.get("sheet")})`);
  const items = radios(parent, model, "image", {
    label: "test image", count, className: "d2l-picker", text: (i) => imageName(model, i),
    fill: (box, i) => {
      pictureAt(add(box, "span", { class: "d2l-picture" }), model, i);
      return { mark: add(box, "span", { class: "d2l-cross", "aria-hidden": "true" }, "✗") };
    },
  });
  const note = add(parent, "p", { class: "d2l-note" });
  return (wrong) => {
    items.forEach(({ input, mark, box }, i) => {
      input.checked = i === model.get("image");
      input.setAttribute("aria-label", imageName(model, i) + (wrong[i] ? ", answered wrongly" : ""));
      box.title = imageName(model, i);
      mark.hidden = !wrong[i];
    });
    const errors = wrong.filter(Boolean).length;
    const why = model.get("chosen")
      ? " The images were chosen to show mistakes too, so this is not its error rate." : "";
    note.textContent = errors ? `✗ marks what the network gets wrong.${why}` : "The network gets all of these right.";
  };
}

/** Ten rows of class, bar and share; returns the function that fills them. */
function probabilityBars(parent, classes) {
  const list = add(parent, "ul", { class: "d2l-bars" });
  const rows = classes.map((name) => {
    const row = add(list, "li");
    const label = add(row, "span", {}, name);
    const tag = add(label, "small", {}, "true class");
    const bar = add(add(row, "span", { class: "d2l-bar" }), "span");
    return { row, tag, bar, value: add(row, "span") };
  });
  return (probabilities, truth) => {
    const answer = highest(probabilities);
    rows.forEach(({ row, tag, bar, value }, i) => {
      row.className = i === answer ? "answer" : "";
      tag.hidden = i !== truth;
      bar.style.width = `${100 * probabilities[i]}%`;
      value.textContent = chance(probabilities[i]);
    });
  };
}

/** "Answer: shirt (62 %). Wrong: this is a coat (31 %)." */
function verdict(classes, probabilities, truth) {
  const answer = highest(probabilities);
  const said = `The answer is ${classes[answer]} (${chance(probabilities[answer])})`;
  return answer === truth ? `${said}, which is right.`
    : `${said}, which is wrong: the true class is ${classes[truth]} (${chance(probabilities[truth])}).`;
}
