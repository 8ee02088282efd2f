// Shared by every widget: controls bound to traits, elements, number formats.
// A widget's own file follows in the same module and ends in `export default { render }`.

const SVG_NS = "http://www.w3.org/2000/svg";

/** A new child of `parent` (SVG inside an <svg>, else HTML), with attributes and text. */
function add(parent, tag, attributes = {}, text) {
  const isSvg = tag === "svg" || (parent.namespaceURI === SVG_NS && parent.tagName !== "foreignObject");
  const node = isSvg ? document.createElementNS(SVG_NS, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

/** The widget's outermost element, with a heading that names the group of controls. */
function frame(el, title) {
  const root = add(el, "section", { class: "d2l", "aria-label": title });
  add(root, "p", { class: "d2l-title" }, title);
  return root;
}

/** An <svg> of width × height units that takes the column's width; `label` is its text alternative. */
function drawing(parent, width, height, label) {
  return add(parent, "svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "d2l-drawing",
  });
}

const markups = new WeakMap(); // an element, and the markup last written into it

/** Make `markup` the content of `node`, and touch only what differs: a browser lays out again
    what is touched. */
function rewrite(node, markup) {
  if (markups.get(node) === markup) return;
  markups.set(node, markup);
  const fresh = node.cloneNode(false);
  fresh.innerHTML = markup;
  match(node, fresh);
}

/** Give `node` the children of `fresh`, place by place; those that are equal stay. */
function match(node, fresh) {
  const olds = [...node.childNodes], news = [...fresh.childNodes];
  for (const extra of olds.slice(news.length)) extra.remove();
  news.forEach((made, i) => {
    const old = olds[i];
    if (!old) node.append(made);
    else if (old.isEqualNode(made)) return;
    else if (made.firstElementChild && old.cloneNode(false).isEqualNode(made.cloneNode(false))) match(old, made);
    else old.replaceWith(made);
  });
}

const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

// ---- numbers: 61,706 · 12.9 M · 1.5 MB (decimal units, as d2lmini.summary prints them)
// a format is dear to make and cheap to use
const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const significant = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3, useGrouping: false });
const whole = (n) => grouped.format(Math.round(n));
const three = (n) => significant.format(n);
function scaled(n, units) {
  const i = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(n, 1)) / 3)));
  const mantissa = n / 1000 ** i;
  // 999,600 is 1 M, not "1000 k"
  if (mantissa >= 999.5 && i < units.length - 1) return `${three(mantissa / 1000)} ${units[i + 1]}`.trim();
  return `${i ? three(mantissa) : whole(mantissa)} ${units[i]}`.trim();
}
const short = (n) => scaled(n, ["", "k", "M", "G", "T"]);
const bytes = (n) => scaled(n, ["B", "kB", "MB", "GB", "TB"]);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

// ---- state
/** Set traits and tell the kernel, if there is one. */
function put(model, changes) {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
}

/** Draw now, and again once after each burst of changes of the named traits. */
function watch(model, names, draw) {
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => { waiting = false; draw(); });
  };
  for (const name of names) model.on(`change:${name}`, later);
  draw();
}

// ---- controls
// every widget has this file to itself, so that a count alone would be another's, too
const mine = Math.random().toString(36).slice(2, 8);
let controls = 0;
const newId = (what) => `d2l-${what}-${mine}-${++controls}`;

/** A row for controls. */
const toolbar = (parent) => add(parent, "div", { class: "d2l-controls" });

/** A slider that snaps to `values` of the trait `name`; `text` says a value in words. */
function slider(parent, model, name, { label, values, text = String }) {
  const id = newId("control");
  const row = add(parent, "div", { class: "d2l-control" });
  add(row, "label", { for: id }, label);
  const input = add(row, "input", {
    id, type: "range", min: 0, max: values.length - 1, step: 1,
    "data-lm-suppress-shortcuts": "true", // JupyterLab would take the arrow keys
  });
  const shown = add(row, "output", { for: id });
  const show = () => {
    const value = model.get(name);
    input.value = values.indexOf(value);
    input.setAttribute("aria-valuetext", text(value));
    shown.textContent = text(value);
  };
  input.addEventListener("input", () => put(model, { [name]: values[input.value] }));
  model.on(`change:${name}`, show);
  show();
  return input;
}

