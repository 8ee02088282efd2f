"""What holds for every widget: it draws without a kernel, answers to keys, fits a phone, can be
read in the dark and by a screen reader, is quick, and leaves a picture where no script runs."""

import statistics

import pytest
from samples import SAMPLES

from d2lmini.widgets.base import Widget

SMALL_PHONE = 320  # pixels
NUMBER_OF_EVENTS = 40

# milliseconds from each of a slider's input events to the frame painted after it
EVENT_TO_PAINT = """
async ([input, count]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  const times = [];
  const [min, max] = [+input.min, +input.max];
  for (let i = 0; i < count; i++) {
    await painted();  // start right after a frame
    input.value = min + ((+input.value - min + 1) % (max - min + 1));
    const start = performance.now();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await Promise.resolve();  // what is drawn, is drawn in microtasks
    await new Promise((done) => queueMicrotask(done));
    document.body.getBoundingClientRect();  // lay out now
    times.push(performance.now() - start);
  }
  return times;
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


@pytest.fixture(params=sorted(SAMPLES))
def sample(request) -> Widget:
    return SAMPLES[request.param]()


def test_it_draws_without_a_kernel_and_takes_the_pictures_place(sample, mount):
    page = mount(sample)
    assert page.locator(".d2l-widget > img").count() == 0
    assert page.locator(".d2l svg, .d2l canvas").count() > 0
    assert page.locator(".d2l [aria-live=polite]").count() == 1
    page.wait_for_selector(".d2l details table", state="attached")


def test_arrow_keys_move_every_slider_and_what_is_shown_follows(sample, mount):
    page = mount(sample)
    for slider in page.locator(".d2l input[type=range]").all():
        if not slider.is_visible() or slider.is_disabled():
            continue
        slider.focus()
        before = page.locator(".d2l").inner_html()
        value, text = slider.input_value(), slider.get_attribute("aria-valuetext")
        end = slider.get_attribute("max")
        page.keyboard.press("ArrowLeft" if value == end else "ArrowRight")
        assert slider.input_value() != value
        assert slider.get_attribute("aria-valuetext") != text
        page.wait_for_timeout(30)
        assert page.locator(".d2l").inner_html() != before
        assert slider.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_every_control_has_a_name_and_is_large_enough(sample, mount):
    page = mount(sample, width=SMALL_PHONE)
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
def test_it_fits_a_small_phone_and_its_letters_can_be_read(sample, mount, theme):
    page = mount(sample, width=SMALL_PHONE, theme=theme)
    page.wait_for_timeout(100)  # drawings take the new width
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
def test_letters_in_drawings_stand_out(sample, mount, theme):
    assert mount(sample, theme=theme).evaluate(LOW_CONTRAST, 4.5) == []


def test_nothing_moves_by_itself(sample, mount):
    page = mount(sample, reduced_motion="reduce")
    page.wait_for_timeout(800)  # long tables fill once all is quiet
    before = page.locator(".d2l").inner_html()
    page.wait_for_timeout(400)
    assert page.locator(".d2l").inner_html() == before
    assert page.evaluate("document.getAnimations().length") == 0


def test_without_scripts_a_figure_and_the_numbers_stand(sample, mount):
    page = mount(sample, java_script_enabled=False)
    assert page.locator(".d2l-widget img").get_attribute("alt") == sample.title
    head, rows = sample.table()
    cells = page.locator(".d2l-widget td").all_inner_texts()
    assert cells == [str(cell) for row in rows for cell in row]
    assert all(len(row) == len(head) for row in rows)


def test_an_event_is_drawn_within_a_frame(sample, mount):
    """In ms. Other work on the machine can only add to them, so the best of three counts."""
    page = mount(sample)
    for slider in page.locator(".d2l input[type=range]").all():
        if slider.is_visible() and slider.is_enabled():
            arguments = [slider.element_handle(), NUMBER_OF_EVENTS]
            for _ in range(3):
                times = page.evaluate(EVENT_TO_PAINT, arguments)
                median, slow = statistics.median(times), statistics.quantiles(times, n=10)[-1]
                if median <= 8 and slow <= 16:
                    break
            assert median <= 8 and slow <= 16, (slider.get_attribute("id"), median, slow)


def test_its_script_is_small_and_asks_nobody(sample):
    source = str(sample._esm)
    assert "http://" not in (source + str(sample._css)).replace("http://www.w3.org/", "")
    assert all(word not in source for word in ("fetch(", "XMLHttpRequest", "https://", "eval("))
