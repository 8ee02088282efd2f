"""What can go wrong in a training, made to happen: each time what was done is kept, or said."""

import ast
import copy
import errno
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_experiments import TINY
from test_train import batches, loaders, measured, same, small_net, train, weights
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import d2lmini as d2l
from d2lmini import Record, curves, evaluate_accuracy, load_records, spread
from d2lmini.checkpoint import read_checkpoint
from d2lmini.experiments import Experiment
from d2lmini.faults import BATCHES_BETWEEN_LOOKS, Diverged, LossWatch
from d2lmini.record import ABANDONED, EpochStats, save_records
from d2lmini.recorder import missing, record_experiment

PACKAGE = Path(d2l.__file__).parent
RECIPE = {"optimizer": "nesterov", "schedule": "one_cycle", "seed": 4, "lr": 0.05}


def run(script, *args, **options):
    """A Python of its own for `script`, with the tests' helpers in reach."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], env=environment, cwd=PACKAGE.parent,
        capture_output=True, text=True, **options,
    )  # fmt: skip


# ---- killed -----------------------------------------------------------------------------------

# kill -9 after the n-th event (a call of or a return from any function, Python's or C's)
KILLED_EVERYWHERE = """
import os, random, signal, sys
from pathlib import Path
import torch
from test_train import loaders, measured, same, small_net, train, weights
torch.set_num_threads(1)
folder, looks = Path(sys.argv[1]), int(sys.argv[2])

def once(path, kill_after=None):
    torch.manual_seed(0 if path.exists() or kill_after is None else 1)
    net = small_net(dropout=0.4)
    events = 0
    def count(*_):
        nonlocal events
        events += 1
        if events == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    try:
        record = train(net, *loaders(seed=None), 2, seed=SEED, optimizer="nesterov", lr=0.05,
                       checkpoint=path)
    finally:
        sys.setprofile(None)
    return net, record, events

