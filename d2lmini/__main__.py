"""python -m d2lmini data | train | record | grade | release | env"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from d2lmini.data import FASHION_MNIST_LABELS, fashion_mnist, load_data_fashion_mnist
from d2lmini.device import describe_environment, try_gpu
from d2lmini.distributed import current_team, joined, launched
from d2lmini.grading import WARNING, Limits, grade_folder, release
from d2lmini.init import INITS
from d2lmini.models import MODELS, build
from d2lmini.record import RECORDS
from d2lmini.recorder import (
    Shard,
    find_experiment,
    merge_records,
    overview,
    record_experiment,
    record_run,
)
from d2lmini.step import OPTIMIZERS, SCHEDULES
from d2lmini.train import train_ch6


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of input are one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every console's encoding has × and …
        sys.stdout.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, FloatingPointError, MemoryError) as error:
        print(f"d2lmini: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("d2lmini: interrupted", file=sys.stderr)
        return 130
    return 0


def show_data(arguments: argparse.Namespace) -> None:
    """Check the data set's files and say what is in them."""
    for name, split in zip(("train", "test"), fashion_mnist(arguments.root), strict=True):
        shape = " × ".join(map(str, split.images.shape))
        print(f"Fashion-MNIST {name}: {shape} {split.images.dtype}, checksums right")
        for label, count in zip(FASHION_MNIST_LABELS, split.labels.bincount(), strict=True):
            print(f"  {label:<12} {int(count):>6,}")


def train(arguments: argparse.Namespace) -> None:
    """Train one network of MODELS on Fashion-MNIST by the options given.

    Under torchrun the processes train it together, and the first one writes the record.
    """
    net = build(arguments.model, in_channels=1)
    if MODELS[arguments.model].input_shape[0] != 1:
        raise ValueError(f"{arguments.model} is built for colour images, Fashion-MNIST is grey")
    train_iter, test_iter = load_data_fashion_mnist(
        arguments.batch_size,
        MODELS[arguments.model].input_shape[1:],
        root=arguments.root,
        seed=arguments.seed,
        normalize=True,
        augment=arguments.augment,
        subset=arguments.subset,
        validation=arguments.validation,
    )
    with joined(arguments.checkpoint) as device:
        record = train_ch6(
            net,
            train_iter,
            test_iter,
            arguments.epochs,
            arguments.lr,
            device,
            optimizer=arguments.optimizer,
            schedule=arguments.schedule,
            init=arguments.init,
            seed=arguments.seed,
            precision=arguments.precision,
            label_smoothing=arguments.label_smoothing,
            checkpoint=arguments.checkpoint,
        )
        if arguments.save and current_team().leads:
            record.save(arguments.save)


def record(arguments: argparse.Namespace) -> None:
    """Run an experiment's missing runs and keep their records; --list shows what is done."""
    folder = Path(arguments.to)
    shard = Shard.parse(arguments.shard) if arguments.shard else None
    if launched() > 1:
        raise ValueError("torchrun shares one training, not a sweep: start record --shard I/N")
    if arguments.list:
        print(overview(folder))
    elif arguments.merge:
        print(*merge_records([Path(file) for file in arguments.merge], folder), sep="\n")
    elif arguments.name is None:
        raise ValueError("which experiment? record --list shows them")
    elif arguments.variant is not None:
        experiment = find_experiment(arguments.name)
        record_run(experiment, arguments.variant, arguments.seed, folder, shard)
    else:
        record_experiment(find_experiment(arguments.name), folder, shard=shard)


def grade(arguments: argparse.Namespace) -> None:
    """Grade a folder of returned notebooks: a table of points, a page of feedback for each."""
    print(WARNING, file=sys.stderr)
    limits = Limits(
        arguments.cell_seconds, arguments.notebook_seconds, int(arguments.memory * 2**30)
    )
    rows = grade_folder(
        arguments.submitted,
        arguments.to,
        arguments.assignments,
        arguments.feedback,
        limits,
        arguments.jobs,
    )
    missed = sum(row.status != "graded" for row in rows)
    print(f"{arguments.to}: {len(rows)} rows, {missed} of them not graded, or in part")


