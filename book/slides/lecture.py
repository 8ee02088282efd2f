"""Makes slides of a chapter, for `jupyter nbconvert --to slides`.

Cells say by their standard metadata, `{"slideshow": {"slide_type": …}}`, what becomes of them:

- `slide` and `subslide` begin a slide; subslides stand below a slide in the overview;
- `-` goes on with the slide before; `fragment` too, and appears with the next key press;
- `notes` are for the speaker's view; `skip`, and every cell without a mark, is left out.

Chapters are written to be read, and slides hold less. Of a Markdown cell's text a slide keeps the
heading, the first sentence, the questions, and lists, tables, formulas and pictures
(`myst.shortened` says exactly what); the whole text goes to the speaker's notes. Each heading
within a cell begins a slide of its own. What stands before the first of them looks back at the cell
before, and goes to the notes of its slide. A slide without a heading has that of its section.

A code cell shows its code and what it printed. Where it drew a picture, a table or a figure that
answers, it shows that alone. If the slide asks something, outputs wait for the next key press.
`"show"` beside the slide_type chooses otherwise: `"output"`, `"code"` or `"all"` of a code cell,
`"all"` of a text. What is too long for one slide goes on to another.
"""

import base64
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from pathlib import Path

import myst
from nbconvert.filters import ansi2html, strip_ansi
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from shared_scripts import slim
from sphinxcontrib import katex

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "assets"
VENDOR = ASSETS / "vendor"
KATEX = Path(katex.__file__).parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
LAST = ("Exercises", "Further reading")  # what is no part of a lecture: the first of them ends it
CONTINUING = ("-", "fragment")
KINDS = ("slide", "subslide", *CONTINUING, "notes", "skip")

# Heights in pixels, of a slide of 1280 × 720 below its title. deck/slides.js makes the text of a
# slide smaller where it has to, and here is said how much may be put upon one.
ROOM = 600
MOST = ROOM / 0.75
LINE, CODE_LINE, TABLE_LINE, DRAWING, PICTURE = 38, 27, 28, 420, 340
COLUMNS = 84  # characters of text to a line
WIDEST = 96  # of what is printed; longer lines, as of an error's message, are broken


@dataclass
class Part:
    """A piece of a slide. kind: a class for the style sheet; later: waits for a key press."""

    kind: str
    html: str
    height: float
    later: bool = False


@dataclass
class Slide:
    title: str
    begins_stack: bool
    tag: str = "h2"
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asks: bool = False

    def has_room(self, part: Part) -> bool:
        """A drawing has small print and keeps its size; beside it, text is not made smaller."""
        parts = [*self.parts, part]
        most = ROOM if any(part.kind == "drawing" for part in parts) else MOST
        return sum(part.height for part in parts) <= most


