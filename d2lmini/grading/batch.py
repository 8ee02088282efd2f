"""Grades a folder of submissions: a table of points, and a page for each."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from d2lmini.grading.assignment import Assignment, read_assignments
from d2lmini.grading.feedback import feedback_page
from d2lmini.grading.grade import Grade, grade_content
from d2lmini.grading.match import name_assignment
from d2lmini.grading.run import Limits, Stopped, check_installed, read_notebook
from d2lmini.grading.sheet import Row, to_csv
from d2lmini.grading.submissions import Submission, find_submissions, named_assignment
from d2lmini.record import write_atomically

WARNING = """\
Student code runs with your rights: it can read, change and delete your files, use your network and
read the solutions. Grade in a container, from an image that has d2lmini in it:
  docker run --rm --init --network none --memory 8g --pids-limit 512 -v "${PWD}:/course" \\
    -w /course IMAGE python -m d2lmini grade submitted --to grades.csv"""
LONGEST_NAME = 55  # characters of a page's file name, each of up to four bytes


@dataclass(frozen=True)
class Graded:
    """A submission and what became of it; trouble: why it could not be graded, or ""."""

    submission: Submission
    assignment: Assignment | None
    grade: Grade | None
    trouble: str

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.submission.notes, *(self.grade.notes if self.grade else ()))

    @property
    def rank(self) -> tuple[bool, float]:
        """Of two files of a student the one with the higher rank counts."""
        return (not self.trouble, self.grade.total if self.grade else 0.0)


def grade_folder(
    submitted: str | os.PathLike[str],
    to: str | os.PathLike[str],
    assignments: str | os.PathLike[str],
    feedback: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    jobs: int = 2,
    report: Callable[[str], object] | None = None,
) -> list[Row]:
    """Grade all submissions in a folder (`submissions` says how they may lie there) against the
    sources in another. Their code runs with your rights: see `WARNING`.

    to: the table (`sheet.to_csv` says what is in it), in UTF-8 with the mark by which spreadsheets
    know it (read it as "utf-8-sig"); it is written anew whenever a submission is done.
    feedback: the folder of the pages; by default `feedback`, beside the table.
    report: is told of every submission in a line; None writes them to stderr.

    All assignments share the table, a row for each student and assignment. Of two files of one
    student for one assignment the better counts, and both are named.
    """
    check_installed()
    if jobs < 1:
        raise ValueError(f"jobs={jobs} should be 1 or more")
    report = report or _to_stderr
    sources = read_assignments(assignments)
    to = Path(to)
    pages = Path(feedback) if feedback is not None else to.parent / "feedback"
    limits = limits or Limits()
    if limits.threads is None:
        limits = replace(limits, threads=max(1, (os.cpu_count() or 1) // jobs))
    stopped = threading.Event()
    done: list[Graded] = []
    with tempfile.TemporaryDirectory(prefix="d2lmini-") as scratch:
        submissions = find_submissions(Path(submitted), sources, Path(scratch), [to, pages])
        pages.mkdir(parents=True, exist_ok=True)
        _write(done, to)
        names = _page_names(submissions)
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(_grade, s, sources, limits, stopped) for s in submissions]
            try:
                for future in as_completed(futures):
                    graded = future.result()
                    done.append(graded)
                    _write(done, to)
                    page = pages / names[graded.submission]
                    write_atomically(page, _page(graded).encode())
                    report(f"{len(done)}/{len(submissions)} {_line(graded)}")
            except BaseException:  # Ctrl+C: end what runs, begin nothing more
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return _rows(done)


def _grade(
    submission: Submission,
    sources: Mapping[str, Assignment],
    limits: Limits,
    stopped: threading.Event,
) -> Graded:
    assignment = sources.get(named_assignment(submission.shown, sources) or "")
    try:
        if submission.path is None:
            raise ValueError(submission.trouble)
        content = read_notebook(submission.path)
        assignment = sources.get(name_assignment(content, [*sources]) or "", assignment)
        if assignment is None:
            raise ValueError("it is none of the assignments " + ", ".join(sources))
        grade = grade_content(content, assignment, limits, stopped, submission.copy_into)
        return Graded(submission, assignment, grade, grade.ungraded)
    except Stopped:
        raise
    except Exception as error:  # whatever it is, the others are graded
        expected = isinstance(error, ValueError | OSError)
        why = str(error) if expected else f"the grader failed, {type(error).__name__}: {error}"
        return Graded(submission, assignment, None, why)


def _rows(done: list[Graded]) -> list[Row]:
    grouped: dict[tuple[str, str], list[Graded]] = {}
    for graded in sorted(done, key=lambda g: g.submission.shown):
        name = graded.assignment.name if graded.assignment else ""
        grouped.setdefault((graded.submission.student, name), []).append(graded)
    return [_row(files) for files in grouped.values()]


def _row(files: list[Graded]) -> Row:
    best = max(files, key=lambda graded: graded.rank)
    notes = best.notes
    if len(files) > 1:
        notes = (f"{len(files)} files, the best counts: {'; '.join(map(_line, files))}", *notes)
    shown = (best.submission.shown, *(g.submission.shown for g in files if g is not best))
    return Row(
        best.submission.student, best.assignment, best.grade, best.trouble, shown, tuple(notes)
    )


def _line(graded: Graded) -> str:
    shown = graded.submission.shown
    if graded.trouble or graded.grade is None:
        return f"{shown}: not graded: {graded.trouble}"
    most = sum(test.points for test in graded.grade.assignment.tests)
    return f"{shown}: {graded.grade.total:g} of {most:g}"


def _write(done: list[Graded], to: Path) -> None:
    write_atomically(to, to_csv(_rows(done)).encode("utf-8-sig"))


def _page(graded: Graded) -> str:
    submission = graded.submission
    return feedback_page(
        submission.student,
        submission.shown,
        graded.assignment,
        graded.grade,
        graded.trouble,
        graded.notes,
    )


def _page_names(submissions: list[Submission]) -> dict[Submission, str]:
    """File names of their pages, of plain characters, no two alike even without capitals."""
    names: dict[Submission, str] = {}
    for submission in submissions:
        stem = re.sub(r"[^\w.-]+", "-", f"{submission.student}-{Path(submission.shown).stem}")
        stem = stem.strip(".-")[:LONGEST_NAME] or "submission"
        taken = {name.casefold() for name in names.values()}
        name, number = f"{stem}.html", 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}.html", number + 1
        names[submission] = name
    return names


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
