"""What holds for every widget: it draws without a kernel, answers to keys, fits a phone, can be
read in the dark and by a screen reader, is quick, and leaves a picture where no script runs."""

import re
import statistics
from pathlib import Path

import pytest
from mounting import mounting
from samples import SAMPLES

from d2lmini import widgets
from d2lmini.widgets.base import Widget

SMALL_PHONE = 320  # pixels
NUMBER_OF_EVENTS = 40
TOOLS = ("Brush", "Ink")  # say what the next stroke will be, and change nothing that is shown

# What a figure shows, without its controls, what they say of themselves, and what is folded
SHOWN = """
const shown = () => {
  const root = document.querySelector(".d2l"), copy = root.cloneNode(true);
  const beside = ".d2l-control, input, [aria-live], details:not([open]) > :not(summary)";
  for (const node of copy.querySelectorAll(beside)) node.remove();
  const pixels = [...root.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL());
  return [copy.innerHTML, ...pixels].join("\\n");
};
"""

# milliseconds from each of a slider's input events to the frame painted after it, and how many of
# the events changed nothing that is shown
EVENT_TO_PAINT = f"""
async ([input, count]) => {{
  {SHOWN}
  const painted = () => new Promise((done) => requestAnimationFrame(() => {{
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }}));
  const times = [];
  let idle = 0;
  const [min, max] = [+input.min, +input.max];
  for (let i = 0; i < count; i++) {{
    const before = shown();
    await painted();  // start right after a frame
    input.value = min + ((+input.value - min + 1) % (max - min + 1));
    const start = performance.now();
    input.dispatchEvent(new Event("input", {{ bubbles: true }}));
    await Promise.resolve();  // what is drawn, is drawn in microtasks
    await new Promise((done) => queueMicrotask(done));
    document.body.getBoundingClientRect();  // lay out now
    times.push(performance.now() - start);
    idle += shown() === before;
  }}
  return [times, idle];
}}
"""

# milliseconds to draw a hundred boxes with a number in each, again and again: the machine's measure
BOXES_TO_PAINT = """
async (count) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 640 300");
  document.body.append(svg);
  const times = [];
  for (let k = 0; k < count; k++) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const start = performance.now();
    svg.innerHTML = Array.from({ length: 100 }, (_, i) => {
      const x = (i % 10) * 60 + k, y = Math.floor(i / 10) * 28;
      return `<rect x="${x}" y="${y}" width="50" height="20" fill="none" stroke="black"/>` +
        `<text x="${x}" y="${y + 14}">${(i * k * 7919) % 9973}</text>`;
    }).join("");
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  svg.remove();
  return times;
}
"""

SET = """
(input, value) => {
  if (input.value === value) return;
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}
"""

# its HTML, each element's attributes in the order of their names
IN_ORDER = """
(root) => {
  for (const node of root.querySelectorAll("*")) {
    const pairs = [...node.attributes].map(({ name, value }) => [name, value]).sort();
    for (const [name] of pairs) node.removeAttribute(name);
    for (const [name, value] of pairs) node.setAttribute(name, value);
  }
  return root.innerHTML;
}
"""

# SVG texts of less contrast than WCAG 2 asks, against the shape painted behind their middle
LOW_CONTRAST = r"""
(least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const mix = (top, below, alpha) => (top * alpha + below * (255 - alpha)) / 255;
  const over = (top, below) => [0, 1, 2].map((i) => mix(top[i], below[i], top[3]));
  const paper = rgba(getComputedStyle(document.querySelector(".d2l")).backgroundColor);
  const low = [];
  for (const text of document.querySelectorAll(".d2l svg text")) {
    if (!text.checkVisibility() || !text.textContent.trim()) continue;
    text.scrollIntoView({ block: "center" });
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    let behind = paper;
    for (const shape of document.elementsFromPoint(x, y)) {
      if (!(shape instanceof SVGGeometryElement)) continue;
      const style = getComputedStyle(shape);
      const fill = style.fill === "none" ? [0, 0, 0, 0] : rgba(style.fill);
      fill[3] *= style.fillOpacity * style.opacity;
      behind = over(fill, paper);
      break;
    }
    const style = getComputedStyle(text), ink = rgba(style.fill);
    ink[3] *= style.fillOpacity * style.opacity;
    const [a, b] = [luminance(over(ink, behind)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) low.push(`${ratio.toFixed(2)} ${text.textContent}`);
  }
  return low;
}
"""


