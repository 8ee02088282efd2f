"""The table of speeds is what its measurements say; nothing is measured here."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("run")
    for name in ("run", "one"):
        sys.modules.pop(name, None)


def results_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("results*.json")), ids=lambda p: p.stem)
def test_the_committed_table_is_made_of_the_committed_results(run, path):
    assert run.write_up(results_of(path)) == path.with_suffix(".md").read_text(encoding="utf-8")


def test_parts_that_were_not_measured_are_left_out(run):
    results = results_of(BENCHMARKS / "results.json")
    text = run.write_up({part: results[part] for part in ("environment", "limit", "load")})
    assert "loader at 224 pixels" in text
    assert "| network |" not in text and "Time to accuracy" not in text


def test_without_fast_bf16_never_slower_is_all_that_is_wanted(run):
    results = results_of(BENCHMARKS / "results.json")
    slow = {"d2l": 100.0, "ours": 99.0, "gflops": 1.0}
    text = run.write_up(
        {
            "environment": results["environment"],
            "limit": {"fp32": 100.0},
            "train": {"LeNet": slow, "NiN": slow | {"ours": 101.0}},
        }
    )
    assert "no fast bf16" in text
    assert "| 0.99 × | 1.0 × |" in text and "| **1.01 ×** | 1.0 × |" in text


def test_nothing_is_measured_without_the_limit(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "install_d2l", lambda: pytest.fail("installed before it was asked"))
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "memory"])
    with pytest.raises(SystemExit):
        run.main()
    assert "the limit is needed" in capsys.readouterr().err
