"""Grades one returned notebook: matches it with its source, runs it, gives points by test."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lmini.grading.assignment import Assignment, SourceCell, read_assignment
from d2lmini.grading.match import Cell, Matched, match
from d2lmini.grading.run import (
    MUCH,
    CannotRun,
    Limits,
    Outcome,
    check_installed,
    read_notebook,
    run_cells,
)

LONGEST_MESSAGE = 500  # characters
MOST_NAMED = 12  # names in a note
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Result:
    """A test's points, None if not graded, and why it failed, "" if it passed."""

    test: SourceCell
    points: float | None
    message: str = ""


@dataclass(frozen=True)
class Grade:
    """What a submission got. `ungraded` says why nothing could be graded, else "".

    answers: the student's own, by question, code and text; notes: what was repaired or went wrong.
    """

    assignment: Assignment
    results: tuple[Result, ...]
    answers: dict[str, str]
    notes: list[str]
    ungraded: str = ""

    @property
    def points(self) -> dict[str, float | None]:
        """By test grade_id; None where not graded. Written answers are not in it."""
        return {result.test.grade_id: result.points for result in self.results}

    @property
    def by_question(self) -> dict[str, float | None]:
        """Points of each question with tests; None if any of its tests was not graded."""
        points: dict[str, float | None] = {}
        for result in self.results:
            question = result.test.question
            before = points.get(question, 0.0)
            if before is None or result.points is None:
                points[question] = None
            else:
                points[question] = before + result.points
        return points

    @property
    def total(self) -> float:
        """Of the tests that were graded."""
        return sum(result.points or 0.0 for result in self.results)


def grade_notebook(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str] | Assignment,
    limits: Limits | None = None,
    *,
    stopped: threading.Event | None = None,
    copy_into: Callable[[Path], object] = lambda folder: None,
) -> Grade:
    """Grade a returned notebook against its source. It runs the student's code, with your rights.

    A test cell that runs without an exception gives all its points, else 0. (nbgrader also takes 0
    for one that writes to stderr, and a number in its last line for its points.) Nothing about the
    returned file raises: see `Grade.ungraded`. Raises ValueError if `source` is no assignment, or
    what runs notebooks is not installed.
    """
    check_installed()
    assignment = source if isinstance(source, Assignment) else read_assignment(source)
    try:
        content = read_notebook(Path(path))
    except (ValueError, OSError) as error:
        return not_graded(assignment, str(error))
    return grade_content(content, assignment, limits or Limits(), stopped, copy_into)


def grade_content(
    content: dict[str, Any],
    assignment: Assignment,
    limits: Limits,
    stopped: threading.Event | None,
    copy_into: Callable[[Path], object],
) -> Grade:
    """As `grade_notebook`, of content that `run.read_notebook` gave."""
    try:
        matched = match(content, assignment)
        sources = [cell.source for cell in matched.cells]
        outcomes = run_cells(sources, limits, copy_into, stopped)
    except (ValueError, CannotRun) as error:
        return not_graded(assignment, str(error))
    return grade_outcomes(matched, outcomes, assignment, limits)


def grade_outcomes(
    matched: Matched, outcomes: Sequence[Outcome], assignment: Assignment, limits: Limits
) -> Grade:
    """What a notebook gets once its cells have run. outcomes: of `matched.cells`, in order."""
    ran = list(zip(matched.cells, outcomes, strict=True))
    explainer = _Explainer(assignment, limits)
    outcome_of = {cell.of.grade_id: outcome for cell, outcome in ran if cell.of is not None}
    results = tuple(
        _result(test, outcome_of[test.grade_id], matched, explainer) for test in assignment.tests
    )
    notes = [*matched.notes, *explainer.happenings(ran)]
    return Grade(assignment, results, matched.answers, notes)


def not_graded(assignment: Assignment, why: str) -> Grade:
    results = tuple(Result(test, None) for test in assignment.tests)
    return Grade(assignment, results, {}, [], why)


def _result(test: SourceCell, outcome: Outcome, matched: Matched, explainer: _Explainer) -> Result:
    if outcome.kind == "passed":
        return Result(test, test.points)
    if matched.unmarked and test.question in matched.missing:
        return Result(test, None, "its answer was not found in the notebook")
    return Result(test, 0.0, explainer.explain(outcome))


@dataclass(frozen=True)
class _Explainer:
    """Puts outcomes into words, without the lines of hidden tests."""

    assignment: Assignment
    limits: Limits

    def explain(self, outcome: Outcome) -> str:
        if outcome.kind == "error":
            return self._error(outcome.error, outcome.text)
        return {
            "too long": f"took more than {self.limits.cell_seconds:g} s",
            "ended": "ended the kernel (a crash, no memory left, os._exit)",
            "out of time": f"was at work when {self.limits.notebook_seconds:g} s were over",
            "not run": "was not run: time was over before, or the kernel ended too often",
        }[outcome.kind]

    def _error(self, error: str, text: str) -> str:
        text = ANSI.sub("", text).strip()
        for line in self.assignment.hidden:
            text = text.replace(line, "…")
        text = text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + " …"
        if error == "NotImplementedError":
            return f"not answered: {error}"
        if error == "AssertionError" and text:
            return text
        return f"{error}: {text}" if text else error

    def happenings(self, ran: Sequence[tuple[Cell, Outcome]]) -> list[str]:
        """What is worth knowing of each cell besides the tests' points."""
        notes = []
        for cell, outcome in ran:
            is_test = cell.of is not None and cell.of.kind == "test"
            if outcome.kind not in ("passed", *(["error", "not run"] if is_test else [])):
                notes += [f"{cell.name}: {self.explain(outcome)}"]
            if outcome.printed > MUCH:
                millions = outcome.printed / 1e6
                notes += [f"{cell.name} printed {millions:.0f} million characters, thrown away"]
            if outcome.changed:
                names = _few(outcome.changed)
                notes += [f"builtins were changed, and put back before {cell.name}: {names}"]
            if outcome.hidden:
                notes += [f"names of builtins are used for something else: {_few(outcome.hidden)}"]
        return notes


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "")
