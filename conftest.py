"""The notebooks as tests: where CIFAR-10 is not to be had, the one that needs it is one skip with
the reason; side by side (`pytest -n`), they share the machine's cores. A cell that fails is named
as a reader sees it, by its number in brackets and its heading; nbval counts from 0."""

import os
import warnings
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).parent / "chapters"
NEEDS_CIFAR10 = CHAPTERS / "vgg_cifar10.ipynb"
LONGEST = CHAPTERS / "googlenet.ipynb"  # begun last, it would end alone


def pytest_configure():
    """In a worker of pytest-xdist, before torch is imported; notebooks' kernels inherit it."""
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = max(1, (os.cpu_count() or 1) // int(workers))
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


class NotebookWithoutData(pytest.File):
    def collect(self):
        pytest.skip(
            "chapters/vgg_cifar10.ipynb: CIFAR-10 not found; set D2LMINI_DATA to a folder that has "
            "it, or call d2l.load_data_cifar10(128) once, which downloads it",
            allow_module_level=True,
        )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collectors = yield
    if file_path == NEEDS_CIFAR10:
        from d2lmini.files import cifar10_is_here  # imports torch, which few tests need

        if not cifar10_is_here():
            return [NotebookWithoutData.from_parent(parent, path=file_path)]
    return collectors


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path != LONGEST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Matplotlib looks for the machine's fonts before a kernel would, which says so in a cell's
    output. Where it may not keep what it finds, kernels inherit its temporary folder."""
    if hasattr(item.parent, "nb"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matplotlib.font_manager  # noqa: F401


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    notebook = getattr(item.parent, "nb", None)
    if notebook is not None and call.when == "call" and report.passed and item.parent.timed_out:
        # nbval interrupts the cell, which may take that well, as train_ch6 does
        seconds = item.config.option.nbval_cell_timeout
        report.outcome, report.longrepr = "failed", f"interrupted after {seconds:g} seconds"
    if report.failed and notebook is not None:
        from rerun import place

        index = next(i for i, cell in enumerate(notebook.cells) if cell is item.cell)
        name = item.path.relative_to(item.config.rootpath).as_posix()
        report.sections.append(("where", f"{name}: {place(notebook, index)} failed"))
    return report