@pytest.fixture(scope="module", params=sorted(SAMPLES))
def sample(request) -> Widget:
    """No test changes it: what a reader moves on a page stays there."""
    return SAMPLES[request.param]()


@pytest.fixture(scope="module")
def seen(sample, browser, tmp_path_factory):
    """`viewed`, of a page that no test touches."""
    with mounting(browser, tmp_path_factory.mktemp("seen")) as mounted:
        yield viewed(mounted(sample))


def viewed(page):
    """A function: width, theme → the page, so seen."""

    def seen(width=800, theme="light"):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("(theme) => (document.documentElement.dataset.theme = theme)", theme)
        page.wait_for_timeout(100)  # drawings take the new width
        return page

    return seen


def test_it_draws_without_a_kernel_and_takes_the_pictures_place(seen):
    page = seen()
    assert page.locator(".d2l-widget > img").count() == 0
    assert page.locator(".d2l svg, .d2l canvas").count() > 0
    assert page.locator(".d2l [aria-live=polite]").count() == 1
    page.wait_for_selector(".d2l details table", state="attached")


def controls(page, kinds="input[type=range]"):
    """Those that a reader can use."""
    found = page.locator(f".d2l :is({kinds})").all()
    return [control for control in found if control.is_visible() and control.is_enabled()]


def shown(page):
    return page.evaluate(f"() => {{ {SHOWN} return shown(); }}")


def is_tool(control):
    labels = control.evaluate("(node) => [...node.labels].map((label) => label.textContent)")
    return any(label in TOOLS for label in labels)


def press(control):
    """The arrow key that moves it."""
    at_end = control.input_value() == control.get_attribute("max")
    choices = control.evaluate("(node) => node.tagName") == "SELECT"
    control.press("ArrowDown" if choices else "ArrowLeft" if at_end else "ArrowRight")


def test_arrow_keys_move_every_slider_and_what_is_shown_follows(sample, mount):
    page = mount(sample)
    for slider in controls(page):
        before = shown(page)
        value, text = slider.input_value(), slider.get_attribute("aria-valuetext")
        press(slider)
        assert slider.input_value() != value
        assert slider.get_attribute("aria-valuetext") != text
        page.wait_for_timeout(30)
        assert (shown(page) == before) == is_tool(slider)
        assert slider.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_what_a_reader_changes_is_spoken(sample, mount):
    page = mount(sample)
    spoken = page.locator(".d2l [aria-live=polite]")
    page.set_viewport_size({"width": SMALL_PHONE, "height": 900})
    page.wait_for_timeout(700)  # a speaker waits for half a second
    assert spoken.inner_text() == ""  # until somebody asks
    found = controls(page, "input[type=range], select")
    press(next(control for control in found if not is_tool(control)))
    page.wait_for_function("(node) => node.textContent", arg=spoken.element_handle(), timeout=3000)


