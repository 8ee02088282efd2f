"""How much of a page its figures are, how soon it can be read, and that what opens, opens."""

import gzip
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from made import DESKTOP, PHONE
from sphinx.errors import ExtensionError

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "extensions"
# of a chapter's, gzipped: scripts, states and still pictures; LeNet's has 500 images to draw over
WIDGET_BYTES, WIDGET_BYTES_OF_LENET = 130_000, 250_000
READABLE_MS = 1000


def test_widgets_are_a_small_part_of_it(html, chapter_name):
    page = BeautifulSoup((html / f"{chapter_name}.html").read_text("utf-8"), "html.parser")
    state = page.find_all("script", type="application/vnd.jupyter.widget-state+json")
    parts = [str(part) for part in [*state, *page.select(".d2l-widget")]]
    mounting = html / "_static" / "widgets.js"
    parts += [mounting.read_text("utf-8")]
    weight = len(gzip.compress("\n".join(parts).encode()))
    assert weight <= (WIDGET_BYTES_OF_LENET if "lenet" in chapter_name else WIDGET_BYTES)


def test_start_page_is_soon_readable(browser, address):
    assert min(first_paint(browser, f"{address}/book/index.html") for _ in range(3)) < READABLE_MS


def first_paint(browser, url: str) -> float:
    """Milliseconds to the first text or picture, with nothing cached."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url, wait_until="load")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return paint


def test_an_icon_that_the_theme_lacks_fails_the_build(monkeypatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    import lean_theme

    with pytest.raises(ExtensionError, match="fa-unheard-of"):
        lean_theme.lean_icons('.fa-bars:before{content:"\\f0c9"}', {"fa-bars", "fa-unheard-of"})
    with pytest.raises(ExtensionError, match="e123"):
        lean_theme.lean_fonts("", {0xE123})


def test_menus_code_and_search_open(opened):
    chapter = opened("chapters/vgg", viewport=DESKTOP)
    page = chapter.page
    for button in page.locator(".article-header-buttons .dropdown-toggle").all():
        button.click()
        assert page.locator(".dropdown-menu.show .dropdown-item").first.is_visible()
        button.click()
    folded = page.locator("details.hide").first
    folded.locator("summary").click()
    assert folded.locator("pre").first.is_visible()
    assert page.locator(".copybtn").count()
    page.keyboard.press("Control+k")
    assert page.locator("#pst-search-dialog input[name=q]").is_visible()
    page.keyboard.type("padding")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    page.set_viewport_size(PHONE)
    page.locator(".primary-toggle").click()
    assert page.locator("#pst-primary-sidebar-modal").is_visible()
    assert chapter.complaints == []
