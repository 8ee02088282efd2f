"""What every unit test wants: one thread, which is quicker for batches this small, and by far so
beside other work on the same cores."""

import os
import sys

import pytest
from browser import browser  # noqa: F401 (a fixture)

# Notebooks' kernels too have their share of the cores: two that take all of them wait for each
# other's threads.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


@pytest.fixture(autouse=True)
def one_thread():
    torch = sys.modules.get("torch")  # the tests of the built site do not use it
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