for SEED in (4, None):
    torch.manual_seed(1)
    once(folder / "warm.pt")
    (folder / "warm.pt").unlink()
    torch.manual_seed(1)
    whole = small_net(dropout=0.4)
    expected = train(whole, *loaders(seed=None), 2, seed=SEED, optimizer="nesterov", lr=0.05)
    _, _, events = once(folder / "count.pt")
    (folder / "count.pt").unlink()
    resumed_from = set()
    for moment in range(looks):
        path = folder / f"{SEED}-{moment}.pt"
        if (child := os.fork()) == 0:
            once(path, 1 + events * (2 * moment + 1) // (2 * looks))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        if not path.exists() and SEED is None:
            continue  # before the weights to start from were kept, there is nothing to go on from
        found = path.exists() and len(torch.load(path, weights_only=True)["history"])
        resumed_from.add(found)
        net, record, _ = once(path)
        assert same(weights(whole), weights(net)), (SEED, moment)
        assert measured(record) == measured(expected), (SEED, moment)
    assert {0, 1} <= resumed_from, resumed_from
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="moments are tried in forks")
@pytest.mark.parametrize("looks", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_killed_at_any_moment_a_run_goes_on_to_the_same_weights(tmp_path, looks):
    done = run(KILLED_EVERYWHERE, tmp_path, looks)
    assert done.returncode == 0, done.stderr


RECORDER_KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from test_experiments import RECIPE, TINY, measured
from d2lmini import load_records
from d2lmini.recorder import record_experiment
torch.set_num_threads(1)
folder, looks = Path(sys.argv[1]), int(sys.argv[2])
recipe = replace(RECIPE, num_epochs=2, subset=200, validation=100)
experiment = replace(TINY, variants=(replace(TINY.variants[0], recipe=recipe),))

def once(folder, kill_after=None):
    events = 0
    def count(frame, event, arg):
        nonlocal events
        events += "d2lmini/record" in frame.f_code.co_filename
        if events == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    record_experiment(experiment, folder, lambda line: None)
    sys.setprofile(None)
    return events

once(folder / "warm")
events = once(folder / "whole")
expected = [measured(r) for r in load_records(folder / "whole" / "tiny.json")]
assert len(expected) == 2
for moment in range(looks):
    here = folder / str(moment)
    if (child := os.fork()) == 0:
        once(here, 1 + events * (2 * moment + 1) // (2 * looks))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    once(here)
    assert [measured(r) for r in load_records(here / "tiny.json")] == expected, moment
    assert not list((here / ".checkpoints").glob("*.pt")), moment
"""


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="moments are tried in forks")
def test_killed_at_any_moment_a_sweep_goes_on_to_the_same_records(tmp_path):
    done = run(RECORDER_KILLED, tmp_path, 6)
    assert done.returncode == 0, done.stderr


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path):
    path, old, young = (tmp_path / n for n in ("run.json", "run.json.1.tmp", "run.json.2.tmp"))
    other = tmp_path / "another.json.1.tmp"
    for draft in (old, young, other):
        draft.write_text('{"runs": [')
    long_ago = time.time() - ABANDONED - 60
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    save_records([], path)
    assert sorted(tmp_path.iterdir()) == sorted([path, young, other])


# ---- the disk ---------------------------------------------------------------------------------

needs_dev_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="/dev/full is Linux's disk without room"
)


def fill_the_disk(path):
    """The next write of `path` goes to a device that has no room."""
    path.with_name(f"{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")


@needs_dev_full
@pytest.mark.parametrize("name", ["run.json", "all.json"])
def test_a_full_disk_is_named_and_the_older_record_intact(tmp_path, name):
    record, path = train(small_net()), tmp_path / name

    def save():
        return record.save(path) if name == "run.json" else save_records([record] * 3, path)

    save()
    before = path.read_bytes()
    fill_the_disk(path)
    with pytest.raises(OSError, match=r"json could not be written.*as it was.* MB") as caught:
        save()
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    save()


@needs_dev_full
def test_a_full_disk_leaves_a_checkpoint_to_go_on_from(tmp_path):
    path, whole = tmp_path / "run.pt", small_net(dropout=0.4)
    expected = train(whole, *loaders(), 3, **RECIPE)
    with pytest.raises(OSError, match=r"run\.pt could not be written"):
        train(small_net(dropout=0.4), *loaders(), 3, **RECIPE, checkpoint=path,
              on_epoch=lambda record: fill_the_disk(path))  # fmt: skip
    assert len(torch.load(path, weights_only=True)["history"]) == 1
    net = small_net(dropout=0.4)
    assert measured(train(net, *loaders(), 3, **RECIPE, checkpoint=path)) == measured(expected)
    assert same(weights(net), weights(whole))


@needs_dev_full
def test_a_full_disk_is_found_before_there_is_work_to_lose(tmp_path):
    fill_the_disk(tmp_path / "run.pt")
    seen = []
    with pytest.raises(OSError, match="there is no such file"):
        train(small_net(), checkpoint=tmp_path / "run.pt", on_epoch=seen.append)
    assert not seen


@needs_dev_full
def test_a_finished_run_that_could_not_be_recorded_is_not_trained_again(tmp_path):
    recipe = replace(TINY.variants[0].recipe, num_epochs=1, subset=100, validation=100)
    tiny = replace(TINY, variants=(replace(TINY.variants[0], recipe=recipe, seeds=1),))
    fill_the_disk(tmp_path / "tiny.json")
    trained = []
    with pytest.raises(OSError, match=r"tiny\.json could not be written"):
        record_experiment(tiny, tmp_path, trained.append)
    assert len(trained) == 1
    (recorded,) = record_experiment(tiny, tmp_path, trained.append)
    assert len(trained) == 1
    assert f"{recorded.test_acc:.4f}" in trained[0]


# ---- damage and malice ------------------------------------------------------------------------


def flat(content):
    """Nested dicts and lists of tensors as something that == compares."""
    if isinstance(content, torch.Tensor):
        return content.tolist()
    if isinstance(content, dict):
        return {key: flat(value) for key, value in content.items()}
    return [flat(value) for value in content] if isinstance(content, (list, tuple)) else content


def test_a_checkpoint_with_a_changed_byte_is_refused_or_reads_the_same(tmp_path):
    path = tmp_path / "run.pt"
    settings = train(small_net(), **RECIPE, checkpoint=path).settings
    intact, expected = path.read_bytes(), flat(read_checkpoint(path, settings, {}))
    refused, positions = 0, range(7, len(intact), len(intact) // 150)
    for position in positions:
        damaged = bytearray(intact)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        try:
            assert flat(read_checkpoint(path, settings, {})) == expected
        except ValueError as error:
            assert "run.pt" in str(error)
            refused += 1
    assert refused > len(positions) / 4  # the rest fell between the zip's entries


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.9999])
def test_half_a_checkpoint_is_refused(tmp_path, share):
    path = tmp_path / "run.pt"
    train(small_net(), **RECIPE, checkpoint=path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"run\.pt is damaged, or not a checkpoint"):
        train(small_net(), **RECIPE, checkpoint=path)


@pytest.mark.parametrize("part", ["net", "history", "generators", "identity"])
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path, part):
    path = tmp_path / "run.pt"
    train(small_net(), **RECIPE, checkpoint=path)
    content = torch.load(path, weights_only=True)
    del content[part]
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"run\.pt is damaged.*{part}"):
        train(small_net(), **RECIPE, checkpoint=path)


class Payload:
    """What unpickling would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("where", ["settings", "net", "optimizer", "history", "generators"])
@pytest.mark.parametrize("form", ["zip", "pickle", "legacy"])
def test_no_malicious_checkpoint_runs_its_code(tmp_path, where, form):
    path, owned = tmp_path / "run.pt", tmp_path / "owned"
    train(small_net(), **RECIPE, checkpoint=path)
    content = torch.load(path, weights_only=True)
    content[where] = Payload(owned)
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match=r"run\.pt is damaged, or not a checkpoint"):
        train(small_net(), **RECIPE, checkpoint=path)
    assert not owned.exists()
    pickle.loads(pickle.dumps(Payload(owned)))  # the payload is one
    assert owned.exists()


def test_nothing_in_the_package_reads_what_could_run():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            where = f"{path.name}:{node.lineno}"
            assert called not in {"pickle.load", "pickle.loads", "eval", "exec"}, where
            assert called != "torch.load" or options["weights_only"] == "True", where
            assert options.get("allow_pickle", "False") == "False", where


def test_a_record_with_a_changed_figure_is_refused_and_one_without_a_checksum_read(tmp_path):
    record, one, many = train(small_net()), tmp_path / "one.json", tmp_path / "many.json"
    record.save(one)
    save_records([record, record], many)
    assert Record.load(one) == record and load_records(many) == (record, record)
    for path, read in ((one, Record.load), (many, load_records)):
        text = path.read_text()
        path.write_text(text.replace('"examples": 96', '"examples": 97', 1))
        with pytest.raises(ValueError, match=rf"{path.name} is not a .*: it was changed"):
            read(path)
        content = json.loads(text)
        del content["sha256"]
        path.write_text(json.dumps(content))
        assert read(path) in (record, (record, record))


WRONG_PARTS = [
    (["history", 0], 3, "'epoch' in 3"),
    (["history", 0], "epoch", "'epoch' in 'epoch'"),
    (["history", 0], None, "'epoch' in None"),
    (["history", 0, "epoch"], 1.5, r"epoch=1\.5"),
    (["history", 0, "test_acc"], "0.9", r"test_acc='0\.9'"),
    (["history", 0, "train_acc"], None, "train_acc=None"),
    (["history", 0, "train_acc"], math.nan, "train_acc=nan"),
    (["history", 0, "train_loss"], math.inf, "train_loss=inf"),
    (["history", 0, "seconds"], True, "seconds=True"),
    (["history", 0, "lr"], 10**400, "too large"),
    (["history"], {}, "history={}"),
    (["history"], "", "history=''"),
    (["settings"], [["lr", 0.1]], r"settings=\[\["),
    (["settings", "lr"], math.nan, "Out of range"),
    (["environment"], None, "environment=None"),
    (["wall_seconds"], "9", "wall_seconds='9'"),
    (["diverged"], 3, "'epoch' in 3"),
    (["diverged"], {"epoch": 1, "batch": "3"}, "batch='3'"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "told"), WRONG_PARTS, ids=str)
def test_a_record_with_a_part_of_another_type_is_refused(tmp_path, place, value, told):
    stats = EpochStats(1, 0.5, 0.8, 0.7, 1.5, 0.1, 0.2, 96, 0.1)
    content = json.loads(Record((stats,), {"lr": 0.1}, {}).to_json())
    part, last = content, place[-1]
    for key in place[:-1]:
        part = part[key]
    part[last] = value
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    one.write_text(json.dumps(content))
    many.write_text(json.dumps({"runs": [content]}))
    for path, read in ((one, Record.load), (many, load_records)):
        with pytest.raises(ValueError, match=rf"{path.name} is not a .*{told}"):
            read(path)


# ---- interrupted ------------------------------------------------------------------------------


class Interrupting:
    """A list of batches in whose n-th reading somebody presses Ctrl-C."""

    def __init__(self, reading):
        self.readings, self.reading = 0, reading

    def __iter__(self):
        self.readings += 1
        yield from batches(32)
        if self.readings == self.reading:
            signal.raise_signal(signal.SIGINT)
        yield from batches(32)


@pytest.fixture
def heeds_ctrl_c():
    """A process started in a shell's background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def notebook(monkeypatch, heeds_ctrl_c):
    monkeypatch.setattr("d2lmini.train.in_notebook", lambda: True)


def test_interrupted_in_a_notebook_the_record_has_the_epochs_done(notebook, tmp_path, capsys):
    options = {**RECIPE, "checkpoint": tmp_path / "run.pt"}
    record = train(small_net(), Interrupting(3), batches(), 5, **options)
    assert [e.epoch for e in record.history] == [1, 2]
    assert record.settings["interrupted"]
    assert "interrupted: the record ends with epoch 2 of 5" in capsys.readouterr().out
    record.save(tmp_path / "run.json")
    assert Record.load(tmp_path / "run.json") == record
    resumed = train(small_net(), Interrupting(0), batches(), 5, **options)
    whole = train(small_net(), Interrupting(0), batches(), 5, **RECIPE)
    assert measured(resumed) == measured(whole)
    assert "interrupted" not in resumed.settings


def test_interrupted_before_the_first_epochs_end_there_is_no_record(notebook):
    with pytest.raises(KeyboardInterrupt):
        train(small_net(), Interrupting(1), batches(), 2)


def test_a_script_is_ended_by_an_interrupt(heeds_ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        train(small_net(), Interrupting(2), batches(), 3)


def test_a_sweep_does_not_keep_an_interrupted_run(notebook, tmp_path):
    def interrupt(line):
        if "epoch 2/3" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_experiment(TINY, tmp_path, interrupt)
    assert len(missing(TINY, tmp_path)) == 2
    assert not (tmp_path / "tiny.json").exists()


IN_A_KERNEL = """
import signal, threading, time
from pathlib import Path
import torch
from test_train import batches, loaders, small_net, train
def slowly(record):
    Path({path!r}).write_text(str(len(record.history)))
    time.sleep(0.3)
record = train(small_net(), *loaders(), 100, on_epoch=slowly)
"""


@pytest.mark.soak
def test_the_stop_button_of_a_real_kernel_leaves_a_record(tmp_path):
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(
        kernel_name="python3", env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    )
    try:
        seen = tmp_path / "epochs"
        client.execute(IN_A_KERNEL.format(path=str(seen)))
        while not seen.exists() or int(seen.read_text() or 0) < 3:
            time.sleep(0.1)
        manager.interrupt_kernel()
        told = []
        client.execute_interactive(
            "print(3 <= len(record.history) < 100, record.test_acc > 0, record.settings)",
            output_hook=lambda message: told.append(message["content"].get("text", "")),
        )
        assert "True True" in "".join(told) and "'interrupted': True" in "".join(told)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# ---- losses that are no numbers ---------------------------------------------------------------


def first_bad_batch(net, data, lr):
    """Plain SGD in plain torch: (epoch, batch), from 1, of the first loss beyond a million."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for epoch in range(1, 10):
        for batch, (X, y) in enumerate(data, start=1):
            loss = nn.functional.cross_entropy(net(X), y)
            if not loss.item() < 1e6:
                return epoch, batch
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    raise AssertionError("it did not diverge")


@pytest.mark.parametrize("every", [1, 3, BATCHES_BETWEEN_LOOKS])
@pytest.mark.parametrize("lr", [300.0, 1e30])
def test_a_divergence_is_named_by_its_batch_and_rate(lr, every, monkeypatch):
    start = LossWatch.__init__

    def looking_seldom(watch, *args):
        start(watch, *args)
        watch.every = every

    monkeypatch.setattr(LossWatch, "__init__", looking_seldom)
    torch.manual_seed(0)
    net, data = small_net(), batches(64)
    epoch, batch = first_bad_batch(copy.deepcopy(net), data, lr)
    with pytest.raises(Diverged) as caught:
        train(net, data, batches(), 9, init=None, lr=lr)
    told = str(caught.value)
    assert f"in epoch {epoch}, batch {batch} of 4, at the rate {lr:g};" in told
    assert f"try lr={lr / 10:g}, or schedule=" in told
    run = caught.value.record
    assert len(run.history) == epoch - 1
    assert (run.diverged.epoch, run.diverged.batch, run.diverged.lr) == (epoch, batch, lr)
    assert not run.diverged.loss <= 1e6 and math.isnan(run.test_acc)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"schedule": "one_cycle"}, 'try lr=1e\\+29, or init="he"'),
        ({"schedule": "one_cycle", "init": "he", "precision": "bf16"}, 'or precision="fp32"'),
        ({"schedule": "one_cycle", "init": "he"}, "normalize=True"),
    ],
    ids=["xavier", "bf16", "he"],
)
def test_the_advice_is_what_the_call_has_not_done_yet(options, advice):
    with pytest.raises(FloatingPointError, match=advice):
        train(small_net(), batches(), batches(), 3, lr=1e30, **options)


