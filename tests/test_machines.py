"""Machines that readers, classes and maintainers may have, made here: one core and little memory,
no bfloat16, no display, no home, no Unicode, Windows, Apple's GPU; and GitHub's."""

import json
import ntpath
import os
import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from machines import floors
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

import d2lmini as d2l
from d2lmini import device as devices
from d2lmini.data import fashion_mnist
from d2lmini.device import freed_memory_kept, has_fast_bf16, synchronize, usable_cores
from d2lmini.experiments import EXPERIMENTS
from d2lmini.files import cifar10_is_here
from d2lmini.grading import submissions, worker
from d2lmini.recorder import _checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_MEMORY = 2e9  # bytes; half of a machine of 4 GB is the system's, Jupyter's and the browser's
NOWHERE = os.devnull + "/home"  # a HOME in which not even root can write
# an old laptop: a plain locale, no Unicode, one thread, AVX2 and nothing newer; no display
OLD = {
    "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii",
    "OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
}  # fmt: skip
UNSET = {
    "DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "MPLCONFIGDIR", "HOME", "USER", "LOGNAME", "LNAME",
    "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "D2LMINI_DATA",
}  # fmt: skip


def python(code, **environment):
    """Run on the old laptop; returns what it printed on stdout and on stderr."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | OLD | environment, cwd=REPOSITORY,
        capture_output=True, encoding="ascii", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# ---- a small machine ---------------------------------------------------------------------------

SMALL = """
import json, os, sys
from pathlib import Path
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
import torch
import d2lmini as d2l
from d2lmini import device
from d2lmini.experiments import EXPERIMENTS, build_net
device._cpu_flags = set

runs = {}
for variant in EXPERIMENTS["five_networks"].variants:
    recipe = variant.recipe
    train_iter, test_iter = d2l.load_data_fashion_mnist(
        recipe.batch_size, recipe.resize, seed=0, normalize=recipe.normalize,
        augment=recipe.augment, subset=2 * recipe.batch_size,
    )
    record = d2l.train_ch6(
        build_net(variant.model, variant.options, recipe), train_iter, [next(iter(test_iter))],
        1, recipe.lr, optimizer=recipe.optimizer, schedule=recipe.schedule, init=recipe.init,
        plot=not runs,
    )
    runs[variant.name] = [record.settings["precision"], record.train_loss]
d2l.curves(record).savefig(os.devnull, format="png")
found = {"runs": runs, "environment": record.environment}
if sys.platform == "linux":  # where getrusage counts the process that started this one, too
    found["bytes"] = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
