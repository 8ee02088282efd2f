"""Finds the notebooks in a folder of submissions, and whose each is.

    STUDENT/[ASSIGNMENT/]any.ipynb                     nbgrader's layout
    STUDENT_assignment.ipynb, assignment_STUDENT.ipynb
    First Last_12345_assignsubmission_file_/any.ipynb  Moodle's

A zip file stands for the folder that it holds. A folder named like an assignment may stand around
any of them.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MOST_FILES = 1_000  # in a zip, or copied beside a notebook
MOST_BYTES = 256 * 2**20  # of all files together, there
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_")
COPY = re.compile(r"(?: ?\(\d+\)|[-_ ]Copy\d*)+$")  # what browsers and Jupyter add to a name
CHUNK = 2**20  # bytes
# what Windows refuses in a file's name, and the names that are its devices, suffix or not
REFUSED = re.compile(r'[<>:"|?*\x00-\x1f]')
DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)\d)\s*(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """A file of a student. `shown`: where it lies; path: where it can be read, None if there is
    nothing to read, for the reason `trouble`. beside: the folder whose files it may use."""

    student: str
    shown: str
    path: Path | None
    trouble: str = ""
    beside: Path | None = None
    notes: tuple[str, ...] = ()

    def copy_into(self, folder: Path) -> None:
        """What the student handed in beside the notebook."""
        if self.beside is None:
            return
        number = size = 0
        for file in _files(self.beside):
            if file.is_symlink():
                continue
            number, size = number + 1, size + file.stat().st_size
            if number > MOST_FILES or size > MOST_BYTES:
                return
            to = folder / file.relative_to(self.beside)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


@dataclass(frozen=True)
class _File:
    """parts: folders and name below the folder of submissions, zip files counted as folders."""

    parts: tuple[str, ...]
    path: Path
    trouble: str = ""
    notes: tuple[str, ...] = ()


def find_submissions(
    folder: Path, assignments: Collection[str], scratch: Path, leave_out: Sequence[Path] = ()
) -> list[Submission]:
    """All submissions, sorted by student. scratch: an empty folder to unpack zip files in;
    leave_out: folders and files below `folder` that are no submissions.

    A student of whom there are files but no notebook is named too. Raises ValueError if `folder`
    is no folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    excluded = {path.resolve() for path in leave_out}
    files = [
        file
        for path in _files(folder)
        if not excluded & {path.resolve(), *path.resolve().parents}
        for file in _unpacked(path, path.relative_to(folder).parts, scratch)
    ]
    files += [
        _File((path.name, ""), path, "there is nothing in the folder")
        for path in sorted(folder.iterdir())
        if path.is_dir() and not _is_hidden(path.name) and path.resolve() not in excluded
        if not any(_files(path))
    ]
    by_owner: dict[tuple[str, str], list[tuple[_File, bool]]] = {}
    for file in files:
        name, number, in_folder = _owner(file.parts, assignments)
        by_owner.setdefault((name, number), []).append((file, in_folder))
    names = [name for name, _ in by_owner]
    found: list[Submission] = []
    for (name, number), owned in by_owner.items():
        student = name if names.count(name) == 1 else f"{name} ({number})".replace(" ()", "")
        found += _of_student(_text(student), owned, assignments)
    return sorted(found, key=lambda submission: (submission.student.casefold(), submission.shown))


def named_assignment(shown: str, assignments: Collection[str]) -> str | None:
    """The assignment that a file's name or its folders' names name."""
    words = {word for part in Path(shown).parts for word in re.split(r"[\W_]+", part.lower())}
    named = [name for name in assignments if name.lower() in words]
    return named[0] if len(named) == 1 else None


def _of_student(
    student: str, owned: list[tuple[_File, bool]], assignments: Collection[str]
) -> Iterator[Submission]:
    notebooks = [(f, inside) for f, inside in owned if f.trouble or _is_notebook(f.path)]
    for file, inside in notebooks:
        shown = _text("/".join(file.parts))
        if file.trouble:
            yield Submission(student, shown, None, file.trouble)
        else:
            beside = file.path.parent if inside else None
            yield Submission(student, shown, file.path, beside=beside, notes=file.notes)
    if not notebooks:
        shown = _text("/".join(owned[0][0].parts))
        # a lone file that names no assignment is a list, a mark sheet: nobody's
        if owned[0][1] or named_assignment(shown, assignments):
            yield Submission(student, shown, None, "there is no notebook")


