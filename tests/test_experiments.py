"""The experiments as planned, the recorder that runs them, and the records as committed."""

import ast
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import d2lmini as d2l
from d2lmini import Divergence, Record, load_records, spread
from d2lmini.__main__ import main
from d2lmini.experiments import (
    CHAPTERS,
    EXPERIMENTS,
    Experiment,
    Recipe,
    Variant,
    build_net,
)
from d2lmini.record import RECORDS, save_records
from d2lmini.recorder import (
    STARTED,
    Shard,
    find_experiment,
    merge_records,
    missing,
    overview,
    products,
    record_experiment,
    record_in_fresh_process,
    record_run,
    schedule_of,
    train_run,
)

CHAPTER_FILES = Path(__file__).parents[1] / "chapters"
RECIPE = Recipe(3, 0.01, optimizer="adam", init="xavier", subset=600)
TINY = Experiment("tiny", "Does it run?", (Variant("lenet", "lenet", RECIPE, seeds=2),))


def measured(record):
    """What two runs of the same numbers share: all but the times."""
    return [(e.epoch, e.train_loss, e.train_acc, e.test_acc, e.lr) for e in record.history]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """TINY's records, made without interruption, and what was reported meanwhile."""
    folder, lines = tmp_path_factory.mktemp("records"), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the last digits, depends on it
    runs = record_experiment(TINY, folder, lines.append)
    torch.set_num_threads(threads)
    return folder, runs, lines


# ---- the plan ---------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_every_net_takes_its_recipes_images(experiment):
    names = [variant.name for variant in experiment.variants]
    assert len(set(names)) == len(names)
    nets = {}
    for variant in experiment.variants:
        recipe = variant.recipe
        side = recipe.resize or {"fashion_mnist": 28, "cifar10": 32}[recipe.data]
        shape = (1 if recipe.data == "fashion_mnist" else 3, side, side)
        nets[json.dumps([variant.model, variant.options, shape])] = (variant, shape)
    for variant, shape in nets.values():
        net = build_net(variant.model, variant.options, variant.recipe).eval()
        with torch.no_grad():
            assert net(torch.zeros(1, *shape)).shape == (1, 10)


def keywords(call):
    def value(node):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) == "d2l.affordable_epochs"
            (node,) = node.args  # the whole training's, which is the one recorded
        return ast.literal_eval(node)

    return {k.arg: value(k.value) for k in call.keywords}


(QUICK,) = (v for v in EXPERIMENTS["time_to_accuracy"].variants if v.name == "CIFAR-10 0.82")
RECIPES = {
    {"vgg11-small": "vgg"}.get(model, model.removesuffix("-small")): recipe
    for model, recipe in CHAPTERS.items()
} | {"vgg_cifar10": QUICK.recipe}


