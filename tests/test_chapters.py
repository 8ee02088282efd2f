"""The notebooks as committed: executed, small-celled, and in step with the package.

What a cell computes is nbval's to compare; this gate holds what nbval would let pass.
"""

import ast
import base64
import importlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from saved_widgets import stale_scripts

REPOSITORY = Path(__file__).resolve().parents[1]
CHAPTERS = REPOSITORY / "chapters"
THE_FIVE = ("lenet", "alexnet", "vgg", "nin", "googlenet")
NOTEBOOKS = sorted([*CHAPTERS.glob("*.ipynb"), *(REPOSITORY / "book").glob("*.ipynb")])

MOST_LINES = 25
MOST_IGNORED = 8
MOST_IGNORED_SHARE = 0.34
MOST_PIXELS = 1000
IGNORE = "nbval-ignore-output"
FORBIDDEN_TAGS = {"nbval-skip", "nbval-raises-exception", "raises-exception"}


def read(path):
    return nbformat.read(path, as_version=4)


# ---- the gate ---------------------------------------------------------------------------------


def faults(notebook):
    """What is wrong with a notebook, a line each; nothing if it may be committed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    found = [] if kernel == "python3" else [f"kernelspec is {kernel!r}, not 'python3'"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"execution counts are {counts}, not 1 … {len(code)}")
    if not code or "remove-cell" not in tags(code[0]):
        found.append("the first code cell is not tagged remove-cell")
    ignored = sum(IGNORE in tags(cell) for cell in code)
    if ignored > MOST_IGNORED or ignored > MOST_IGNORED_SHARE * len(code):
        found.append(f"{ignored} of {len(code)} code cells are tagged {IGNORE}")
    for number, cell in enumerate(code, start=1):
        found += [f"code cell {number}: {fault}" for fault in cell_faults(cell)]
        following = code[number] if number < len(code) else None
        if IGNORE in tags(cell) and trains(cell) and not (following and checks(following)):
            found.append(f"code cell {number}: trains unchecked; no assert in the next code cell")
    return found + [
        f"code cell {number}: no text between it and the code cell before it"
        for number in cells_without_reason(notebook)
    ]


def cell_faults(cell):
    lines = len(cell.source.splitlines())
    if lines > MOST_LINES:
        yield f"{lines} lines"
    if FORBIDDEN_TAGS & set(tags(cell)):
        yield f"is tagged {', '.join(sorted(FORBIDDEN_TAGS & set(tags(cell))))}"
    if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE_)", cell.source):
        yield "has an nbval comment, which the count of tags does not see"
    if "execution" in cell.metadata:
        yield "has timing metadata"
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"ended in {output.ename}"
        image = output.get("data", {}).get("image/png")
        if image and (width := png_width(image)) > MOST_PIXELS:
            yield f"a figure is {width} pixels wide"


def cells_without_reason(notebook):
    """Numbers of code cells that follow a code cell with no text between, and need some.

    None is needed by a check of the cell before, by a training that follows the loading of its
    data, and by what follows the hidden first cell.
    """
    number, before = 0, None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            before = None
        elif cell.source.strip():
            number += 1
            if before is not None and not (
                checks(cell)
                or ("load_data_" in before.source and trains(cell))
                or "remove-cell" in tags(before)
            ):
                yield number
            before = cell


def tags(cell):
    return cell.metadata.get("tags", [])


def trains(cell):
    return "train_ch6(" in cell.source


def checks(cell):
    """Whether it has an assert statement and nbval compares it."""
    return IGNORE not in tags(cell) and re.search(r"^\s*assert\b", cell.source, re.MULTILINE)


def png_width(text):
    return struct.unpack(">I", base64.b64decode(text)[16:20])[0]


# ---- the gate is tried ------------------------------------------------------------------------


def code_cell(source, count, *tags, outputs=()):
    cell = nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs))
    cell.metadata["tags"] = list(tags)
    return cell


def right_notebook():
    text = nbformat.v4.new_markdown_cell
    cells = [
        text("# LeNet"),
        code_cell("import sys", 1, "remove-cell"),
        code_cell("import d2lmini as d2l", 2),
        text("Train it."),
        code_cell("record = d2l.train_ch6(net, a, b, 1, 0.1)", 3, IGNORE),
        code_cell("assert record.test_acc > 0.8", 4),
        text("Count it."),
        code_cell("1 + 1", 5),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return notebook


def test_the_gate_lets_a_right_notebook_pass():
    assert faults(right_notebook()) == []


def png(width):
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, 100)
    data = {"image/png": base64.b64encode(header).decode()}
    return nbformat.v4.new_output("display_data", data=data)


def tag_many(notebook):
    """9 ignored cells among 40: too many, though a small share."""
    for i in range(35):
        notebook.cells.append(nbformat.v4.new_markdown_cell("Why."))
        notebook.cells.append(code_cell("1", 6 + i, *([IGNORE] if i < 8 else [])))


BREAKS = {
    "kernel": (lambda n: n.metadata["kernelspec"].update(name="conda"), "kernelspec"),
    "no kernel": (lambda n: n.metadata.pop("kernelspec"), "kernelspec"),
    "not executed": (lambda n: n.cells[7].update(execution_count=None), "execution counts"),
    "executed twice": (lambda n: n.cells[7].update(execution_count=6), "execution counts"),
    "error": (
        lambda n: n.cells[7].outputs.append(
            nbformat.v4.new_output("error", ename="KeyError", evalue="", traceback=[])
        ),
        "ended in KeyError",
    ),
    "long cell": (lambda n: n.cells[7].update(source="1\n" * 26), "26 lines"),
    "ignored share": (lambda n: n.cells[7].metadata.update(tags=[IGNORE]), "2 of 5 code cells"),
    "ignored count": (tag_many, "9 of 40 code cells"),
    "unchecked training": (lambda n: n.cells[5].update(source="record"), "trains unchecked"),
    "ignored check": (lambda n: n.cells[5].metadata.update(tags=[IGNORE]), "trains unchecked"),
    "check in words only": (lambda n: n.cells[5].update(source="# assert"), "trains unchecked"),
    "no reason": (lambda n: n.cells.pop(6), "code cell 5: no text"),
    "no first cell": (lambda n: n.cells.pop(1), "remove-cell"),
    "timing": (lambda n: n.cells[7].metadata.update(execution={}), "timing metadata"),
    "skipped": (lambda n: n.cells[7].metadata.update(tags=["nbval-skip"]), "tagged nbval-skip"),
    "raising": (
        lambda n: n.cells[7].metadata.update(tags=["raises-exception"]), "raises-exception",
    ),
    "comment": (lambda n: n.cells[7].update(source="# NBVAL_SKIP\n1"), "nbval comment"),
    "wide figure": (lambda n: n.cells[7].outputs.append(png(1400)), "1400 pixels wide"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_the_gate_finds(name):
    notebook = right_notebook()
    break_it, expected = BREAKS[name]
    break_it(notebook)
    assert any(expected in fault for fault in faults(notebook)), faults(notebook)


def test_the_gate_allows_a_narrow_figure_and_an_empty_cell():
    notebook = right_notebook()
    notebook.cells[7].outputs.append(png(720))
    notebook.cells.append(code_cell("", None))
    assert faults(notebook) == []


# ---- the chapters -----------------------------------------------------------------------------


def test_the_five_chapters_exist():
    assert {path.stem for path in NOTEBOOKS} >= set(THE_FIVE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_may_be_committed(path):
    notebook = read(path)
    nbformat.validate(notebook)
    found = faults(notebook)
    assert not found, "\n".join(found)


# what each chapter must define in full; what else it defines under a name of its model file must
# stand there to the letter too
DEFINED = {
    "lenet": ("lenet",),
    "alexnet": ("ALEXNET", "alexnet"),
    "vgg": (
        "VGG11", "VGG13", "VGG16", "VGG16_C", "VGG19", "vgg_block", "vgg", "narrow", "vgg_pooled",
    ),
    "nin": ("NIN", "nin_block", "nin"),
    "googlenet": (
        "GOOGLENET", "Inception", "AuxiliaryClassifier", "GoogLeNetWithAuxiliary", "googlenet",
    ),
    "vgg_cifar10": ("VGG16_CIFAR10", "cifar10_stage", "vgg_cifar10"),
}  # fmt: skip


def definitions(source):
    """Top-level functions, classes and constants of a text: name → their own lines."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.get_source_segment(source, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.get_source_segment(source, node)
    return found