def _owner(parts: tuple[str, ...], assignments: Collection[str]) -> tuple[str, str, bool]:
    """Student, Moodle's number or "", and whether the student has a folder (or a zip) there."""
    for i, part in enumerate(parts):
        if found := MOODLE.match(part):
            return found[1].strip(), found[2], i < len(parts) - 1
    known = {name.lower() for name in assignments}
    while len(parts) > 1 and parts[0].lower() in known:
        parts = parts[1:]
    in_folder = len(parts) > 1
    if in_folder and not parts[0].lower().endswith(".zip"):
        return parts[0], "", True
    stem = COPY.sub("", Path(parts[0]).stem)
    pattern = "{0}[-_ ]+(.+)|(.+?)[-_ ]+{0}"
    for name in assignments:
        if found := re.fullmatch(pattern.format(re.escape(name)), stem, re.IGNORECASE):
            return found[1] or found[2], "", in_folder
    return stem, "", in_folder


def _files(folder: Path) -> Iterator[Path]:
    """All files below, sorted; none that is hidden, or a checkpoint of Jupyter."""
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(at, name) for name in sorted(names) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX", "__pycache__"))


def _is_notebook(path: Path) -> bool:
    return path.suffix.lower() == ".ipynb"


def _unpacked(path: Path, parts: tuple[str, ...], scratch: Path) -> Iterator[_File]:
    """The file itself, or those in it if it is a zip."""
    if path.is_symlink() or not path.is_file():
        yield _File(parts, path, "it is a link or a device, not a file")
    elif path.suffix.lower() != ".zip":
        yield _File(parts, path)
    else:
        folder = scratch / str(len(list(scratch.iterdir())))
        folder.mkdir()
        try:
            notes = _unpack(path, folder)
        except (
            ValueError, OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error,
            NotImplementedError,
        ) as error:  # fmt: skip
            yield _File(parts, path, f"the zip file cannot be unpacked: {error}")
            return
        files = [file for file in _files(folder) if file.suffix.lower() != ".zip"]
        yield from (_File((*parts, *f.relative_to(folder).parts), f, notes=notes) for f in files)
        if not files:
            yield _File(parts, path, "there is nothing in the zip file")


def _unpack(path: Path, folder: Path) -> tuple[str, ...]:
    """Unpack plain files; returns notes on what was left out. Raises ValueError if it is too much:
    sizes are counted as the bytes come, whatever the zip says of itself."""
    left_out = []
    size = 0
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > MOST_FILES:
            raise ValueError(f"more than {MOST_FILES} files")
        for info in infos:
            name = PurePosixPath(info.filename.replace("\\", "/"))
            parts = [*name.parts]
            if any(_is_hidden(part) for part in parts if part != ".."):
                continue
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if name.is_absolute() or is_link or any(p == ".." or ":" in p for p in parts):
                left_out.append(info.filename)
                continue
            if os.name == "nt":
                parts = [_windows_name(part) for part in parts]
            to = folder.joinpath(*parts)
            to.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as packed, to.open("wb") as file:
                while chunk := packed.read(CHUNK):
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise ValueError(f"more than {MOST_BYTES // 2**20} MB")
                    file.write(chunk)
    if not left_out:
        return ()
    return (f"left out of the zip file, since outside of it: {_text(', '.join(left_out[:5]))}",)


def _windows_name(name: str) -> str:
    """The nearest name of a file that Windows can have."""
    name = REFUSED.sub("_", name).rstrip(". ") or "_"
    return f"_{name}" if DEVICE.match(name) else name


def _text(name: str) -> str:
    """A file's name as text, whatever its bytes."""
    return name.encode("utf-8", "replace").decode()
