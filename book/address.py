"""Puts the repository's address, `repository.url` of _config.yml, wherever the book names it.

A fork changes that one line and runs `make address`: the notebooks' first cells then install the
fork's own package, and all links lead to it.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SETUP = re.compile(r"d2lmini @ git\+(https://[^\s\"\\]+)")  # in a notebook's first cell
NAMED_IN = ("README.md", "CONTRIBUTING.md", "book/*.md", "book/*.ipynb", "chapters/**/*.ipynb")


def configured(root: Path) -> str:
    """The address that _config.yml gives."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/")


def readdress(root: Path) -> list[Path]:
    """Replace the address that the first chapter installs from; returns the files changed."""
    new = configured(root)
    first = (root / "chapters" / "lenet.ipynb").read_text(encoding="utf-8")
    found = SETUP.search(first)
    if found is None:
        raise ValueError("chapters/lenet.ipynb has no cell that installs d2lmini from an address")
    whole = re.compile(re.escape(found[1]) + r"(?![\w-])")  # not the beginning of a longer name
    changed = []
    for path in sorted(path for pattern in NAMED_IN for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if (after := whole.sub(new, text)) != text:
            path.write_text(after, encoding="utf-8", newline="")
            changed += [path]
    return changed


if __name__ == "__main__":
    for path in readdress(ROOT):
        print(path.relative_to(ROOT), file=sys.stderr)
