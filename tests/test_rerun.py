"""A notebook with a cell that fails: both ways to run it say which, in plain words; and one that
would fail on a machine on which nobody has plotted yet."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

REPOSITORY = Path(__file__).resolve().parents[1]
WHERE = 'lenet.ipynb: cell [2], under "Train it", failed'


@pytest.fixture
def notebook(tmp_path):
    """A function: the source of its second code cell → its file, in a folder of chapters."""
    (tmp_path / "chapters").mkdir()
    path = tmp_path / "chapters" / "lenet.ipynb"

    def write(source):
        cells = [
            new_markdown_cell("# LeNet"),
            new_code_cell("accuracy = 0.1", execution_count=1),
            new_markdown_cell("## Train it\n\nIn a minute."),
            new_code_cell(source, execution_count=2),
            new_code_cell("accuracy = 0", execution_count=3),
        ]
        python = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": python}), path)
        return path

    return write


def run(*command, cwd, **environment):
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", check=False, env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert accuracy > 0.9, 'learns nothing'", "AssertionError: learns nothing"),
        ("import os; os._exit(9)", "Kernel died"),
    ],
)
def test_make_chapters_names_chapter_and_cell_and_keeps_the_file(notebook, source, reason):
    path = notebook(source)
    before = path.read_bytes()
    done = run(str(REPOSITORY / "book" / "rerun.py"), str(path), cwd=path.parent)
    assert done.returncode == 1
    assert f"{WHERE}. {reason}" in done.stdout
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["lenet.ipynb"]


def test_make_chapters_writes_what_the_cells_print(notebook):
    path = notebook("print(accuracy)")
    assert run(str(REPOSITORY / "book" / "rerun.py"), str(path), cwd=path.parent).returncode == 0
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "outputs" in cell]
    assert [cell.execution_count for cell in cells] == [1, 2, 3]
    assert cells[1].outputs[0].text == "0.1\n"
    assert "execution" not in cells[1].metadata


@pytest.fixture
def settings(tmp_path):
    """The repository's own settings for pytest, in the folder above."""
    for name in ("pyproject.toml", "conftest.py", "book/rerun.py", "tests/nbval_sanitize.cfg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    return tmp_path


def test_make_test_names_chapter_and_cell(notebook, settings):
    notebook("assert accuracy > 0.9, 'learns nothing'")
    done = run("-m", "pytest", "chapters", cwd=settings)
    assert done.returncode == 1
    assert f"chapters/{WHERE}" in done.stdout
    assert "learns nothing" in done.stdout


def test_a_cell_that_takes_its_interruption_well_is_not_passed(notebook, settings):
    notebook("""
import time
try:
    time.sleep(600)
except KeyboardInterrupt:
    pass
""")
    done = run("-m", "pytest", "chapters", "--nbval-cell-timeout=2", cwd=settings)
    assert done.returncode == 1
    assert "interrupted after 2 seconds" in done.stdout and f"chapters/{WHERE}" in done.stdout


# Matplotlib says after five seconds that it is looking for fonts: here at once
FIRST_PLOT = """
import threading
class Timer(threading.Timer):
    def __init__(self, seconds, function):
        super().__init__(0, function)
threading.Timer = Timer
import matplotlib.pyplot
"""


@pytest.mark.parametrize("home", ["empty", "none"])
def test_where_nobody_has_plotted_yet_no_cell_says_that_fonts_are_looked_for(
    notebook, settings, home
):
    notebook(FIRST_PLOT)
    folder = settings / "empty" if home == "empty" else settings / "pyproject.toml" / "none"
    done = run("-m", "pytest", "chapters", cwd=settings, MPLCONFIGDIR=str(folder))
    assert done.returncode == 0, done.stdout
