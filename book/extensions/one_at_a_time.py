"""A Sphinx extension that lets one build at a time write into a folder; a second one waits.

Two at once would read each other's half-written files. The system frees the lock of a build that
is killed.
"""

from pathlib import Path

from filelock import FileLock, Timeout
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", wait_for_others)
    app.connect("build-finished", let_others, priority=1000)  # after all else
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def wait_for_others(app: Sphinx, config: Config) -> None:
    """Before Sphinx reads what an earlier build left."""
    folder = Path(app.doctreedir)
    folder.mkdir(parents=True, exist_ok=True)
    app.one_at_a_time = FileLock(folder / "lock")
    try:
        app.one_at_a_time.acquire(timeout=0)
    except Timeout:
        LOGGER.info("another build writes into %s; waiting for its end", app.outdir)
        app.one_at_a_time.acquire()


def let_others(app: Sphinx, exception: Exception | None) -> None:
    app.one_at_a_time.release()
