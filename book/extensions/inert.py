"""A Sphinx extension that keeps scripts out of the text of pages: what runs, comes from files.

Markup in a cell's output, in a record's name or in the Markdown is data. Where it would run a
script or load one (`<script>`, `onclick=`, `javascript:`, a frame), the page shows it as text and
the build warns, which a strict build takes for an error. The theme's own inline scripts go into
files of `_static` (`lean_theme` calls `without_inline_scripts` for every page), so that the pages
work under a Content-Security-Policy that lets none run.
"""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
RUNS = ("script", "iframe", "frame", "object", "embed", "applet", "base", "meta", "link")
INLINE = re.compile(r"[ \t]*<script(?![^>]*\s(?:src|type)=)[^>]*>(.*?)</script>\n?", re.DOTALL)
PRESSED = re.compile(r'(<button) onclick="(?:window\.print|toggleFullScreen)\(\)"')  # see book.js
# names the page for the theme's choice of versions, of which this book has one
PAGE_NAME = re.compile(r"DOCUMENTATION_OPTIONS\.pagename = '[^']*';")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", show_scripts_as_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# ---------------------------------------------------------------------------- what authors give


def show_scripts_as_text(app: Sphinx, doctree: nodes.document, document: str) -> None:
    for node in list(doctree.findall(nodes.raw)):
        if "html" in node.get("format", "").split() and (found := running_parts(node.astext())):
            LOGGER.warning(
                "%s holds %s, which pages do not run; it is shown as text",
                place(node),
                ", ".join(found),
                location=node if node.source else document,
            )
            text = nodes.literal if isinstance(node.parent, nodes.TextElement) else code_block
            node.replace_self(text(node.astext(), node.astext()))


def place(node: nodes.raw) -> str:
    """Of a notebook, the number of the cell: myst-nb counts 10,000 lines for each."""
    cell = (node.line or 0) // 10_000
    return f"cell {cell}, its text or an output," if cell else "the text"


def code_block(*texts: str) -> nodes.literal_block:
    return nodes.literal_block(*texts, language="none")


def running_parts(html: str) -> list[str]:
    """The tags and attributes that would run or load something, each once."""
    parser = Finder()
    parser.feed(html)
    parser.close()
    return list(dict.fromkeys(parser.found))


class Finder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in RUNS:
            self.found.append(f"<{tag}>")
        for name, value in attributes:
            address = re.sub(r"[\x00-\x20]", "", value or "").lower()  # as browsers read it
            if name.startswith("on") or name == "srcdoc":
                self.found.append(f"{name}=")
            elif address.startswith(("javascript:", "vbscript:", "data:text/html")):
                self.found.append(f"{name}={address[:11]}")


# ---------------------------------------------------------------------------- what the theme gives


def without_inline_scripts(html: str, page: Path, site: Path) -> str:
    """A page of the site whose own scripts are files, and whose buttons book.js listens to."""
    to_root = "../" * (len(page.relative_to(site).parts) - 1)

    def as_file(found: re.Match[str]) -> str:
        script = found[1].strip()
        if PAGE_NAME.fullmatch(script):
            return ""
        name = f"{hashlib.sha256(script.encode()).hexdigest()[:16]}.js"
        file = site / "_static" / "inline" / name
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(script + "\n", encoding="utf-8", newline="\n")
        return f'<script src="{to_root}_static/inline/{name}"></script>\n'

    return PRESSED.sub(r"\1", INLINE.sub(as_file, html))