class Lecture(Preprocessor):
    """Puts the slides into `resources["deck"]`, and all that their page needs.

    Raises ValueError for an unknown slide_type, and for a notebook in which no cell is marked.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        slides = Slides(Path(resources["metadata"].get("path") or "."))
        for cell, following in zip_longest(nb.cells, nb.cells[1:]):
            slides.add(cell, goes_on=following is not None and mark_of(following)[0] in CONTINUING)
        stacks = slides.stacks()
        if not stacks:
            raise ValueError("no cell has a slide_type that shows it: nothing to make slides of")
        shown = "".join(p.html for stack in stacks for slide in stack for p in slide.parts)
        notes = "".join(text for stack in stacks for slide in stack for text in slide.notes)
        title = re.sub(r"<[^>]*>", "", stacks[0][0].title)
        resources["deck"] = {"title": title, "stacks": stacks, **page(nb, shown, notes)}
        return nb, resources


class Slides:
    """Takes cells in their order and makes slides of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slides: list[Slide] = []
        self.heading = ""
        self.shown_before = False  # whether the cell before is in the lecture

    def add(self, cell: NotebookNode, goes_on: bool) -> None:
        """goes_on: whether the next cell stands on the same slide."""
        kind, show = mark_of(cell)
        if cell.cell_type == "markdown":
            self.add_text(cell, kind, show, goes_on)
        elif cell.cell_type == "code" and kind == "notes":
            self.note(myst.highlighted(cell.source, "python"))
        elif cell.cell_type == "code" and kind != "skip":
            self.add_code(cell, kind, show)
        self.shown_before = kind != "skip"

    def begin(self, title: str, kind: str, tag: str = "h2") -> None:
        """A new slide. One that has nothing but its title leaves that to this one."""
        begins_stack = kind == "slide" or not self.slides
        if self.slides and not self.slides[-1].parts:
            empty = self.slides.pop()
            begins_stack = begins_stack or empty.begins_stack
            tag = "h1" if empty.tag == "h1" else tag
            if empty.title != title:
                title = f"{empty.title}: {title}"
            self.slides.append(Slide(title, begins_stack, tag, notes=empty.notes))
        else:
            self.slides.append(Slide(title, begins_stack, tag))

    def put(self, part: Part) -> None:
        """Add to the present slide, or to one after it if there is no more room."""
        slide = self.slides[-1]
        if slide.parts and not slide.has_room(part):
            self.begin(slide.title if slide.tag != "h1" else self.heading, "subslide")
            part.later = False
        self.slides[-1].parts.append(part)

    def note(self, text: str) -> None:
        if self.slides and text.strip():
            self.slides[-1].notes.append(text)

    # ------------------------------------------------------------------------ text

    def add_text(self, cell: NotebookNode, kind: str, show: str | None, goes_on: bool) -> None:
        before, *headed = myst.sections(cell.source, self.folder)
        headed = list(takewhile(lambda section: section.title not in LAST, headed))
        if kind == "notes" or (kind != "skip" and headed and self.shown_before):
            self.note(whole(before))
        elif kind != "skip" and not headed:
            self.add_section(before, kind, show, goes_on)
        for section in headed:
            self.heading = section.title
            if kind == "notes":
                self.note(whole(section))
            elif kind != "skip":
                last = goes_on and section is headed[-1]
                self.add_section(section, "subslide" if section.level > 2 else "slide", show, last)

    def add_section(
        self, section: myst.Section, kind: str, show: str | None, goes_on: bool
    ) -> None:
        if kind in ("slide", "subslide"):
            title = section.title or self.heading
            self.begin(title, kind, "h1" if section.level == 1 else "h2")
        blocks = section.blocks if show == "all" else myst.shortened(section, self.folder, goes_on)
        for block in blocks:
            self.put(Part(block.kind, block.html, height_of(block), kind == "fragment"))
            self.slides[-1].asks |= block.kind == "text" and myst.asks(block.source)
        self.note(whole(section))

    # ------------------------------------------------------------------------ code

    def add_code(self, cell: NotebookNode, kind: str, show: str | None) -> None:
        if is_self_check(cell) and not cell.outputs:
            return
        if kind in ("slide", "subslide"):
            self.begin("Check yourself" if is_self_check(cell) else self.heading, kind)
        outputs = list(output_parts(cell))
        drawn = any(part.kind != "printed" for part in outputs)
        show = show or ("output" if drawn or is_self_check(cell) else "all")
        if show != "output":
            lines = cell.source.count("\n") + 1
            code = myst.highlighted(cell.source, "python")
            self.put(Part("code", code, CODE_LINE * lines + 20, kind == "fragment"))
        if show != "code":
            for part in outputs:
                part.later = kind == "fragment" or (self.slides[-1].asks and part.kind != "figure")
                self.put(part)

    def stacks(self) -> list[list[Slide]]:
        """The slides, each with the subslides below it."""
        found: list[list[Slide]] = []
        for slide in self.slides:
            if slide.parts or slide.tag == "h1":
                if slide.begins_stack or not found:
                    found.append([])
                found[-1].append(slide)
        return found


def whole(section: myst.Section) -> str:
    """A section's prose for the notes."""
    blocks = (block.html for block in section.blocks if block.kind not in ("drawing", "table"))
    return "\n".join(blocks).replace('class="fragment"', "")


def height_of(block: myst.Block) -> float:
    lines = block.source.split("\n")
    if block.kind == "drawing":
        return DRAWING
    if block.kind == "code":
        return CODE_LINE * len(lines) - 30  # two of them are fences
    if block.kind == "table":
        return sum(TABLE_LINE * math.ceil(len(line) / 110) for line in lines)
    if block.kind in ("list", "goals"):
        items = re.split(r"\n(?=[-*\d])|\s·\s", block.source)
        return sum(LINE * math.ceil(len(item) / COLUMNS) + 6 for item in items)
    return LINE * math.ceil(len(block.source) / COLUMNS) + 14


def mark_of(cell: NotebookNode) -> tuple[str, str | None]:
    """A cell's slide_type and what it says to show."""
    mark = cell.metadata.get("slideshow", {})
    kind, show = mark.get("slide_type") or "skip", mark.get("show")
    if kind not in KINDS:
        raise ValueError(f"slide_type {kind!r} is none of {', '.join(KINDS)}")
    if show not in (None, "output", "code", "all"):
        raise ValueError(f"show {show!r} is none of output, code, all")
    return kind, show


def is_self_check(cell: NotebookNode) -> bool:
    return "d2l.SelfCheck" in cell.source


def output_parts(cell: NotebookNode) -> Iterator[Part]:
    """What a cell printed and drew; streams of one kind are one part."""
    printed = ""
    for output in cell.outputs:
        if output.output_type == "stream":
            printed += output.text
            continue
        data = output.get("data", {})
        if WIDGET_VIEW in data and "d2l-widget" in data.get("text/html", ""):
            yield Part("figure", data["text/html"], ROOM)
        elif "text/html" in data:
            rows = data["text/html"].count("<tr")
            yield Part("table", data["text/html"], TABLE_LINE * rows)
        elif "image/png" in data:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            image = myst.embedded(data["image/png"].strip(), "image/png", alt)
            yield Part("picture", image, PICTURE)
        elif "text/plain" in data:
            printed += data["text/plain"] + "\n"
    if printed := strip_ansi(printed).rstrip():
        height = CODE_LINE * (printed.count("\n") + 1) + 20
        wraps = ' class="wraps"' if max(map(len, printed.split("\n"))) > WIDEST else ""
        yield Part("printed", f"<pre{wraps}>{ansi2html(printed)}</pre>", height)


# ---------------------------------------------------------------------------- the page


def page(nb: NotebookNode, shown: str, notes: str) -> dict:
    """Style sheets, scripts and the figures' state for slides of that HTML."""
    styles = [VENDOR / "reveal" / "reveal.css", HERE / "deck" / "slides.css"]
    scripts = [VENDOR / "reveal" / "reveal.js", VENDOR / "reveal" / "notes.js"]
    if 'class="math ' in shown + notes:
        styles.insert(0, VENDOR / "katex" / "katex.min.css")
        scripts.append(KATEX / "katex.min.js")
    state = widget_state(nb, shown)
    scripts += [HERE / "deck" / "slides.js", *([ASSETS / "widgets.js"] if state else [])]
    colours = myst.CONFIG["sphinx"]["config"]["html_theme_options"]["pygments_light_style"]
    code = HtmlFormatter(style=colours).get_style_defs(".highlight")
    return {
        "styles": [with_fonts(path) for path in styles] + [code],
        "scripts": [path.read_text("utf-8").replace("</script", r"<\/script") for path in scripts],
        "state": state,
    }


def widget_state(nb: NotebookNode, shown: str) -> str:
    """The JSON that book/assets/widgets.js reads, of the figures on the slides."""
    saved = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {})
    models = {name: model for name, model in saved.get("state", {}).items()
              if f'data-model="{name}"' in shown}  # fmt: skip
    return slim(json.dumps({**saved, "state": models})) if models else ""


def with_fonts(path: Path) -> str:
    """A style sheet with its woff2 fonts inside."""

    def data(match: re.Match[str]) -> str:
        font = base64.b64encode((path.parent / match[1]).read_bytes()).decode()
        return f'src:url(data:font/woff2;base64,{font}) format("woff2")'

    return re.sub(r"src:url\(([^):]+\.woff2)\)[^;}]*", data, path.read_text("utf-8"))
