"""What touches a student's notebook: reads its JSON, runs its cells. Run by its path, in a process
of its own, so that it starts without torch and nothing in a notebook reaches the grader.

    python worker.py read FILE        a line of JSON: {"assignment": …, "cells": […]} or {"bad": …}
    python worker.py run < job.json   a line of JSON for whatever happens

A job is one line: {"cells": ["source", …], "skip": [2], "folder": …, "seconds": 60,
"memory": bytes or 0}. Its lines are {"ready": true}, {"start": i}, {"end": i, "error": [name,
text] or null, "seconds": …, "printed": characters, "notes": […]}, {"died": i}, {"done": true},
{"failed": why}.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

NOTE = "application/vnd.d2lmini.note+json"
LONGEST = 2_000  # characters of an error's text that are kept
MOST_CELLS, LONGEST_CELL = 5_000, 1_000_000  # of a notebook; characters
LARGEST_FILE = 2**30  # bytes of a file that a notebook may write
OWN_MEMORY = 2 * 2**30  # bytes that reading or supervising may take

# Runs in the kernel before a student's first cell. exit() would stop the kernel a moment later,
# in the next cell; here it is sys.exit. What a notebook puts into builtins is put back before each
# cell, and names that hide a builtin are reported.
PREPARE = f"""
def prepare():
    import builtins, sys
    shell, kept = get_ipython(), dict(vars(builtins))
    names = {{name for name in kept if not name.startswith("_")}}
    names -= {{"input", "get_ipython", "display"}}  # the kernel's own, set for each cell
    told = names & set(shell.user_ns) | {{"exit", "quit"}}
    shell.user_ns.update(exit=sys.exit, quit=sys.exit)

    def before_cell(info):
        now = vars(builtins)
        changed = {{n for n in names if now.get(n) is not kept[n]}}
        now.update({{name: kept[name] for name in changed}})
        hidden = names & set(shell.user_ns) - told
        told.update(hidden)
        if changed or hidden:
            note = dict(changed=sorted(changed), hidden=sorted(hidden))
            shell.display_pub.publish({{{NOTE!r}: note}})

    shell.events.register("pre_run_cell", before_cell)

prepare()
del prepare
"""


def main() -> None:
    sys.path.pop(0)  # this folder, whose modules are nobody's here
    # a line is what the grader reads; nothing else, and no kernel, may write there
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=lines, flush=True)

    if sys.argv[1] == "read":
        limit(OWN_MEMORY)
        try:
            tell(**read_notebook(Path(sys.argv[2])))
        except (ValueError, RecursionError, MemoryError, OSError) as error:
            tell(bad=f"{type(error).__name__}: {error}"[:LONGEST])
    else:
        job = json.loads(sys.stdin.readline())
        threading.Thread(target=end_with_the_grader, daemon=True).start()
        try:
            run(job, tell)
        except Exception as error:  # the kernel did not start
            tell(failed=f"{type(error).__name__}: {error}"[:LONGEST])
        os._exit(0)  # whatever a library still waits for


def end_with_the_grader() -> None:
    sys.stdin.read()
    os._exit(1)


def limit(size: int, *, hard: bool = True) -> None:
    """Data that this process and those it starts may have, each, in bytes; 0: no limit. No files
    over a gigabyte, no core dumps.

    RLIMIT_DATA counts memory that can be written, of which torch takes little when it is loaded;
    RLIMIT_AS would count gigabytes of address space that it only reserves. Linux alone heeds it.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if size and (most == resource.RLIM_INFINITY or size < most):
            resource.setrlimit(resource.RLIMIT_DATA, (size, size if hard else most))


def read_notebook(path: Path) -> dict[str, Any]:
    """Any notebook of format 3 or 4, however saved: its assignment's name, its cells' text."""
    content = json.loads(path.read_bytes())  # finds out UTF-8, -16, -32, with a mark or without
    if not isinstance(content, dict):
        raise ValueError("JSON, but no notebook")
    cells = content.get("cells")
    if cells is None:
        sheets = content.get("worksheets")  # format 3
        cells = _dict(sheets[0]).get("cells") if isinstance(sheets, list) and sheets else None
    if not isinstance(cells, list):
        raise ValueError("JSON, but no notebook: it has no cells")
    if len(cells) > MOST_CELLS:
        raise ValueError(f"{len(cells):,} cells, more than {MOST_CELLS:,}")
    named = _dict(_dict(content.get("metadata")).get("d2lmini")).get("assignment")
    return {
        "assignment": named if isinstance(named, str) else None,
        "cells": [_cell(cell) for cell in cells if isinstance(cell, dict)],
    }


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    source = source if isinstance(source, str) else ""
    if len(source) > LONGEST_CELL:
        raise ValueError(f"a cell of {len(source):,} characters, more than {LONGEST_CELL:,}")
    grade_id = _dict(_dict(cell.get("metadata")).get("nbgrader")).get("grade_id")
    return {
        "code": cell.get("cell_type") == "code",
        "grade_id": grade_id if isinstance(grade_id, str) else None,
        # a lone half of a surrogate pair is legal JSON, but no text
        "source": source.replace("\r\n", "\n").encode("utf-8", "replace").decode(),
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def run(job: dict[str, Any], tell: Any) -> None:
    """Run the cells in order in a fresh kernel, those in `skip` left out."""
    # loading it takes a second, and it checks addresses, which no notebook's format has
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError
    from nbformat import v4

    class Client(NotebookClient):
        """Keeps no output: what a cell prints is counted, and gone."""

        printed = 0
        notes: tuple[Any, ...] = ()

        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            content = msg["content"]
            if msg["msg_type"] == "stream":
                self.printed += len(content["text"])
            elif msg["msg_type"] in ("display_data", "execute_result", "update_display_data"):
                note = content["data"].get(NOTE)
                if note and len(str(note)) < LONGEST:
                    self.notes += (note,)
                self.printed += sum(len(str(data)) for data in content["data"].values())
            if msg["msg_type"] == "status":
                return super().process_message(msg, cell, cell_index)
            return None

    cells = [v4.new_code_cell(source) for source in [PREPARE, *job["cells"]]]
    client = Client(
        v4.new_notebook(cells=cells),
        timeout=math.ceil(job["seconds"]),  # an int
        interrupt_on_timeout=True,
        allow_errors=True,
        kernel_name="python3",
        startup_timeout=100,
        record_timing=False,
        store_widget_state=False,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": job["folder"]}},
    )
    limit(job["memory"])
    with client.setup_kernel():
        limit(OWN_MEMORY, hard=False)  # the kernel has its own already
        replies: list[Any] = []
        client.on_cell_executed = lambda execute_reply, **_: replies.append(execute_reply)
        client.execute_cell(cells[0], 0)
        tell(ready=True)
        for i, cell in enumerate(cells[1:]):
            if i in job["skip"]:
                continue
            tell(start=i)
            client.printed, client.notes, started = 0, (), time.monotonic()
            replies.clear()
            try:
                client.execute_cell(cell, i + 1)
            except DeadKernelError:
                tell(died=i)
                return
            reply = replies[-1]["content"] if replies else {"status": "ok"}  # an empty cell
            error = None
            if reply["status"] != "ok":
                name, text = reply.get("ename", reply["status"]), reply.get("evalue", "")
                error = [str(name)[:LONGEST], str(text)[:LONGEST]]
            tell(
                end=i,
                error=error,
                seconds=time.monotonic() - started,
                printed=client.printed,
                notes=client.notes[:1],  # a cell's own would come later
            )
    tell(done=True)


if __name__ == "__main__":
    main()
