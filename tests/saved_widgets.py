"""The widgets saved in notebooks: their state keeps its values, their scripts are the package's.

`python tests/saved_widgets.py chapters/*.ipynb` brings the scripts up to date without running
the notebooks, for when only a widget's drawing has changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import nbformat

STATE = "application/vnd.jupyter.widget-state+json"
SCRIPTS = ("_esm", "_css")


def stale_scripts(notebook: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(state, "_esm" or "_css", the package's present text) for each that differs from it."""
    models = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for model in models.values():
        module, _, name = model["state"].get("_anywidget_id", "").rpartition(".")
        if module:
            widget = getattr(import_module(module), name)
            for key in SCRIPTS:
                if model["state"][key] != getattr(widget, key):
                    yield model["state"], key, getattr(widget, key)


def main(*paths: str) -> None:
    for path in paths:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        stale = list(stale_scripts(notebook))
        for state, key, text in stale:
            state[key] = text
        if stale:
            nbformat.write(notebook, path)
        print(f"{path}: {len(stale)} scripts brought up to date")


if __name__ == "__main__":
    main(*sys.argv[1:])
