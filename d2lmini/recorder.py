"""Runs experiments and keeps their records; stopped anywhere, it goes on where it was.

Each finished run is added to `records/NAME.json` at once. A run under way has a checkpoint, of
its last epoch, in `records/.checkpoints/`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from d2lmini.data import ArrayLoader, load_data_cifar10, load_data_fashion_mnist
from d2lmini.device import set_seed
from d2lmini.experiments import EXPERIMENTS, Experiment, Recipe, Variant, build_net
from d2lmini.record import RECORDS, Record, load_records, save_records
from d2lmini.summary import summarize
from d2lmini.train import SCHEDULES, Schedule, train_ch6

STARTED = "D2LMINI_STARTED"  # environment variable: when the process was asked for, Unix time
# a data set's loader, number of training images, and their (C, side in pixels)
DATA_SETS = {
    "fashion_mnist": (load_data_fashion_mnist, 60_000, (1, 28)),
    "cifar10": (load_data_cifar10, 50_000, (3, 32)),
}
FORWARD_AND_BACKWARD = 3  # a training step's products, in forward passes
Run = tuple[Variant, int]  # the variant and the seed


def find_experiment(name: str) -> Experiment:
    """An experiment by name. Raises ValueError if unknown."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def record_experiment(
    experiment: Experiment,
    folder: Path = RECORDS,
    report: Callable[[str], object] | None = None,
) -> tuple[Record, ...]:
    """Run what is missing of an experiment, one run after the other; returns all its runs.

    report: is told of every epoch in a line; None writes them to stderr.
    """
    progress = _Progress(missing(experiment, folder), report or _to_stderr)
    for variant, seed in progress.runs:
        if experiment.fresh_process:
            progress.finished(record_in_fresh_process(experiment, variant, seed, folder))
        else:
            checkpoint = _checkpoint(experiment, variant, seed, folder)
            result = train_run(experiment, variant, seed, checkpoint, progress.epoch)
            _add(result, experiment, folder)
            checkpoint.unlink(missing_ok=True)
            progress.finished()
    return tuple(_valid(experiment, folder))


def train_run(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Record], object] | None = None,
) -> Record:
    """Train one variant with one seed. With a checkpoint it goes on from the last epoch."""
    recipe = variant.recipe
    set_seed(seed)  # init=None keeps the weights that the net is built with
    net = build_net(variant.model, variant.options, recipe)
    train_iter, test_iter = load(recipe, seed)
    with contextlib.redirect_stdout(io.StringIO()):  # train_ch6's closing lines
        record = train_ch6(
            net,
            train_iter,
            test_iter,
            recipe.stop_after or recipe.num_epochs,
            recipe.lr,
            optimizer=recipe.optimizer,
            schedule=schedule_of(recipe),
            init=recipe.init,
            seed=seed,
            precision=recipe.precision,
            label_smoothing=recipe.label_smoothing,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
            plot=False,
        )
    settings = record.settings | _identity(experiment, variant, seed)
    started = os.environ.get(STARTED)
    wall_seconds = time.time() - float(started) if started else None
    return replace(record, settings=settings, wall_seconds=wall_seconds)


def record_run(experiment: Experiment, variant_name: str, seed: int, folder: Path) -> Record:
    """What `record_experiment` starts for each run of an experiment of fresh processes."""
    variant = next((v for v in experiment.variants if v.name == variant_name), None)
    if variant is None:
        raise ValueError(f"{experiment.name} has no variant {variant_name!r}")
    parent = os.getppid()

    def stop_if_orphaned(_: Record) -> None:
        if os.getppid() != parent:  # whoever timed this run is gone, and may start it again
            raise SystemExit("the recorder is gone")

    result = train_run(experiment, variant, seed, on_epoch=stop_if_orphaned)
    _add(result, experiment, folder)
    return result


def load(recipe: Recipe, seed: int) -> tuple[ArrayLoader, ArrayLoader]:
    """The recipe's training and test (or validation) batches."""
    load_data, _, _ = DATA_SETS[recipe.data]
    return load_data(
        recipe.batch_size,
        recipe.resize,
        seed=seed,
        normalize=recipe.normalize,
        augment=recipe.augment,
        subset=recipe.subset,
        validation=recipe.validation,
    )


def schedule_of(recipe: Recipe) -> Schedule | str | None:
    """The recipe's schedule, or the part of it that comes before `stop_after`."""
    if recipe.schedule is None or recipe.stop_after is None:
        return recipe.schedule
    whole, share = SCHEDULES[recipe.schedule], recipe.stop_after / recipe.num_epochs

    def beginning(progress: float) -> float:
        return whole(progress * share)

    beginning.__name__ = f"{recipe.schedule}, the first {share:.3g}"
    return beginning


def missing(experiment: Experiment, folder: Path = RECORDS) -> list[Run]:
    """The runs not recorded yet, or recorded with other settings than the experiment's now."""
    done = [record.settings for record in _valid(experiment, folder)]
    keys = {(settings["variant"], settings["seed"]) for settings in done}
    return [(v, seed) for v, seed in _runs(experiment) if (v.name, seed) not in keys]


def overview(folder: Path = RECORDS) -> str:
    """A line for each experiment: runs done, runs planned, minutes they took, its question."""
    lines = [f"{'experiment':<18} {'done':>9}  {'minutes':>7}  question"]
    for experiment in EXPERIMENTS.values():
        done = _valid(experiment, folder)
        seconds = sum(r.seconds + sum(e.test_seconds for e in r.history) for r in done)
        count = f"{len(done)}/{sum(v.seeds for v in experiment.variants)}"
        lines += [f"{experiment.name:<18} {count:>9}  {seconds / 60:>7.0f}  {experiment.question}"]
    return "\n".join(lines)


