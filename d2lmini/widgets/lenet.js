// LeNet's forward pass, and the arithmetic behind any one of its numbers, in figures and words.

const SIDE = 28;
const KERNEL = 5;
// the input, the layers of d2lmini.lenet() without Flatten, and the softmax after them
const LAYERS = [
  { name: "input", kind: "input", shape: [1, 28, 28] },
  { name: "convolution 1", kind: "conv", shape: [6, 28, 28], matrix: 0, padding: 2 },
  { name: "sigmoid 1", kind: "sigmoid", shape: [6, 28, 28] },
  { name: "average pool 1", kind: "pool", shape: [6, 14, 14] },
  { name: "convolution 2", kind: "conv", shape: [16, 10, 10], matrix: 1, padding: 0 },
  { name: "sigmoid 2", kind: "sigmoid", shape: [16, 10, 10] },
  { name: "average pool 2", kind: "pool", shape: [16, 5, 5] },
  { name: "linear 1", kind: "linear", shape: [120], matrix: 2 },
  { name: "sigmoid 3", kind: "sigmoid", shape: [120] },
  { name: "linear 2", kind: "linear", shape: [84], matrix: 3 },
  { name: "sigmoid 4", kind: "sigmoid", shape: [84] },
  { name: "linear 3: logits", kind: "linear", shape: [10], matrix: 4 },
  { name: "softmax: probabilities", kind: "softmax", shape: [10] },
];
const MATRICES = [[6, 26], [16, 151], [120, 401], [84, 121], [10, 85]]; // outputs × (inputs + bias)
const size = (layer) => LAYERS[layer].shape.reduce((product, n) => product * n, 1);

/** Five float32 matrices from a DataView of what lenet_alive.py's pack() wrote. */
function unpack(view) {
  const rows = MATRICES.reduce((sum, [outputs]) => sum + outputs, 0);
  const count = MATRICES.reduce((sum, [outputs, inputs]) => sum + outputs * inputs, 0);
  let row = 0, high = 4 * rows;
  return MATRICES.map(([outputs, inputs]) => {
    const matrix = new Float32Array(outputs * inputs);
    for (let i = 0; i < matrix.length; i++, high++) {
      const scale = view.getFloat32(4 * (row + Math.floor(i / inputs)), true);
      matrix[i] = scale * (view.getUint8(high) * 256 + view.getUint8(high + count) - 32768);
    }
    row += outputs;
    return matrix;
  });
}

// ---- the forward pass: maps lie one after the other, each row by row
function padded(x, side, by) {
  const wide = side + 2 * by, out = new Float32Array(wide * wide);
  for (let r = 0; r < side; r++) out.set(x.subarray(r * side, (r + 1) * side), (r + by) * wide + by);
  return out;
}

function convolve(x, channels, side, matrix, outputs) {
  const to = side - KERNEL + 1, inputs = channels * KERNEL * KERNEL + 1;
  const out = new Float32Array(outputs * to * to);
  for (let o = 0, at = 0; o < outputs; o++) {
    for (let r = 0; r < to; r++) {
      for (let c = 0; c < to; c++, at++) {
        let w = o * inputs, sum = 0;
        for (let m = 0; m < channels; m++) {
          for (let k = 0; k < KERNEL; k++) {
            const from = (m * side + r + k) * side + c;
            for (let j = 0; j < KERNEL; j++) sum += x[from + j] * matrix[w++];
          }
        }
        out[at] = sum + matrix[w];
      }
    }
  }
  return out;
}

function halve(x, maps, side) {
  const to = side / 2, out = new Float32Array(maps * to * to);
  for (let i = 0; i < out.length; i++) {
    const from = 2 * Math.floor(i / to) * side + 2 * (i % to); // rows of all maps, two by two
    out[i] = (x[from] + x[from + 1] + x[from + side] + x[from + side + 1]) / 4;
  }
  return out;
}

function linear(x, matrix, outputs) {
  const inputs = x.length, out = new Float32Array(outputs);
  for (let o = 0, w = 0; o < outputs; o++) {
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum += x[i] * matrix[w++];
    out[o] = sum + matrix[w++];
  }
  return out;
}

const sigmoid = (x) => x.map((z) => 1 / (1 + Math.exp(-z)));

