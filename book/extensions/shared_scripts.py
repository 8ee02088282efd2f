"""Lets a built page carry each widget's script once; `lean_theme` calls it for every page.

A notebook saves every widget with its whole script and style sheet, and all scripts begin with the
same tools. In a built page the texts stand once, as `texts`, and a widget's `_esm` and `_css` are
the places in that list whose texts, joined, they are; `book/assets/widgets.js` reads them so.
"""

import json
import re
from os.path import commonprefix
from typing import Any

STATE = re.compile(
    r'(<script type="application/vnd\.jupyter\.widget-state\+json">)(.*?)(</script>)', re.DOTALL
)
SHARED = ("_esm", "_css")


def with_shared_scripts(html: str) -> str:
    """A page with each text of its widgets once."""
    return STATE.sub(lambda found: found[1] + slim(found[2]) + found[3], html)


def slim(state: str) -> str:
    """The JSON of a page's widgets with each text once. What is slim already, stays as it is."""
    saved = json.loads(state)
    if "texts" in saved:
        return state
    models = [model["state"] for model in saved["state"].values()]
    texts: list[str] = []
    for name in SHARED:
        share_texts([model for model in models if isinstance(model.get(name), str)], name, texts)
    slimmed = json.dumps(saved | {"texts": texts}, separators=(",", ":"))
    # no text may end the script that holds it, nor begin what changes where it ends
    return re.sub(r"<(?=[/!]|script)", r"\\u003c", slimmed, flags=re.IGNORECASE)


def share_texts(models: list[dict[str, Any]], name: str, texts: list[str]) -> None:
    """Put the models' texts of that name into the list, what all begin with apart."""
    begin = commonprefix([m[name] for m in models]) if len(models) > 1 else ""  # noqa: RUF071
    begin = begin[: begin.rfind("\n") + 1]  # whole lines
    for model in models:
        parts = [part for part in (begin, model[name][len(begin) :]) if part]
        texts += [part for part in parts if part not in texts]
        model[name] = [texts.index(part) for part in parts]
