"""Runs experiments and keeps their records; stopped anywhere, it goes on where it was.

Each finished run is added to `records/NAME.json` at once. A run under way has a checkpoint, of
its last epoch, in `records/.checkpoints/`. Several machines share an experiment by shards: each
keeps its runs in a file of its own, and `merge_records` puts them together.
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
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from d2lmini.data import ArrayLoader, load_data_cifar10, load_data_fashion_mnist
from d2lmini.device import set_seed
from d2lmini.experiments import EXPERIMENTS, Experiment, Recipe, Variant, build_net
from d2lmini.faults import Diverged
from d2lmini.record import RECORDS, Record, load_records, save_records
from d2lmini.step import SCHEDULES, Schedule
from d2lmini.summary import summarize
from d2lmini.train import train_ch6

STARTED = "D2LMINI_STARTED"  # environment variable: when the process was asked for, Unix time
# a data set's loader, number of training images, and their (C, side in pixels)
DATA_SETS = {
    "fashion_mnist": (load_data_fashion_mnist, 60_000, (1, 28)),
    "cifar10": (load_data_cifar10, 50_000, (3, 32)),
}
FORWARD_AND_BACKWARD = 3  # a training step's products, in forward passes
Run = tuple[Variant, int]  # the variant and the seed


@dataclass(frozen=True)
class Shard:
    """One machine's part of an experiment: every `of`-th of its runs. number: from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Of "2/4". Raises ValueError."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--shard {text} must be I/N with I from 1 to N, such as 2/4")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def find_experiment(name: str) -> Experiment:
    """An experiment by name. Raises ValueError if unknown."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def record_experiment(
    experiment: Experiment,
    folder: Path = RECORDS,
    report: Callable[[str], object] | None = None,
    shard: Shard | None = None,
) -> tuple[Record, ...]:
    """Run what is missing of an experiment, one run after the other; returns all its runs.

    report: is told of every epoch in a line; None writes them to stderr. shard: run only what is
    missing of that part, and keep it in the part's file.
    A run that diverges ends there, and is recorded so.
    """
    to_do = missing(experiment, folder, shard)
    progress = _Progress(to_do, report or _to_stderr)
    for variant, seed in _runs(experiment):
        checkpoint = _checkpoint(experiment, variant, seed, folder)
        if (variant, seed) not in to_do:
            if shard is None:  # killed between a run's record and this
                checkpoint.unlink(missing_ok=True)
        elif experiment.fresh_process:
            progress.finished(record_in_fresh_process(experiment, variant, seed, folder, shard))
        else:
            path = records_file(experiment, folder, shard)
            progress.finished(_run(experiment, variant, seed, path, checkpoint, progress.epoch))
    return tuple(_recorded(experiment, folder, shard))


def merge_records(files: Sequence[Path], folder: Path = RECORDS) -> list[str]:
    """Add the runs of other files to the folder's records; returns a line for each experiment.

    Raises ValueError, and changes nothing, for a run that is not of the plan as it is now, and
    for one of which there are two with different numbers.
    """
    found: dict[str, list[Record]] = {}
    for file in files:
        for run in load_records(file):
            experiment = find_experiment(str(run.settings.get("experiment")))
            name = f"{file} holds {run.settings.get('variant')}, seed {run.settings.get('seed')},"
            if not _matching([run], experiment):
                raise ValueError(f"{name} by another plan than {experiment.name} has here")
            if experiment.name not in found:
                found[experiment.name] = _recorded(experiment, folder)
            runs = found[experiment.name]
            plan = [_plan(run) for run in runs]
            if _plan(run) not in plan:
                runs.append(run)
            elif runs[plan.index(_plan(run))] != run:
                raise ValueError(f"{name} with other numbers than another file; leave one out")
    lines = []
    for name, runs in found.items():
        experiment = find_experiment(name)
        path = records_file(experiment, folder)
        save_records(_matching(runs, experiment), path)
        lines += [f"{path}: {len(runs)} of {len(_runs(experiment))} runs"]
    return lines


def train_run(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Record], object] | None = None,
) -> Record:
    """Train one variant with one seed, to its end or to where it diverges.

    With a checkpoint it goes on from the last epoch.
    """
    recipe = variant.recipe
    set_seed(seed)  # init=None keeps the weights that the net is built with
    net = build_net(variant.model, variant.options, recipe)
    train_iter, test_iter = load(recipe, seed)
    try:
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
    except Diverged as error:
        if error.record is None:
            raise
        record = error.record
    if "interrupted" in record.settings:  # in a notebook; the checkpoint stays
        raise KeyboardInterrupt
    settings = record.settings | _identity(experiment, variant, seed)
    started = os.environ.get(STARTED)
    wall_seconds = time.time() - float(started) if started else None
    return replace(record, settings=settings, wall_seconds=wall_seconds)


def record_run(
    experiment: Experiment,
    variant_name: str,
    seed: int,
    folder: Path,
    shard: Shard | None = None,
) -> Record:
    """Run one run, even if it is recorded; killed, it goes on from its last epoch.

    `record_experiment` starts this for each run of an experiment of fresh processes, timed from
    the process's start. Such a run has no checkpoint: its seconds must be of one process.
    """
    variant = next((v for v in experiment.variants if v.name == variant_name), None)
    if variant is None:
        raise ValueError(f"{experiment.name} has no variant {variant_name!r}")
    path = records_file(experiment, folder, shard)
    if STARTED in os.environ:
        return _run(experiment, variant, seed, path, None, _stop_if_orphaned(os.getppid()))
    if experiment.fresh_process:
        return record_in_fresh_process(experiment, variant, seed, folder, shard)
    checkpoint = _checkpoint(experiment, variant, seed, folder)
    progress = _Progress([(variant, seed)], _to_stderr)
    return _run(experiment, variant, seed, path, checkpoint, progress.epoch)


def _run(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    path: Path,
    checkpoint: Path | None,
    on_epoch: Callable[[Record], object],
) -> Record:
    """Train, and keep the result; only then its checkpoint goes."""
    result = train_run(experiment, variant, seed, checkpoint, on_epoch)
    _add(result, experiment, path)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return result


def _stop_if_orphaned(parent: int) -> Callable[[Record], None]:
    def stop(_: Record) -> None:
        if os.getppid() != parent:  # whoever timed this run is gone, and may start it again
            raise SystemExit("the recorder is gone")

    return stop


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


def missing(
    experiment: Experiment, folder: Path = RECORDS, shard: Shard | None = None
) -> list[Run]:
    """The runs not recorded yet, or recorded with other settings than the experiment's now."""
    done = [record.settings for record in _recorded(experiment, folder, shard)]
    keys = {(settings["variant"], settings["seed"]) for settings in done}
    runs = _runs(experiment)
    if shard is not None:  # of all runs, whatever is recorded: the shards must not overlap
        runs = runs[shard.number - 1 :: shard.of]
    return [(v, seed) for v, seed in runs if (v.name, seed) not in keys]


