"""The built book in a real browser: offline, readable, whole, light."""

import gzip
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from address import configured
from bs4 import BeautifulSoup
from made import DESKTOP, SMALL_PHONE, switch_theme

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY / "book" / "assets"
PAGE_BYTES = 1_500_000  # gzipped, figures and all
FIVE = ("lenet", "alexnet", "vgg", "nin", "googlenet")

# Every element of the article that shows text of its own, with its contrast ratio (WCAG 2)
LOW_CONTRAST = r"""
(least) => {
  const parse = (text) => {
    const canvas = document.createElement("canvas");
    const c = canvas.getContext("2d", { willReadFrequently: true });
    c.clearRect(0, 0, 1, 1); c.fillStyle = text; c.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = c.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const cache = {};
  const colour = (text) => (cache[text] ??= parse(text));
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const background = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const e of document.querySelectorAll(".bd-article *")) {
    if (e.closest("svg, .katex-mathml, .headerlink, .copybtn") || !e.checkVisibility()) continue;
    const texts = [...e.childNodes].filter((n) => n.nodeType === 3);
    const own = texts.map((n) => n.data.trim()).join("");
    if (!own || /^\u200b*$/.test(own)) continue;
    const behind = background(e);
    const [a, b] = [luminance(over(colour(getComputedStyle(e).color), behind)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${e.tagName}.${e.className}`;
    if (ratio < least) low.push(`${ratio.toFixed(2)} ${name}: ${own.slice(0, 40)}`);
  }
  return low;
}
"""

# Icons that show nothing: no character, or one that the icons' font does not draw
BLANK_ICONS = r"""
async () => {
  const context = document.createElement("canvas").getContext("2d");
  const drawn = (font, text) => {
    context.canvas.width = context.canvas.height = 60;
    context.font = font;
    context.fillText(text, 5, 45);
    return context.canvas.toDataURL();
  };
  const blank = [];
  const icons = ".fa-solid, .fa-regular, .fa-brands, .fas, .far, .fab";
  for (const icon of document.querySelectorAll(icons)) {
    const style = getComputedStyle(icon, "::before");
    const [, text] = style.content.match(/^"(.)"/) ?? [];
    const font = (family) => `${style.fontWeight} 40px ${family}`;
    if (text) await document.fonts.load(font(style.fontFamily), text);
    const own = font(style.fontFamily);
    const seen = text && drawn(own, text) !== drawn(own, "\uf8ff"); // one that no font has
    const { width, height } = icon.getBoundingClientRect();
    if (!seen || (icon.checkVisibility() && !(width && height))) blank.push(icon.className);
  }
  return blank;
}
"""


def test_pages_ask_no_other_host_and_do_not_complain(over_http):
    assert over_http.foreign == []
    assert over_http.complaints == []


def test_pages_work_from_disk(from_disk):
    assert from_disk.foreign == []
    assert from_disk.complaints == []
    assert broken_images(from_disk.page) == []
    assert unset_formulas(from_disk.page) == []


def test_it_is_light(over_http, address, html):
    page = over_http.page
    load_images(page)
    page.evaluate("async () => void (await document.fonts.ready)")
    ours = {url for url in over_http.fetched if url.startswith(address)}  # not data: or blob:
    files = {html / unquote(urlsplit(url.removeprefix(f"{address}/")).path) for url in ours}
    assert len(files) > 5
    weights = {str(file): len(gzip.compress(file.read_bytes())) for file in files}
    total, heaviest = sum(weights.values()), sorted(weights.items(), key=lambda item: -item[1])
    assert total <= PAGE_BYTES, heaviest[:10]


def test_icons_are_drawn(over_http):
    page = over_http.page
    assert page.locator(".fa-bars").count()
    assert page.evaluate(BLANK_ICONS) == []


def test_formulas_are_set(over_http):
    assert unset_formulas(over_http.page) == []


def test_one_h1_and_no_level_skipped(over_http):
    levels = over_http.page.eval_on_selector_all(
        ":is(h1, h2, h3, h4, h5, h6)",
        "all => all.filter((h) => h.checkVisibility()).map((h) => +h.tagName[1])",
    )
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels)), levels


def test_images_load_and_have_alternative_texts(over_http):
    assert broken_images(over_http.page) == []
    silent = over_http.page.eval_on_selector_all(
        ".bd-article img",  # for a cell's figure myst-nb puts the file's name, which says nothing
        r"""all => all.filter((i) => !i.alt.trim() || /\.(png|svg|jpe?g)$/.test(i.alt))
                   .map((i) => i.outerHTML.slice(0, 160))""",
    )
    assert silent == [], 'set the cell\'s metadata: {"mystnb": {"image": {"alt": "…"}}}'