function softmax(x) {
  const largest = Math.max(...x), powers = x.map((z) => Math.exp(z - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** What each of LAYERS gives for 784 greys of 0 to 255. */
function forward(matrices, greys, mean, std) {
  const input = Float32Array.from(greys, (grey) => (grey / 255 - mean) / std);
  const conv1 = convolve(padded(input, 28, 2), 1, 32, matrices[0], 6);
  const sigmoid1 = sigmoid(conv1), pool1 = halve(sigmoid1, 6, 28);
  const conv2 = convolve(pool1, 6, 14, matrices[1], 16);
  const sigmoid2 = sigmoid(conv2), pool2 = halve(sigmoid2, 16, 10);
  const linear1 = linear(pool2, matrices[2], 120), sigmoid3 = sigmoid(linear1);
  const linear2 = linear(sigmoid3, matrices[3], 84), sigmoid4 = sigmoid(linear2);
  const logits = linear(sigmoid4, matrices[4], 10);
  return [input, conv1, sigmoid1, pool1, conv2, sigmoid2, pool2, linear1, sigmoid3, linear2, sigmoid4, logits, softmax(logits)];
}

// ---- one number and what it is made of
/** Map, row and column of a cell; a vector is one map of one row. */
function place(layer, cell) {
  const [, rows, columns] = LAYERS[layer].shape.length === 3 ? LAYERS[layer].shape : [1, 1, size(layer)];
  return [Math.floor(cell / (rows * columns)), Math.floor(cell / columns) % rows, cell % columns];
}

/** First and last row and column that a cell of `layer` sees of the maps of layer `below`;
    they may lie in the padding. Null: all of a vector. */
function field(layer, cell, below) {
  const [, r, c] = place(layer, cell);
  let box = LAYERS[layer].shape.length === 3 ? [r, c, r, c] : null;
  for (let i = layer; i > below; i--) {
    const { kind, padding } = LAYERS[i], source = LAYERS[i - 1].shape;
    if (kind === "conv") box = box.map((side, k) => side - padding + (k > 1 ? KERNEL - 1 : 0));
    else if (kind === "pool") box = box.map((side, k) => 2 * side + (k > 1 ? 1 : 0));
    else if (!box && source.length === 3) box = [0, 0, source[1] - 1, source[2] - 1];
  }
  return box;
}

/** The products that make a cell of a convolution, a pool or a linear layer: `at` is a place in
    the layer before, -1 in the padding; `parts` are the sums of each `each` products. */
function arithmetic(matrices, values, layer, cell) {
  const { kind, matrix, padding = 0 } = LAYERS[layer];
  const before = values[layer - 1], [map, row, column] = place(layer, cell);
  const [maps, rows, columns] = kind === "linear" ? [] : LAYERS[layer - 1].shape;
  const at = [];
  if (kind === "linear") before.forEach((_, i) => at.push(i));
  else {
    const side = kind === "conv" ? KERNEL : 2, step = kind === "conv" ? 1 : 2;
    for (let m = kind === "conv" ? 0 : map; m < (kind === "conv" ? maps : map + 1); m++) {
      for (let i = 0; i < side * side; i++) {
        const r = step * row + Math.floor(i / side) - padding, c = step * column + (i % side) - padding;
        at.push(r < 0 || c < 0 || r >= rows || c >= columns ? -1 : (m * rows + r) * columns + c);
      }
    }
  }
  const x = at.map((i) => (i < 0 ? 0 : before[i]));
  const start = matrix === undefined ? 0 : (kind === "conv" ? map : cell) * (at.length + 1);
  const w = x.map((_, i) => (matrix === undefined ? 1 / 4 : matrices[matrix][start + i]));
  const bias = matrix === undefined ? 0 : matrices[matrix][start + at.length];
  const products = x.map((value, i) => value * w[i]);
  const each = kind === "pool" ? 4 : kind === "conv" || layer === 7 ? 25 : 12;
  const parts = [];
  for (let i = 0; i < products.length; i += each) parts.push(products.slice(i, i + each).reduce((a, b) => a + b));
  const sum = parts.reduce((a, b) => a + b);
  return { at, x, w, products, each, parts, sum, bias, total: sum + bias };
}

// ---- in words
const number = (value, digits = 3) => {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) ? `−${text}` : text;
};
const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));
const where = (layer, cell, classes) => {
  const [map, row, column] = place(layer, cell);
  if (layer > 10) return classes[cell];
  if (layer > 6) return `unit ${cell}`;
  return `${layer ? `map ${map}, ` : ""}row ${row}, column ${column}`;
};

