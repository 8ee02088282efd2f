// Questions answered in place, from the trait `questions`: d2lmini/widgets/self_check.py says what
// each holds. What a reader answers stays in the page; nothing of it is a trait.

// ---- texts and numbers
const MARKS = /(`[^`]+`|\*[^\s*](?:[^*]*[^\s*])?\*)/;

/** Puts `code` and *emphasis* into the node as elements, and all else as text. */
function rich(node, text) {
  text.split(MARKS).forEach((part, i) => {
    if (i % 2) add(node, part[0] === "*" ? "em" : "code", {}, part.slice(1, -1));
    else node.append(part);
  });
  return node;
}

/** 1234 of "1234", "1,234" or "1 234", 0.5 of "0.5" or ".5"; NaN of anything else, "0,5" too. */
function numberOf(text) {
  const plain = text.replace(/\s/g, "").replace("−", "-");
  const isNumber = /^[-+]?(?=\.?\d)(?:[1-9]\d{0,2}(?:,\d{3})+|\d*)(?:\.\d*)?$/.test(plain);
  return isNumber ? Number(plain.replaceAll(",", "")) : NaN;
}

const numberText = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 12 }).format;
// a decimal fraction is not exact: 0.63 − 0.62 is a little more than 0.01
const near = (a, b, tolerance) => Math.abs(a - b) <= tolerance + 1e-9 * Math.abs(b);

/** What to say of a number: { right, why }, or { ask } where there is nothing to judge. */
function judgeNumber({ right, tolerance, why, hints }, text) {
  const value = numberOf(text);
  if (Number.isNaN(value)) return { ask: "Write a number in digits, such as 1,234 or 0.5." };
  if (near(value, right, tolerance)) return { right: true, why };
  const hint = hints.find(([wrong]) => near(value, wrong, 0));
  return { right: false, why: hint ? hint[1] : `${numberText(value)} is too ${value < right ? "small" : "large"}.` };
}

/** What to say of an order, given as its lines' places in the right one. */
function judgeOrder({ items, why }, places) {
  const misplaced = places.findIndex((item, i) => item !== i);
  if (misplaced < 0) return { right: true, why };
  const item = items[places[misplaced]];
  const next = misplaced ? `Right as far as ${items[misplaced - 1]}; what comes next is not ${item}.` : `The first is not ${item}.`;
  return { right: false, why: next };
}

// ---- the three kinds: each adds its controls, calls `changed` whenever the reader changes an
// answer, and returns what says whether the present one is right, and the right one in words
function choose(parent, { choices, right }, { changed }) {
  const inputs = choices.map(([text], i) => {
    const label = add(parent, "label", { class: "check-choice" });
    const input = add(label, "input", { type: "radio", name: "choice", value: i });
    input.addEventListener("change", changed);
    rich(add(label, "span"), text);
    return input;
  });
  return {
    judge: () => {
      const chosen = inputs.findIndex((input) => input.checked);
      return chosen < 0 ? { ask: "Choose one first." } : { right: chosen === right, why: choices[chosen][1] };
    },
    answer: choices[right][0],
  };
}

function number(parent, data, { changed, bar }) {
  const label = add(bar, "label", { class: "d2l-control" });
  add(label, "span", {}, "Your answer");
  const input = add(label, "input", {
    type: "text", inputmode: Number.isInteger(data.right) ? "numeric" : "decimal",
    autocomplete: "off", size: 12, class: "check-number",
  });
  input.addEventListener("input", changed);
  return { judge: () => judgeNumber(data, input.value), answer: numberText(data.right) };
}

function order(parent, data, { changed, say, bar }) {
  const { items, start } = data;
  const places = [...start]; // of each line in the right order
  let at = 0;
  add(parent, "p", { class: "d2l-note" }, "Choose a line, then move it: with the buttons, or with Alt and ↑ or ↓.");
  const list = add(parent, "ol", { role: "listbox", class: "check-order", "aria-label": "Lines to put into order" });
  // the lines stay and their texts change places, so that the focus goes along
  const lines = places.map((_, i) => {
    const line = add(list, "li", { role: "option" });
    line.addEventListener("click", () => select(i, true));
    return line;
  });
  function select(i, focus) {
    at = i;
    lines.forEach((line, j) => {
      line.tabIndex = j === at ? 0 : -1;
      line.setAttribute("aria-selected", j === at);
      line.replaceChildren();
      rich(line, items[places[j]]);
    });
    if (focus) lines[at].focus();
  }
  function move(step, focus) {
    const to = at + step;
    if (!lines[to]) return;
    [places[at], places[to]] = [places[to], places[at]];
    select(to, focus);
    changed();
    say(`${items[places[at]]}: ${at + 1} of ${lines.length}`);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault(); // the page would scroll
    if (event.altKey || event.shiftKey) move(step, true);
    else if (lines[at + step]) select(at + step, true);
  });
  for (const [text, step] of [["Move up", -1], ["Move down", 1]]) button(bar, text, () => move(step));
  select(0);
  return { judge: () => judgeOrder(data, places), answer: items.join(" → ") };
}

const KINDS = { choose, number, order };

// ---- the widget
function pose(list, data, say) {
  // a form, so that radio buttons of one name are a group of its own
  const form = add(add(list, "li"), "form", { class: "check" });
  const set = add(form, "fieldset");
  rich(add(set, "legend"), data.text);
  const bar = document.createElement("div");
  bar.className = "d2l-controls";
  const changed = () => { verdict.hidden = true; };
  const { judge, answer } = KINDS[data.kind](set, data, { changed, say, bar });
  set.append(bar);
  add(bar, "button", { type: "submit", class: "d2l-button" }, "Check");
  const verdict = add(set, "p", { class: "check-verdict", hidden: "" });
  const shown = add(set, "details", { class: "d2l-details check-answer" });
  add(shown, "summary", {}, "Show the answer");
  const solution = add(shown, "p");
  rich(add(solution, "strong"), answer);
  add(solution, "br");
  rich(solution, data.why ?? data.choices[data.right][1]);
  for (const node of form.querySelectorAll("input, button, summary, [role=option]")) {
    node.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the keys
  }

  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault(); // in JupyterLab, Enter in a field submits nothing by itself
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { ask, right, why } = judge();
    verdict.replaceChildren();
    verdict.className = `check-verdict${ask ? "" : right ? " check-right" : " check-wrong"}`;
    if (!ask) {
      add(verdict, "strong", {}, right ? "✓ Right. " : "✗ Not right. ");
      form.classList.toggle("check-offer", !right);
    }
    rich(verdict, ask ?? why);
    verdict.hidden = false;
    say(""); // the same verdict again is news, too
    say(verdict.textContent);
  });
}

function render({ model, el }) {
  const root = frame(el, "Check yourself");
  root.setAttribute("role", "group"); // a page has many: they are no landmarks
  const list = add(root, "ol", { class: "check-list" });
  const say = speaker(root);
  say(""); // the first it is told goes unsaid
  watch(model, ["questions"], () => {
    list.replaceChildren();
    for (const data of model.get("questions")) pose(list, data, say);
  });
}

export { judgeNumber, judgeOrder, numberOf };
export default { render };
