"""What runs for long: fifty epochs and two hundred submissions need no more memory than a few."""

import gc
from collections import Counter
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from test_grade import filled, tiny

import d2lmini as d2l
from d2lmini.grading import grade_folder, student_notebook

pytestmark = pytest.mark.soak
MEGABYTE = 2**20
EPOCHS, EARLY = 50, 10
SUBMISSIONS = 200


def megabytes():
    gc.collect()
    return psutil.Process().memory_info().rss / MEGABYTE


def tensors():
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_fifty_epochs_keep_no_tensor_and_no_memory():
    """Allowed from the 10th epoch on: 4 MB, which allocators keep and give back. One batch of
    activations kept for each epoch would be 80 MB."""
    train_iter, test_iter = d2l.load_data_fashion_mnist(256, normalize=True, subset=2048)
    held = {}

    def measure(record):
        held[len(record.history)] = (megabytes(), tensors())

    d2l.train_ch6(d2l.lenet(), train_iter, test_iter, EPOCHS, 0.5, "cpu", on_epoch=measure)
    print(held[EARLY], held[EPOCHS])
    assert held[EPOCHS][1] == held[EARLY][1]
    assert held[EPOCHS][0] - held[EARLY][0] <= 4


TRAIN = f"""
import gc, psutil
import d2lmini as d2l

iters = d2l.load_data_fashion_mnist(256, normalize=True, subset=1024)
held = []

def measure(record):
    gc.collect()
    held.append(psutil.Process().memory_info().rss / 2**20)

record = d2l.train_ch6(d2l.lenet(), *iters, {EPOCHS}, 0.5, "cpu", on_epoch=measure, plot=True)
"""


def test_fifty_epochs_with_live_curves_keep_one_figure(tmp_path):
    """In a notebook. Allowed from the 10th epoch on: 10 MB, for the curves' own caches; a figure
    kept for each epoch would be some 40 MB."""
    notebook = new_notebook(cells=[new_code_cell(TRAIN), new_code_cell("print(held)")])
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    curves, figures = notebook.cells
    held = [float(each) for each in figures.outputs[0].text.strip("[]\n").split(",")]
    kinds = Counter(output.output_type for output in curves.outputs)
    print(kinds, held[EARLY - 1], held[-1], len(nbformat.writes(notebook)))
    assert len(held) == EPOCHS
    assert kinds["display_data"] <= 1
    assert held[-1] - held[EARLY - 1] <= 10


def test_two_hundred_submissions_leave_nothing(tmp_path):
    """Allowed from the 20th on: 10 MB, for the table's rows; no process, file or folder more."""
    sources, submitted = tmp_path / "sources", tmp_path / "submitted"
    sources.mkdir()
    submitted.mkdir()
    nbformat.write(tiny(), sources / "tiny.ipynb")
    release = student_notebook(sources / "tiny.ipynb")
    wrong = "# Question tiny-area\ndef area(r):\n    return PI * r"
    for i in range(SUBMISSIONS):
        answers = {"area": wrong} if i % 3 == 0 else {}
        nbformat.write(filled(release, **answers), submitted / f"student{i:03}_tiny.ipynb")
    here, held = psutil.Process(), []
    children = here.children()  # the browser's, if pages were tested before
    before = Path(f"/proc/{here.pid}/fd").exists() and here.num_fds()

    def measure(line):
        held.append(megabytes())

    rows = grade_folder(submitted, tmp_path / "grades.csv", sources, report=measure)
    print(held[19], held[-1])
    assert Counter(row.grade.total for row in rows) == {4.0: 67, 6.0: 133}
    assert len(list((tmp_path / "feedback").iterdir())) == SUBMISSIONS
    assert here.children() == children
    assert (Path(f"/proc/{here.pid}/fd").exists() and here.num_fds()) == before
    assert held[-1] - held[19] <= 10
