"""An assignment as its source notebook has it: answers, tests, their points, what students see."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

CODE_STUB = "raise NotImplementedError"
TEXT_STUB = "*Write your answer here.*"
SOLUTION, HIDDEN = "SOLUTION", "HIDDEN TESTS"  # what stands after BEGIN and END, as in nbgrader
# the first line of an answer, in code and in text; a notebook without metadata is matched by it
MARKER = re.compile(r"\s*(?:#|\*\*)\s*Question\s+([\w-]+)")
TEST_ID = re.compile(r"(.+)-test-\w+")


@dataclass(frozen=True)
class SourceCell:
    """A cell with a grade_id. kind: "answer" (code), "written" (text that a person marks), "test"
    or "locked". source: with solution and hidden tests; visible: as students get it."""

    grade_id: str
    kind: str
    is_code: bool
    source: str
    points: float  # of tests and written answers, else 0

    @cached_property
    def visible(self) -> str:
        return student_version(self.source, CODE_STUB if self.is_code else TEXT_STUB)

    @cached_property
    def words(self) -> list[str]:
        """Of the visible text: what remains the same when only spaces differ."""
        return self.visible.split()

    @property
    def question(self) -> str:
        """The grade_id of the answer: vgg-block of the test vgg-block-test-1."""
        found = TEST_ID.fullmatch(self.grade_id) if self.kind == "test" else None
        return found[1] if found else self.grade_id


@dataclass(frozen=True)
class Assignment:
    """A source notebook. `cells`: those with a grade_id, in their order."""

    name: str
    title: str
    cells: tuple[SourceCell, ...]
    hidden: frozenset[str] = field(repr=False)  # lines of tests that no student sees

    @cached_property
    def by_id(self) -> dict[str, SourceCell]:
        return {cell.grade_id: cell for cell in self.cells}

    @property
    def tests(self) -> tuple[SourceCell, ...]:
        return self.of_kind("test")

    @property
    def written(self) -> tuple[SourceCell, ...]:
        return self.of_kind("written")

    def of_kind(self, *kinds: str) -> tuple[SourceCell, ...]:
        return tuple(cell for cell in self.cells if cell.kind in kinds)

    @cached_property
    def maximum(self) -> dict[str, float]:
        """Points by question, in the notebook's order; written answers too."""
        points: dict[str, float] = {}
        for cell in self.of_kind("answer", "written", "test"):
            points[cell.question] = points.get(cell.question, 0.0) + cell.points
        return points


def read_assignment(path: str | os.PathLike[str]) -> Assignment:
    """Read a source notebook. Raises ValueError if it is none, or its metadata contradict."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = tuple(_source_cells(content["cells"]))
        name = content["metadata"]["d2lmini"]["assignment"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no assignment's source: {error!r}") from error
    ids = [cell.grade_id for cell in cells]
    if twice := {grade_id for grade_id in ids if ids.count(grade_id) > 1}:
        raise ValueError(f"{path}: the grade_id {min(twice)!r} stands on two cells")
    for test in cells:
        if test.kind == "test" and test.question not in ids:
            raise ValueError(f"{path}: {test.grade_id} tests {test.question}, which is missing")
    titles = (
        line.lstrip("# ").strip()
        for cell in content["cells"]
        if cell["cell_type"] == "markdown"
        for line in _text(cell["source"]).splitlines()
        if line.startswith("# ")
    )
    shown = "\n".join(cell.visible for cell in cells)
    hidden = frozenset(
        stripped
        for cell in cells
        if cell.kind == "test"
        for line in cell.source.splitlines()
        if (stripped := line.strip()) not in shown and len(stripped) > 3
    )
    return Assignment(name, next(titles, name), cells, hidden)


def read_assignments(folder: str | os.PathLike[str]) -> dict[str, Assignment]:
    """All sources in a folder, by name. Raises ValueError if there is none."""
    paths = sorted(Path(folder).glob("*.ipynb"))
    if not paths:
        raise ValueError(f"{folder} holds no assignments (*.ipynb)")
    assignments = [read_assignment(path) for path in paths]
    return {assignment.name: assignment for assignment in assignments}


def _source_cells(cells: Iterable[dict[str, Any]]) -> Iterable[SourceCell]:
    for cell in cells:
        nbgrader = cell["metadata"].get("nbgrader")
        if not nbgrader:
            continue
        kinds = {
            (True, True): "written",
            (True, False): "answer",
            (False, True): "test",
            (False, False): "locked",
        }
        kind = kinds[bool(nbgrader["solution"]), bool(nbgrader["grade"])]
        is_code = cell["cell_type"] == "code"
        if is_code == (kind == "written") and kind != "locked":
            raise ValueError(f"{nbgrader['grade_id']}: a {kind} cell of type {cell['cell_type']}")
        points = float(nbgrader["points"]) if nbgrader["grade"] else 0.0
        yield SourceCell(nbgrader["grade_id"], kind, is_code, _text(cell["source"]), points)


def student_version(source: str, stub: str) -> str:
    """A cell's text with its solution replaced by the stub and its hidden tests left out."""
    lines: list[str] = []
    inside = None
    for line in source.split("\n"):
        if inside is not None:
            inside = None if f"END {inside}" in line else inside
        elif f"BEGIN {SOLUTION}" in line:
            inside = SOLUTION
            lines += [line[: len(line) - len(line.lstrip())] + stub]
        elif f"BEGIN {HIDDEN}" in line:
            inside = HIDDEN
        else:
            lines += [line]
    if inside is not None:
        raise ValueError(f"BEGIN {inside} without END {inside}")
    return "\n".join(lines)


def marked_question(source: str) -> str | None:
    """The question that a cell's first line names: `# Question vgg-block` gives vgg-block."""
    found = MARKER.match(source)
    return found[1] if found else None


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