def overview(folder: Path = RECORDS) -> str:
    """A line for each experiment: runs done, runs planned, minutes they took, its question."""
    lines = [f"{'experiment':<18} {'done':>9}  {'minutes':>7}  question"]
    for experiment in EXPERIMENTS.values():
        done = _recorded(experiment, folder)
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

    def finished(self, run: Record) -> None:
        self.done += products(self.runs[self.number][0])
        if (end := run.diverged) is not None:
            self._say(self.done, f"diverged in epoch {end.epoch}, batch {end.batch}")
        elif run.wall_seconds is not None:  # in a process of its own, whose epochs were not seen
            self._say(self.done, f"accuracy {run.test_acc:.4f} after {run.wall_seconds:.0f} s")
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


def records_file(experiment: Experiment, folder: Path, shard: Shard | None = None) -> Path:
    part = "" if shard is None else f".shard-{shard.number}-of-{shard.of}"
    return folder / f"{experiment.name}{part}.json"


def _recorded(experiment: Experiment, folder: Path, shard: Shard | None = None) -> list[Record]:
    """The stored runs whose settings are the experiment's now, in its order."""
    stored = _stored(records_file(experiment, folder))
    if shard is not None:
        stored += _stored(records_file(experiment, folder, shard))
    return _matching(stored, experiment)


def _matching(stored: Sequence[Record], experiment: Experiment) -> list[Record]:
    plans = [_identity(experiment, variant, seed) for variant, seed in _runs(experiment)]
    if not plans:
        return []
    by_plan = {_text({k: run.settings.get(k) for k in plans[0]}): run for run in stored}
    return [by_plan[text] for text in map(_text, plans) if text in by_plan]


def _text(plan: dict[str, Any]) -> str:
    """As JSON: to Python augment=True and augment=1 are one, but not to the loader."""
    return json.dumps(plan, sort_keys=True)


def _plan(run: Record) -> tuple[Any, ...]:
    return run.settings["variant"], run.settings["seed"]


def _add(result: Record, experiment: Experiment, path: Path) -> None:
    """Into the file, in the experiment's order; runs that are no longer its own go."""
    save_records(_matching([*_stored(path), result], experiment), path)


def _checkpoint(experiment: Experiment, variant: Variant, seed: int, folder: Path) -> Path:
    name = re.sub(r"[^\w.-]+", "-", f"{experiment.name}-{variant.name}-{seed}")
    # a plan that has changed since must not be taken up in the middle
    plan = json.dumps(_identity(experiment, variant, seed), sort_keys=True).encode()
    return folder / ".checkpoints" / f"{name}-{hashlib.sha256(plan).hexdigest()[:8]}.pt"


def record_in_fresh_process(
    experiment: Experiment,
    variant: Variant,
    seed: int,
    folder: Path,
    shard: Shard | None = None,
) -> Record:
    """Record one run, timed from the start of a new interpreter to its last test figure."""
    command = [sys.executable, "-m", "d2lmini", "record", experiment.name, "--to", str(folder)]
    command += ["--variant", variant.name, "--seed", str(seed)]
    command += [] if shard is None else ["--shard", str(shard)]
    done = subprocess.run(command, env={**os.environ, STARTED: repr(time.time())})
    if done.returncode != 0:
        raise OSError(f"{variant.name}, seed {seed}: its process ended with {done.returncode}")
    runs = _recorded(experiment, folder, shard)
    return next(run for run in runs if _plan(run) == (variant.name, seed))
