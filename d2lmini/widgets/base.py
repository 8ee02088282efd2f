"""What all widgets share: one script made of their parts, and a form that stands without it."""

from __future__ import annotations

import base64
import io
import re
from abc import abstractmethod
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import anywidget
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).parent
COMMENT = re.compile(r"^\s*(?://.*|/\*\*(?:[^*]|\*(?!/))*\*/)\n", re.MULTILINE)
COLOURS = 32
DPI = 80  # of the picture that stands for a widget where no script runs
Table = tuple[Sequence[str], Sequence[Sequence[object]]]  # the head and the rows


def script(*names: str) -> str:
    """The named files, after `kit.js`, as the one module that a widget's front end loads.

    Lines of comment stay behind: each page would carry them once for every widget.
    """
    files = ((HERE / name).read_text(encoding="utf-8") for name in ("kit.js", *names))
    return COMMENT.sub("", "\n".join(files))


class Widget(anywidget.AnyWidget):
    """A figure that answers when touched. Its state is its traits; `_esm` draws from them alone.

    The same object works in JupyterLab, in Colab and, without a kernel, on a built page, where
    `book/assets/widgets.js` mounts it from the state saved in the notebook. What it shows at
    first also stands as a picture and a table, for paper and for pages without scripts.
    """

    _css = (HERE / "kit.css").read_text(encoding="utf-8")
    title: str  # names the figure, and is its picture's alternative text

    @abstractmethod
    def figure(self) -> Figure:
        """The widget's present state as a still picture."""

    @abstractmethod
    def table(self) -> Table:
        """The numbers of the present state: the head and the rows of a table."""

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**kwargs)  # Colab's has metadata
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        png = picture(self.figure())
        image = base64.b64encode(png).decode()
        still = (
            f'<div class="d2l-widget" data-model="{self.model_id}">\n'
            f'<img alt="{escape(self.title)}" src="data:image/png;base64,{image}">\n'
            f"{table_html(*self.table())}</div>"
        )
        text = f"{type(self).__name__}: {self.title}"
        return data | {"text/plain": text, "text/html": still, "image/png": image}, metadata


def picture(figure: Figure) -> bytes:
    """A PNG of few colours, a third of the usual size."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(COLOURS).save(small, format="PNG", optimize=True)
    return small.getvalue()


def table_html(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as the book's pages set it; numbers of rows of different units stand as they are."""
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        '<div class="table-scroll"><table class="layer-walk">\n'
        f"<thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )
