"""The autograder: a folder of honest and hostile submissions, graded by the command in one go."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from d2lmini.__main__ import main
from d2lmini.grading import student_notebook

LINUX = sys.platform == "linux"
CELL_SECONDS = 4
SECRET = 'assert double(-1.5) == -3.0, "a negative number"'

DOUBLE = "# Question tiny-double\ndef double(x):\n    return 2 * x"
AREA = "# Question tiny-area\ndef area(r):\n    return PI * r**2"
WRITTEN = "**Question tiny-explain.** Why?\n\nBecause <script>alert(1)</script> & more."


# ---- the assignment ------------------------------------------------------------------------------


def meta(grade_id, *, grade=False, solution=False, points=None, cell_type="code"):
    nbgrader = {
        "schema_version": 3, "grade_id": grade_id, "grade": grade, "solution": solution,
        "locked": not solution, "task": False, "cell_type": cell_type,
    }  # fmt: skip
    return {"nbgrader": nbgrader | ({"points": points} if grade else {})}


def answer(question, head, body):
    text = (
        f"# Question {question}\n{head}\n    ### BEGIN SOLUTION\n    {body}\n    ### END SOLUTION"
    )
    return new_code_cell(text, metadata=meta(question, solution=True))


def checks(grade_id, points, visible, hidden=None):
    hidden = f"\n### BEGIN HIDDEN TESTS\n{hidden}\n### END HIDDEN TESTS" if hidden else ""
    return new_code_cell(visible + hidden, metadata=meta(grade_id, grade=True, points=points))


def tiny():
    """Two questions of three points that tests mark, one of three that a teacher marks."""
    install = 'if False:\n    %pip install "d2lmini @ git+https://example.org/d2lmini"'
    text = "**Question tiny-explain.** Why?\n\n### BEGIN SOLUTION\nIt is so.\n### END SOLUTION"
    about = {"grade": True, "solution": True, "points": 3, "cell_type": "markdown"}
    cells = [
        new_code_cell(install),
        new_markdown_cell("# Assignment: tiny"),
        new_code_cell("PI = 3", metadata=meta("tiny-setup")),
        answer("tiny-double", "def double(x):", "return 2 * x"),
        checks("tiny-double-test-1", 1, "assert double(1) == 2, f'double(1) is {double(1)}'"),
        checks("tiny-double-test-2", 2, "assert double(0) == 0", SECRET),
        answer("tiny-area", "def area(r):", "return PI * r**2"),
        checks("tiny-area-test-1", 1, "assert area(1) == 3, 'a radius of 1'"),
        checks("tiny-area-test-2", 2, "", "assert abs(area(2) - 12) < 1e-6, 'radius & square'"),
        new_markdown_cell(text, metadata=meta("tiny-explain", **about)),
    ]
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"d2lmini": {"assignment": "tiny"}, "kernelspec": python}
    return new_notebook(cells=cells, metadata=metadata)


# ---- the submissions -----------------------------------------------------------------------------


@dataclass
class Case:
    """A submission: where it lies, what is in it, and what it must get.

    points: of tiny-double and tiny-area, None where empty; notes: parts of what must be noted;
    nbgrader: whether it survives this one, and must agree.
    """

    student: str
    path: str
    content: object  # a notebook, or bytes
    points: tuple
    notes: tuple = ()
    status: str = "graded"
    nbgrader: bool = False

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            nbformat.write(self.content, path)


def filled(release, double=DOUBLE, area=AREA, written=WRITTEN):
    """The student version with answers in it."""
    notebook = nbformat.reads(release, as_version=4)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        new = {"tiny-double": double, "tiny-area": area, "tiny-explain": written}.get(grade_id)
        cell.source = new if new is not None else cell.source
    return notebook


def find(notebook, grade_id):
    return next(
        i for i, cell in enumerate(notebook.cells)
        if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id
    )  # fmt: skip


def stripped(notebook, markers=True):
    for cell in notebook.cells:
        cell.metadata = {}
        if not markers:
            cell.source = "\n".join(x for x in cell.source.split("\n") if "Question" not in x)
    notebook.metadata = {}
    return notebook


def rearranged(release):
    """An answer twice, a test deleted, one made harmless, the set-up gone, a test in front."""
    notebook = filled(release, double="# Question tiny-double\ndef double(x):\n    return 0")
    cells = notebook.cells
    cells[find(notebook, "tiny-double-test-1")].source = "assert True"
    del cells[find(notebook, "tiny-area-test-2")]
    del cells[find(notebook, "tiny-setup")]
    cells.append(new_code_cell(DOUBLE, metadata=meta("tiny-double", solution=True)))
    return notebook


def with_helpers(release):
    area = "# Question tiny-area\ndef area(r):\n    return helper(r)"
    notebook = filled(release, area=area)
    helper = new_code_cell("def helper(r):\n    return PI * r * r\n\n1 / 0")
    notebook.cells.insert(find(notebook, "tiny-area"), helper)
    return notebook


def from_colab(release):
    """As Colab saves: format 4.0, its own metadata, sources as lists, outputs with keys of its."""
    notebook = json.loads(nbformat.writes(filled(release)))
    notebook |= {"nbformat": 4, "nbformat_minor": 0}
    notebook["metadata"] |= {"colab": {"provenance": []}, "accelerator": "GPU"}
    for cell in notebook["cells"]:
        cell.pop("id")
        cell["metadata"] |= {"id": "aB3", "colab": {"base_uri": "https://localhost:8080/"}}
        if cell["cell_type"] == "code":
            output = {"output_type": "stream", "name": "stdout", "text": ["2\n"], "odd": 1}
            cell["outputs"], cell["execution_count"] = [output], None
    return json.dumps(notebook).encode()


def large(release):
    notebook = filled(release)
    notebook.cells[0].outputs = [new_output("stream", text="x" * 100_000_000)]
    return notebook


def zipped(notebook):
    """With files besides that would land elsewhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny/tiny.ipynb", nbformat.writes(notebook))
        archive.writestr("../../outside.ipynb", "{}")
        archive.writestr("/outside.ipynb", "{}")
    return buffer.getvalue()