def model_source(name):
    return Path(importlib.import_module(f"d2lmini.models.{name}").__file__).read_text("utf-8")


def python_of(cell):
    """A cell's code with `pass` for the lines that only IPython reads."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem in DEFINED], ids=lambda p: p.stem)
def test_the_package_keeps_what_the_chapter_defines_to_the_letter(path):
    cells = [python_of(cell) for cell in read(path).cells if cell.cell_type == "code"]
    in_chapter = {name for cell in cells for name in definitions(cell)}
    in_package = definitions(model_source(path.stem))
    wanted = set(DEFINED[path.stem]) | (in_chapter & set(in_package))
    missing = [name for name in wanted if not any(in_package[name] in cell for cell in cells)]
    assert not missing, f"{path.name} does not hold the package's text of {sorted(missing)}"


@pytest.mark.parametrize("name", DEFINED)
def test_every_public_function_and_class_has_its_chapter(name):
    tree = ast.parse(model_source(name))
    public = importlib.import_module("d2lmini").__all__
    kinds = (ast.FunctionDef, ast.ClassDef)
    needed = {n.name for n in tree.body if isinstance(n, kinds) and n.name in public}
    assert needed <= set(DEFINED[name])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_widgets_saved_in_it_are_the_packages_own(path):
    stale = {(state["_anywidget_id"], key) for state, key, _ in stale_scripts(read(path))}
    assert not stale, "make widgets"


# ---- the time a chapter says it takes to read -------------------------------------------------

WORDS_A_MINUTE = 238  # adults reading non-fiction in silence: Brysbaert (2019)
SECONDS_A_LINE = 3  # of code
MINUTES_A_FIGURE = 1  # of those that answer
QUESTIONS_A_MINUTE = 2  # our guess
QUESTION = re.compile(r"d2l\.(?:choose|number|order)\(")


def minutes_to_read(notebook):
    """Of the text before the exercises, what is folded aside."""
    words = lines = figures = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text, *exercises = cell.source.split("## Exercises")
            words += len(re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL).split())
            if exercises:
                break
        elif not {"remove-cell", "remove-input"} & set(tags(cell)):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            figures += any("widget-view" in kind for kind in kinds)
    return words / WORDS_A_MINUTE + lines * SECONDS_A_LINE / 60 + figures * MINUTES_A_FIGURE


@pytest.mark.parametrize("path", sorted(CHAPTERS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_chapter_says_how_long_it_takes_to_read(path):
    notebook = read(path)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    ((reading, answering),) = re.findall(
        r"\*\*Reading\*\* takes about (\d+) minutes, answering the questions about (\d+)", text
    )
    questions = sum(len(QUESTION.findall(cell.source)) for cell in notebook.cells)
    assert int(reading) == 5 * round(minutes_to_read(notebook) / 5)
    assert int(answering) == 5 * round(questions / QUESTIONS_A_MINUTE / 5)
    assert re.search(r"\*\*All cells run\*\* in about", text)
    guide = (REPOSITORY / "book" / "teaching.md").read_text(encoding="utf-8")
    (told,) = re.findall(rf"/{path.stem}\.ipynb\) \| (\d+)(?: minutes)? \| (\d+)", guide)
    assert told == (reading, answering)


# ---- the table of contents and plain pytest ---------------------------------------------------


def files_of(node):
    if isinstance(node, dict):
        yield from (node[key] for key in ("root", "file") if key in node)
        for value in node.values():
            yield from files_of(value)
    elif isinstance(node, list):
        for child in node:
            yield from files_of(child)


CONTENTS = list(files_of(yaml.safe_load((REPOSITORY / "_toc.yml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", CONTENTS)
def test_every_page_of_the_contents_exists(name):
    assert any((REPOSITORY / f"{name}{suffix}").is_file() for suffix in (".ipynb", ".md"))


def test_every_notebook_is_in_the_contents():
    assert {f"{path.parent.name}/{path.stem}" for path in NOTEBOOKS} <= set(CONTENTS)
    listed = [Path(name).name for name in CONTENTS if name.startswith("chapters/")]
    assert [name for name in listed if name in THE_FIVE] == list(THE_FIVE)


def test_plain_pytest_is_set_to_run_the_notebooks():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]
    assert {"tests", "book", "chapters"} <= set(options["testpaths"])
    assert "--nbval" in options["addopts"]
    # --nbval-lax compares nothing; --lf with nbval skips what failed
    assert not {"--nbval-lax", "--lf", "--last-failed"} & set(options["addopts"])


def collected(data_folder):
    """What plain pytest collects of the notebooks, with D2LMINI_DATA and HOME that folder."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-rs", "book", "chapters"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
        env={**os.environ, "D2LMINI_DATA": str(data_folder), "HOME": str(data_folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not NOTEBOOKS, reason="chapters/ holds no notebook")
def test_plain_pytest_collects_every_code_cell(tmp_path):
    (tmp_path / "cifar10.npz").touch()  # collecting does not read it
    output = collected(tmp_path)
    for path in NOTEBOOKS:
        cells = [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]
        assert output.count(f"{path.parent.name}/{path.name}::") >= len(cells), path.name


def test_without_cifar10_its_chapter_is_one_skip_with_the_reason(tmp_path):
    output = collected(tmp_path)
    assert "vgg_cifar10.ipynb::" not in output and "vgg.ipynb::" in output
    assert output.count("CIFAR-10 not found; set D2LMINI_DATA") == 1
