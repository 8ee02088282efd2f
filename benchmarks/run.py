"""The book's speed against D2L's own loop and the machine's limit: `make bench`.

Installs D2L from the package index into benchmarks/.d2l (never into .venv), runs every
measurement in a process of its own, one at a time, the two sides in turn, and writes results.json
and results.md; on a machine without fast bf16, results-fp32.json and results-fp32.md. `--long` adds
the trainings of ten minutes (`make bench-long`).
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import median

from one import CASES, CPU, macs

from d2lmini.data import cifar10
from d2lmini.device import describe_environment, has_fast_bf16
from d2lmini.files import FASHION_MNIST_SHA256, PACKAGED_DATASETS
from d2lmini.recorder import find_experiment, record_in_fresh_process

HERE = Path(__file__).resolve().parent
D2L = HERE / ".d2l"
# without dependencies: D2L pins an old NumPy; torch and NumPy are those of .venv
D2L_PACKAGES = (
    "d2l==0.17.6", "pandas", "python-dateutil", "pytz", "six", "requests", "urllib3", "certifi",
    "charset-normalizer", "idna",
)  # fmt: skip
REPEATS = 3  # of each side of a comparison, in turn; the medians are compared
FAST_BF16 = has_fast_bf16(CPU)
RESULTS = HERE / ("results" if FAST_BF16 else "results-fp32")
RATIOS = {"LeNet": 4.0, "AlexNet": 2.2, "VGG-11/4": 3.4, "NiN": 2.8, "GoogLeNet": 2.5}
RATIO_IN_FP32 = 1.0  # never slower
LOADER_RATIO = 3.0
SHARES = {"AlexNet": 0.75, "VGG-11/4": 0.75}  # of the bf16 matrix product's rate
DATA_SET_MB = 60
GIVEN_BACK = "1000000"  # bytes: what is larger goes back to the system when it is freed
PARTS = ("limit", "train", "load", "memory", "profile", "time_to_accuracy")
LONG = 300  # seconds; time-to-accuracy runs of more belong to --long


def main():
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="add the trainings of ten minutes")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS,
        help="measure these parts, and keep the others' last results",
    )  # fmt: skip
    arguments = parser.parse_args()
    path = RESULTS.with_suffix(".json")
    kept = path.exists() and arguments.only is not PARTS
    results = json.loads(path.read_text(encoding="utf-8")) if kept else {}
    if "limit" not in results and "limit" not in arguments.only:
        parser.error("nothing was measured here before: the limit is needed, too (--only limit …)")
    install_d2l()
    results["environment"] = asdict(describe_environment(CPU))
    for part in arguments.only:
        results[part] = MEASURE[part](arguments.long)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = write_up(results)
    RESULTS.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def throughput():
    """Every net's rates, and the products a second that ours come to."""
    results = {name: compare("train", name) for name in CASES}
    for name, rates in results.items():
        rates["gflops"] = 2 * macs(name) * rates["ours"] / 1e9
    return results


def memory():
    """What the data set takes, what reading it adds, and what of that is held, not kept: glibc
    keeps freed batches, a number of them that differs from run to run; the worst one counts."""
    worst = max((measure("memory") for _ in range(REPEATS)), key=lambda found: found["reading"])
    held = measure("memory", MALLOC_MMAP_THRESHOLD_=GIVEN_BACK)
    return {**worst, "held": held["reading"]}


def install_d2l():
    """D2L beside, not in, the environment; the data set where its torchvision loader looks."""
    if not (D2L / "packages" / "d2l").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--target", str(D2L / "packages"), *D2L_PACKAGES]
        subprocess.run(command, check=True)
    raw = D2L / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    (D2L / "work").mkdir(exist_ok=True)  # D2L reads ../data
    for name in FASHION_MNIST_SHA256:
        packed = PACKAGED_DATASETS / "FashionMNIST" / "raw" / f"{name}.gz"
        (raw / name).write_bytes(gzip.decompress(packed.read_bytes()))


