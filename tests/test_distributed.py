"""Several processes that train one net: what one process would have done, and what if one dies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_train import measured

from d2lmini import Record
from d2lmini.__main__ import main
from d2lmini.distributed import Team, joined

REPOSITORY = Path(__file__).parents[1]
# 15 batches of 128 and one of a single image, of which the second process has no share
SMALL = ["lenet", "--epochs", "2", "--subset", "1921", "--validation", "500", "--precision", "fp32"]
SMALL += ["--optimizer", "adam", "--lr", "0.01", "--init", "xavier"]


def command(processes, *arguments):
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, "-m", *launcher, "-m", "d2lmini", "train", *map(str, arguments)]


def start(processes, *arguments):
    return subprocess.Popen(
        command(processes, *arguments), env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, error = process.communicate(timeout=1200)
    assert process.returncode == 0, error
    return out


# ---- shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("images", [1, 2, 7, 128])
def test_the_shares_are_the_batch_and_their_weighted_means_its_mean(size, images):
    X, y = torch.rand(images, 1, 4, 4), torch.arange(images)
    teams = [Team(rank, size) for rank in range(size)]
    shares = [team.share(X, y) for team in teams]
    counted = torch.cat([labels[:count] for _, labels, count in shares])
    assert sorted(counted.tolist()) == y.tolist()
    assert all(torch.equal(part, X[labels]) for part, labels, _ in shares)
    assert all(len(labels) > 0 for _, labels, _ in shares)  # a net must have something to do
    means = [
        part.mean() * team.weight(count, images)
        for team, (part, _, count) in zip(teams, shares, strict=True)
    ]
    torch.testing.assert_close(sum(means) / size, X.mean())


def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="--nproc-per-node=4 is more than the 2 GPUs"), joined():
        pass


def test_a_sweep_under_torchrun_is_told_of_shards(monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["record", "width"]) == 1
    assert "--shard" in capsys.readouterr().err


# ---- torchrun ---------------------------------------------------------------------------------


@pytest.mark.soak
def test_two_processes_make_the_steps_of_one_and_one_of_them_writes(tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert main(["train", *SMALL, "--save", str(one)]) == 0
    out = finish(start(2, *SMALL, "--save", two, "--checkpoint", tmp_path / "run.pt"))
    assert out.count("examples/sec on cpu") == 1
    alone, together = Record.load(one), Record.load(two)
    assert together.environment["processes"] == 2
    for a, b in zip(alone.history, together.history, strict=True):
        assert a.examples == b.examples == 1921
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-3)
        assert a.train_acc == pytest.approx(b.train_acc, abs=0.005)
        assert a.test_acc == pytest.approx(b.test_acc, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "run.pt", "two.json"]


@pytest.mark.soak
def test_two_processes_are_as_accurate_as_one_within_the_seeds_noise(tmp_path):
    """With dropout, whose masks are another process's own: no two runs are the same."""
    found = {1: [], 2: []}
    for seed in range(3):
        for processes, accuracies in found.items():
            path = tmp_path / f"{processes}-{seed}.json"
            options = [
                "alexnet-small", "--epochs", 2, "--subset", 4000, "--validation", 2000,
                "--lr", 0.001, "--optimizer", "adam", "--batch-size", 32,
                "--seed", seed, "--save", path,
            ]  # fmt: skip
            finish(start(processes, *options))
            accuracies.append(Record.load(path).test_acc)
    one, two = (torch.tensor(accuracies) for accuracies in found.values())
    assert (one.mean() - two.mean()).abs() < 2 * (one.var() + two.var()).sqrt() + 0.01
    assert min(one.min(), two.min()) > 0.6


def workers(launcher):
    """The process ids of torchrun's children, by rank."""
    found = {}
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ranks = [int(e.split(b"=")[1]) for e in environment if e.startswith(b"RANK=")]
        found.update({rank: int(pid) for rank in ranks})
    return found


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="the workers are found in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_ends_the_job_and_the_same_command_goes_on(tmp_path, rank):
    def arguments(name):
        path = tmp_path / name
        options = [*SMALL, "--checkpoint", f"{path}.pt", "--save", f"{path}.json"]
        return [*options, "--epochs", "6"]

    finish(start(2, *arguments("whole")))
    process = start(2, *arguments("killed"))
    checkpoint = tmp_path / "killed.pt"
    while not checkpoint.exists() or not torch.load(checkpoint, weights_only=True)["history"]:
        time.sleep(0.05)
    os.kill(workers(process.pid)[rank], signal.SIGKILL)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in error  # torchrun's own account
    told = re.search(r"d2lmini: process (\d) stopped, since another .* goes on from .*pt", error)
    assert told and int(told[1]) == 1 - rank
    assert error.count("Traceback") == 1  # torchrun's own, after all has been said
    assert error.index("Traceback") > told.end()
    assert not (tmp_path / "killed.json").exists()
    assert 0 < len(torch.load(checkpoint, weights_only=True)["history"]) < 6

    finish(start(2, *arguments("killed")))
    expected, resumed = (Record.load(tmp_path / f"{name}.json") for name in ("whole", "killed"))
    assert measured(resumed) == measured(expected)
    states = [torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("whole", "killed")]
    assert len(states[0]["generators"]) == 2
    for name, value in states[0]["net"].items():
        assert torch.equal(value, states[1]["net"][name])


BUFFERS = """
import torch
from torch import nn
from d2lmini.distributed import current_team, joined
with joined():
    team, norm = current_team(), nn.BatchNorm1d(2)
    norm.running_mean.fill_(team.rank + 1)
    team.share_buffers(norm)
    assert norm.running_mean.tolist() == [1, 1], norm.running_mean
"""


def test_all_processes_test_with_the_first_ones_running_means(tmp_path):
    script = tmp_path / "buffers.py"
    script.write_text(BUFFERS, encoding="utf-8")
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    subprocess.run([sys.executable, "-m", *launcher], check=True, cwd=REPOSITORY,
                   env={**os.environ, "PYTHONPATH": str(REPOSITORY)})  # fmt: skip


@pytest.mark.soak
def test_processes_that_read_different_batches_are_told(tmp_path):
    script = tmp_path / "unseeded.py"
    script.write_text(
        "import os\nimport torch\nimport d2lmini as d2l\n"
        "from d2lmini.distributed import joined\n"
        "with joined():\n"
        "    torch.manual_seed(int(os.environ['RANK']))\n"
        "    data = d2l.load_data_fashion_mnist(64, subset=128)\n"
        "    d2l.train_ch6(d2l.lenet(), *data, 1, 0.1, 'cpu')\n"
    )
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher], env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=REPOSITORY, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ValueError: the processes read different batches; give the loaders the same seed" in (
        done.stderr
    )


@pytest.mark.soak
def test_an_error_of_the_call_is_told_once_and_ends_the_job(tmp_path):
    path = tmp_path / "run.pt"
    assert main(["train", *SMALL, "--checkpoint", str(path)]) == 0
    process = start(2, *SMALL, "--seed", 5, "--checkpoint", path)
    _, error = process.communicate(timeout=600)
    assert process.returncode != 0
    assert error.count("is of a run with other settings (seed 0 → 5)") == 1
    assert json.dumps(torch.load(path, weights_only=True)["settings"]["seed"]) == "0"
