"""The lectures that book/slides makes of the chapters: one file each, without another host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from made import REPOSITORY, PlainHost, served
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SLIDES = REPOSITORY / "book" / "slides"
CHAPTERS = sorted((REPOSITORY / "chapters").glob("*.ipynb"))
LECTURE = {"viewport": {"width": 1280, "height": 720}}
START_MS = 60_000  # a loaded machine; an idle one takes a second or two
LEAST_TEXT, LEAST_FIGURE = 0.75, 0.7  # of their full size
ROLE = re.compile(r"\{[\w:]+\}`|^:::|^```", re.MULTILINE)

# Of every slide, with all its fragments: its title, what lies outside of it, and its scale
LAID_OUT = """
() => Reveal.getSlides().map((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v, Infinity);
  const figure = slide.querySelector(".d2l-widget");
  const within = slide.getBoundingClientRect();
  const outside = [...slide.querySelectorAll(":scope > *, pre, table, img, .d2l")].filter((e) => {
    if (e.closest(".d2l *")) return false; // a figure sees to its own parts, some of them closed
    const box = e.getBoundingClientRect();
    const clipped = e.matches("pre") && e.scrollWidth > e.clientWidth + 1;
    return box.width && (clipped || box.right > within.right + 1 || box.bottom > within.bottom + 1);
  });
  return {
    title: slide.querySelector("h1, h2").textContent,
    outside: outside.map((e) => e.outerHTML.slice(0, 80)),
    scrolls: slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth,
    text: Number(slide.style.getPropertyValue("--fit") || 1),
    zoom: figure ? Number(figure.style.getPropertyValue("--zoom")) : 1,
    drawn: !figure || !!figure.querySelector(".d2l"),
  };
})
"""


@pytest.fixture(scope="module")
def lectures(tmp_path_factory) -> Path:
    """A folder with the lectures and nothing else, made as book/teaching.md says."""
    folder = tmp_path_factory.mktemp("Folien für heute")
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "slides", "--config", SLIDES / "config.py",
         "--output-dir", folder, *CHAPTERS],
        cwd=REPOSITORY, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, text=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module", params=["http", "file"])
def address(request, lectures):
    """In the place of the book's: where `opened` finds the lectures."""
    if request.param == "file":
        yield lectures.as_uri()
        return
    with served(lectures, PlainHost) as where:
        yield where


def started(visit):
    visit.page.wait_for_selector("html.started", state="attached", timeout=START_MS)
    return visit.page


@pytest.mark.parametrize("address", ["file"], indirect=True)
@pytest.mark.parametrize("chapter", [path.stem for path in CHAPTERS])
def test_every_slide_holds_what_stands_on_it(opened, chapter):
    lecture = opened(f"{chapter}.slides", **LECTURE)
    page = started(lecture)
    slides = page.evaluate(LAID_OUT)
    assert 12 <= len(slides) <= 40
    wrong = [s for s in slides if s["outside"] or s["scrolls"] or not s["drawn"]]
    assert wrong == []
    small = [s for s in slides if s["text"] < LEAST_TEXT or s["zoom"] < LEAST_FIGURE]
    assert small == []
    assert page.locator(".katex-error").count() == 0
    assert (lecture.foreign, lecture.complaints) == ([], [])


@pytest.mark.parametrize("address", ["http"], indirect=True)
def test_figures_answer_and_keep_their_keys(opened):
    lecture = opened("vgg.slides", **LECTURE)
    page = started(lecture)
    go_to = "s => { const { h, v } = Reveal.getIndices(s); Reveal.slide(h, v); }"
    slide = page.locator("section.page", has=page.locator("input[type=range]")).first
    slide.evaluate(go_to)
    here = page.evaluate("Reveal.getSlidePastCount()")
    slider, figure = slide.locator("input[type=range]").first, slide.locator(".d2l")
    before = slider.input_value(), figure.inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    changed = "([figure, text]) => figure.innerText !== text"
    page.wait_for_function(changed, arg=[figure.element_handle(), before[1]])
    assert slider.input_value() != before[0]
    assert page.evaluate("Reveal.getSlidePastCount()") == here  # the arrow was the slider's
    page.keyboard.press("PageDown")  # a clicker's key is the lecture's
    assert page.evaluate("Reveal.getSlidePastCount()") == here + 1
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("Reveal.getSlidePastCount()") == here
    assert (lecture.foreign, lecture.complaints) == ([], [])


@pytest.mark.parametrize("address", ["file"], indirect=True)
def test_on_paper_every_slide_is_a_page(opened):
    lecture = opened("vgg.slides.html?print-pdf&to=", **LECTURE)  # `opened` appends .html
    page = started(lecture)
    page.wait_for_function("document.querySelectorAll('.pdf-page').length")
    sheets = page.evaluate(
        "[...document.querySelectorAll('.pdf-page')].map((e) => [e.scrollWidth, e.scrollHeight])"
    )
    assert len(sheets) == page.locator("section.page").count()
    assert all(wide <= 1280 and high <= 720 for wide, high in sheets)
    assert (lecture.foreign, lecture.complaints) == ([], [])