def make_releases(arguments: argparse.Namespace) -> None:
    """Make what students are given: assignments without solutions and hidden tests, zipped."""
    for path in release(arguments.source, arguments.to):
        print(path)


def show_environment(arguments: argparse.Namespace) -> None:
    """What this machine is, for a record or a report of a fault."""
    for name, value in asdict(describe_environment(try_gpu())).items():
        print(f"{name:<10} {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m d2lmini", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    data = commands.add_parser("data", help=show_data.__doc__)
    data.add_argument("--root", help="the folder to look in, and only there")
    data.set_defaults(run=show_data)

    run = commands.add_parser("train", help=train.__doc__)
    run.add_argument("model", help=f"one of {', '.join(MODELS)}")
    run.add_argument("--epochs", type=int, default=10)
    run.add_argument("--lr", type=float, default=0.05, help="the highest rate")
    run.add_argument("--batch-size", type=int, default=128)
    run.add_argument("--optimizer", default="nesterov", help=", ".join(OPTIMIZERS))
    run.add_argument("--schedule", help=", ".join(SCHEDULES))
    run.add_argument("--init", default="he", help=", ".join(INITS))
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--precision", default="auto", help="auto, fp32 or bf16")
    run.add_argument("--label-smoothing", type=float, default=0.0)
    run.add_argument("--augment", action="store_true", help="random flips and shifts")
    run.add_argument("--subset", type=int, help="train on this many images only")
    run.add_argument("--validation", type=int, help="measure on this many training images held out")
    run.add_argument("--checkpoint", help="a file that is written each epoch and resumed from")
    run.add_argument("--save", help="write the record to this JSON file")
    run.add_argument("--root", help="the data set's folder, in the place of the packaged files")
    run.set_defaults(run=train)

    recording = commands.add_parser("record", help=record.__doc__)
    recording.add_argument("name", nargs="?", help="an experiment")
    recording.add_argument("--list", action="store_true", help="what is recorded and what not")
    recording.add_argument("--to", default=str(RECORDS), help="the folder of the records")
    recording.add_argument("--shard", metavar="I/N", help="this machine's part, in its own file")
    recording.add_argument("--merge", nargs="+", metavar="FILE", help="put shards' files together")
    recording.add_argument("--variant", help="one variant of it, with --seed, even if recorded")
    recording.add_argument("--seed", type=int, default=0)
    recording.set_defaults(run=record)

    grading = commands.add_parser(
        "grade",
        help=grade.__doc__,
        description=f"{grade.__doc__}\n\n{WARNING}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grading.add_argument("submitted", help="the folder: STUDENT/any.ipynb, STUDENT_vgg.ipynb …")
    grading.add_argument("--to", default="grades.csv", help="the table; default: grades.csv")
    grading.add_argument("--assignments", default="chapters/assignments", help="their sources")
    grading.add_argument("--feedback", help="the folder of the pages; default: beside the table")
    grading.add_argument("--cell-seconds", type=float, default=60, help="limit of a cell")
    grading.add_argument("--notebook-seconds", type=float, default=600, help="limit of a notebook")
    grading.add_argument("--memory", type=float, default=4, help="GB a process; 0: no limit")
    grading.add_argument("--jobs", type=int, default=2, help="notebooks at a time")
    grading.set_defaults(run=grade)

    releasing = commands.add_parser("release", help=make_releases.__doc__)
    releasing.add_argument("--from", dest="source", default="chapters/assignments")
    releasing.add_argument("--to", default="book/assets/assignments")
    releasing.set_defaults(run=make_releases)

    environment = commands.add_parser("env", help=show_environment.__doc__)
    environment.set_defaults(run=show_environment)
    return parser


if __name__ == "__main__":
    sys.exit(main())
