// The five networks: recorded test accuracy against parameters, MACs or training time.

const TEST_IMAGES = 10_000;
const AXES = {
  parameters: { label: "parameters", log: true, text: short, least: "has the fewest parameters", less: "fewer parameters" },
  macs: { label: "MACs for one image", log: true, text: short, least: "needs the fewest MACs", less: "fewer MACs" },
  seconds: { label: "seconds of training", log: false, text: (n) => `${whole(n)}\u00a0s`, least: "trains in the least time", less: "less time" },
};
// each network its colour and its shape: [angle of the first corner, corners' distances]
const LOOKS = {
  LeNet: { color: "var(--purple)", corners: null },
  AlexNet: { color: "var(--blue)", corners: [45, 1.15, 4] },
  NiN: { color: "var(--green)", corners: [-90, 1.25, 3] },
  VGG: { color: "var(--orange)", corners: [0, 1.25, 4] },
  GoogLeNet: { color: "var(--sky)", corners: [-90, 1.4, 10] },
};

// ---- arithmetic

const average = (numbers) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;

/** Mean, range and standard deviation (n − 1) of a network's runs; of one run there is none. */
function statistics({ runs }) {
  const accuracies = runs.map((run) => run.accuracy), mean = average(accuracies), n = runs.length;
  const squares = accuracies.reduce((sum, a) => sum + (a - mean) ** 2, 0);
  return {
    n, mean, lowest: Math.min(...accuracies), highest: Math.max(...accuracies),
    deviation: n > 1 ? Math.sqrt(squares / (n - 1)) : null,
    seconds: average(runs.map((run) => run.seconds)),
  };
}

/** What a network costs on an axis; of seconds the mean over its runs. */
const costOf = (network, axis) => (axis === "seconds" ? statistics(network).seconds : network[axis]);

/** For each network those that are both cheaper and better on average. */
function beatenBy(networks, axis) {
  const points = networks.map((network) => ({
    name: network.name, cost: costOf(network, axis), mean: statistics(network).mean,
  }));
  return Object.fromEntries(points.map((p) =>
    [p.name, points.filter((q) => q.cost < p.cost && q.mean > p.mean).map((q) => q.name)]));
}

const accuracy = (a) => a.toFixed(4);
const runsOf = (n) => (n === 1 ? "one run" : `${n} runs`);
const list = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

/** What the present view shows, in words. */
function verdict(networks, axis) {
  const ranked = networks.map((network) => ({ name: network.name, cost: costOf(network, axis), ...statistics(network) }))
    .sort((a, b) => b.mean - a.mean);
  const best = ranked[0];
  const sentences = [`Best on average: ${best.name}, ${accuracy(best.mean)} over ${runsOf(best.n)}.`];
  if (ranked.length === 1) return sentences;
  const near = ranked.slice(1).filter((other) => other.highest >= best.lowest).map((other) => other.name);
  if (near.length) sentences.push(`Its range overlaps with that of ${list(near)}: these runs alone do not rank them.`);
  const cheapest = ranked.reduce((least, other) => (other.cost < least.cost ? other : least));
  const { text, least, less } = AXES[axis];
  if (cheapest === best) sentences.push(`It also ${least} (${text(best.cost)}).`);
  else {
    const behind = Math.round((best.mean - cheapest.mean) * TEST_IMAGES);
    sentences.push(`${cheapest.name} ${least} (${text(cheapest.cost)} against ${text(best.cost)}) and gets ${behind} images fewer right, of ${whole(TEST_IMAGES)}.`);
  }
  const beaten = Object.entries(beatenBy(networks, axis)).filter(([, by]) => by.length);
  for (const [name, by] of beaten) sentences.push(`${list(by)} ${by.length > 1 ? "do" : "does"} better than ${name} with ${less}.`);
  if (!beaten.length) sentences.push(`No network does better than another with ${less}: here accuracy has its price.`);
  return sentences;
}

// ---- layout

/** Round steps that cover [low, high] in at most `most` steps. */
function ticks(low, high, most) {
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => (high - low) / n <= most);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** 1, 2 and 5 times the powers of ten in [low, high]; of many the powers alone. */
function logTicks(low, high, most) {
  const powers = Array.from({ length: 20 }, (_, i) => 10 ** i);
  const all = powers.flatMap((p) => [p, 2 * p, 5 * p]).filter((n) => low <= n && n <= high);
  return all.length <= most ? all : powers.filter((n) => low <= n && n <= high);
}