def test_images_with_holes_are_not_blamed_on_the_rate():
    data = batches()
    data[2][0][3, 0, 0, 0] = math.nan
    with pytest.raises(Diverged, match=r"epoch 1, batch 3 of 4.*images hold numbers that are not"):
        train(small_net(), data, batches(), 2)


def test_weights_that_are_no_numbers_from_the_start_are_not_blamed_on_the_rate():
    net = small_net()
    nn.init.constant_(net[6].bias, math.inf)
    with pytest.raises(Diverged, match=r"batch 1 of 4.*no step has been made yet"):
        train(net, batches(), batches(), init=None)


def test_a_divergence_in_the_very_last_step_is_found():
    """Its loss was finite: it was taken before the step."""
    ((X, y),) = batches(16)
    told = "a weight is not finite after the step in epoch 1, batch 1"
    with pytest.raises(Diverged, match=told) as caught:
        train(small_net(), [(1000 * X, y)], batches(16), 1, lr=1e38)
    assert "try lr=1e+37" in str(caught.value)  # a step has been made: it is the rate
    assert caught.value.record.history == ()
    curves(caught.value.record)  # of no epoch


class Reads(TorchDispatchMode):
    """Counts how often Python asks for a tensor's number, for which it must wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_on_a_gpu_no_batch_waits_for_the_device(monkeypatch):
    """As there, but on the CPU: with twice the batches, no more numbers are asked for."""
    start = LossWatch.__init__
    monkeypatch.setattr(
        LossWatch, "__init__", lambda watch, *args: start(watch, *args[:3], torch.device("cuda"))
    )
    counts = []
    for size in (16, 8):
        with Reads() as reads:
            train(small_net(), batches(64, size), batches(64, 16), 2, optimizer="nesterov")
        counts.append(reads.count)
    assert 0 < counts[0] == counts[1]


def test_a_sweep_records_where_a_run_diverged_and_goes_on(tmp_path):
    recipe = replace(TINY.variants[0].recipe, num_epochs=1, subset=200, validation=100)
    (tiny,) = TINY.variants
    wild = replace(recipe, lr=1e30, optimizer="sgd")
    variants = (replace(tiny, name="wild", recipe=wild, seeds=1), replace(tiny, recipe=recipe))
    sweep = Experiment("tiny", "", variants)
    lines = []
    record_experiment(sweep, tmp_path, lines.append)
    lost, *others = runs = load_records(tmp_path / "tiny.json")
    end = lost.diverged
    assert lost.history == () and end.epoch == 1 and end.lr > 1e29
    assert lines[0].startswith(f"1/3 wild, seed 0, diverged in epoch 1, batch {end.batch};")
    assert [run.diverged for run in others] == [None, None] and missing(sweep, tmp_path) == []
    assert math.isnan(lost.examples_per_second)
    assert math.isnan(lost.compute_examples_per_second)
    assert spread(runs) == f"{spread(others)}; 1 diverged" and spread([lost]) == "n = 0; 1 diverged"


# ---- memory -----------------------------------------------------------------------------------


class Hungry(nn.Module):
    """Has memory for `most` images; notes which tensors of a failed pass are still held later."""

    def __init__(self, most):
        super().__init__()
        self.body, self.most, self.failed, self.held = small_net(), most, None, False

    def forward(self, X):
        self.held |= self.failed is not None and self.failed() is not None
        activations = X * 2
        if len(X) > self.most:
            self.failed = weakref.ref(activations)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.body(activations)


@pytest.mark.parametrize(("most", "fits"), [(24, 16), (32, 32), (1, 1)])
def test_too_little_memory_names_a_batch_size_that_fits(most, fits):
    net = Hungry(most)
    told = f"memory for a batch of 64; {fits} fit: load the data with batch_size={fits}$"
    with pytest.raises(MemoryError, match=told):
        train(net, batches(64, 64), batches(64, fits))
    assert not net.held
    train(net, batches(64, fits), batches(64, fits))
    with pytest.raises(MemoryError, match=told):
        evaluate_accuracy(net, batches(64, 64))
    assert not net.held


def test_too_little_memory_for_one_image_asks_for_smaller_ones():
    with pytest.raises(MemoryError, match=r"single image.*resize="):
        train(Hungry(0))


LIMITED = """
import resource, sys
import torch
from torch import nn
import d2lmini as d2l
torch.set_num_threads(1)
size = int(sys.argv[1])
net = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Flatten(),
                    nn.Linear(64 * 64 * 64, 10))
X, y = torch.rand(size, 1, 64, 64), torch.arange(size) % 10
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 2**20,) * 2)
d2l.train_ch6(net, [(X, y)], [(X[:4], y[:4])], 2, 0.01, "cpu", optimizer="nesterov",
              precision="fp32", plot=False)
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="/proc and RLIMIT_AS are Linux's")
def test_the_batch_size_named_does_fit_under_a_real_limit():
    failed = run(LIMITED, 512)  # 512 MB for one map of activations
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("MemoryError: cpu has too little memory for a batch of 512; ")
    done = run(LIMITED, last.rsplit("=", 1)[1])
    assert done.returncode == 0, done.stderr
