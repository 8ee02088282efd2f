"""CONTRIBUTING.md's tables of what can go wrong: the tests that they name, and none forgotten."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`( \(soak\))?", TEXT)
# all of whose tests are about faults
ABOUT_FAULTS = [
    "test_faults.py", "test_download.py", "test_distributed.py", "test_fuzz.py", "test_machines.py",
    "test_rerun.py", "test_soak.py", "site/test_book_faults.py", "site/test_page_soak.py",
]  # fmt: skip
# about no fault, or about the other tests: that what they compare with is what it stands for
LEFT_OUT = {
    "test_the_real_archive_is_the_one_that_torchvision_knows",
    "test_the_fake_refuses_float64_as_mps_does",
    "test_python_itself_holds_the_same_names_for_reserved",
    "test_the_host_of_these_tests_lets_no_script_of_a_page_run",
    "test_make_chapters_writes_what_the_cells_print",
}


def functions_of(file):
    """The test functions of a file, by name: whether only a soak run runs them."""
    body = ast.parse((TESTS / file).read_text(encoding="utf-8")).body
    marked = any(ast.unparse(node) == "pytestmark = pytest.mark.soak" for node in body)
    return {
        node.name: marked or "pytest.mark.soak" in map(ast.unparse, node.decorator_list)
        for node in body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("file", sorted({file for file, _, _ in NAMED}))
def test_every_test_named_is_there_and_marked_as_it_is(file):
    there = functions_of(file)
    for name in (name for other, name, _ in NAMED if other == file):
        assert name in there, f"{file} has no {name}"
    soak = {name for other, name, marked in NAMED if other == file and marked}
    assert soak == {name for other, name, _ in NAMED if other == file and there[name]}


@pytest.mark.parametrize("file", ABOUT_FAULTS)
def test_none_that_is_about_a_fault_is_forgotten(file):
    named = {name for other, name, _ in NAMED if other == file}
    assert set(functions_of(file)) - named - LEFT_OUT == set()


def test_what_is_left_out_is_there():
    assert {name for file in ABOUT_FAULTS for name in functions_of(file)} >= LEFT_OUT


def test_every_row_is_whole_and_names_each_test_once():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) > 60
    for row in rows:
        fault, outcome, tests = row.strip("| ").split(" | ")
        assert fault and outcome
        assert re.fullmatch(r"`[\w/.]+::\w+`( \(soak\))?(, `[\w/.]+::\w+`( \(soak\))?)*", tests)
    assert max(Counter((file, name) for file, name, _ in NAMED).values()) == 1
