"""Runs a submission's cells in processes of their own and ends whatever does not end by itself."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
TOKEN = "D2LMINI_GRADING"  # environment variable by which all processes of a submission are found
START_SECONDS = 120.0  # a kernel may need to start, on a busy machine
READ_SECONDS = 60.0
GRACE = 5.0  # seconds that an interrupted cell has to stop
MOST_STARTS = 6  # of kernels for one notebook
LARGEST_NOTEBOOK = 256 * 2**20  # bytes
MUCH = 1_000_000  # printed characters that are worth a note


@dataclass(frozen=True)
class Limits:
    """What a submission may use: seconds a cell, seconds in all, bytes of memory (0: no limit)."""

    cell_seconds: float = 60.0
    notebook_seconds: float = 600.0
    memory: int = 4 * 2**30
    threads: int | None = None  # of torch and others, None: theirs to choose


@dataclass(frozen=True)
class Outcome:
    """How a cell went. kind: "passed", "error" (error: its name, text: its message), "too long",
    "ended" (it ended the kernel), "out of time" (the notebook's was over) or "not run"."""

    kind: str
    error: str = ""
    text: str = ""
    printed: int = 0  # characters
    changed: tuple[str, ...] = ()  # names in builtins that had been changed before it
    hidden: tuple[str, ...] = ()  # names of builtins that a variable newly hides before it


NOT_RUN = Outcome("not run")


class CannotRun(Exception):
    """Why no cell could be run: a fault of this machine, not of the notebook."""


class Stopped(Exception):
    """The batch is being given up."""


def check_installed() -> None:
    """Raises ValueError, in a line, where what runs notebooks is missing."""
    needed = ("nbclient", "nbformat", "ipykernel", "psutil")
    if absent := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ValueError(f"grading needs {', '.join(absent)}: pip install {' '.join(absent)}")


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook's cells without outputs, read in another process. Raises ValueError: why not."""
    size = path.stat().st_size
    if size > LARGEST_NOTEBOOK:
        most = LARGEST_NOTEBOOK // 2**20
        raise ValueError(f"{size / 2**20:.0f} MB, more than {most} MB; clear its outputs")
    command = [sys.executable, str(WORKER), "read", str(path.resolve())]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=READ_SECONDS
        )
        content: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ValueError(f"reading it took more than {READ_SECONDS:.0f} s") from None
    except ValueError:
        raise ValueError(f"reading it ended with status {done.returncode}") from None
    if "bad" in content:
        raise ValueError(f"no notebook that can be read ({content['bad']})")
    return content


def run_cells(
    sources: Sequence[str],
    limits: Limits,
    copy_into: Callable[[Path], object] = lambda folder: None,
    stopped: threading.Event | None = None,
) -> list[Outcome]:
    """Run code cells in order, in a folder that is gone afterwards; an outcome for each.

    A cell that ends its kernel, or goes on after being interrupted, is left out and the rest is
    run again from the start, until the notebook's time is up. What a cell did first stays.

    copy_into: puts into the folder what the notebook may read, before each start.
    """
    outcomes: dict[int, Outcome] = {}
    skip: set[int] = set()
    deadline = time.monotonic() + limits.notebook_seconds
    for start in range(MOST_STARTS):
        with tempfile.TemporaryDirectory(prefix="d2lmini-", ignore_cleanup_errors=True) as folder:
            copy_into(Path(folder))
            attempt = _Attempt(sources, skip, limits, folder, deadline, stopped)
            try:
                culprit = attempt.run(outcomes)
            except CannotRun:
                if outcomes:
                    break
                if start == 0:  # it may have been too busy a moment
                    continue
                raise
        if culprit is None or time.monotonic() >= deadline:
            break
        skip.add(culprit)
    return [outcomes.get(i, NOT_RUN) for i in range(len(sources))]