const MARGIN = { top: 46, right: 14, bottom: 44, left: 48 };

/** Where everything stands in a drawing of width × height. */
function layout(networks, { axis, whole: all, path }, width, height) {
  const { log } = AXES[axis];
  const inner = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom };
  const stats = networks.map(statistics);
  const costs = networks.flatMap((network) => (axis === "seconds" ? network.runs.map((run) => run.seconds) : network[axis]));
  const xs = log ? [Math.min(...costs) / 1.8, Math.max(...costs) * 1.8] : [0, Math.max(...costs) * 1.12];
  const ys = all ? [0, 1] : [
    Math.floor((Math.min(...stats.map((s) => s.lowest)) - 0.002) * 200) / 200,
    Math.min(1, Math.ceil((Math.max(...stats.map((s) => s.highest)) + 0.002) * 200) / 200),
  ];
  const f = log ? Math.log : (n) => n;
  const x = (n) => inner.left + ((f(n) - f(xs[0])) / (f(xs[1]) - f(xs[0]))) * (inner.right - inner.left);
  const y = (a) => inner.bottom - ((a - ys[0]) / (ys[1] - ys[0])) * (inner.bottom - inner.top);
  const steps = Math.floor((inner.right - inner.left) / 62);
  const points = networks.map((network, i) => ({
    name: network.name, year: network.year, x: x(costOf(network, axis)), y: y(stats[i].mean),
    runs: network.runs.map((run) => ({ x: x(axis === "seconds" ? run.seconds : network[axis]), y: y(run.accuracy) })),
  }));
  place(points, inner, width < 480, path);
  return {
    inner, points, low: ys[0],
    xTicks: (log ? logTicks(...xs, steps) : ticks(...xs, steps)).map((n) => ({ at: x(n), text: short(n) })),
    yTicks: ticks(...ys, 6).map((a) => ({ at: y(a), text: a.toFixed(all ? 1 : 3) })),
    chance: all ? y(0.1) : null,
  };
}

/** Gives each point a label beside it, where it covers least: {dx, dy, anchor}. */
function place(points, inner, narrow, path) {
  const marks = points.flatMap((p) => [{ ...p, size: 11 }, ...p.runs.map((run) => ({ ...run, size: 4 }))]);
  for (let i = 1; path && i < points.length; i++) { // the path too should stay free
    const [a, b] = [points[i - 1], points[i]];
    for (let t = 0.05; t < 1; t += 0.05) marks.push({ x: a.x + t * (b.x - a.x), y: a.y + t * (b.y - a.y), size: 3 });
  }
  const taken = [];
  const overlap = (a, b) => Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) *
    Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  for (const p of points) {
    const long = 7.4 * p.name.length, lines = narrow ? 2 : 1;
    const w = narrow ? Math.max(long, 28) : long + 34, h = 14 * lines;
    const sides = [
      [20, 4, "start"], [-20, 4, "end"], [0, -16 - (h - 14), "middle"], [0, 27, "middle"],
      [13, -14, "start"], [-13, -14, "end"], [13, 22, "start"], [-13, 22, "end"],
      ...[1, 2, 3, 4, 5].flatMap((far) => [[0, 27 + 18 * far, "middle"], [0, -16 - 18 * far, "middle"]]),
    ].map(([dx, dy, anchor], i) => {
      const left = p.x + dx - (anchor === "end" ? w : anchor === "middle" ? w / 2 : 0);
      const box = { left, right: left + w, top: p.y + dy - 11, bottom: p.y + dy - 11 + h };
      // a label far off is tied to its point by a line, which should cross no other
      const line = { left: p.x - 2, right: p.x + 2, top: Math.min(p.y, p.y + dy), bottom: Math.max(p.y, p.y + dy) };
      const crossed = taken.reduce((sum, other) => sum + (i < 8 ? 0 : overlap(line, other)), 0);
      const outside = Math.max(0, inner.left - box.left) + Math.max(0, box.right - inner.right - 10) +
        Math.max(0, inner.top - box.top) + Math.max(0, box.bottom - inner.bottom);
      const covered = [...marks.map((m) => ({ left: m.x - m.size, right: m.x + m.size, top: m.y - m.size, bottom: m.y + m.size })), ...taken]
        .reduce((sum, other) => sum + overlap(box, other), 0);
      return { dx, dy, anchor, box, badness: covered + 100 * outside + 8 * crossed + 4 * i };
    });
    const chosen = sides.reduce((best, side) => (side.badness < best.badness ? side : best));
    taken.push(chosen.box);
    Object.assign(p, { dx: chosen.dx, dy: chosen.dy, anchor: chosen.anchor });
  }
}

// ---- drawing

/** The shape of a network's marks, of radius r, at (x, y). */
function mark(name, x, y, r, rest) {
  const { color, corners } = LOOKS[name];
  if (!corners) return `<circle cx="${x}" cy="${y}" r="${r}" fill="${color}" ${rest}/>`;
  const [start, size, count] = corners;
  const points = Array.from({ length: count }, (_, i) => {
    const angle = ((start + (360 * i) / count) * Math.PI) / 180;
    const far = r * size * (count === 10 && i % 2 ? 0.48 : 1); // a star's inner corners
    return `${(x + far * Math.cos(angle)).toFixed(1)},${(y + far * Math.sin(angle)).toFixed(1)}`;
  });
  return `<polygon points="${points.join(" ")}" fill="${color}" ${rest}/>`;
}

/** Axes, grid and the years' path. */
function ground(plan, points, { axis, path, whole: all }, width, height) {
  const { inner } = plan;
  const text = (x, y, words, rest = "") => `<text x="${x}" y="${y}" ${rest}>${words}</text>`;
  let svg = text(0, 13, "Test accuracy on Fashion-MNIST,", 'font-weight="700"') +
    text(0, 29, `${whole(TEST_IMAGES)} images${all ? "" : `; the axis begins at ${plan.low.toFixed(3)}`}`);
  for (const { at, text: label } of plan.yTicks) {
    svg += `<path d="M${inner.left} ${at}H${inner.right}" stroke="var(--line)" opacity="0.6"/>` +
      text(inner.left - 6, at + 4, label, 'text-anchor="end"');
  }
  for (const { at, text: label } of plan.xTicks) {
    svg += `<path d="M${at} ${inner.top}V${inner.bottom + 4}" stroke="var(--line)" opacity="0.6"/>` +
      text(at, inner.bottom + 18, label, 'text-anchor="middle"');
  }
  svg += `<path d="M${inner.left} ${inner.bottom}H${inner.right}" stroke="var(--soft)"/>` +
    text(inner.right, height - 6, `${AXES[axis].label}${AXES[axis].log ? ", log scale" : ""} →`, 'text-anchor="end" font-weight="700"');
  if (plan.chance) {
    svg += `<path d="M${inner.left} ${plan.chance}H${inner.right}" stroke="var(--soft)" stroke-dasharray="4 4"/>` +
      text(inner.right, plan.chance - 5, "guessing", 'text-anchor="end" class="soft"');
  }
  if (path && points.length > 1) {
    svg += `<polyline points="${points.map((p) => `${p.x},${p.y}`).join(" ")}" fill="none" stroke="var(--soft)" stroke-width="1.5" opacity="0.7" class="years"/>`;
    for (let i = 1; i < points.length; i++) {
      const [a, b] = [points[i - 1], points[i]];
      const angle = (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI;
      svg += `<path d="M5 0L-4 4.5V-4.5z" fill="var(--soft)" transform="translate(${(a.x + b.x) / 2} ${(a.y + b.y) / 2}) rotate(${angle})"/>`;
    }
  }
  return svg;
}

/** A network's mean, its runs and its name, with the mean at the origin. */
function point(p, isChosen, narrow) {
  const lines = narrow
    ? `<tspan font-weight="700">${p.name}</tspan><tspan x="${p.dx}" dy="14">${p.year}</tspan>`
    : `<tspan font-weight="700">${p.name}</tspan><tspan dx="4">${p.year}</tspan>`;
  const around = [{ x: p.x, y: p.y, r: 15 }, ...p.runs.map((run) => ({ ...run, r: 12 }))];
  const far = Math.abs(p.dy) > 45;
  return around.map(({ x, y, r }) => `<circle cx="${x - p.x}" cy="${y - p.y}" r="${r}" fill="transparent"/>`).join("") +
    (far ? `<path d="M0 0V${p.dy > 0 ? p.dy - 12 : p.dy + (narrow ? 18 : 4)}" stroke="var(--soft)"/>` : "") +
    `<circle r="15" fill="none" stroke="${isChosen ? "var(--ink)" : "none"}" stroke-width="2" class="ring"/>` +
    mark(p.name, 0, 0, 10, 'class="mean" style="fill:var(--paper)"') +
    mark(p.name, 0, 0, 10, `fill-opacity="0.4" stroke="${LOOKS[p.name].color}" stroke-width="1.5"`) +
    p.runs.map((run) => mark(p.name, run.x - p.x, run.y - p.y, 4, 'class="run" stroke="var(--paper)"')).join("") +
    `<text x="${p.dx}" y="${p.dy}" text-anchor="${p.anchor}" class="halo">${lines}</text>`;
}

// ---- the figure

function render({ model, el }) {
  const networks = model.get("networks"), links = model.get("links");
  const names = networks.map((network) => network.name);
  const read = () => ({ axis: model.get("axis"), path: model.get("path"), whole: model.get("whole") });
  const root = frame(el, "Five networks: what accuracy costs");
  add(root, "p", {}, "Every small mark is one training run of a class-size network, the large one its network's mean. Point at a network, or tap it, for its runs.");
  const controls = toolbar(root);
  choice(controls, model, "axis", { label: "Against", options: Object.entries(AXES).map(([key, { label }]) => [key, label]) });
  tick(controls, model, "path", { label: "Path of the years" });
  tick(controls, model, "whole", { label: "Whole axis, 0 to 1" });

  let width = 640, frameId = 0, plan, shown = null; // the layout, and the points as last drawn
  const height = () => (width < 480 ? 340 : 380);
  const svg = drawing(root, width, height(), "");
  svg.setAttribute("role", "group"); // its points can be focused
  const back = add(svg, "g", { "aria-hidden": "true" });
  const nodes = networks.map((network) => {
    const node = add(svg, "g", { role: "button", tabindex: 0, "data-network": network.name, class: "d2l-point" });
    for (const event of ["pointerenter", "focus", "click"]) node.addEventListener(event, () => choose(network.name));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(network.name);
    });
    return node;
  });
  const choose = (name) => { if (name !== model.get("chosen")) put(model, { chosen: name }); };

  const said = add(root, "p");
  const missing = Object.keys(LOOKS).filter((name) => !names.includes(name));
  if (missing.length) add(root, "p", { class: "d2l-note" }, `No run of ${list(missing)} is recorded here.`);
  const panel = add(root, "div", { role: "group", style: "border:1px solid var(--line);border-radius:0.4rem;padding:0.5rem 0.8rem" });
  if (Object.keys(links).length) {
    const line = add(root, "p");
    line.append("Chapters: ");
    networks.filter(({ chapter }) => links[chapter]).forEach(({ name, chapter }, i) => {
      if (i) line.append(" · ");
      add(line, "a", { href: links[chapter], style: "color:var(--accent)" }, name);
    });
  }
  const fill = folded(root, "The numbers behind the chart");
  const speak = speaker(root);

  /** Draws the points where they are at a share of the way from the last view to this one. */
  const paint = (share) => {
    const mix = (a, b) => a + (b - a) * share;
    const points = plan.points.map((p, i) => {
      const from = share < 1 ? shown[i] : p;
      return { ...p, x: mix(from.x, p.x), y: mix(from.y, p.y), runs: p.runs.map((run, j) => ({ x: mix(from.runs[j].x, run.x), y: mix(from.runs[j].y, run.y) })) };
    });
    rewrite(back, ground(plan, points, read(), width, height()));
    const chosen = model.get("chosen");
    points.forEach((p, i) => {
      nodes[i].setAttribute("transform", `translate(${p.x} ${p.y})`);
      rewrite(nodes[i], point(p, p.name === chosen, width < 480));
    });
    if (share === 1) shown = points;
  };
  const draw = () => {
    const state = read();
    svg.setAttribute("viewBox", `0 0 ${width} ${height()}`);
    plan = layout(networks, state, width, height());
    cancelAnimationFrame(frameId);
    paint(1);
    const sentences = verdict(networks, state.axis);
    svg.setAttribute("aria-label", `Test accuracy against ${AXES[state.axis].label}. ${sentences[0]}`);
    return sentences;
  };
  const tell = () => {
    const before = shown;
    const sentences = draw();
    rewrite(said, `<strong>${escaped(sentences[0])}</strong> ${escaped(sentences.slice(1).join(" "))}`);
    if (before) travel(before);
    speak(sentences.join(" "));
  };
  /** After a change of axis the marks move over, so that the eye can follow, unless it must not. */
  const travel = (before) => {
    if (document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const target = shown, start = performance.now();
    shown = before;
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - start) / 350));
      shown = t < 1 ? before : target;
      paint(t < 1 ? 1 - (1 - t) ** 3 : 1);
      if (t < 1) frameId = requestAnimationFrame(step);
    };
    paint(0);
    frameId = requestAnimationFrame(step);
  };
  const showRuns = () => {
    const network = networks.find(({ name }) => name === model.get("chosen")) ?? networks[0];
    rewrite(panel, details(network, links));
    panel.setAttribute("aria-label", `Runs of ${network.name}`);
  };
  fill(HEAD, () => table(networks));
  networks.forEach((network, i) => nodes[i].setAttribute("aria-label", summary(network)));
  watch(model, ["axis", "whole"], tell);
  watch(model, ["path"], draw);
  watch(model, ["chosen"], () => {
    paint(1);
    showRuns();
    networks.forEach(({ name }, i) => nodes[i].setAttribute("aria-pressed", name === model.get("chosen")));
  });
  new ResizeObserver(() => {
    const now = Math.max(240, Math.min(760, Math.round(root.clientWidth - 32)));
    if (now !== width) { width = now; draw(); }
  }).observe(root);
}