class _Progress:
    """Reports each epoch with the time still to go, estimated from products done so far."""

    def __init__(self, runs: Sequence[Run], report: Callable[[str], object]) -> None:
        self.runs, self.report = runs, report
        self.number = 0  # finished runs
        self.done = 0.0  # products of finished runs
        self.before: float | None = None  # what an earlier process did of the first run
        self.start = time.monotonic()
        self.total = sum(products(variant) for variant, _ in runs)

    def epoch(self, record: Record) -> None:
        variant, _ = self.runs[self.number]
        epochs = variant.recipe.stop_after or variant.recipe.num_epochs
        last = record.history[-1]
        each = products(variant) / epochs
        if self.before is None:
            self.before = each * (last.epoch - 1)
        self._say(
            self.done + each * last.epoch,
            f"epoch {last.epoch}/{epochs}: accuracy {last.test_acc:.4f}",
        )

    def finished(self, timed: Record | None = None) -> None:
        self.done += products(self.runs[self.number][0])
        if timed is not None:  # in a process of its own, whose epochs were not seen
            self._say(self.done, f"accuracy {timed.test_acc:.4f} after {timed.wall_seconds:.0f} s")
        self.number += 1

    def _say(self, done: float, what: str) -> None:
        variant, seed = self.runs[self.number]
        left = (time.monotonic() - self.start) * (self.total - done) / (done - (self.before or 0))
        self.report(
            f"{self.number + 1}/{len(self.runs)} {variant.name}, seed {seed}, {what}; "
            f"{left / 60:.0f} min to go"
        )


def products(variant: Variant) -> float:
    """The multiply–accumulates of one run, backward passes included, test passes not."""
    recipe = variant.recipe
    _, images, _ = DATA_SETS[recipe.data]
    images = recipe.subset or images - (recipe.validation or 0)
    epochs = recipe.stop_after or recipe.num_epochs
    macs = _macs(variant.model, json.dumps(variant.options), recipe.data, recipe.resize)
    return FORWARD_AND_BACKWARD * macs * images * epochs


@cache
def _macs(model: str, options: str, data: str, resize: int | None) -> int:
    _, _, (channels, side) = DATA_SETS[data]
    net = build_net(model, json.loads(options), Recipe(1, 0.0, data=data))
    return summarize(net, (channels, resize or side, resize or side)).macs


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # train_ch6's own lines go to stdout


def _runs(experiment: Experiment) -> list[Run]:
    return [(v, seed) for v in experiment.variants for seed in range(v.seeds)]


def _identity(experiment: Experiment, variant: Variant, seed: int) -> dict[str, Any]:
    """What a run is, as its record's settings keep it."""
    content = {
        "experiment": experiment.name,
        "variant": variant.name,
        "seed": seed,
        "model": variant.model,
        "options": dict(variant.options),
        "recipe": asdict(variant.recipe),
        "split": "test" if variant.recipe.validation is None else "validation",
    }
    return json.loads(json.dumps(content))  # tuples become the lists that JSON gives back


def _stored(path: Path) -> list[Record]:
    return list(load_records(path)) if path.exists() else []


def _valid(experiment: Experiment, folder: Path) -> list[Record]:
    """The stored runs whose settings are the experiment's now, in its order."""
    stored = _stored(folder / f"{experiment.name}.json")
    return _matching(stored, experiment)


def _matching(stored: Sequence[Record], experiment: Experiment) -> list[Record]:
    found = []
    for variant, seed in _runs(experiment):
        plan = _identity(experiment, variant, seed)
        found += [r for r in stored if _same(plan, {k: r.settings.get(k) for k in plan})][-1:]
    return found


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """As JSON: to Python augment=True and augment=1 are one, but not to the loader."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _add(result: Record, experiment: Experiment, folder: Path) -> None:
    """Into the file, in the experiment's order; runs that are no longer its own go."""
    path = folder / f"{experiment.name}.json"
    save_records(_matching([*_stored(path), result], experiment), path)


def recorded_run(experiment: Experiment, variant: Variant, seed: int, folder: Path) -> Record:
    key = (variant.name, seed)
    runs = _valid(experiment, folder)
    return next(r for r in runs if (r.settings["variant"], r.settings["seed"]) == key)


def _checkpoint(experiment: Experiment, variant: Variant, seed: int, folder: Path) -> Path:
    name = re.sub(r"[^\w.-]+", "-", f"{experiment.name}-{variant.name}-{seed}")
    # a plan that has changed since must not be taken up in the middle
    plan = json.dumps(_identity(experiment, variant, seed), sort_keys=True).encode()
    return folder / ".checkpoints" / f"{name}-{hashlib.sha256(plan).hexdigest()[:8]}.pt"


def record_in_fresh_process(
    experiment: Experiment, variant: Variant, seed: int, folder: Path
) -> Record:
    """Record one run, timed from the start of a new interpreter to its last test figure."""
    command = [sys.executable, "-m", "d2lmini", "record", experiment.name, "--to", str(folder)]
    command += ["--variant", variant.name, "--seed", str(seed)]
    subprocess.run(command, check=True, env={**os.environ, STARTED: repr(time.time())})
    return recorded_run(experiment, variant, seed, folder)
