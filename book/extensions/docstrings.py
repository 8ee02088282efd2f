"""A Sphinx extension that sets the package's docstrings as they are laid out in the source.

There a line that says what an option does, what is raised or where a thing comes from begins a
line of its own; reStructuredText would run such lines together.
"""

import re
from typing import Any

from sphinx.application import Sphinx

OWN_LINE = re.compile(r"(Raises |Source: |(`?\w+`?, )*`?\w+`?: )")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", separate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def separate(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """A blank line before each line that is to stand on its own."""
    lines[:] = [part for line in lines for part in (["", line] if OWN_LINE.match(line) else [line])]