/** A list to choose the trait `name` from: options are values, or [value, text]. */
function choice(parent, model, name, { label, options, onChange }) {
  const id = newId("control");
  const row = add(parent, "div", { class: "d2l-control" });
  add(row, "label", { for: id }, label);
  const select = add(row, "select", { id, "data-lm-suppress-shortcuts": "true" });
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, String(option)]));
  pairs.forEach(([, text], i) => add(select, "option", { value: i }, text));
  const show = () => { select.value = pairs.findIndex(([value]) => value === model.get(name)); };
  select.addEventListener("change", () => {
    put(model, { [name]: pairs[select.value][0], ...(onChange ? onChange(pairs[select.value][0]) : {}) });
  });
  model.on(`change:${name}`, show);
  show();
  return select;
}

/** A box to tick for the boolean trait `name`. */
function tick(parent, model, name, { label }) {
  const row = add(parent, "label", { class: "d2l-control d2l-tick" });
  const input = add(row, "input", { type: "checkbox" });
  add(row, "span", {}, label);
  const show = () => { input.checked = model.get(name); };
  input.addEventListener("change", () => put(model, { [name]: input.checked }));
  model.on(`change:${name}`, show);
  show();
  return input;
}

function button(parent, text, onClick) {
  const node = add(parent, "button", { type: "button", class: "d2l-button" }, text);
  node.addEventListener("click", onClick);
  return node;
}

/** A button that copies `text()`; where the browser forbids that, the text is selected instead. */
function copyButton(parent, code, label = "Copy") {
  const node = button(parent, label, async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      node.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      node.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { node.textContent = label; }, 2000);
  });
  return node;
}

// ---- what is said and tabulated
/** A line for screen readers, spoken once the reader pauses. */
function speaker(root) {
  const node = add(root, "p", { class: "d2l-spoken", "aria-live": "polite" });
  let timer, known;
  return (text) => {
    const before = known;
    known = text;
    // nothing has changed yet, or the width alone
    if (before === undefined || text === before) return;
    clearTimeout(timer);
    timer = setTimeout(() => { node.textContent = text; }, 500);
  };
}

/** A folded table; returns the function that fills it, of its head and a function that makes its
    rows: while nobody sees them, they are made once the changes pause. Rows whose `bad` is set are marked. */
function folded(root, title, open = false) {
  const details = add(root, "details", { class: "d2l-details", open: open ? "" : null });
  add(details, "summary", {}, title);
  const scroll = add(details, "div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": title });
  const fill = (head, rows) => {
    const headCells = head.map((cell) => `<th scope="col">${escaped(cell)}</th>`).join("");
    const body = rows().map((row) => {
      const cells = row.map((cell) => `<td>${escaped(cell)}</td>`).join("");
      return `<tr${row.bad ? ' class="d2l-bad"' : ""}>${cells}</tr>`;
    });
    rewrite(scroll, `<table><thead><tr>${headCells}</tr></thead><tbody>${body.join("")}</tbody></table>`);
  };
  let timer;
  return (head, rows) => {
    clearTimeout(timer);
    if (details.open) fill(head, rows);
    else timer = setTimeout(() => fill(head, rows), 150);
  };
}

/** Facts in large type: pairs of a name and a value. */
function facts(root) {
  const list = add(root, "dl", { class: "d2l-facts" });
  return (pairs) => {
    rewrite(list, pairs
      .map(([name, value, note]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}${note ? ` <small>${escaped(note)}</small>` : ""}</dd></div>`)
      .join(""));
  };
}

// ---- the kernel, if there is one
/** Calls `found` once a live kernel answers; a page without one stays silent. */
function whenLive(model, found) {
  model.on("msg:custom", (message) => { if (message.kind === "here") found(); });
  model.send({ kind: "anyone" });
}
