"""What students are given: the committed zips, against their sources and nbgrader's own release."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from d2lmini.__main__ import main
from d2lmini.grading import read_assignment, release

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "chapters" / "assignments"
ZIPS = ROOT / "book" / "assets" / "assignments"
PATHS = [pytest.param(path, id=path.stem) for path in sorted(SOURCES.glob("*.ipynb"))]


def cells(text):
    return [
        (cell["metadata"].get("nbgrader", {}), "".join(cell["source"]), cell)
        for cell in json.loads(text)["cells"]
    ]


def lines(text):
    return {line.strip() for line in text.splitlines()}


def unzipped(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_zips_are_those_of_the_sources(tmp_path):
    pytest.importorskip("nbgrader")
    made = release(SOURCES, tmp_path)
    assert {path.name for path in made} == {path.name for path in ZIPS.iterdir()}
    stale = [p.name for p in made if p.read_bytes() != (ZIPS / p.name).read_bytes()]
    assert not stale, "run `make assignments`"


@pytest.mark.parametrize("path", PATHS)
def test_a_zip_holds_the_assignment_and_how_to_do_it(path):
    files = unzipped(ZIPS / path.name.replace(".ipynb", ".zip"))
    name = path.stem
    assert set(files) == {f"{name}/{name}.ipynb", f"{name}/README.md"}
    about = files[f"{name}/README.md"]
    assert "pip install" in about and "/archive/HEAD.zip" in about and "git+" not in about
    assert "60 to 90 minutes" in about
    points = sum(test.points for test in read_assignment(path).tests)
    assert f"up to {points:g} points" in about
    assert {cell["id"] for *_, cell in cells(files[f"{name}/{name}.ipynb"])} == {
        cell["id"] for *_, cell in cells(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("path", PATHS)
def test_no_solution_hidden_test_or_output_leaks(path):
    """The regions are cut out here by other means than in the package: split at the marks."""
    files = unzipped(ZIPS / path.name.replace(".ipynb", ".zip"))
    given = files[f"{path.stem}/{path.stem}.ipynb"]
    secret, seen = set(), set()
    answers = {}
    for about, source, _ in cells(path.read_text(encoding="utf-8")):
        regions = source.split("### BEGIN ")
        seen |= lines(regions[0])
        for region in regions[1:]:
            inside, end, after = region.partition("### END ")
            assert end
            secret |= lines(inside)
            seen |= lines(after)
        answers[about.get("grade_id")] = source.count("### BEGIN SOLUTION")
    kept = set().union(*(lines(source) for _, source, _ in cells(given)))
    assert len(secret) > 50
    assert not (secret - seen) & kept
    assert not [
        word for word in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS") if word in given
    ]
    for about, source, cell in cells(given):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        if about.get("solution") and cell["cell_type"] == "code":
            assert source.splitlines()[0] == f"# Question {about['grade_id']}"
            stubs = source.count("raise NotImplementedError")
            assert stubs == answers[about["grade_id"]] > 0
    assert "widgets" not in json.loads(given)["metadata"]


@pytest.mark.parametrize("path", PATHS[:1])
def test_nbgrader_itself_releases_the_same(path, tmp_path):
    """`nbgrader generate_assignment --no-db`, told our two stubs."""
    pytest.importorskip("nbgrader")
    source = tmp_path / "source" / path.stem / path.name
    source.parent.mkdir(parents=True)
    shutil.copy(path, source)
    (tmp_path / "nbgrader_config.py").write_text(
        "c.ClearSolutions.code_stub = {'python': 'raise NotImplementedError'}\n"
        "c.ClearSolutions.text_stub = '*Write your answer here.*'\n"
    )
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", path.stem, "--no-db"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    theirs = (tmp_path / "release" / path.stem / path.name).read_text(encoding="utf-8")
    ours = unzipped(ZIPS / f"{path.stem}.zip")[f"{path.stem}/{path.name}"]
    assert json.loads(theirs)["cells"] == json.loads(ours)["cells"]


def test_what_the_grader_takes_for_visible_is_what_was_given():
    for param in PATHS:
        (path,) = param.values
        given = unzipped(ZIPS / f"{path.stem}.zip")[f"{path.stem}/{path.name}"]
        visible = {cell.grade_id: cell.visible for cell in read_assignment(path).cells}
        found = {about["grade_id"]: source for about, source, _ in cells(given) if about}
        assert visible == found


def test_a_solution_in_a_cell_that_students_get_whole_is_refused(tmp_path, capsys):
    pytest.importorskip("nbgrader")
    notebook = json.loads(PATHS[0].values[0].read_text(encoding="utf-8"))
    text = "### BEGIN SOLUTION\nIt is 61,706.\n### END SOLUTION"
    next(c for c in notebook["cells"] if c["cell_type"] == "markdown")["source"] = text
    (tmp_path / "wrong.ipynb").write_text(json.dumps(notebook))
    assert main(["release", "--from", str(tmp_path), "--to", str(tmp_path / "to")]) == 1
    assert "non-solution cell" in capsys.readouterr().err
    assert not list((tmp_path / "to").glob("*.zip"))


def test_bytes_do_not_depend_on_when_and_where():
    for path in ZIPS.iterdir():
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            for info in archive.infolist():
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert info.compress_type == zipfile.ZIP_STORED
