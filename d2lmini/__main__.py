"""python -m d2lmini data | train | record | env"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from d2lmini.data import FASHION_MNIST_LABELS, fashion_mnist, load_data_fashion_mnist
from d2lmini.device import describe_environment, try_gpu
from d2lmini.init import INITS
from d2lmini.models import MODELS, build
from d2lmini.record import RECORDS
from d2lmini.recorder import find_experiment, overview, record_experiment, record_run
from d2lmini.train import OPTIMIZERS, SCHEDULES, train_ch6


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of input are one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError) as error:
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
    """Train one network of MODELS on Fashion-MNIST by the options given."""
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
    record = train_ch6(
        net,
        train_iter,
        test_iter,
        arguments.epochs,
        arguments.lr,
        optimizer=arguments.optimizer,
        schedule=arguments.schedule,
        init=arguments.init,
        seed=arguments.seed,
        precision=arguments.precision,
        label_smoothing=arguments.label_smoothing,
        checkpoint=arguments.checkpoint,
    )
    if arguments.save:
        record.save(arguments.save)


def record(arguments: argparse.Namespace) -> None:
    """Run an experiment's missing runs and keep their records; --list shows what is done."""
    folder = Path(arguments.to)
    if arguments.list:
        print(overview(folder))
    elif arguments.name is None:
        raise ValueError("which experiment? record --list shows them")
    elif arguments.variant is not None:
        record_run(find_experiment(arguments.name), arguments.variant, arguments.seed, folder)
    else:
        record_experiment(find_experiment(arguments.name), folder)


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
    recording.add_argument("--variant", help="one variant of it, with --seed, even if recorded")
    recording.add_argument("--seed", type=int, default=0)
    recording.set_defaults(run=record)

    environment = commands.add_parser("env", help=show_environment.__doc__)
    environment.set_defaults(run=show_environment)
    return parser


if __name__ == "__main__":
    sys.exit(main())
