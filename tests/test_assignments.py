"""The assignments: their sources may be committed, and every exercise is proved. The solution gets
all points, the student's version none, and plausible wrong answers exactly what they should.

Each notebook answers several questions wrongly at once, so a test that hung on another question's
answer would show as well. The experiments, which give no points, are left out: nbval runs them with
the sources.
"""

import functools
import importlib
import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from d2lmini.grading import Limits, grade_notebook, read_assignment, student_notebook
from d2lmini.grading.assignment import CODE_STUB
from d2lmini.grading.grade import grade_outcomes
from d2lmini.grading.match import match
from d2lmini.grading.run import read_notebook, run_cells

FOLDER = Path(__file__).resolve().parents[1] / "chapters" / "assignments"
NAMES = ("lenet", "alexnet", "vgg", "nin", "googlenet")
WRONG = {name: importlib.import_module(f"assignments.{name}").WRONG for name in NAMES}
ASSIGNMENTS = {name: read_assignment(FOLDER / f"{name}.ipynb") for name in NAMES}
LIMITS = Limits(cell_seconds=300, notebook_seconds=1800, threads=1)  # the machine may be busy
IGNORE = "nbval-ignore-output"  # of the experiments alone

MOST_LINES, MOST_COLUMNS = 25, 86
# "### A block · 5 points" and "**Question vgg-explain.** (3 points)"
POINTS = re.compile(r"^(?:### .* · |\*\*Question .*\*\* \()(\d+) points", re.MULTILINE)


def numbers(name):
    """Of the sheets of wrong answers: one for each answer of the question that has most."""
    return range(max(len(wrong) for wrong in WRONG[name].values()))


SHEETS = [(name, number) for name in NAMES for number in numbers(name)]


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def without_experiments(notebook):
    cells = notebook.cells
    notebook.cells = [cell for cell in cells if IGNORE not in cell.metadata.get("tags", [])]
    return notebook


def graded_as(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def maximum(name):
    return {test.grade_id: test.points for test in ASSIGNMENTS[name].tests}


# ---- the sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_source_may_be_committed(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        lines = cell.source.splitlines()
        assert len(lines) <= MOST_LINES, f"{cell.id} has {len(lines)} lines"
        assert max(map(len, lines)) <= MOST_COLUMNS, f"{cell.id} is too wide"
        assert "execution" not in cell.metadata, f"{cell.id} has timing metadata"
        experiment = IGNORE in cell.metadata.get("tags", [])
        assert experiment or not cell.outputs, f"{cell.id} prints what nbval would compare"
        assert not (experiment and graded_as(cell)), f"{cell.id} is graded and not compared"


@pytest.mark.parametrize("name", NAMES)
def test_it_states_the_points_of_questions_parts_and_whole(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    head, *parts = text.split("\n## Part ")
    by_part = [[int(number) for number in POINTS.findall(part)] for part in parts]
    stated = [number for points in by_part for number in points]
    assert stated == list(ASSIGNMENTS[name].maximum.values())
    total, *said = map(int, re.findall(r"\d+", re.search(r"\*\*Points:\*\* .*", head)[0]))
    assert said == [n for part, points in enumerate(by_part, 1) for n in (sum(points), part)]
    assert total == sum(stated)


@pytest.mark.parametrize("name", NAMES)
def test_answers_begin_with_their_marker_and_have_wrong_ones_beside_them(name):
    assignment = ASSIGNMENTS[name]
    answers = assignment.of_kind("answer")
    for answer in answers:
        assert answer.source.startswith(f"# Question {answer.grade_id}\n")
        assert CODE_STUB in answer.visible
    for written in assignment.written:
        assert written.source.startswith(f"**Question {written.grade_id}.** ")
    assert list(WRONG[name]) == [answer.grade_id for answer in answers]
    for question, wrong in WRONG[name].items():
        tests = [test for test in assignment.tests if test.question == question]
        assert len(wrong) >= 2 and len({answer.name for answer in wrong}) == len(wrong)
        for answer in wrong:
            assert len(answer.points) == len(tests), f"{question}: {answer.name}"
            assert sum(answer.points) < sum(test.points for test in tests)


# ---- the proof --------------------------------------------------------------------------------


@functools.cache
def grades(name):
    """Of each of an assignment's sheets. All run in one kernel, since to start it takes longer than
    most sheets do; between two of them every name is forgotten."""
    assignment = ASSIGNMENTS[name]
    matched = {key: match(as_read(text), assignment) for key, text in sheets(name)}
    sources, starts = [], {}
    for key, sheet in matched.items():
        sources.append("%reset -f")
        starts[key] = len(sources)
        sources += [cell.source for cell in sheet.cells]
    outcomes = run_cells(sources, LIMITS)
    assert all(outcomes[start - 1].kind == "passed" for start in starts.values())
    return {
        key: grade_outcomes(sheet, outcomes[start : start + len(sheet.cells)], assignment, LIMITS)
        for (key, sheet), start in zip(matched.items(), starts.values(), strict=True)
    }


def sheets(name):
    """The solution, the student's version, and one with wrong answers for each number."""
    yield "solution", nbformat.writes(without_experiments(read(name)))
    yield "student", student_notebook(FOLDER / f"{name}.ipynb")
    for number in numbers(name):
        notebook, given = without_experiments(read(name)), given_on(name, number)
        for cell in notebook.cells:
            if graded_as(cell) in given:
                cell.source = f"# Question {graded_as(cell)}{given[graded_as(cell)].code}"
        yield number, nbformat.writes(notebook)


def as_read(text):
    with tempfile.NamedTemporaryFile("w", suffix=".ipynb", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return read_notebook(Path(file.name))


def given_on(name, number):
    return {q: wrong[number] for q, wrong in WRONG[name].items() if number < len(wrong)}


def messages(graded):
    return {result.test.grade_id: result.message for result in graded.results if result.message}


def check_all_points(graded, name):
    assert not graded.ungraded
    assert graded.points == maximum(name), messages(graded)
    assert graded.notes == []


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_gets_all_points(name):
    check_all_points(grades(name)["solution"], name)


def test_in_a_kernel_of_its_own_it_does_too(tmp_path):
    """As the grader runs it. One stands for all: nbval runs the sources themselves so."""
    name = NAMES[0]
    path = tmp_path / f"{name}.ipynb"
    path.write_text(dict(sheets(name))["solution"], encoding="utf-8")
    check_all_points(grade_notebook(path, ASSIGNMENTS[name], LIMITS), name)


@pytest.mark.parametrize("name", NAMES)
def test_the_student_version_gets_no_points_and_says_why(name):
    graded = grades(name)["student"]
    assert graded.points == dict.fromkeys(maximum(name), 0)
    assert set(messages(graded).values()) == {"not answered: NotImplementedError"}


@pytest.mark.parametrize(("name", "number"), SHEETS)
def test_wrong_answers_get_what_they_should(name, number):
    graded, given, expected = grades(name)[number], given_on(name, number), maximum(name)
    for question, answer in given.items():
        tests = [test.grade_id for test in ASSIGNMENTS[name].tests if test.question == question]
        expected |= dict(zip(tests, answer.points, strict=True))
    why = messages(graded)
    assert graded.points == expected, [
        f"{test} [{given[test.split('-test-')[0]].name}]: {points}, {why.get(test, 'passed')}"
        for test, points in graded.points.items()
        if points != expected[test]
    ]
