"""Figures moved ten thousand times: what a page holds does not grow."""

import pytest

WARM_UP, EVENTS = 1000, 10_000
# Between the two, the engine still compiles and caches what it runs often, 0.2 MB at most as
# measured; one kept object of 100 bytes an event would be 0.9 MB.
MOST_BYTES = 500_000

# All sliders of a page in turn, each from place to place, and in the end back where they began
SLIDE = """
async (count) => {
  const sliders = [...document.querySelectorAll(".d2l input[type=range]")];
  const move = (slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    slider.dispatchEvent(new Event("change", { bubbles: true }));
  };
  for (let i = 0; i < count; i++) {
    const slider = sliders[i % sliders.length];
    const [min, max, step] = [+slider.min, +slider.max, +slider.step || 1];
    move(slider, min + step * ((i * 7919) % (Math.floor((max - min) / step) + 1)));
    if (i % 50 === 49) await new Promise((done) => requestAnimationFrame(done));
  }
  for (const slider of sliders) move(slider, slider.defaultValue);
}
"""


@pytest.mark.soak
def test_ten_thousand_slider_events_leave_nothing(opened, page_name):
    page = opened(page_name).page
    if not page.locator(".d2l input[type=range]").count():
        pytest.skip("no figure with a slider is on this page")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    begin = held_after(page, session, WARM_UP)
    page.evaluate(SLIDE, EVENTS - 2 * WARM_UP)
    end = held_after(page, session, WARM_UP)  # the same ones: a hidden drawing keeps its last state
    print(f"{page_name}: {begin} after {WARM_UP} events, {end} after {EVENTS}")
    assert end["JSEventListeners"] == begin["JSEventListeners"]
    assert end["Nodes"] == begin["Nodes"]
    assert end["JSHeapUsedSize"] - begin["JSHeapUsedSize"] <= MOST_BYTES


def held_after(page, session, events: int) -> dict[str, int]:
    """Chromium's own figures, with nothing left to collect."""
    page.evaluate(SLIDE, events)
    page.wait_for_timeout(1000)  # what is drawn or said a little later
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    wanted = ("JSHeapUsedSize", "JSEventListeners", "Nodes")
    return {each["name"]: int(each["value"]) for each in metrics if each["name"] in wanted}
