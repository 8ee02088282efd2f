"""Finds in a returned notebook what the assignment asked for, and puts back what is not the
student's to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from d2lmini.grading.assignment import Assignment, SourceCell, marked_question


@dataclass(frozen=True)
class Cell:
    """A cell that will be run, or a written answer. `of`: what it is in the source, None for a cell
    of the student's own; number: its place in the returned notebook, from 1, 0 if put back."""

    source: str
    of: SourceCell | None
    is_code: bool
    number: int = 0

    @property
    def name(self) -> str:
        """For notes: its grade_id, or where it stands and how it begins."""
        if self.of is not None:
            return self.of.grade_id
        first = next((line for line in self.source.splitlines() if line.strip()), "")
        return f"cell {self.number} ({first.strip()[:40]})"


@dataclass(frozen=True)
class Matched:
    """A submission ready to run. missing: questions whose answer was not found; unmarked: whether
    the metadata was lost, so that a missing answer may be there unrecognised."""

    cells: tuple[Cell, ...]
    answers: dict[str, str]  # by question, code and text
    missing: tuple[str, ...]
    unmarked: bool
    notes: tuple[str, ...]


def name_assignment(content: dict[str, Any], assignments: Sequence[str]) -> str | None:
    """Which assignment a notebook is, by its metadata, its grade_ids or its marker lines."""
    if content["assignment"] in assignments:
        return str(content["assignment"])
    ids = [cell["grade_id"] for cell in content["cells"]]
    for found in (ids, [marked_question(cell["source"]) for cell in content["cells"]]):
        votes = {name: sum(f.startswith(f"{name}-") for f in found if f) for name in assignments}
        best = max(votes, key=lambda name: votes[name], default=None)
        if best is not None and votes[best]:
            return best
    return None


def match(content: dict[str, Any], assignment: Assignment) -> Matched:
    """Raises ValueError if none of the assignment's answers is there."""
    cells = [_identify(number, cell, assignment) for number, cell in enumerate(content["cells"], 1)]
    known = {cell["grade_id"] for cell in content["cells"]} & set(assignment.by_id)
    found = [cell.of for cell in cells if cell.of is not None]
    asked = [cell.question for cell in assignment.of_kind("answer", "written")]
    answered = {cell.question for cell in found if cell.kind in ("answer", "written")}
    if not answered:
        raise ValueError(f"no answer to {assignment.title} is in it")
    notes = []
    if not known:
        notes += ["the metadata is lost: answers are matched by their first lines"]
    elif lost := [
        cell.name
        for cell, was in zip(cells, content["cells"], strict=True)
        if cell.of is not None and cell.of.grade_id != was["grade_id"]
    ]:
        notes += [f"without metadata, matched by text: {_list(lost)}"]
    if retyped := [
        cell.name
        for cell, was in zip(cells, content["cells"], strict=True)
        if cell.is_code != was["code"]
    ]:
        notes += [f"of another type than it was, and taken for what it was: {_list(retyped)}"]
    missing = [question for question in asked if question not in answered]
    if missing:
        notes += [f"answer not found: {_list(missing)}"]
    answers = {cell.of.question: cell.source for cell in cells if cell.of and _is_answer(cell)}
    if unwritten := [
        cell.grade_id
        for cell in assignment.written
        if answers.get(cell.question, "").split() == cell.words
    ]:
        notes += [f"nothing is written under {_list(unwritten)}"]
    cells, restored = _restore(cells, assignment, tell=bool(known))
    cells, moved = _tests_after_answers(cells)
    return Matched(
        cells=tuple(cell for cell in cells if cell.is_code and cell.source.strip()),
        answers=answers,
        missing=tuple(missing),
        unmarked=not known,
        notes=(*notes, *restored, *moved),
    )


def _identify(number: int, cell: dict[str, Any], assignment: Assignment) -> Cell:
    source, of = cell["source"], assignment.by_id.get(cell["grade_id"])
    if of is None:
        marked = assignment.by_id.get(marked_question(source) or "")
        if marked is not None and marked.kind in ("answer", "written"):
            of = marked
    if of is None and source.strip():
        words = source.split()
        of = next((c for c in assignment.of_kind("test", "locked") if c.words == words), None)
    return Cell(source, of, cell["code"] if of is None else of.is_code, number)


def _is_answer(cell: Cell) -> bool:
    return cell.of is not None and cell.of.kind in ("answer", "written")


def _restore(
    cells: Sequence[Cell], assignment: Assignment, *, tell: bool
) -> tuple[list[Cell], list[str]]:
    """Tests and locked cells as the source has them, once each; the missing ones back in place."""
    last = {cell.of.grade_id: i for i, cell in enumerate(cells) if cell.of is not None}
    first = {cell.of.grade_id: i for i, cell in reversed([*enumerate(cells)]) if cell.of}
    kept, edited, twice = [], [], []
    for i, cell in enumerate(cells):
        of = cell.of
        if of is None:
            kept.append(cell)
        elif _is_answer(cell):
            if i != last[of.grade_id]:
                twice.append(cell.name)
                of = None  # runs where it stands, but is not the answer
            kept.append(replace(cell, of=of))
        # set-up has to come early, tests late
        elif i == (last if of.kind == "test" else first)[of.grade_id]:
            if cell.source.split() not in (of.words, of.source.split()):
                edited.append(cell.name)
            kept.append(replace(cell, source=of.source))
    deleted = []
    for i, of in enumerate(assignment.cells):
        if of.kind in ("test", "locked") and of.grade_id not in last:
            before = {cell.grade_id for cell in assignment.cells[:i]}
            places = [j for j, cell in enumerate(kept) if cell.of and cell.of.grade_id in before]
            kept.insert(max(places, default=-1) + 1, Cell(of.source, of, of.is_code))
            deleted.append(of.grade_id)
    notes = []
    if twice:
        notes += [f"there more than once, the last one counts: {_list(twice)}"]
    if edited:
        notes += [f"edited, and put back as it was: {_list(edited)}"]
    if deleted and tell:
        notes += [f"deleted, and put back: {_list(deleted)}"]
    return kept, notes


def _tests_after_answers(cells: Sequence[Cell]) -> tuple[list[Cell], list[str]]:
    """A test that stands before its question's answer goes to right after it."""
    answer_at = {c.of.question: i for i, c in enumerate(cells) if c.of and c.of.kind == "answer"}

    def early(i: int, cell: Cell) -> bool:
        of = cell.of
        return of is not None and of.kind == "test" and i < answer_at.get(of.question, -1)

    moved = [cell for i, cell in enumerate(cells) if early(i, cell)]
    ordered = []
    for i, cell in enumerate(cells):
        if not early(i, cell):
            ordered.append(cell)
        if cell.of is not None and cell.of.kind == "answer":
            question = cell.of.question
            ordered += [test for test in moved if test.of and test.of.question == question]
    notes = [f"moved to after its answer: {_list([c.name for c in moved])}"] if moved else []
    return ordered, notes


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