def with_cell(notebook, code, before="tiny-double"):
    notebook.cells.insert(find(notebook, before), new_code_cell(code))
    return notebook


# answers that do harm
FOREVER = DOUBLE + "\n\nimport time\nwhile True:\n    time.sleep(0.01)"
STUBBORN = """# Question tiny-area
import time
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        pass
"""
PRINTS = DOUBLE + "\n\nwhile True:\n    print('x' * 10_000)"
EXITS = "# Question tiny-area\ndef area(r):\n    raise SystemExit"
ENDS = "# Question tiny-area\nimport os\ndef area(r):\n    return 3 if r == 1 else os._exit(0)"
GREEDY = "# Question tiny-area\ndef area(r):\n    return bytearray(8 * 2**30) and 3"
TELLS = "# Question tiny-area\ndef area(r):\n    raise ValueError('\\n'.join(In))"
HALF = "# Question tiny-area\ndef area(r):\n    return PI * r"
CHEATS = HALF + "\n\nimport builtins\nbuiltins.abs = lambda x: 0\nsum = 0"
ORPHAN = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open({path!r}, "w") as file:
            file.write(str(os.getpid()))
        signal.pause()
    os._exit(0)
os.wait()
while not os.path.exists({path!r}) or not open({path!r}).read():
    pass