@pytest.mark.parametrize("chapter", [path.stem for path in CHAPTERS])
def test_nothing_is_fetched_and_no_mark_is_left(lectures, chapter):
    page = BeautifulSoup((lectures / f"{chapter}.slides.html").read_text("utf-8"), "html.parser")
    assert page.find_all(["link", "iframe", "base"]) == []
    sources = [tag["src"] for tag in page.find_all(src=True)]
    assert sources and all(source.startswith("data:") for source in sources)
    css = "".join(map(str, page("style")))
    assert not re.search(r"@import|url\(\s*[\"']?(?!data:)", css)
    for part in page.select("pre, code, .math, script, style"):
        part.decompose()
    assert ROLE.findall(page.body.get_text()) == []
    shown = [title.get_text() for title in page.select("section.page > :is(h1, h2)")]
    assert "Summary" in shown and not {"Exercises", "Further reading"} & set(shown)


# ---- what becomes of a cell --------------------------------------------------------------------


@pytest.fixture
def stacks(monkeypatch, tmp_path):
    """A function: cells → the slides, a list for each stack."""
    for folder in (SLIDES, REPOSITORY / "book" / "extensions"):
        monkeypatch.syspath_prepend(folder)
    from lecture import Lecture

    def make(*cells):
        notebook = new_notebook(cells=list(cells))
        _, resources = Lecture().preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
        return resources["deck"]["stacks"]

    return make


def marked(cell: nbformat.NotebookNode, kind: str, **more) -> nbformat.NotebookNode:
    cell.metadata["slideshow"] = {"slide_type": kind, **more}
    return cell


def text(source: str, kind: str = "slide") -> nbformat.NotebookNode:
    return marked(new_markdown_cell(source), kind)


def words(part) -> str:
    return " ".join(BeautifulSoup(part.html, "html.parser").get_text().split())


def test_a_text_is_shortened_and_its_whole_goes_to_the_notes(stacks):
    ((slide, below),) = stacks(
        text("## VGG\n\nBlocks. All repeat. All halve {cite:p}`Simonyan2015`. Why 3×3? No. We ask. "
             "So it is\n\n$$x$$\n\n- a\n- b\n\n### A block\n\nOne {term}`kernel <kernels>`, see "
             "{doc}`LeNet <lenet>`. Two.\n\n## Exercises\n\n**1.** Do it."),
    )  # fmt: skip
    assert [slide.title, below.title] == ["VGG", "A block"]
    assert [words(part) for part in slide.parts] == [
        "Blocks. All halve (Simonyan and Zisserman, 2015). Why 3×3? We ask. So it is", "x", "a b",
    ]  # fmt: skip
    assert "All repeat." in slide.notes[0] and "No." in slide.notes[0]
    assert [words(part) for part in below.parts] == ["One kernel, see LeNet."]
    ((whole,),) = stacks(marked(text("## A block\n\nOne. Two."), "slide", show="all"))
    assert [words(part) for part in whole.parts] == ["One. Two."]


def test_an_answer_waits_for_the_next_key(stacks):
    def code(kind="-", **more):
        printed = new_output("stream", name="stdout", text="5 < 6\n")
        return marked(new_code_cell("print(n)", outputs=[printed]), kind, **more)

    ((asking, telling),) = stacks(
        text("## Walk it\n\nHow many?"), code(), text("It has:", "subslide"), code(show="output")
    )
    assert [(part.kind, part.later) for part in asking.parts] == [
        ("text", False), ("code", False), ("printed", True),
    ]  # fmt: skip
    assert [(part.kind, part.later) for part in telling.parts] == [
        ("text", False), ("printed", False),
    ]  # fmt: skip
    assert telling.title == "Walk it" and words(telling.parts[1]) == "5 < 6"


def test_only_marked_cells_are_shown(stacks):
    with pytest.raises(ValueError, match="nothing to make slides of"):
        stacks(new_markdown_cell("# A\n\nB."), new_code_cell("1"), text("# C\n\nD.", "skip"))
    with pytest.raises(ValueError, match="'sldie'"):
        stacks(text("# A", "sldie"))
    ((slide,),) = stacks(text("# A\n\nB."), new_code_cell("1"), text("Said only.", "notes"))
    assert [words(part) for part in slide.parts] == ["B."]
    assert "Said only." in slide.notes[-1]


def test_what_is_too_long_goes_on_to_another_slide(stacks):
    lines = "\n".join(f"x = {i}" for i in range(20))
    printed = new_output("stream", name="stdout", text=lines)
    ((first, second),) = stacks(
        text("## Count\n\nSo:"), marked(new_code_cell(lines, outputs=[printed]), "-")
    )
    assert [part.kind for part in first.parts] == ["text", "code"]
    assert (second.title, [part.kind for part in second.parts]) == ("Count", ["printed"])