/** The arithmetic of one number, in lines of HTML; `made` is what arithmetic() gives. */
function written({ values, layer, cell, made, greys, mean, std, classes }) {
  const { kind, name } = LAYERS[layer], value = values[layer][cell], before = LAYERS[layer - 1];
  const line = (text) => `<p class="lenet-sum">${text}</p>`;
  const result = (digits) => `<b>${number(value, digits)}</b>`;
  if (kind === "input") {
    return line(`(${greys[cell]} / 255 − ${number(mean)}) / ${number(std)} = ${result()}`)
      + line("The pixel's grey on the scale from 0 to 1, minus the training images' mean, divided by their standard deviation.");
  }
  if (kind === "sigmoid") {
    const z = values[layer - 1][cell];
    return line(`1 / (1 + e<sup>−z</sup>) with z = ${number(z)} gives ${result()}`)
      + line(`z is the same place in ${before.name}. The sigmoid presses every sum between 0 and 1.`);
  }
  if (kind === "softmax") {
    const z = values[layer - 1], sum = z.reduce((total, one) => total + Math.exp(one), 0);
    return line(`e<sup>${number(z[cell])}</sup> / (${Array.from(z, (one) => `e<sup>${number(one, 1)}</sup>`).join(" + ")})`)
      + line(`= ${three(Math.exp(z[cell]))} / ${three(sum)} = ${result(4)}`)
      + line(`The share of ${escaped(classes[cell])} among the ten powers: they are all positive, and the shares add up to 1.`);
  }
  if (kind === "pool") return line(`(${made.x.map(factor).join(" + ")}) / 4 = ${result()}`) + line(`The mean of the four numbers framed in ${before.name}.`);
  const { x, w, parts, products, sum, bias } = made, parted = kind === "conv" || layer === 7;
  const terms = products.slice(0, 4).map((_, i) => `${factor(x[i])} · ${factor(w[i])}`).join(" + ");
  const label = (i) => (parted ? i : `${12 * i}–${12 * i + 11}`);
  const list = parts.map((part, i) => `<li><span>${label(i)}</span> ${number(part)}</li>`).join("");
  return line(`${terms} + … <small>(${products.length} products)</small> = ${number(sum)}`)
    + (parts.length > 1 ? `<p class="lenet-sum">Their sums over ${parted ? "map 0, 1, …" : "twelve units each"} of ${before.name}:</p><ul class="lenet-parts${parted ? "" : " wide"}">${list}</ul>` : "")
    + line(`products ${number(sum)} + bias ${factor(bias)} = ${result()}`)
    + (layer < 11 ? line(`The sigmoid then makes ${number(values[layer + 1][cell])} of it.`) : line(`The logit of ${escaped(classes[cell])}: the largest of the ten wins.`));
}

/** The sentences beside the bars: what is on the pad, and what the network says. */
function verdict(classes, shares, greys, picture, truth) {
  const order = Array.from(shares.keys()).sort((a, b) => shares[b] - shares[a]);
  const named = (i) => `${classes[i]} (${percent(shares[i], 1)})`;
  const [first, second] = order;
  const painted = greys.filter((grey) => grey).length;
  const changed = picture ? greys.filter((grey, i) => grey !== picture[i]).length : 0;
  const says = `the network says ${named(first)}, then ${named(second)}`;
  let said;
  if (!painted) said = `The pad is blank. "Nothing" is not among its ten answers: ${says}.`;
  else if (!picture) said = `Your drawing, ${whole(painted)} of 784 pixels: ${says}.`;
  else if (changed) said = `True class: ${classes[truth]}, changed at ${whole(changed)} of 784 pixels: ${says}.`;
  else if (first === truth) said = `True class: ${classes[truth]}. Right: ${says}.`;
  else said = `True class: ${classes[truth]}, which gets ${percent(shares[truth], 1)}. Wrong: ${says}.`;
  const note = "The ten probabilities always add up to 100 %. A drawing unlike any of the 60,000 training images gets an answer nonetheless"
    + (picture && !changed ? ": clear the pad, scribble, and see." : `; this one: ${named(first)}.`);
  return [said, note, named(first)];
}