class _Attempt:
    """One kernel's run through the cells."""

    def __init__(
        self,
        sources: Sequence[str],
        skip: set[int],
        limits: Limits,
        folder: str,
        deadline: float,
        stopped: threading.Event | None,
    ) -> None:
        self.limits, self.deadline, self.stopped = limits, deadline, stopped
        self.job = {
            "cells": list(sources),
            "skip": sorted(skip),
            "folder": folder,
            "seconds": limits.cell_seconds,
            "memory": limits.memory,
        }

    def run(self, outcomes: dict[int, Outcome]) -> int | None:
        """Adds the outcomes of cells that had none; returns the cell that ended it, or None.
        Raises CannotRun if not even the first cell was begun."""
        begun: int | None = None
        running = False
        with _worker(self.job, self.limits) as events:
            until = time.monotonic() + START_SECONDS
            while True:
                event = self._next(events, min(until, self.deadline))
                if "start" in event:
                    begun, running = event["start"], True
                    until = time.monotonic() + self.limits.cell_seconds + GRACE
                elif "end" in event:
                    running = False
                    outcomes.setdefault(event["end"], self._outcome(event))
                    until = time.monotonic() + START_SECONDS
                elif "done" in event:
                    return None
                elif "ready" not in event:
                    break
        if time.monotonic() >= self.deadline:
            kind = "out of time"
        elif begun is None:
            raise CannotRun(event.get("failed", "the kernel did not start"))
        else:
            kind = "too long" if "late" in event else "ended"
        if running and begun is not None:
            outcomes.setdefault(begun, Outcome(kind))
        return begun

    def _next(self, events: queue.Queue[dict[str, Any]], until: float) -> dict[str, Any]:
        """The worker's next event; {"late": True} when none comes in time."""
        while True:
            if self.stopped is not None and self.stopped.is_set():
                raise Stopped
            with contextlib.suppress(queue.Empty):
                return events.get(timeout=min(0.5, max(0.0, until - time.monotonic())))
            if time.monotonic() >= until:
                return {"late": True}

    def _outcome(self, event: dict[str, Any]) -> Outcome:
        note = event["notes"][0] if event["notes"] else {}
        names = {
            kind: tuple(str(name) for name in note.get(kind, ())) for kind in ("changed", "hidden")
        }
        error, text = event["error"] or ("", "")
        kind = "error" if error else "passed"
        if event["seconds"] >= self.limits.cell_seconds:
            kind = "too long"
        return Outcome(kind, error, text, event["printed"], **names)


@contextlib.contextmanager
def _worker(job: dict[str, Any], limits: Limits) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Starts it; gives the queue of its events, the last one {"gone": True}; ends it and all that
    it has started."""
    token = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="d2lmini-", ignore_cleanup_errors=True) as private:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), "run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd=private,
            env=_environment(token, private, limits.threads),
            # no Ctrl+C from the terminal: on Unix, and on Windows
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        events: queue.Queue[dict[str, Any]] = queue.Queue()
        reader = threading.Thread(target=_pass_on, args=(process.stdout, events), daemon=True)
        reader.start()
        try:
            with contextlib.suppress(OSError):  # it is gone already
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
            yield events
        finally:
            process.kill()
            _end_all(token)
            process.wait()
            reader.join()
            process.stdout.close()
            with contextlib.suppress(OSError):
                process.stdin.close()


def _pass_on(lines: Any, events: queue.Queue[dict[str, Any]]) -> None:
    for line in lines:
        try:
            events.put(json.loads(line))
        except ValueError:  # cut off in the middle
            break
    events.put({"gone": True})


def _environment(token: str, private: str, threads: int | None) -> dict[str, str]:
    """Of the worker and its kernel: nothing of the user's Jupyter, and a pip that installs
    nothing, since many notebooks begin with `%pip install`."""
    environment = {
        **os.environ,
        TOKEN: token,
        "IPYTHONDIR": private,
        "JUPYTER_RUNTIME_DIR": private,
        "PIP_NO_INDEX": "1",
        "PIP_DRY_RUN": "1",
        # `python -m d2lmini` may have been called where it is not installed
        "PYTHONPATH": os.pathsep.join(
            [str(WORKER.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment


def _end_all(token: str) -> None:
    """Ends every process that carries the token, however it was started and by whomever."""
    import psutil

    for _ in range(10):  # some may start others meanwhile
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(TOKEN) == token:
                    process.kill()
                    found.append(process)
        if not found:
            return
        psutil.wait_procs(found, timeout=1)
