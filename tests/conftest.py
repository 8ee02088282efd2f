"""What every unit test wants: one thread, which is quicker for batches this small, and by far so
beside other work on the same cores."""

import sys

import pytest
from browser import browser  # noqa: F401 (a fixture)


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
