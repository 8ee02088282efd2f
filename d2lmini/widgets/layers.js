// What a layer gives and costs, from the architecture's data: the JavaScript twin of
// d2lmini.summary, held equal to it by tests. A layer is {name, kind, …} as d2lmini.widgets.layers
// writes it: out, kernel, stride, padding, ceil, branches.

const BYTES_PER_NUMBER = 4; // float32

/** The rows of `layers` for an image of `channels` × size × size, up to the first that fails. */
function walk(layers, channels, size) {
  const rows = [];
  // field: side and jump of one number's receptive field, and `all` of a flattened map's
  run(layers, { shape: [channels, size, size], side: 1, jump: 1, all: 1 }, rows);
  return rows;
}

/** Appends a row for each layer; returns the state after the last, or null where one fails. */
function run(layers, state, rows) {
  for (const layer of layers) {
    if (layer.branches) {
      const ends = layer.branches.map((branch) => run(branch, state, rows));
      if (ends.includes(null)) return null;
      state = join(ends);
      continue;
    }
    const row = apply(layer, state);
    rows.push(row);
    if (row.error) return null;
    const [side, jump] = row.field;
    state = { shape: row.shape, side, jump, all: row.all };
  }
  return state;
}

/** Branches side by side: channels add up, the widest view counts. */
function join(ends) {
  const [, height, width] = ends[0].shape;
  const channels = ends.reduce((sum, end) => sum + end.shape[0], 0);
  const most = (key) => Math.max(...ends.map((end) => end[key]));
  return { shape: [channels, height, width], side: most("side"), jump: most("jump"), all: most("all") };
}

function apply(layer, { shape, side, jump, all }) {
  const row = {
    name: layer.name, kind: layer.kind, shape, parameters: 0, macs: 0, field: [side, jump], all,
    input: { shape, field: [side, jump], all },
  };
  const [channels, size] = shape;
  if (layer.kind === "Flatten") {
    row.shape = [shape.reduce((product, n) => product * n)];
    row.all = shape.length === 3 ? side + (size - 1) * jump : all;
  } else if (layer.kind === "Linear") {
    const inputs = shape[0];
    row.shape = [layer.out];
    row.parameters = layer.out * (inputs + 1);
    row.macs = layer.out * inputs;
    row.field = [all, jump];
  } else if (layer.kind === "AdaptiveAvgPool2d") {
    row.shape = [channels, 1, 1];
    row.field = [side + (size - 1) * jump, jump];
  } else if (layer.kind === "BatchNorm2d") {
    row.parameters = 2 * channels;
  } else if (layer.kernel) {
    const out = outputSize(size, layer);
    if (out < 1) {
      const padded = size + 2 * layer.padding;
      row.error = `its ${layer.kernel}×${layer.kernel} window does not fit into a map of ${size}×${size}` +
        (layer.padding ? ` (${padded}×${padded} with padding)` : "");
      return row;
    }
    row.shape = [layer.out ?? channels, out, out];
    if (layer.out) {
      const weights = channels * layer.kernel ** 2; // of one output channel
      row.parameters = layer.out * (weights + 1);
      row.macs = layer.out * out * out * weights;
    }
    row.field = [side + (layer.kernel - 1) * jump, jump * layer.stride];
  }
  row.bytes = BYTES_PER_NUMBER * row.shape.reduce((product, n) => product * n);
  row.all = Math.max(row.all, row.field[0]);
  return row;
}

/** A window's steps along a side: ⌊(n + 2p − k) / s⌋ + 1, rounded up instead where `ceil`. */
function outputSize(size, { kernel, stride, padding = 0, ceil = false }) {
  const steps = (size + 2 * padding - kernel) / stride;
  if (!ceil) return Math.floor(steps) + 1;
  const out = Math.ceil(steps) + 1;
  // a last window must start inside the image or its left padding
  return (out - 1) * stride >= size + padding ? out - 1 : out;
}

/** The least image side, from `size` on, that passes all layers. */
function leastSize(layers, channels, size) {
  while (walk(layers, channels, size).at(-1).error) size++;
  return size;
}

/** Sums over rows. */
function totals(rows) {
  const sum = (key) => rows.reduce((total, row) => total + (row[key] ?? 0), 0);
  return { parameters: sum("parameters"), macs: sum("macs"), bytes: sum("bytes") };
}

const shapeText = (shape) => shape.join(" × ");