def test_every_control_has_a_name_and_is_large_enough(seen):
    page = seen(width=SMALL_PHONE)
    nameless = page.eval_on_selector_all(
        ".d2l :is(input, select, button, [role=button], [tabindex])",
        """all => all.filter((e) => e.checkVisibility() && !(
             e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim()
           )).map((e) => e.outerHTML.slice(0, 120))""",
    )
    small = page.eval_on_selector_all(
        ".d2l :is(input, select, button, summary)",
        """all => all.filter((e) => e.checkVisibility())
                  .map((e) => [e.getBoundingClientRect(), e.outerHTML.slice(0, 120)])
                  .filter(([box]) => box.width < 24 || box.height < 23.5)
                  .map(([box, name]) => `${box.width}×${box.height} ${name}`)""",
    )
    assert nameless == []
    assert small == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_small_phone_and_its_letters_can_be_read(seen, theme):
    page = seen(width=SMALL_PHONE, theme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= SMALL_PHONE
    tiny = page.eval_on_selector_all(
        ".d2l svg text",
        """all => all.filter((e) => e.checkVisibility() && e.textContent.trim()).map((e) => {
             const scale = e.ownerSVGElement.getScreenCTM().a;
             return [parseFloat(getComputedStyle(e).fontSize) * scale, e.textContent];
           }).filter(([size]) => size < 10.5)""",
    )
    assert tiny == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_in_drawings_stand_out(seen, theme):
    assert seen(theme=theme).evaluate(LOW_CONTRAST, 4.5) == []


def test_a_figure_is_the_same_by_whatever_way_its_sliders_came(sample, mount):
    """Only what differs is drawn again: five steps on each slider, or one leap."""
    walked, leapt = mount(sample), mount(sample)
    for slider in controls(walked):
        walked.evaluate(EVENT_TO_PAINT, [slider.element_handle(), 5])
    sliders = [page.locator(".d2l input[type=range]").all() for page in (walked, leapt)]
    for slider, other in zip(*sliders, strict=True):
        other.evaluate(SET, slider.input_value())
    drawn = []
    for page in (walked, leapt):
        page.wait_for_timeout(800)  # long tables fill once all is quiet
        # names are random, and a canvas that is hidden keeps its size
        html = page.locator(".d2l").evaluate(IN_ORDER)
        drawn.append(re.sub(r"d2l-\w+-\w+-|<canvas[^>]*>", "", html))
    assert drawn[0] == drawn[1]


def test_nothing_moves_by_itself(sample, mount):
    pages = [mount(sample, reduced_motion=motion) for motion in ("reduce", "no-preference")]
    pages[-1].wait_for_timeout(800)  # long tables fill once all is quiet
    before = [page.locator(".d2l").inner_html() for page in pages]
    pages[-1].wait_for_timeout(400)
    assert [page.locator(".d2l").inner_html() for page in pages] == before
    assert [page.evaluate("document.getAnimations().length") for page in pages] == [0, 0]


def test_without_scripts_a_figure_and_the_numbers_stand(sample, mount):
    page = mount(sample, java_script_enabled=False)
    assert page.locator(".d2l-widget img").get_attribute("alt") == sample.title
    head, rows = sample.table()
    cells = page.locator(".d2l-widget td").all_inner_texts()
    assert cells == [str(cell) for row in rows for cell in row]
    assert all(len(row) == len(head) for row in rows)


def test_an_event_is_drawn_within_a_frame(sample, mount):
    """Half of its events in 8 ms, nine tenths in 16. Where a hundred boxes take over 3.2 ms, the
    machine is slow: in 2.5 and 5 times as long as they do. Other work can only add, so the best
    of ten counts."""
    page = mount(sample)
    for slider in controls(page):
        arguments = [slider.element_handle(), NUMBER_OF_EVENTS]
        at_first = slider.input_value()
        for _ in range(10):
            boxes = statistics.median(page.evaluate(BOXES_TO_PAINT, NUMBER_OF_EVENTS))
            times, idle = page.evaluate(EVENT_TO_PAINT, arguments)
            assert idle == (NUMBER_OF_EVENTS if is_tool(slider) else 0)
            median, slow = statistics.median(times), statistics.quantiles(times, n=10)[-1]
            within = max(8, 2.5 * boxes)
            if median <= within and slow <= 2 * within:
                break
        figures = slider.get_attribute("id"), boxes, median, slow
        assert median <= within and slow <= 2 * within, figures
        slider.evaluate(SET, at_first)  # where one slider ends may leave nothing to the next


def test_its_script_asks_nobody(sample):
    source = str(sample._esm) + str(sample._css)
    assert "http://" not in source.replace("http://www.w3.org/", "")
    assert all(word not in source for word in ("fetch(", "XMLHttpRequest", "https://", "eval("))


def test_every_script_is_small():
    scripts = {
        path.name: path.stat().st_size for path in Path(widgets.__file__).parent.glob("*.js")
    }
    assert len(scripts) >= len(SAMPLES) and max(scripts.values()) <= 20_000, scripts