/** A network in one line, for those who hear it. */
function summary(network) {
  const s = statistics(network);
  const range = s.n > 1 ? `, from ${accuracy(s.lowest)} to ${accuracy(s.highest)}` : "";
  return `${network.name}, ${network.year}: mean test accuracy ${accuracy(s.mean)} over ${runsOf(s.n)}${range}; ` +
    `${whole(network.parameters)} parameters, ${short(network.macs)} MACs, ${whole(s.seconds)} seconds`;
}

/** The chosen network's runs, one by one. */
function details(network, links) {
  const s = statistics(network), { full } = network;
  const title = `${network.name}, ${network.year}`;
  const size = (form) => `${whole(form.parameters)} parameters and ${short(form.macs)} MACs for an image of ${form.image} × ${form.image}`;
  const spread = s.n > 1 ? `lowest ${accuracy(s.lowest)}, highest ${accuracy(s.highest)}, standard deviation ${accuracy(s.deviation)}` : "one run has no spread";
  const link = links[network.chapter] ? `<a style="color:var(--accent)" href="${escaped(links[network.chapter])}">${title}</a>` : title;
  const rows = network.runs.map((run) => `<tr><td>${run.seed ?? "–"}</td><td>${accuracy(run.accuracy)}</td><td>${whole(run.seconds)}</td></tr>`);
  return `<p><strong>${link}</strong>: mean <strong>${accuracy(s.mean)}</strong> over ${runsOf(s.n)} (n = ${s.n}); ${spread}.</p>` +
    `<table><thead><tr><th scope="col">seed</th><th scope="col">test accuracy</th><th scope="col">seconds</th></tr></thead><tbody>${rows.join("")}</tbody></table>` +
    `<p class="d2l-note">Class size: ${size(network)}. ${full.parameters === network.parameters ? "Its full size is the same." : `At full size: ${size(full)}.`} Trained on ${escaped(network.machine)}, ${whole(average(network.runs.map((run) => run.rate)))} images a second.</p>`;
}

const HEAD = ["network", "year", "parameters", "MACs", "runs", "mean accuracy", "lowest", "highest", "seconds"];

function table(networks) {
  return networks.map((network) => {
    const s = statistics(network);
    return [network.name, network.year, whole(network.parameters), whole(network.macs), s.n, accuracy(s.mean), accuracy(s.lowest), accuracy(s.highest), whole(s.seconds)];
  });
}

export { statistics, costOf, beatenBy, verdict, layout, ticks, logTicks };
export default { render };