os.kill(os.getppid(), signal.SIGKILL)
"""
NO_FOLDER = """
import os, shutil, sys
open("mine.txt").read()
shutil.rmtree(os.getcwd())
sys.stdin.read(1)
sys.stdout.close()
input()
"""


def cases(release, orphan):
    full = lambda **answers: filled(release, **answers)  # noqa: E731
    lost = "the metadata is lost"
    return [
        Case("Ada", "Ada/tiny/tiny.ipynb", full(), (3, 3), nbgrader=True),
        Case("bob", "bob_tiny.ipynb", full(area=HALF), (3, 1), nbgrader=True),
        Case("zero", "tiny_zero.ipynb", release.encode(), (0, 0),
             ("nothing is written under tiny-explain",), nbgrader=True),
        Case("colab", "colab_tiny.ipynb", from_colab(release), (3, 3), nbgrader=True),
        Case("helper", "helper_tiny.ipynb", with_helpers(release), (3, 3),
             ("cell 7 (def helper(r):): ZeroDivisionError",), nbgrader=True),
        Case("syntax", "syntax/tiny.ipynb", full(double="# Question tiny-double\ndef double(x:"),
             (0, 3), ("tiny-double: SyntaxError",), nbgrader=True),
        Case("strip", "strip_tiny.ipynb", stripped(full()), (3, 3), (lost,)),
        Case("nils", "nils_tiny.ipynb", stripped(full(), markers=False), (None, None),
             status="not graded: no answer to Assignment: tiny is in it"),
        Case("lost", "lost_tiny.ipynb", stripped(full(area="def my_area(r):\n    return 3")),
             (3, None), (lost, "answer not found: tiny-area"),
             status="graded in part, without tiny-area"),
        Case("sort", "sort_tiny.ipynb", rearranged(release), (3, 3),
             ("more than once, the last one counts: tiny-double",
              "edited, and put back as it was: tiny-double-test-1",
              "deleted, and put back: tiny-setup, tiny-area-test-2",
              "moved to after its answer: tiny-double-test-1, tiny-double-test-2")),
        Case("loop", "loop_tiny.ipynb", full(double=FOREVER, area=STUBBORN), (3, 0),
             ("tiny-double: took more than 4 s", "tiny-area: took more than 4 s")),
        Case("print", "print_tiny.ipynb", full(double=PRINTS), (3, 3),
             ("tiny-double: took more than 4 s", "million characters, thrown away")),
        Case("exit", "exit_tiny.ipynb",
             with_cell(full(double=DOUBLE + "\nimport sys; sys.exit()", area=EXITS), "exit()"),
             (3, 0), ("tiny-double: SystemExit", "(exit()): SystemExit")),
        Case("crash", "crash_tiny.ipynb",
             with_cell(full(area=ENDS), "import os; os._exit(1)"), (3, 1),
             ("(import os; os._exit(1)): ended the kernel", "tiny-area-test-2: ended the kernel")),
        Case("orphan", "orphan_tiny.ipynb", with_cell(full(), ORPHAN.format(path=str(orphan))),
             (3, 3), ("(import os, signal): ended the kernel",)),
        Case("delete", "delete/tiny.ipynb", with_cell(large(release), NO_FOLDER), (3, 3),
             ("(import os, shutil, sys): ",)),
        Case("greedy", "greedy_tiny.ipynb", full(area=GREEDY), (3, 0)),
        Case("cheat", "cheat_tiny.ipynb", full(area=CHEATS), (3, 1),
             ("builtins were changed, and put back before tiny-area-test-1: abs",
              "names of builtins are used for something else: sum")),
        Case("tell", "tell_tiny.ipynb", full(area=TELLS), (3, 0)),
        Case("broken", "broken_tiny.ipynb", b'{"cells": [', (None, None),
             status="not graded: no notebook that can be read"),
        Case("eve", "eve_tiny (1).ipynb", full(area=HALF), (3, 1),
             ("2 files, the best counts: eve_tiny (1).ipynb: 4 of 6; eve_tiny.ipynb: not graded",)),
        Case("'=1+1", "=1+1_tiny.ipynb", full(), (3, 3)),
        Case("Zoë Ng", "Zoë Ng_7_assignsubmission_file_/my work.zip", zipped(full()), (3, 3),
             ("left out of the zip file, since outside of it: ../../outside.ipynb",)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The folder in which the command has graded, its cases, and what it wrote on stderr."""
    folder = tmp_path_factory.mktemp("course")
    sources, submitted = folder / "sources", folder / "submitted"
    sources.mkdir()
    nbformat.write(tiny(), sources / "tiny.ipynb")
    other = nbformat.writes(tiny()).replace("tiny", "mini")
    (sources / "mini.ipynb").write_text(other, encoding="utf-8")
    all_cases = [
        case for case in cases(student_notebook(sources / "tiny.ipynb"), folder / "orphan.pid")
        if LINUX or case.student not in ("greedy", "orphan")  # memory limits; /proc
    ]  # fmt: skip
    for case in all_cases:
        case.write(submitted / case.path)
    (submitted / "eve_tiny.ipynb").write_bytes(b"")
    (submitted / "delete" / "mine.txt").write_text("mine")
    (submitted / "Ada" / "mini.ipynb").write_bytes(b"")
    (submitted / "Quinn").mkdir()
    (submitted / "Paula").mkdir()
    (submitted / "Paula" / "report.pdf").write_bytes(b"%PDF")
    (submitted / "marks.xlsx").write_bytes(b"")
    command = [sys.executable, "-m", "d2lmini", "grade", "submitted", "--to", "grades.csv"]
    command += ["--assignments", "sources", "--cell-seconds", str(CELL_SECONDS)]
    command += ["--notebook-seconds", "300", "--memory", "2"]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return folder, all_cases, done.stderr


