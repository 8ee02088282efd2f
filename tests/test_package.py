"""The package from outside: its names, its import's weight, who imports whom, its command."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import d2lmini
from d2lmini.__main__ import main

PACKAGE = Path(d2lmini.__file__).parent
REPOSITORY = PACKAGE.parent

# DESIGN.md, "The contract"
CONTRACT = {
    "load_data_fashion_mnist", "load_data_cifar10", "train_ch6", "evaluate_accuracy",
    "evaluate_accuracy_gpu", "try_gpu", "get_fashion_mnist_labels", "show_images", "train_ch5",
    "FlattenLayer", "GlobalAvgPool2d", "Timer", "Accumulator", "Record", "EpochStats", "lenet",
    "alexnet", "vgg", "nin", "googlenet", "vgg_block", "nin_block", "Inception", "MODELS", "VGG11",
    "VGG13", "VGG16", "VGG16_C", "VGG19", "narrow", "ArrayLoader", "summarize",
}  # fmt: skip


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, cwd=REPOSITORY,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def syntax(path):
    return ast.parse(path.read_text(encoding="utf-8"))


# ---- names ------------------------------------------------------------------------------------


def test_every_public_name_resolves():
    assert len(set(d2lmini.__all__)) == len(d2lmini.__all__)
    assert all(getattr(d2lmini, name) is not None for name in d2lmini.__all__)


def test_all_is_exactly_what_the_root_takes_from_its_modules():
    imported = {
        alias.asname or alias.name
        for node in syntax(PACKAGE / "__init__.py").body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("d2lmini")
        for alias in node.names
    }
    plot = {
        node.name
        for node in syntax(PACKAGE / "plot.py").body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    widgets = {
        alias.name
        for node in syntax(PACKAGE / "widgets" / "__init__.py").body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(d2lmini.__all__) == imported | plot | widgets
    assert set(d2lmini.__all__) <= set(dir(d2lmini))


def test_the_names_that_d2ls_readers_know_are_there():
    assert set(d2lmini.__all__) >= CONTRACT


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="resnet"):
        d2lmini.resnet  # noqa: B018


def test_version_is_pyprojects():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, flags=re.MULTILINE)
    assert found is None or found[1] == d2lmini.__version__
    assert found is not None or "d2lmini.__version__" in text


# ---- imports ----------------------------------------------------------------------------------


def test_importing_it_loads_nothing_heavy_besides_torch():
    heavy = ("matplotlib", "torchvision", "ipywidgets", "anywidget", "IPython", "tqdm", "PIL")
    code = f"""
import sys, json, torch
before = set(sys.modules)
import d2lmini
print(json.dumps([m for m in {heavy} if m in sys.modules and m not in before]))
"""
    assert json.loads(python(code)) == []


def test_star_import_works():
    assert python("from d2lmini import *; print(lenet.__name__, curves.__name__)").split() == [
        "lenet", "curves",
    ]  # fmt: skip


# a module → the siblings it may import; whatever is not listed may import any (DESIGN.md)
ALLOWED = {
    "files": set(),
    "data": {"files"},
    "device": set(),
    "init": set(),
    "record": set(),
    "summary": set(),
    "live": {"record", "plot"},
    "faults": {"record"},
    "checkpoint": {"record"},
    "distributed": {"device"},
    "step": {"device", "distributed", "faults", "summary"},
    "train": {
        "checkpoint",
        "device",
        "distributed",
        "faults",
        "init",
        "live",
        "record",
        "step",
        "summary",
    },
    "plot": {"record", "summary"},
    "compat": {"record", "step", "train"},
    "experiments": {"models"},
    "grading": {"grading", "record"},
    "recorder": {"data", "device", "experiments", "faults", "record", "step", "summary", "train"},
    "models.size": set(),
    "widgets": {"data", "experiments", "models", "plot", "record", "summary", "train", "widgets"},
    "models": {"models"},
}


def siblings(path, name):
    """The d2lmini modules that a file imports anywhere in it, as dotted names below d2lmini."""
    found = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["d2lmini", *name.split(".")][: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base] if base != "d2lmini" else [f"d2lmini.{a.name}" for a in node.names]
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        else:
            continue
        found |= {n.removeprefix("d2lmini.") for n in names if str(n).startswith("d2lmini")}
    return found


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield path, ".".join(p for p in parts if p != "__init__")


@pytest.mark.parametrize(
    ("path", "name"), [pytest.param(p, n, id=n or "root") for p, n in modules()]
)
def test_imports_go_one_way(path, name):
    imported = siblings(path, name)
    if name in ALLOWED:
        allowed = ALLOWED[name]
    elif name.startswith("models."):
        allowed = {"models.size"}
    elif name.startswith(("grading.", "widgets.")):
        allowed = ALLOWED[name.split(".")[0]]
    else:
        allowed = None  # the root, __main__
    if allowed is not None:
        outside = {i for i in imported if not any(i == a or i.startswith(f"{a}.") for a in allowed)}
        assert not outside
    if name and not name.startswith("widgets"):  # the root loads them when they are first used
        assert not any(i.startswith("widgets") for i in imported)


def test_live_loads_plot_only_when_it_draws():
    top = {
        node.module
        for node in syntax(PACKAGE / "live.py").body
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert "d2lmini.record" in top
    assert not {m for m in top if m.split(".")[0] in ("matplotlib", "IPython", "tqdm")}
    assert "d2lmini.plot" not in top


# ---- what is shipped --------------------------------------------------------------------------


def test_the_data_files_are_part_of_the_package():
    from setuptools.config.pyprojecttoml import read_configuration

    setup = read_configuration(REPOSITORY / "pyproject.toml")["tool"]["setuptools"]
    shipped = {
        path.relative_to(PACKAGE).as_posix()
        for pattern in setup["package-data"]["d2lmini"]
        for path in PACKAGE.glob(pattern)
    }
    needed = {f"datasets/FashionMNIST/raw/{name}.gz" for name in d2lmini.files.FASHION_MNIST_SHA256}
    assert needed <= shipped
    folders = {p.parent.relative_to(REPOSITORY).as_posix() for p, _ in modules()}
    assert folders == {package.replace(".", "/") for package in setup["packages"]}


# ---- python -m d2lmini ------------------------------------------------------------------------


def test_command_env_and_data_report(capsys):
    assert main(["env"]) == 0
    assert "torch" in capsys.readouterr().out
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "60000 × 1 × 28 × 28" in out
    assert out.count("6,000") == 10


def test_command_train_saves_a_record(tmp_path, capsys):
    path = tmp_path / "run.json"
    command = ["train", "lenet", "--epochs", "1", "--subset", "200", "--validation", "300"]
    assert main([*command, "--save", str(path)]) == 0
    assert "examples/sec on" in capsys.readouterr().out
    record = d2lmini.Record.load(path)
    assert record.history[0].examples == 200
    assert record.settings["seed"] == 0


@pytest.mark.parametrize(
    "command",
    [
        ["train", "resnet"],
        ["train", "lenet", "--batch-size", "0"],
        ["train", "lenet", "--optimizer", "lion"],
        ["train", "vgg16-cifar10"],
        ["data", "--root", "/nonexistent"],
    ],
    ids=" ".join,
)
def test_command_says_what_is_wrong_in_one_line(command, capsys):
    assert main(command) == 1
    captured = capsys.readouterr()
    assert re.fullmatch(r"d2lmini: .+\n", captured.err)
    assert not captured.out
