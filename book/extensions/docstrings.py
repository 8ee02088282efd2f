"""A Sphinx extension that sets the package's docstrings as they are laid out in the source.

There a line that says what an option does, what is raised or where a thing comes from begins a
line of its own; reStructuredText would run such lines together.
"""

import re
from typing import Any

import traitlets
from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

OWN_LINE = re.compile(r"(Raises |Source: |(`?\w+`?, )*`?\w+`?: )")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", separate)
    app.connect("autodoc-process-signature", own_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def separate(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """A blank line before each line that is to stand on its own."""
    lines[:] = [part for line in lines for part in (["", line] if OWN_LINE.match(line) else [line])]


def own_signature(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, given: str, returns: str
) -> tuple[str, None] | None:
    """What a widget's constructor takes; Sphinx reads traitlets' own `__new__(*args, **kwargs)`."""
    if what != "class" or not issubclass(documented, traitlets.HasTraits):
        return None
    taken = signature(documented.__init__, bound_method=True)
    return stringify_signature(taken, show_return_annotation=False), None
