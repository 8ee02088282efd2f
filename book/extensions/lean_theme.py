"""A Sphinx extension that leaves out what the theme brings and no page of the book uses.

Unabridged, a page of this book weighs 1.1 MB gzipped before its first figure: the theme sends all
2,000 icons of Font Awesome, as a script and again as fonts. Here the fonts keep the icons that
the pages show and stand in the theme's style sheet, and scripts go where nothing calls them.
Everything is taken from the installed theme at build time; an icon it lacks fails the build.
On the way, a page's figures get to share their scripts (`shared_scripts`), the theme's inline
scripts become files (`inert`), and the entries of the bibliography become items of their list:
docutils gives them a role that ARIA has dropped, which leaves the list without items. A second
build, which writes again only the pages that have changed, leaves the others as they are.
"""

import base64
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from fontTools.ttLib import TTFont
from inert import without_inline_scripts
from shared_scripts import with_shared_scripts
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
FONTS = THEME / "vendor" / "fontawesome" / "webfonts"
STYLE = Path("styles", "pydata-sphinx-theme.css")

# Font Awesome in the theme's style sheet: an icon's rule, a font's addresses, and an icon in any
# text, escaped or as the character that it is
ICON = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:("[^"]+")\}')
SOURCES = re.compile(r"src:url\([^)]*/fontawesome/webfonts/([\w-]+)\.woff2\)[^;}]*")
CHARACTER = re.compile(r"\\([ef][0-9a-f]{3})|([\ue000-\uf8ff])")

# What serves a part of the pages only
MATHS = ("katex.min.js", "auto-render.min.js", "katex_autorenderer.js",
         "katex.min.css", "katex-math.css")  # fmt: skip
DESIGN = ("sphinx-design.min.css", "design-tabs.js")
SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", make_lean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def make_lean(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    icons = icon_classes(read(static.glob("scripts/*theme.js")))
    site = Path(app.outdir)
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        icons |= icon_classes(html)
        lean = without_files(html, unused_files(html, page.stem))
        lean = lean.replace('role="doc-biblioentry"', 'role="listitem"')
        lean = without_inline_scripts(with_shared_scripts(lean), page, site)
        page.write_text(lean, encoding="utf-8", newline="\n")

    css = lean_icons((THEME / STYLE).read_text(encoding="utf-8"), icons)
    others = set(static.glob("styles/*.css")) - {static / STYLE}
    css = lean_fonts(css, characters(css + read(others)))
    (static / STYLE).write_text(css, encoding="utf-8", newline="\n")


def read(files: Iterable[Path]) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


# ---------------------------------------------------------------------------- pages


def icon_classes(text: str) -> set[str]:
    """The classes such as fa-bars that a page or a script gives to its elements."""
    lists = re.findall(r'class(?:List)?\s*=\s*"([^"]*\bfa-[^"]*)"', text)
    return {name for names in lists for name in names.split() if name.startswith("fa-")}


def unused_files(html: str, name: str) -> list[str]:
    """The scripts and style sheets that a page loads and has no use for."""
    unused = ["fontawesome.js"]  # the style sheet shows the icons too
    if 'class="math' not in html:
        unused += MATHS
    if 'class="sd-' not in html:
        unused += DESIGN
    if name != "search" and "search_as_you_type = false" in html:
        unused += SEARCH  # the search field leads to the search page
    return unused


def without_files(html: str, names: Iterable[str]) -> str:
    files = rf'"[^"]*/(?:{"|".join(map(re.escape, names))})(?:\?[^"]*)?"'
    html = re.sub(rf"[ \t]*<script[^>]* src={files}[^>]*></script>\n?", "", html)
    return re.sub(rf"[ \t]*<link[^>]* href={files}[^>]*>\n?", "", html)


# ---------------------------------------------------------------------------- icons


def lean_icons(css: str, icons: set[str]) -> str:
    """The theme's style sheet with the rules of the given icons only. They get an empty text for
    those who listen, where the browser knows of such."""
    missing = [name for name in icons if not re.search(rf"\.{name}(?![\w-])", css)]
    if missing:
        raise ExtensionError(f"the theme's Font Awesome has no icons named {sorted(missing)}")

    def rule(match: re.Match[str]) -> str:
        selectors, content = match.groups()
        used = icons & set(re.findall(r"fa-[\w-]+", selectors))
        return f"{selectors}{{content:{content};content:{content}/''}}" if used else ""

    return ICON.sub(rule, css)


def characters(css: str) -> set[int]:
    """The code points of the icons that style sheets show."""
    return {int(code, 16) if code else ord(char) for code, char in CHARACTER.findall(css)}


def lean_fonts(css: str, icons: set[int]) -> str:
    """The style sheet with fonts of the given code points in place of links to whole fonts."""
    held: set[int] = set()

    def embedded(match: re.Match[str]) -> str:
        font = TTFont(FONTS / f"{match[1]}.ttf", recalcTimestamp=False)
        present = icons & font.getBestCmap().keys()
        held.update(present)
        data = base64.b64encode(woff(font, present)).decode()
        return f'src:url(data:font/woff;base64,{data}) format("woff")'

    css = SOURCES.sub(embedded, css)
    if missing := icons - held:
        names = ", ".join(f"{code:x}" for code in sorted(missing))
        raise ExtensionError(f"the theme's Font Awesome has no icons of the code points {names}")
    return css


def woff(font: TTFont, characters: set[int]) -> bytes:
    """The font with these characters only, packed for the web."""
    subsetter = subset.Subsetter(subset.Options(layout_features=[]))
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return buffer.getvalue()
