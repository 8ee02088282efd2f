"""Of all notebooks one needs data that cannot be shipped: where CIFAR-10 is not to be had, its
cells are one skip with the reason, and no test run starts a download."""

import os
from pathlib import Path

import pytest

NEEDS_CIFAR10 = Path(__file__).parent / "chapters" / "vgg_cifar10.ipynb"


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
    if file_path == NEEDS_CIFAR10 and not cifar10_is_here():
        return [NotebookWithoutData.from_parent(parent, path=file_path)]
    return collectors


def cifar10_is_here():
    """Whether `d2lmini.cifar10` would find it without a download."""
    cache = Path.home() / ".cache" / "d2lmini"
    folder = os.environ.get("D2LMINI_DATA")
    named = [Path(folder).expanduser()] if folder else []
    if any((place / "cifar10.npz").is_file() for place in named):
        return True
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
    return any(
        all((place / "cifar-10-batches-py" / name).is_file() for name in batches)
        for place in (*named, cache)
    )
