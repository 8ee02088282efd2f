"""The repository's address stands in one place, and everything else follows it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from address import NAMED_IN, configured, readdress

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "chapters").rglob("*.ipynb"))
SETUP = """import sys

if "google.colab" in sys.modules:
    %pip install -q "d2lmini @ git+{}\""""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_in_colab_a_notebook_installs_exactly_this_repositorys_package(path):
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    assert "".join(first["source"]) == SETUP.format(configured(ROOT))
    assert "remove-cell" in first["metadata"]["tags"]


def test_a_fork_changes_one_line(tmp_path):
    own = configured(ROOT)
    for path in [ROOT / "_config.yml", *(p for pattern in NAMED_IN for p in ROOT.glob(pattern))]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    config = tmp_path / "_config.yml"
    fork = "https://github.com/someone/their-course"
    config.write_text(config.read_text(encoding="utf-8").replace(own, fork), encoding="utf-8")

    changed = {path.relative_to(tmp_path) for path in readdress(tmp_path)}
    assert changed >= {path.relative_to(ROOT) for path in NOTEBOOKS}
    for path in tmp_path.rglob("*.*"):
        assert own not in path.read_text(encoding="utf-8"), path
    assert fork + "/issues" in (tmp_path / "book" / "how_to_use.md").read_text(encoding="utf-8")
    assert readdress(tmp_path) == []


def test_binder_installs_what_the_book_is_pinned_to():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert "-r requirements.txt" in script.read_text(encoding="utf-8")
