"""A small book, whose notebook may hold markup wherever a notebook can hold data.

It has the settings, extensions and assets of the book itself, so that it is built as the book is,
in a few seconds.
"""

import shutil
from pathlib import Path

import nbformat
import yaml
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = "book/notebook"
STATE = "application/vnd.jupyter.widget-state+json"

# Each says its name if it ever runs
SCRIPT = "<script>ran('{0}')</script>"
IMAGE = "<img src='data:,' onerror=\"ran('{0}')\">"
ENDS = "</title></textarea></pre></script></SCRIPT ><!--<script>" + SCRIPT + IMAGE
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><script>ran('svg')</script></svg>"

# What runs nothing as it is written, and must be shown to the letter
SHOWN = {
    "a stream": lambda text: new_output("stream", text=text),
    "a result": lambda text: new_output("execute_result", {"text/plain": text}, execution_count=1),
    "an error": lambda text: new_output(
        "error", ename="ValueError", evalue=text, traceback=["ValueError: " + text]
    ),
}
# What would run, by what the build must say of it
WARNED = {
    "<script>": {"text/html": "<p>before</p>" + SCRIPT.format("html")},
    "onerror=": {"text/html": "<table><tr><td>" + IMAGE.format("handler") + "</td></tr></table>"},
    "href=javascript:": {"text/html": "<a href=' java\nscript:ran(`link`)'>a link</a>"},
    "<iframe>, srcdoc=": {"text/html": "<iframe srcdoc='" + SCRIPT.format("frame") + "'></iframe>"},
    "onload=": {"text/markdown": "text\n\n<svg onload=\"ran('markdown')\"></svg>"},
    "onclick=": "Text with <b onclick=\"ran('text')\">a bold word</b> in it.",
}


def tame() -> nbformat.NotebookNode:
    """With nothing to be warned of."""
    return notebook([new_output("display_data", {"text/html": "<p class='plain'>a word</p>"})], [])


def hostile() -> nbformat.NotebookNode:
    outputs = [output(ENDS.format(name)) for name, output in SHOWN.items()]
    outputs += [new_output("display_data", {"image/svg+xml": SVG})]
    outputs += [new_output("display_data", data) for data in WARNED.values() if type(data) is dict]
    texts = ["## `" + SCRIPT.format("heading") + "`\n\nText."]
    texts += [text for text in WARNED.values() if type(text) is str]
    return notebook(outputs, texts)


def notebook(outputs: list, texts: list[str]) -> nbformat.NotebookNode:
    cells = [
        new_markdown_cell("# A notebook"),
        *(new_markdown_cell(text) for text in texts),
        *(new_code_cell("1", execution_count=i, outputs=[o]) for i, o in enumerate(outputs, 1)),
    ]
    state = {"_esm": "export default {}", "_css": "p {}", "title": ENDS.format("a widget's state")}
    model = {"model_name": "AnyModel", "model_module": "anywidget", "model_module_version": "0"}
    saved = {"version_major": 2, "version_minor": 0, "state": {"m": model | {"state": state}}}
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": python, "widgets": {STATE: saved}}
    return new_notebook(cells=cells, metadata=metadata)


def write_book(folder: Path, notebook: nbformat.NotebookNode, pages: dict[str, str]) -> Path:
    """The source of a book in the folder: the notebook, and pages of Markdown beside it."""
    for name in ("extensions", "assets"):
        shutil.copytree(
            REPOSITORY / "book" / name, folder / "book" / name,
            ignore=shutil.ignore_patterns("__pycache__", "assignments"),
        )  # fmt: skip
    for name in ("_config.yml", "book/references.bib"):
        shutil.copy(REPOSITORY / name, folder / name)
    nbformat.write(notebook, folder / f"{PAGE}.ipynb")
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / "book" / "start.md").write_text("# A book\n\nText.\n", encoding="utf-8")
    toc = {"format": "jb-book", "root": "book/start", "chapters": [{"file": PAGE}]}
    toc["chapters"] += [{"file": name} for name in pages]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return folder
