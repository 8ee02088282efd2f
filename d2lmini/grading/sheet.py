"""The table of points, as CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from d2lmini.grading.assignment import Assignment
from d2lmini.grading.grade import Grade


@dataclass(frozen=True)
class Row:
    """What counts for a student and an assignment. grade and assignment are None where unknown."""

    student: str
    assignment: Assignment | None
    grade: Grade | None
    trouble: str  # why nothing was graded, or ""
    files: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def status(self) -> str:
        if self.grade is None or self.trouble:
            return f"not graded: {self.trouble}"
        in_part = [q for q, points in self.grade.by_question.items() if points is None]
        return f"graded in part, without {', '.join(in_part)}" if in_part else "graded"


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each student and assignment, sorted by assignment, then student.

    Columns: student, assignment, status, points, maximum (both of the tests), then the questions of
    every assignment that occurs, each with its maximum, those marked by a person empty; file,
    notes. Points that are not known are empty, never 0. Text that a spreadsheet would take for a
    formula begins with an apostrophe.
    """
    assignments = {row.assignment.name: row.assignment for row in rows if row.assignment}
    questions = [
        (assignment, question) for _, assignment in sorted(assignments.items())
        for question in assignment.maximum
    ]  # fmt: skip
    head = ["student", "assignment", "status", "points", "maximum"]
    head += [_heading(assignment, question) for assignment, question in questions]
    lines = [[*head, "file", "notes"]]
    for row in sorted(rows, key=_order):
        points = row.grade.by_question if row.grade and not row.trouble else {}
        known = any(value is not None for value in points.values())
        tests = row.assignment.tests if row.assignment else ()
        total = row.grade.total if row.grade and known else None
        line = [_safe(row.student), _safe(row.assignment.name if row.assignment else "")]
        line += [_safe(row.status), _number(total)]
        line += [_number(sum(test.points for test in tests) if tests else None)]
        line += [
            _number(points.get(question) if assignment == row.assignment else None)
            for assignment, question in questions
        ]
        lines += [[*line, _safe("; ".join(row.files)), _safe("; ".join(row.notes))]]
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _order(row: Row) -> tuple[str, str, str]:
    return (row.assignment.name if row.assignment else "", row.student.casefold(), row.student)


def _heading(assignment: Assignment, question: str) -> str:
    by_hand = ", by hand" if assignment.by_id[question].kind == "written" else ""
    return _safe(f"{question} ({assignment.maximum[question]:g}{by_hand})")


def _number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def _safe(text: str) -> str:
    text = " ".join(text.split())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