def test_every_figure_that_answers_is_drawn(over_http):
    page = over_http.page
    assert_drawn(page)
    one_of_five = Path(urlsplit(page.url).path).stem in FIVE
    assert page.locator(".d2l-widget .d2l").count() >= (2 if one_of_five else 0)


def test_every_figure_that_answers_is_drawn_from_disk(from_disk):
    assert_drawn(from_disk.page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_contrast(over_http, theme):
    page = over_http.page
    page.set_viewport_size(DESKTOP)
    switch_theme(page, theme)
    assert page.evaluate(LOW_CONTRAST, 4.5) == []


def test_no_sideways_scrolling_on_a_phone(over_http):
    page = over_http.page
    page.set_viewport_size(SMALL_PHONE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size(DESKTOP)
    assert wide <= SMALL_PHONE["width"]


def test_no_pale_frame_stands_around_a_figure_in_the_dark(over_http):
    page = over_http.page
    switch_theme(page, "dark")
    painted = page.eval_on_selector_all(
        ".d2l-widget",
        "all => all.map((e) => getComputedStyle(e.parentElement).backgroundColor)",
    )
    switch_theme(page, "light")
    assert set(painted) <= {"rgba(0, 0, 0, 0)"}


def test_the_packages_page_has_every_public_function_and_class(html):
    import d2lmini

    anchors = {tag["id"] for tag in document_at(html / "book" / "api.html").find_all(id=True)}
    wanted = {f"d2lmini.{name}" for name in d2lmini.__all__ if callable(getattr(d2lmini, name))}
    assert wanted - anchors == set()


def test_the_packages_page_shows_what_a_figure_takes(html):
    page = document_at(html / "book" / "api.html")
    assert page.find(id="d2lmini.SelfCheck").get_text().count("*questions") == 1
    assert "net, test_iter, stages" in re.sub(
        r": [^,]+", "", page.find(id="d2lmini.InsideNetwork").get_text()
    )


def test_the_page_of_claims_lists_each_claim_with_a_link_to_its_place(html):
    page = document_at(html / "book" / "claims.html")
    links = [tag["href"] for tag in page.select(".checked .where a")]
    chapters = (html / "chapters").glob("*.html")
    placed = {
        f"../chapters/{path.name}#{tag['id']}"
        for path in chapters
        for tag in document_at(path).select(".claim")
    }
    assert placed
    assert sorted(links) == sorted(placed)


def test_no_two_elements_share_an_id(over_http):
    """Figures included: a label would name the first of them."""
    assert_drawn(over_http.page)
    shared = over_http.page.evaluate(
        """[...document.querySelectorAll("[id]")].map((e) => e.id)
             .filter((id, i, all) => all.indexOf(id) !== i)"""
    )
    assert shared == []


def test_print_unfolds_and_drops_the_sidebars(over_http):
    page = over_http.page
    page.emulate_media(media="print")
    shown = page.evaluate(
        """[...document.querySelectorAll(
               ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-footer"
             )].filter((e) => e.checkVisibility()).map((e) => e.className)"""
    )
    folded = page.evaluate(
        """[...document.querySelectorAll(".bd-article details > :not(summary)")]
             .filter((e) => !e.checkVisibility() || !e.getClientRects().length)
             .map((e) => e.outerHTML.slice(0, 100))"""
    )
    page.emulate_media(media="screen")
    assert shown == []
    assert folded == []


def test_text_and_figures_stand_without_javascript(without_script, html, address):
    page = without_script.page
    shown = "".join(page.locator("main").inner_text().split())
    paragraphs = document_at(html / page.url.removeprefix(f"{address}/")).select(
        ".bd-article section > p"
    )
    unfolded = [p.get_text() for p in paragraphs if not p.find_parent("details")]
    assert [text for text in unfolded if "".join(text.split()) not in shown] == []
    assert broken_images(page) == []
    bare = page.eval_on_selector_all(
        ".d2l-widget",
        """all => all.filter((e) => !e.querySelector("ol"))
             .filter((e) => !e.querySelector("img") || !e.querySelector("table"))
             .map((e) => e.outerHTML.slice(0, 100))""",
    )
    assert bare == []  # questions, or a picture and its numbers


def test_search_finds_a_glossary_word(browser, html):
    context = browser.new_context()
    page = context.new_page()
    page.goto((html / "search.html").as_uri() + "?q=padding", wait_until="load")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li a").count() > 1
    context.close()


def test_links_and_anchors_resolve(html, page_name):
    page = html / f"{page_name}.html"
    dead = []
    for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
        for element in document_at(page).find_all(tag, attrs={attribute: True}):
            target = urlsplit(element[attribute])
            if target.scheme or target.netloc:
                if not (outward(element[attribute]) if attribute == "href" else drawn_here(target)):
                    dead.append(element[attribute])
                continue
            file = (page.parent / unquote(target.path)).resolve() if target.path else page
            if file.is_dir():
                file /= "index.html"
            anchor = unquote(target.fragment)
            inside = file.is_relative_to(html.resolve())
            if not inside or not file.is_file() or (anchor and not has_anchor(file, anchor)):
                dead.append(element[attribute])
    assert dead == []


def test_no_page_or_download_holds_an_assignments_solution(html):
    for path in html.rglob("*"):
        if path.suffix in (".html", ".js", ".ipynb", ".txt", ".md", ".zip"):
            assert not re.search(rb"(BEGIN|END) (SOLUTION|HIDDEN TESTS)", path.read_bytes()), path


def test_every_chapter_opens_in_colab_and_binder_from_this_repository(html):
    place = configured(REPOSITORY).removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/chapters/{{}}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/chapters/{{}}.ipynb"
    for page in (html / "chapters").glob("*.html"):
        for address in (colab, binder):
            assert document_at(page).find("a", href=address.format(page.stem)), page


def test_every_chapter_offers_its_notebook(html):
    for page in (html / "chapters").glob("*.html"):
        assert document_at(page).find("a", href=f"../_sources/chapters/{page.stem}.ipynb"), page


def test_start_page_is_reached_from_the_root(html):
    assert "book/index.html" in (html / "index.html").read_text("utf-8")


@pytest.mark.parametrize("figure", sorted(ASSETS.rglob("*.svg")), ids=lambda path: path.stem)
def test_drawings_are_titled_and_self_contained(figure):
    text = figure.read_text("utf-8")
    root = ElementTree.fromstring(text)
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    foreign = r"<script|<foreignObject|<image|@import|(href|src)=.https?:|url\(.?https?:"
    assert not re.search(foreign, text)
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', text)]
    assert min(sizes, default=11) >= 11


def test_vendored_katex_agrees_with_the_package():
    from sphinxcontrib.katex import katex_version

    folder = ASSETS / "vendor" / "katex"
    assert f"KaTeX {katex_version} " in (folder / "VERSION").read_text("utf-8")
    assert (folder / "LICENSE").is_file()
    fonts = set(re.findall(r"fonts/[\w-]+\.woff2", (folder / "katex.min.css").read_text("utf-8")))
    assert fonts == {f"fonts/{path.name}" for path in (folder / "fonts").iterdir()}


# ---------------------------------------------------------------------------- helpers

DOCUMENTS: dict[Path, BeautifulSoup] = {}


def document_at(path: Path) -> BeautifulSoup:
    if path not in DOCUMENTS:
        DOCUMENTS[path] = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    return DOCUMENTS[path]


def outward(link: str) -> bool:
    """Whether it is a link to another host's page, as far as can be told without asking."""
    parts = urlsplit(link)
    host = parts.hostname or ""
    return parts.scheme == "mailto" or (parts.scheme == "https" and "." in host and " " not in link)


def drawn_here(target) -> bool:
    return target.scheme == "data" and target.path.startswith("image/")


def has_anchor(file: Path, anchor: str) -> bool:
    return file.suffix != ".html" or document_at(file).find(id=anchor) is not None


def load_images(page):
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")


def broken_images(page) -> list[str]:
    load_images(page)
    return page.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)")


def unset_formulas(page) -> list[str]:
    return page.evaluate(
        """[...document.querySelectorAll(".math")]
             .filter((e) => !e.querySelector(".katex") || e.querySelector(".katex-error"))
             .map((e) => e.textContent.slice(0, 80))"""
    )


def assert_drawn(page):
    """Each widget of the page stands in its picture's place."""
    page.wait_for_function(
        """[...document.querySelectorAll(".d2l-widget")]
             .every((place) => place.querySelector(".d2l"))""",
        timeout=10_000,
    )
    assert page.locator(".d2l-widget > img").count() == 0