@pytest.mark.parametrize("chapter", RECIPES)
def test_a_chapters_recipe_is_the_one_recorded(chapter):
    cells = json.loads((CHAPTER_FILES / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    calls = [
        (ast.unparse(node.targets[0]).strip("()"), node.value)
        for cell in cells
        if cell["cell_type"] == "code" and "%pip" not in "".join(cell["source"])
        for node in ast.parse("".join(cell["source"])).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    ]

    def first(target, function):
        return next(c for t, c in calls if (t, ast.unparse(c.func)) == (target, f"d2l.{function}"))

    recipe = RECIPES[chapter]
    loading = first("train_iter, test_iter", f"load_data_{recipe.data}")
    by_position = dict(zip(["batch_size"], map(ast.literal_eval, loading.args), strict=False))
    data = {"resize": None, "augment": False, **by_position, **keywords(loading)}
    for option in ("batch_size", "resize", "normalize", "augment"):
        assert data[option] == getattr(recipe, option)
    training = {"init": "xavier", **keywords(first("record", "train_ch6"))}
    for option in ("num_epochs", "lr", "optimizer", "schedule", "init"):
        assert training[option] == getattr(recipe, option)


def test_designs_compared_at_equal_cost_cost_the_same():
    cost = {v.name: products(v) for v in EXPERIMENTS["claims"].variants}
    (chapters_vgg,) = (v for v in EXPERIMENTS["five_networks"].variants if "vgg" in v.name)
    cost["VGG-11/4"] = products(chapters_vgg)
    for a, b in (
        ("VGG, blocks of two 3×3", "VGG, blocks of one 5×5"),
        ("VGG, blocks of three 3×3", "VGG, blocks of one 7×7"),
        ("VGG, 35 narrow convolutions", "VGG-11/4"),
        ("VGG, 3 wide convolutions", "VGG-11/4"),
    ):
        assert cost[a] == pytest.approx(cost[b], rel=0.06)


def test_products_are_the_forward_passes_thrice():
    variant = Variant("", "lenet", Recipe(10, 0.1, validation=10_000), seeds=1)
    macs = d2l.summarize(d2l.lenet(), (1, 28, 28)).macs
    assert products(variant) == 3 * macs * 50_000 * 10


def test_a_run_stopped_early_keeps_the_whole_runs_schedule():
    recipe = Recipe(8, 0.1, stop_after=2)
    beginning = schedule_of(recipe)
    for progress in (0.0, 0.3, 0.8, 1.0):
        assert beginning(progress) == pytest.approx(d2l.one_cycle(progress / 4))


def test_an_unknown_experiment_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown experiment 'depht'.*depth"):
        find_experiment("depht")


# ---- the recorder -----------------------------------------------------------------------------


def test_every_run_is_kept_with_what_it_was(recorded):
    folder, runs, lines = recorded
    assert [r.settings["seed"] for r in runs] == [0, 1]
    assert measured(runs[0]) != measured(runs[1])
    assert load_records(folder / "tiny.json") == runs
    for run in runs:
        assert run.settings["recipe"]["subset"] == 600
        assert run.settings["split"] == "test"
        assert run.settings["precision"] in ("fp32", "bf16")
        assert run.environment["processor"] and run.environment["torch"]
        assert run.examples_per_second > 0
    assert len(lines) == 6  # two runs of three epochs
    assert "2/2 lenet, seed 1, epoch 3/3" in lines[-1] and "0 min to go" in lines[-1]
    assert not list((folder / ".checkpoints").iterdir())


def test_what_is_recorded_is_not_run_again(recorded):
    folder, runs, _ = recorded
    lines = []
    assert record_experiment(TINY, folder, lines.append) == runs
    assert lines == []


def test_only_runs_whose_settings_changed_are_run_again(recorded, tmp_path):
    _, runs, _ = recorded
    save_records(runs, tmp_path / "tiny.json")
    one_more = replace(TINY, variants=(replace(TINY.variants[0], seeds=3),))
    assert [seed for _, seed in missing(one_more, tmp_path)] == [2]
    for change in ({"lr": 0.02}, {"augment": True}, {"normalize": 1}):  # 1 == True, in Python
        other = replace(TINY.variants[0], recipe=replace(RECIPE, **change))
        assert len(missing(replace(TINY, variants=(other,)), tmp_path)) == 2


def test_a_changed_plan_does_not_take_up_the_old_plans_checkpoint(tmp_path):
    class Stop(Exception):
        pass

    def stop(line):
        raise Stop

    with pytest.raises(Stop):
        record_experiment(TINY, tmp_path, stop)
    changed = replace(TINY.variants[0], recipe=replace(RECIPE, augment=True), seeds=1)
    fresh = record_experiment(replace(TINY, variants=(changed,)), tmp_path, lambda line: None)
    again = record_experiment(
        replace(TINY, variants=(changed,)), tmp_path / "elsewhere", lambda line: None
    )
    assert measured(fresh[0]) == measured(again[0])


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_experiments import TINY
from d2lmini.recorder import record_experiment
record_experiment(TINY, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("wait", [0.0, 0.15], ids=["at once", "within the next epoch"])
def test_killed_it_goes_on_to_the_same_numbers(recorded, tmp_path, wait):
    _, runs, _ = recorded
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "seed 1, epoch 1/3" in line:
                time.sleep(wait)
                process.kill()
                break
        assert process.wait() == (1 if os.name == "nt" else -signal.SIGKILL)
    assert len(load_records(tmp_path / "tiny.json")) == 1
    assert list((tmp_path / ".checkpoints").glob("*.pt"))
    again = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert "seed 0" not in again and "epoch 1/3" not in again
    resumed = load_records(tmp_path / "tiny.json")
    assert [measured(r) for r in resumed] == [measured(r) for r in runs]


def test_a_seed_draws_the_built_in_weights_too():
    recipe = replace(RECIPE, init=None, num_epochs=1)
    variant = replace(TINY.variants[0], recipe=recipe)
    first, second = (train_run(TINY, variant, seed=3) for _ in range(2))
    assert measured(first) == measured(second)


def test_a_run_on_its_own_counts_every_second(tmp_path, monkeypatch):
    monkeypatch.setenv(STARTED, repr(time.time() - 100))
    run = record_run(TINY, "lenet", 0, tmp_path)
    assert 100 + run.seconds < run.wall_seconds < 200
    assert load_records(tmp_path / "tiny.json") == (run,)
    with pytest.raises(ValueError, match="no variant 'alexnet'"):
        record_run(TINY, "alexnet", 0, tmp_path)


def test_a_run_on_its_own_goes_on_from_its_last_epoch(recorded, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(line):
        raise Stop

    monkeypatch.setattr("d2lmini.recorder._to_stderr", stop)
    with pytest.raises(Stop):
        record_run(TINY, "lenet", 1, tmp_path)
    lines = []
    monkeypatch.setattr("d2lmini.recorder._to_stderr", lines.append)
    run = record_run(TINY, "lenet", 1, tmp_path)
    assert ["epoch 2/3" in lines[0], "epoch 3/3" in lines[1], len(lines)] == [True, True, 2]
    assert measured(run) == measured(recorded[1][1])
    assert not list((tmp_path / ".checkpoints").iterdir())


def test_a_timed_experiments_run_is_timed_however_it_is_asked_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("d2lmini.recorder.record_in_fresh_process", lambda *a: asked.append(a))
    record_run(replace(TINY, fresh_process=True), "lenet", 1, tmp_path)
    assert [(variant.name, seed) for _, variant, seed, *_ in asked] == [("lenet", 1)]


def test_a_process_that_fails_is_named_by_its_run(tmp_path):
    unknown = replace(TINY, name="unknown to the new process")
    with pytest.raises(OSError, match=r"lenet, seed 1: its process ended with \d+"):
        record_in_fresh_process(unknown, TINY.variants[0], 1, tmp_path)


def test_a_run_whose_recorder_is_gone_ends_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(STARTED, repr(time.time()))
    parents = iter([10, 10, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    with pytest.raises(SystemExit):
        record_run(TINY, "lenet", 0, tmp_path)
    assert not (tmp_path / "tiny.json").exists()


# ---- split over machines ----------------------------------------------------------------------


def test_shards_are_a_partition_that_does_not_depend_on_what_is_recorded(recorded, tmp_path):
    folder, _, _ = recorded
    plan = [(v.name, seed) for v, seed in missing(EXPERIMENTS["width"], tmp_path)]
    for of in (1, 3, 7):
        parts = [
            [(v.name, seed) for v, seed in missing(EXPERIMENTS["width"], tmp_path, Shard(i, of))]
            for i in range(1, of + 1)
        ]
        assert sorted(run for part in parts for run in part) == sorted(plan)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    three = replace(TINY, variants=(replace(TINY.variants[0], seeds=3),))
    found = [missing(three, folder, Shard(i, 2)) for i in (1, 2)]  # seeds 0 and 1 are recorded
    assert [[seed for _, seed in runs] for runs in found] == [[2], []]


@pytest.fixture
def planned(monkeypatch):
    """TINY as one of the book's experiments."""
    monkeypatch.setitem(EXPERIMENTS, "tiny", TINY)


def test_shards_recorded_apart_merge_to_what_one_machine_records(planned, recorded, tmp_path):
    _, runs, _ = recorded
    for i in (1, 2):
        record_experiment(TINY, tmp_path, lambda line: None, Shard(i, 2))
    files = sorted(tmp_path.glob("*.json"))
    assert [path.name for path in files] == ["tiny.shard-1-of-2.json", "tiny.shard-2-of-2.json"]
    assert [len(load_records(path)) for path in files] == [1, 1]
    for _ in range(2):  # a second time changes nothing
        (line,) = merge_records(files, tmp_path)
        assert line.endswith("tiny.json: 2 of 2 runs")
        merged = load_records(tmp_path / "tiny.json")
        assert [measured(run) for run in merged] == [measured(run) for run in runs]
        assert [run.environment for run in merged] == [run.environment for run in runs]


def test_a_merge_loses_no_run_in_silence(planned, recorded, tmp_path):
    _, runs, _ = recorded
    first, other, older = (tmp_path / f"{name}.json" for name in ("first", "other", "older"))
    changed = replace(runs[0], history=(*runs[0].history[:-1], runs[1].history[-1]))
    plan = {**runs[1].settings["recipe"], "lr": 0.5}
    save_records(runs[:1], first)
    save_records([changed, runs[1]], other)
    save_records([replace(runs[1], settings={**runs[1].settings, "recipe": plan})], older)
    with pytest.raises(ValueError, match=r"other\.json holds lenet, seed 0, with other numbers"):
        merge_records([first, other], tmp_path)
    with pytest.raises(ValueError, match=r"older\.json holds lenet, seed 1, by another plan"):
        merge_records([first, older], tmp_path)
    assert not (tmp_path / "tiny.json").exists()
    merge_records([first], tmp_path)
    with pytest.raises(ValueError, match=r"other\.json"):
        merge_records([other], tmp_path)
    assert load_records(tmp_path / "tiny.json") == runs[:1]


def test_the_command_splits_and_merges(planned, recorded, tmp_path, capsys):
    _, runs, _ = recorded
    parts = [str(tmp_path / f"{i}.json") for i in range(2)]
    for run, part in zip(runs, parts, strict=True):
        save_records([run], part)
    assert main(["record", "--merge", *parts, "--to", str(tmp_path)]) == 0
    assert "2 of 2 runs" in capsys.readouterr().out
    assert main(["record", "tiny", "--shard", "2/2", "--to", str(tmp_path)]) == 0  # none is missing
    for wrong in ("0/2", "3/2", "2", "a/b"):
        assert main(["record", "tiny", "--shard", wrong, "--to", str(tmp_path)]) == 1
        assert f"--shard {wrong}" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json", "tiny.json"]


# ---- files of records -------------------------------------------------------------------------


def test_a_diverged_run_is_still_json(recorded, tmp_path):
    _, runs, _ = recorded
    lost = replace(runs[0].history[-1], train_loss=math.nan)
    history = (*runs[0].history[:-1], lost)
    run = replace(runs[0], history=history, diverged=Divergence(3, 2, math.inf, 0.5))
    run.save(tmp_path / "one.json")
    save_records([run], tmp_path / "all.json")
    for path in tmp_path.iterdir():

        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        json.loads(path.read_text(), parse_constant=refuse)
    for back in (Record.load(tmp_path / "one.json"), *load_records(tmp_path / "all.json")):
        assert math.isnan(back.train_loss)
        assert back.history[:-1] == run.history[:-1]
        assert back.diverged.batch == 2 and math.isnan(back.diverged.loss)


def test_an_unknown_record_lists_the_known():
    with pytest.raises(FileNotFoundError, match="time_to_accuracy"):
        load_records("four_networks")


def test_a_record_is_read_by_variant_and_told_in_a_line():
    runs = load_records("five_networks")
    accuracies = [run.test_acc for run in runs if run.settings["variant"] == "lenet"]
    found = load_records("five_networks", "lenet")
    assert [run.test_acc for run in found] == accuracies
    least, most, mean = min(accuracies), max(accuracies), statistics.fmean(accuracies)
    assert spread(found) == f"{least:.4f} to {most:.4f}, mean {mean:.4f}, n = 5"
    assert spread(found[:1]) == f"{found[0].test_acc:.4f}, n = 1"
    with pytest.raises(ValueError, match=r"no variant 'lenet-5'; it has .*'lenet'"):
        load_records("five_networks", "lenet-5")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"runs": [{}]}', b"\xff", b'{"runs": 3}'])
def test_a_file_that_holds_no_records_is_a_value_error_with_its_path(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json"):
        load_records(path)


# ---- the records in the package ---------------------------------------------------------------

COMMITTED = sorted(RECORDS.glob("*.json"))


def test_the_records_are_small():
    assert sum(path.stat().st_size for path in COMMITTED) < 2_000_000


@pytest.fixture(scope="module")
def overview_now():
    return overview()  # takes seconds: it reads every record


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_record_is_of_an_experiment_as_planned_now(path, overview_now):
    experiment = find_experiment(path.stem)
    runs = load_records(path.stem)
    planned = sum(variant.seeds for variant in experiment.variants)
    assert len(runs) == planned - len(missing(experiment)) > 0
    for run in runs:
        recipe = run.settings["recipe"]
        epochs = recipe["stop_after"] or recipe["num_epochs"]
        assert len(run.history) == (run.diverged.epoch - 1 if run.diverged else epochs)
    (line,) = [line for line in overview_now.splitlines() if line.startswith(f"{path.stem} ")]
    assert f" {len(runs)}/{planned} " in line


@pytest.mark.parametrize(
    "path", [p for p in COMMITTED if p.stem in ("plateau", "five_networks")], ids=lambda p: p.stem
)
def test_no_chapters_net_fails_to_start(path):
    for run in load_records(path):
        assert run.history[0].test_acc >= 0.5, (run.settings["variant"], run.settings["seed"])