elif sys.platform == "darwin":
    import resource
    found["bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def small():
    stdout, stderr = python(SMALL, HOME=NOWHERE)
    return json.loads(stdout.splitlines()[-1]), stdout, stderr


def test_on_one_core_without_bf16_every_network_trains_in_fp32(small):
    found, _, _ = small
    assert found["environment"]["threads"] == 1
    if hasattr(os, "sched_setaffinity"):
        assert found["environment"]["cores"] == 1
    assert not found["environment"]["fast_bf16"]
    assert len(found["runs"]) == 5
    for precision, loss in found["runs"].values():
        assert precision == "fp32"
        assert loss == loss  # finite enough to be a number


@pytest.mark.parametrize(
    ("device", "fast_bf16", "epochs"),
    [
        ("cpu", True, [6, 7]),
        ("cpu", False, [3, 4]),
        ("cuda", False, [6, 7]),
        ("mps", False, [6, 7]),
    ],
)
def test_only_a_cpu_without_bf16_is_spared_half_the_epochs(monkeypatch, device, fast_bf16, epochs):
    monkeypatch.setattr("d2lmini.device.has_fast_bf16", lambda device: fast_bf16)
    assert [d2l.affordable_epochs(n, device) for n in (6, 7)] == epochs
    monkeypatch.setattr("d2lmini.device.try_gpu", lambda: torch.device(device))
    assert [d2l.affordable_epochs(n) for n in (6, 7)] == epochs
    assert d2l.affordable_epochs(1) == 1


def test_half_of_four_gigabytes_is_enough(small):
    found, _, _ = small
    if "bytes" not in found:
        pytest.skip("Windows has no getrusage")
    assert 1e8 < found["bytes"] < MOST_MEMORY


def test_without_display_and_home_nothing_is_said_but_by_matplotlib(small):
    """Its advice to name a folder for its cache is for whoever set the machine up."""
    _, stdout, stderr = small
    said = [line for line in stderr.splitlines() if "atplotlib" not in line]
    assert not said
    lines = stdout.splitlines()[:-1]
    assert len(lines) == 2 * 5  # two closing lines each; live curves draw nothing into a pipe
    assert all(line.startswith("loss ") or " examples/sec on " in line for line in lines)


def test_a_user_of_whom_the_system_knows_no_home_has_the_data(monkeypatch):
    """As in containers that give their process a number of its own."""

    def unknown(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("D2LMINI_DATA", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(unknown))
    assert cifar10_is_here() in (True, False)
    assert len(fashion_mnist()[1]) == 10_000


# ---- a console without Unicode -----------------------------------------------------------------

COMMANDS = """
import sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="d2lmini")
from d2lmini.__main__ import main
for command in (["data"], ["env"], ["record", "--list"]):
    assert main(command) == 0, command
for command in (["--help"], ["train", "--help"], ["grade", "--help"]):
    try:
        main(command)
    except SystemExit as stop:
        assert stop.code == 0, command
assert main(["train", "r\\xe9snet\\u2192"]) == 1
import d2lmini
from d2lmini import widgets
assert d2lmini.load_records("five_networks")
net = d2lmini.lenet()
print(str(d2lmini.summarize(net, (1, 28, 28))).encode("ascii", "replace").decode())
"""


def test_commands_speak_to_a_console_without_unicode():
    stdout, stderr = python(COMMANDS, HOME=NOWHERE, PYTHONWARNDEFAULTENCODING="1")
    assert "60000 ? 1 ? 28 ? 28" in stdout
    assert "usage: python -m d2lmini" in stdout
    said = [line for line in stderr.splitlines() if line.startswith("d2lmini: ")]
    assert said == [line for line in said if "r\\xe9snet\\u2192" in line] != []
    assert "Traceback" not in stderr


def test_every_file_is_opened_with_its_encoding_named():
    if find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--preview", "--isolated"]
    command += ["--select", "PLW1514", "d2lmini", "book", "benchmarks"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout


# ---- Windows -----------------------------------------------------------------------------------


def test_what_only_unix_has_is_done_without(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)  # its import fails
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(devices.ctypes, "CDLL", None)  # Windows cannot open "the program itself"
    assert usable_cores() == (os.cpu_count() or 1)
    worker.limit(2**30)
    with freed_memory_kept(torch.device("cpu")):
        pass


WINDOWS_NAMES = [
    "vgg.ipynb", "con.ipynb", "AUX", "nul .txt", "com1.csv", "lpt9", "console.ipynb", "comma.txt",
    "what?.ipynb", "a|b<c>.txt", 'say "yes".txt', "tab\there", "ends in a dot.", "and a space ",
    "...", "Zoë Ng.ipynb",
]  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS_NAMES)
def test_a_zip_from_another_system_gets_names_that_windows_can_have(name):
    found = submissions._windows_name(name)
    assert legal_in_windows(found)
    if legal_in_windows(name):
        assert found == name


@pytest.mark.skipif(sys.version_info < (3, 13), reason="ntpath.isreserved came with Python 3.13")
def test_python_itself_holds_the_same_names_for_reserved():
    reserved = [name for name in WINDOWS_NAMES if ntpath.isreserved(name)]
    assert reserved == [name for name in WINDOWS_NAMES if not legal_in_windows(name)]


def legal_in_windows(name):
    """By Microsoft's "Naming files, paths, and namespaces"."""
    devices = {"CON", "PRN", "AUX", "NUL"} | {f"{d}{n}" for d in ("COM", "LPT") for n in range(10)}
    return (
        not set(name) & set('<>:"/\\|?*')
        and min(name) >= " "
        and name[-1] not in ". "
        and name.split(".")[0].rstrip().upper() not in devices
    )


def test_a_zip_with_such_names_is_unpacked_there(tmp_path, monkeypatch):
    from zipfile import ZipFile

    with ZipFile(tmp_path / "ada.zip", "w") as archive:
        archive.writestr("work?/aux.ipynb", "{}")
    monkeypatch.setattr(submissions.os, "name", "nt")
    (tmp_path / "to").mkdir()
    submissions._unpack(tmp_path / "ada.zip", tmp_path / "to")
    monkeypatch.undo()
    names = [p.relative_to(tmp_path / "to").as_posix() for p in (tmp_path / "to").rglob("*.*")]
    assert names == ["work_/_aux.ipynb"]


def test_names_of_checkpoints_are_legal_there(tmp_path):
    for experiment in EXPERIMENTS.values():
        for variant in experiment.variants:
            assert legal_in_windows(_checkpoint(experiment, variant, 0, tmp_path).name)


def test_windows_and_macos_can_check_this_repository_out():
    """Legal names, none so long that a folder of a reader's makes it longer than Windows' 260
    characters, and no two that differ in capitals alone."""
    command = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout")
    paths = done.stdout.split("\0")[:-1]
    assert len({path.casefold() for path in paths}) == len(paths)
    for path in paths:
        assert len(path) < 130, path
        assert all(map(legal_in_windows, path.split("/"))), path


# ---- Apple's GPU -------------------------------------------------------------------------------


class FakeMPS(TorchFunctionMode):
    """Does on the CPU what is meant for MPS, and refuses what MPS refuses: float64, wherever it is,
    since what is on the device cannot be told from the rest."""

    used = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        meant = [a for a in [*args, *(kwargs or {}).values()] if self._is_mps(a)]
        self.used += len(meant)
        args, kwargs = tree_map(self._on_cpu, (args, kwargs or {}))
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("the MPS framework doesn't support float64. Please use float32 instead")
        return result

    @staticmethod
    def _is_mps(value):
        return isinstance(value, (str, torch.device)) and str(value).split(":")[0] == "mps"

    def _on_cpu(self, value):
        return torch.device("cpu") if self._is_mps(value) else value


@pytest.fixture
def mps(monkeypatch):
    import torch._dynamo  # an optimizer's first use imports it, and it reads what is patched here

    waits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append(1))
    with FakeMPS() as mode:
        yield mode, waits


def test_on_apples_gpu_it_trains_in_fp32_and_waits_for_the_device(mps):
    mode, waits = mps
    device = d2l.try_gpu()
    assert device == torch.device("mps")
    assert not has_fast_bf16(device)
    synchronize(device)
    assert waits == [1]
    train_iter, test_iter = d2l.load_data_fashion_mnist(
        32, 14, device=device, seed=0, normalize=True, augment=True, subset=96
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(196, 10), nn.ReLU())
    used = mode.used
    record = d2l.train_ch6(
        net, train_iter, [next(iter(test_iter))], 2, 0.1, optimizer="nesterov", seed=0
    )
    assert mode.used > used  # the data and the net were sent there
    assert record.environment["device"] == "mps"
    assert record.settings["precision"] == "fp32"
    assert not record.environment["fast_bf16"]
    assert len(waits) == 1 + 2  # once an epoch, before its seconds are read


def test_the_fake_refuses_float64_as_mps_does(mps):
    with pytest.raises(TypeError, match="float64"):
        torch.zeros(2).to("mps").double()


# ---- GitHub's machines, and the versions named -------------------------------------------------

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def steps(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [(name, step) for name, job in jobs.items() for step in job["steps"]]


def pyproject():
    return (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")


def test_workflows_run_on_the_pythons_that_pyproject_names():
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", pyproject())
    jobs = yaml.safe_load((WORKFLOWS[-1]).read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["machines"]["strategy"]["matrix"]
    assert matrix["python"] == named
    assert f'requires-python = ">={named[0]}"' in pyproject()
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    left_out = {(entry["os"], entry["python"]) for entry in matrix["exclude"]}
    left = [version for version in named if ("windows-latest", version) not in left_out]
    assert left == [named[0], named[-1]]
    oldest = {step["with"]["python-version"] for job, step in steps(WORKFLOWS[-1])
              if job == "oldest" and "with" in step}  # fmt: skip
    assert oldest == {named[0]}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_is_here(path):
    targets = set(re.findall(r"^(\w[\w-]*):", (REPOSITORY / "Makefile").read_text("utf-8"), re.M))
    for _, step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        for target in re.findall(r"\bmake (\w+)", step.get("run", "")):
            assert target in targets
        for script in re.findall(r"\S+\.py\b", step.get("run", "")):
            assert (REPOSITORY / script).is_file()


def test_floors_are_read_from_pyproject(tmp_path):
    pytest.importorskip("tomllib")
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\ndependencies = ["torch>=2.6"]\n'
        '[project.optional-dependencies]\ngrade = ["psutil>=5.9"]\n',
        encoding="utf-8",
    )
    assert floors(path) == ["torch==2.6", "psutil==5.9"]
    path.write_text(path.read_text("utf-8").replace(">=2.6", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="no oldest version of torch"):
        floors(path)