def measure(*arguments, **variables):
    """One line of JSON from one.py in a new process, with these environment variables."""
    print("measuring", *arguments, file=sys.stderr)
    environment = {**os.environ, "MPLBACKEND": "agg", **variables}
    if "d2l" in arguments:
        environment["PYTHONPATH"] = str(D2L / "packages")
    command = [sys.executable, "-W", "ignore", str(HERE / "one.py"), *arguments]
    done = subprocess.run(
        command, cwd=D2L / "work", env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(what, *arguments):
    """Medians of both sides' rates, each measured REPEATS times, in turn; ours in fp32 once."""
    sides = ("d2l", "ours", "fp32") if what == "train" and FAST_BF16 else ("d2l", "ours")
    rates = {side: [] for side in sides}
    for repeat in range(REPEATS):
        for side in sides[: None if repeat == 0 else 2]:
            rates[side] += list(measure(what, side, *arguments).values())
    return {side: median(values) for side, values in rates.items()} | {"all": rates}


def time_to_accuracy(long):
    """One run of each target, from the start of its process; seed 0."""
    folder = HERE / ".runs"
    shutil.rmtree(folder, ignore_errors=True)
    experiment = find_experiment("time_to_accuracy")
    results = []
    for variant in experiment.variants:
        if variant.within > LONG and not long:
            continue
        if variant.recipe.data == "cifar10" and not has_cifar10():
            print(f"{variant.name} is left out: CIFAR-10 is not here", file=sys.stderr)
            continue
        print("measuring", variant.name, file=sys.stderr)
        run = record_in_fresh_process(experiment, variant, 0, folder)
        results += [
            {
                "name": variant.name,
                "target": variant.target,
                "within": variant.within,
                "accuracy": run.test_acc,
                "seconds": run.wall_seconds,
            }
        ]
    return results


@cache
def has_cifar10():
    """Whether CIFAR-10 is here or can be downloaded."""
    try:
        cifar10()
    except (OSError, RuntimeError):
        return False
    return True


def write_up(results):
    """results.md: the machine, and a section for each part that was measured."""
    parts = [text(results) for part, text in SECTIONS.items() if part in results]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def machine_text(results):
    """The head: the machine and its limit."""
    environment, limit = results["environment"], results["limit"]
    rates_of = " and ".join(f"{limit[kind]:.0f} GFLOP/s in {kind}" for kind in limit)
    return [
        "# Speed",
        "",
        f"Made by `make bench`. {environment['processor']}, {environment['cores']} cores, "
        f"{environment['threads']} threads; torch {environment['torch']}, Python "
        f"{environment['python']}. The machine's limit: products of square matrices at {rates_of}"
        + ("." if "bf16" in limit else "; it has no fast bf16, so ours trains in fp32, too."),
    ]


def training_text(results):
    """Each net's rates and ratios, and its share of the limit."""
    limit = results["limit"]
    in_bf16 = "bf16" in limit
    precision = "bf16" if in_bf16 else "fp32"
    ours = ["ours, fp32", "ours"] if in_bf16 else ["ours"]
    heads = ["network", "input", "batch", "D2L", *ours, "ratio", "wanted", "limit", "wanted"]
    in_fp32 = ""
    if in_bf16:
        (runs,) = {len(rates["all"]["fp32"]) for rates in results["train"].values()}
        in_fp32 = f" (ours in fp32: of {runs})"
    lines = [
        "Examples per second, end to end, loading included: D2L 0.17.6's own "
        "`load_data_fashion_mnist` and `train_ch6` against ours, same net, batch and input size, "
        f"each the median of {REPEATS} runs in turn{in_fp32}. *Limit*: our products of a step "
        "(forward and backward, 2 floating-point operations each) as a share of the limit in "
        f"{precision}. With `--only`, parts are measured at different times, and a shared "
        "machine's speed drifts.",
        "",
        table_row(heads),
        "|---" * len(heads) + "|",
    ]
    for name, rates in results["train"].items():
        case = CASES[name]
        ratio, share = rates["ours"] / rates["d2l"], rates["gflops"] / limit[precision]
        least = RATIOS[name] if in_bf16 else RATIO_IN_FP32
        part = SHARES.get(name, 0) if in_bf16 else 0
        ours = [f"{rates['ours']:,.0f}"]
        if in_bf16:
            ours = [f"{rates['fp32']:,.0f} ({rates['fp32'] / rates['d2l']:.2f} ×)", *ours]
        cells = [name, case.size, case.batch_size, f"{rates['d2l']:,.0f}", *ours]
        cells += [mark(ratio, least, " ×", ".2f"), f"{least} ×"]
        cells += [mark(share, part, "", ".0%"), f"{part:.0%}" if part else ""]
        lines += [table_row(cells)]
    return lines


def loader_text(results):
    """The loaders' rates."""
    load = results["load"]
    return [
        "| loader at 224 pixels | D2L | ours | ratio | wanted |",
        "|---|---|---|---|---|",
        f"| images per second | {load['d2l']:,.0f} | {load['ours']:,.0f} | "
        f"{mark(load['ours'] / load['d2l'], LOADER_RATIO, ' ×', '.1f')} | {LOADER_RATIO:.0f} × |",
    ]


def memory_text(results):
    """The data set's memory, at rest and while it is read."""
    memory = results["memory"]
    return [
        f"Memory: both splits are {memory['tensors']:.1f} MB of tensors (wanted: at most "
        f"{DATA_SET_MB}); the process grows by {memory['loaded']:.1f} MB when they are loaded. All "
        f"of them read at 224 pixels, in batches of {memory['batch']:.1f} MB, it grows by "
        f"{memory['held']:.1f} MB more where the C library gives freed memory back at once "
        f"(`MALLOC_MMAP_THRESHOLD_={GIVEN_BACK}`), and by {memory['reading']:.1f} MB (the worst of "
        f"{REPEATS} runs) where it keeps freed batches to use again, as it does unless told."
    ]


def times_text(results):
    """Times to accuracy, the interpreter's start included."""
    lines = [
        "Time to accuracy, from the start of the interpreter to the last test figure, one seed:",
        "",
        "| run | accuracy | wanted | seconds | wanted |",
        "|---|---|---|---|---|",
    ]
    for run in results["time_to_accuracy"]:
        lines += [
            f"| {run['name']} | {mark(run['accuracy'], run['target'], '', '.4f')} | "
            f"{run['target']} | {mark(-run['seconds'], -run['within'], '', '.0f', -1)} | "
            f"{run['within']:.0f} |"
        ]
    return lines


def profile_text(results):
    """The shares of a step's time."""
    kinds = list(dict.fromkeys(kind for p in results["profile"].values() for kind in p))
    lines = ["Where a training step's time goes:", "", table_row(["network", *kinds])]
    lines += ["|---" * (len(kinds) + 1) + "|"]
    for name, shares in results["profile"].items():
        lines += [table_row([name, *(f"{shares.get(kind, 0):.0%}" for kind in kinds)])]
    return lines


SECTIONS = {
    "limit": machine_text,
    "train": training_text,
    "load": loader_text,
    "memory": memory_text,
    "time_to_accuracy": times_text,
    "profile": profile_text,
}


def table_row(cells):
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def mark(value, wanted, unit, form, sign=1):
    """The value, in bold where it reaches what was wanted."""
    text = f"{sign * value:{form}}{unit}"
    return f"**{text}**" if wanted and value >= wanted else text


MEASURE = {
    "limit": lambda long: measure("limit"),
    "train": lambda long: throughput(),
    "load": lambda long: compare("load"),
    "memory": lambda long: memory(),
    "profile": lambda long: {name: measure("profile", name) for name in CASES},
    "time_to_accuracy": time_to_accuracy,
}

if __name__ == "__main__":
    main()
