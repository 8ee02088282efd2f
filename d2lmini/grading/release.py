"""What students are given: each assignment without its solution, in a zip with instructions."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

from d2lmini.grading.assignment import (
    CODE_STUB,
    TEXT_STUB,
    Assignment,
    read_assignment,
)
from d2lmini.record import write_atomically

INSTALL = re.compile(r"pip install.*[\"']d2lmini @ ([^\"'\s]+)[\"']")  # in a notebook's first cell
README = """\
# {title}

1. Install this, in Python 3.10 or later; nothing else is needed, and nothing is downloaded later:

   ```
   pip install jupyterlab "d2lmini @ {address}" --extra-index-url https://download.pytorch.org/whl/cpu
   ```

   (The second address offers the small PyTorch without CUDA; with an NVIDIA GPU, leave it out.)
   In Colab there is nothing to install: upload the notebook, and its first cell does it.
2. Open the notebook with `jupyter lab {name}.ipynb`, and read its head.
3. Write your answers where `raise NotImplementedError` or "{text_stub}" stands.
   Keep the first line of each answer, and the names of functions and of their arguments. Cells of
   your own may stand anywhere. Locked cells are put back as they were before your work is marked.
4. Plan 60 to 90 minutes. The tests give up to {tests:g} points; a test cell gives all of its points
   or none.{by_hand}
5. At the end choose *Restart kernel and run all cells*, and save. Hand in `{name}.ipynb` alone.
   If all hand in to one folder, put your name before it: `YOURNAME_{name}.ipynb`.
"""


def release(sources: str | os.PathLike[str], to: str | os.PathLike[str]) -> list[Path]:
    """Write `NAME.zip` for each source in a folder; returns the paths. Zips of assignments that
    are no longer there go. Raises ValueError if nbgrader is not installed."""
    if importlib.util.find_spec("nbgrader") is None:
        raise ValueError("release needs nbgrader: pip install nbgrader")
    paths = sorted(Path(sources).glob("*.ipynb"))
    if not paths:
        raise ValueError(f"{sources} holds no assignments (*.ipynb)")
    written = []
    for path in paths:
        assignment = read_assignment(path)
        notebook = student_notebook(path)
        files = {
            f"{assignment.name}/{assignment.name}.ipynb": notebook,
            f"{assignment.name}/README.md": readme(assignment, notebook),
        }
        written.append(Path(to) / f"{assignment.name}.zip")
        write_atomically(written[-1], zipped(files))
    for old in set(Path(to).glob("*.zip")) - set(written):
        old.unlink()
    return written


def student_notebook(path: str | os.PathLike[str]) -> str:
    """The student version of a source, as nbgrader's own preprocessors make it.

    Answers become `raise NotImplementedError`, hidden tests and all outputs go, what is not the
    student's is locked. The steps and their order are those of `nbgrader generate_assignment`,
    without the one that writes to its database. Raises ValueError where nbgrader refuses.
    """
    import nbformat
    from nbgrader import preprocessors as nbgrader
    from nbgrader.nbgraderformat import ValidationError

    notebook: Any = nbformat.read(Path(path), as_version=4)
    notebook.metadata.pop("widgets", None)  # an output too
    resources: dict[str, Any] = {}
    try:
        for step in (
            nbgrader.LockCells(),
            nbgrader.ClearSolutions(code_stub={"python": CODE_STUB}, text_stub=TEXT_STUB),
            nbgrader.ClearOutput(),
            nbgrader.CheckCellMetadata(),
            nbgrader.ClearHiddenTests(),
            nbgrader.ClearMarkScheme(),
            nbgrader.ComputeChecksums(),
            nbgrader.CheckCellMetadata(),
        ):
            notebook, resources = step.preprocess(notebook, resources)
    except (RuntimeError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error
    text: str = nbformat.writes(notebook)
    return text if text.endswith("\n") else text + "\n"


def readme(assignment: Assignment, notebook: str) -> str:
    """What to do, what to install, how long it takes, how to hand it in."""
    found = INSTALL.search(notebook.replace('\\"', '"'))
    if found is None:
        raise ValueError(f"{assignment.name}: no cell installs d2lmini in Colab")
    by_hand = sum(cell.points for cell in assignment.written)
    return README.format(
        title=assignment.title,
        address=_without_git(found[1]),
        name=assignment.name,
        text_stub=TEXT_STUB.strip("*"),
        tests=sum(test.points for test in assignment.tests),
        by_hand=f" Your teacher reads the rest, {by_hand:g} points." if by_hand else "",
    )


def _without_git(address: str) -> str:
    """The address of a zip that pip can fetch where there is no git, if GitHub has the code."""
    if not address.startswith("git+https://github.com/"):
        return address
    return address.removeprefix("git+").removesuffix(".git") + "/archive/HEAD.zip"


def zipped(files: dict[str, str]) -> bytes:
    """A zip whose bytes depend on its files alone: no times, no compression, which differs from
    one zlib to the next."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, wherever it is made
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name].encode())
    return buffer.getvalue()