def table(folder):
    with (folder / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def page(folder, case):
    """The feedback of a case."""
    found = [
        path for path in (folder / "feedback").glob("*.html")
        if case.path in BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").text
    ]  # fmt: skip
    assert len(found) == 1
    return found[0].read_text(encoding="utf-8")


# ---- the table -----------------------------------------------------------------------------------


def test_every_submission_gets_its_row(graded):
    folder, all_cases, _ = graded
    head, *rows = table(folder)
    assert head == [
        "student", "assignment", "status", "points", "maximum",
        "mini-double (3)", "mini-area (3)", "mini-explain (3, by hand)",
        "tiny-double (3)", "tiny-area (3)", "tiny-explain (3, by hand)", "file", "notes",
    ]  # fmt: skip
    unreadable = "not graded: no notebook that can be read"
    expected = [
        ["Paula", "", "not graded: there is no notebook", *8 * [""]],
        ["Quinn", "", "not graded: there is nothing in the folder", *8 * [""]],
        ["Ada", "mini", unreadable, "", "6", *6 * [""]],
    ]
    for case in sorted(all_cases, key=lambda case: case.student.casefold()):
        points = ["" if p is None else str(p) for p in case.points]
        known = [p for p in case.points if p is not None]
        total = str(sum(known)) if known else ""
        expected += [
            [case.student, "tiny", case.status, total, "6", "", "", "", *points, ""],
        ]
    for row in rows:  # what JSON's own error says is not ours
        row[2] = row[2].split(" (")[0]
    assert [row[:-2] for row in rows] == expected


def test_what_was_repaired_or_went_wrong_is_noted(graded):
    folder, all_cases, _ = graded
    notes = {row[0]: row[-1] for row in table(folder) if row[1] == "tiny"}
    missing = [(c.student, n) for c in all_cases for n in c.notes if n not in notes[c.student]]
    assert not missing, notes
    quiet = {case.student: notes[case.student] for case in all_cases if not case.notes}
    assert not any(quiet.values()), quiet


def test_student_code_is_said_to_run(graded, capsys):
    assert "docker run" in graded[2]
    with pytest.raises(SystemExit):
        main(["grade", "--help"])
    assert "Student code runs with your rights" in capsys.readouterr().out


def test_no_process_and_no_file_is_left(graded):
    folder, _, _ = graded
    if LINUX:
        status = Path(f"/proc/{(folder / 'orphan.pid').read_text()}/status")
        assert not status.exists() or "zombie" in status.read_text()
    left = {path.name for path in folder.iterdir()} - {"orphan.pid"}
    assert left == {"sources", "submitted", "grades.csv", "feedback"}
    assert (folder / "submitted" / "delete" / "mine.txt").exists()


# ---- feedback ------------------------------------------------------------------------------------


def test_feedback_says_what_failed_and_keeps_what_is_hidden(graded):
    folder, all_cases, _ = graded
    by_student = {case.student: case for case in all_cases}
    text = BeautifulSoup(page(folder, by_student["bob"]), "html.parser").get_text(" ")
    assert "4 of 6 points" in text
    assert "radius & square" in text  # the message of a hidden assertion
    assert "return PI * r" in text
    assert "not answered: NotImplementedError" in page(folder, by_student["zero"])
    pages = [path.read_text(encoding="utf-8") for path in (folder / "feedback").iterdir()]
    assert len(pages) == len(all_cases) + 4  # Ada's and eve's other files, Paula, Quinn
    for content in pages:
        visible = BeautifulSoup(content, "html.parser").get_text()
        assert "-1.5" not in visible
        assert "area(2)" not in visible
        assert "BEGIN" not in visible


def test_feedback_is_one_file_that_runs_nothing(graded):
    folder, all_cases, _ = graded
    content = page(folder, all_cases[0])
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in content
    soup = BeautifulSoup(content, "html.parser")
    assert not soup.find_all(["script", "link", "img", "iframe"])
    assert not soup.find_all(href=True)
    assert not soup.find_all(src=True)


# ---- nbgrader ------------------------------------------------------------------------------------

READ_POINTS = """
import json, sys
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps({
        s.student.id: {g.name: g.auto_score for n in s.notebooks for g in n.grades}
        for s in book.assignment_submissions("tiny")
    }))
"""


def test_nbgrader_gives_the_same_points(graded, tmp_path):
    pytest.importorskip("nbgrader")
    _, all_cases, _ = graded
    source = tmp_path / "source" / "tiny" / "tiny.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(tiny(), source)
    chosen = [case for case in all_cases if case.nbgrader]
    for case in chosen:
        case.write(tmp_path / "submitted" / case.student / "tiny" / "tiny.ipynb")

    # nbgrader calls alembic by its name
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env={**os.environ, "PATH": path},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "nbgrader", "generate_assignment", "tiny")
    run("-m", "nbgrader", "autograde", "tiny")
    points = json.loads(run("-c", READ_POINTS))
    found = {
        student: tuple(
            sum(p for name, p in of.items() if name.startswith(question))
            for question in ("tiny-double", "tiny-area")
        )
        for student, of in points.items()
    }
    assert found == {case.student: case.points for case in chosen}
