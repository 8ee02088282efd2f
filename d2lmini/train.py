"""`train_ch6`: a plain training loop that measures itself and returns what it measured."""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from d2lmini.checkpoint import (
    generator_states,
    read_checkpoint,
    restore,
    save_checkpoint,
    set_generator_states,
)
from d2lmini.device import (
    describe_environment,
    freed_memory_kept,
    set_seed,
    synchronize,
    try_gpu,
)
from d2lmini.distributed import Team, current_team
from d2lmini.faults import Diverged, LossWatch, is_out_of_memory, out_of_memory
from d2lmini.init import InitRule, find_rule, reset
from d2lmini.live import Reporter, in_notebook, make_reporter
from d2lmini.record import EpochStats, Record
from d2lmini.step import (
    Batches,
    OptimizerRule,
    Schedule,
    Stepper,
    check_fit,
    check_rereadable,
    describe_data,
    precision_context,
    resolve_precision,
)
from d2lmini.summary import evaluation_mode


def train_ch6(
    net: nn.Module,
    train_iter: Batches,
    test_iter: Batches,
    num_epochs: int,
    lr: float | None,
    device: torch.device | str | None = None,
    *,
    optimizer: str | OptimizerRule | torch.optim.Optimizer = "sgd",
    schedule: str | Schedule | None = None,
    init: str | InitRule | None = "xavier",
    seed: int | None = None,
    precision: str = "auto",
    label_smoothing: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[Record], object] | None = None,
    plot: bool | None = None,
) -> Record:
    """Train a classifier with cross-entropy; returns the `Record` of the run.

    Called by position it does what D2L's function of this name does: Xavier init, plain SGD.
    train_iter, test_iter: any iterables of (X, y), X (N, …) and y int64 (N,); iterated once an
    epoch. net(X) gives logits (N, classes), or, while training, a tuple of them, of which the
    second and later are auxiliary classifiers, weighted 0.3.

    lr: the highest rate; None keeps those of an optimizer instance.
    optimizer: a name in OPTIMIZERS, a function (parameters, lr=…) → optimizer, or an instance.
    schedule: a name in SCHEDULES or a function from progress (0 … 1) to the rate's multiplier.
    init: a name in `d2lmini.init.INITS`, a function of one module, or None to keep the weights.
    seed: draws the weights (unless init is None), dropout and the order of unseeded loaders anew.
    precision: "fp32"; "bf16" for bfloat16 products of fp32 weights; "auto" is bf16 where the
    hardware has it.
    checkpoint: a file, replaced after each epoch; if it exists, training resumes from it and
    ends with the weights that an uninterrupted run ends with.
    on_epoch: called with the record so far. plot: live curves; None shows them in notebooks, a
    progress bar in terminals.
    Interrupted in a notebook after its first epoch, it returns the record of the epochs done.
    Afterwards the net is in evaluation mode, and an optimizer instance has its own rates again.
    In torch's process group, all processes train this net together (`d2lmini.distributed`).
    Raises ValueError for data that does not fit the net, and for a checkpoint of another run;
    `Diverged` (a FloatingPointError) for a loss that is no number, with the record so far;
    MemoryError that names a batch size that fits, unless loading alone takes too much.
    """
    # NumPy's numbers are not JSON, and a checkpoint of them could not be read
    num_epochs, label_smoothing = operator.index(num_epochs), float(label_smoothing)
    lr = None if lr is None else float(lr)
    seed = None if seed is None else operator.index(seed)
    team = current_team()
    device = torch.device(device) if device is not None else try_gpu()
    precision = resolve_precision(precision, device)
    init_rule = None if init is None else find_rule(init)
    check_rereadable(train_iter, test_iter, num_epochs)
    net.to(device)
    if not any(parameter.dim() == 5 for parameter in net.parameters()):  # three-dimensional convs
        net.to(memory_format=torch.channels_last)
    forward_context = partial(precision_context, precision, device)
    stepper = Stepper(
        net, optimizer, lr, schedule, num_epochs, train_iter, label_smoothing, forward_context, team
    )
    # whatever is wrong with the call has been said: from here on the weights change
    _initialize(net, init_rule, seed, team)
    settings = {
        "net": type(net).__name__,
        "parameters": sum(p.numel() for p in net.parameters()),
        "num_epochs": num_epochs,
        "lr": lr,
        "optimizer": _name(optimizer),
        "schedule": _name(schedule),
        "init": _name(init),
        "seed": seed,
        "precision": precision,
        "label_smoothing": label_smoothing,
        "batch_size": getattr(train_iter, "batch_size", None),
    }
    run = _Run(stepper, train_iter, test_iter, device, precision, settings, checkpoint)
    run.resume()
    reporter = make_reporter(plot if team.leads else False, num_epochs)
    with contextlib.closing(reporter), freed_memory_kept(device):
        run.train(num_epochs, reporter, on_epoch)
    record = run.record
    if team.leads:
        print(
            f"loss {record.train_loss:.3f}, train acc {record.train_acc:.3f}, "
            f"test acc {record.test_acc:.3f}"
        )
        print(f"{record.examples_per_second:.1f} examples/sec on {device}")
    return record


def evaluate_accuracy(
    net: nn.Module,
    data_iter: Batches,
    device: torch.device | str | None = None,
    *,
    precision: str = "auto",
) -> float:
    """The share of `data_iter`'s images that the net gets right, in evaluation mode.

    device: None is the net's own. The net's mode is afterwards what it was before.
    Raises MemoryError that names a batch size that fits.
    """
    device = torch.device(device) if device is not None else _device_of(net)
    return _evaluate(net, data_iter, device, resolve_precision(precision, device), Team())


class _Run:
    """A run under way: its history, and whatever each epoch needs."""

    def __init__(
        self,
        stepper: Stepper,
        train_iter: Batches,
        test_iter: Batches,
        device: torch.device,
        precision: str,
        settings: dict[str, Any],
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        self.stepper, self.team = stepper, stepper.team
        self.train_iter, self.test_iter = train_iter, test_iter
        self.device, self.precision = device, precision
        self.settings, self.checkpoint = settings, checkpoint
        self.environment = asdict(describe_environment(device))
        if self.team.size > 1:
            self.environment["processes"] = self.team.size
        self.history: tuple[EpochStats, ...] = ()
        self.identity: dict[str, str] = {}
        if checkpoint is not None:
            self.identity = stepper.identity() | {
                "training data": describe_data(train_iter),
                "test data": describe_data(test_iter),
            }

    @property
    def record(self) -> Record:
        return Record(self.history, self.settings, self.environment)

    def resume(self) -> None:
        """From the checkpoint, which the first process reads for all.

        Where there is none, the weights to start from are kept: a run that is stopped in its
        first epoch begins anew from them, and a full disk is found before there is work to lose.
        """
        if (path := self.checkpoint) is not None:

            def read() -> dict[str, Any] | None:
                if not Path(path).exists():
                    return None
                return read_checkpoint(path, self.settings, self.identity)

            if (content := self.team.from_leader(read)) is None:
                self._save()
            else:
                net, optimizer = self.stepper.net, self.stepper.optimizer
                self.history = restore(content, path, net, optimizer, self.train_iter)
                if self.team.rank < len(content["generators"]):
                    set_generator_states(content["generators"][self.team.rank], self.device)
        self.stepper.start()

    def train(
        self, num_epochs: int, reporter: Reporter, on_epoch: Callable[[Record], object] | None
    ) -> None:
        first = len(self.history) + 1
        try:
            for epoch in range(first, num_epochs + 1):
                self.history += (self._epoch(epoch, reporter, check=epoch == first),)
                self._save()
                if self.team.leads:
                    reporter.epoch(self.record)
                    if on_epoch is not None:
                        on_epoch(self.record)
        except Diverged as error:
            error.record = replace(self.record, diverged=error.divergence)
            raise
        except ValueError:
            if self.checkpoint is not None and not self.history and self.team.leads:
                # the call does not fit; the mended one must not find this file
                Path(self.checkpoint).unlink(missing_ok=True)
            raise
        except KeyboardInterrupt:
            if not self.history or not in_notebook():
                raise
            done = len(self.history)
            self.settings = {**self.settings, "interrupted": True}
            print(f"interrupted: the record ends with epoch {done} of {num_epochs}")
        finally:
            self.stepper.finish()

    def _epoch(self, epoch: int, reporter: Reporter, check: bool) -> EpochStats:
        """check: whether the first batch fits, before it is trained on."""
        stepper, device = self.stepper, self.device
        stepper.net.train()
        watch = LossWatch(epoch, stepper.num_batches, self.settings, device)
        total_loss = torch.zeros((), device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        examples, load_seconds = 0, 0.0
        start = loading = perf_counter()
        for batch, (X, y) in enumerate(_read(self.train_iter)):
            if batch == 0:
                self.team.check_same(y)
            whole = len(y)
            X, y, count = self.team.share(X, y)
            X, y = _move(X, device), _move(y, device)
            load_seconds += perf_counter() - loading
            stepper.set_rate(epoch, batch)
            if batch == 0 and check:
                check_fit(stepper.net, X, y, stepper.num_classes)
            loss, right = stepper(X, y, self.team.weight(count, whole))
            watch.add(loss, stepper.rate, X)
            if count:
                total_loss += loss * count
                correct += right
            examples += whole
            reporter.batch(epoch, batch, stepper.num_batches)
            loading = perf_counter()
        if examples == 0:
            raise ValueError(f"train_iter gave no batch in epoch {epoch}")
        synchronize(device)
        seconds = perf_counter() - start
        watch.look(X)
        watch.check_weights(stepper.net, stepper.rate)
        self.team.add_up(total_loss, correct)
        self.team.share_buffers(stepper.net)
        test_acc = _evaluate(stepper.net, self.test_iter, device, self.precision, self.team)
        return EpochStats(
            epoch=epoch,
            train_loss=total_loss.item() / examples,
            train_acc=correct.item() / examples,
            test_acc=test_acc,
            seconds=seconds,
            load_seconds=load_seconds,
            test_seconds=perf_counter() - start - seconds,
            examples=examples,
            lr=stepper.rate,
        )

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        generators = self.team.from_all(generator_states(self.device))
        if self.team.leads:
            net, optimizer = self.stepper.net, self.stepper.optimizer
            save_checkpoint(
                self.checkpoint, self.settings, self.identity, self.history, net, optimizer,
                self.train_iter, generators,
            )  # fmt: skip


def _initialize(net: nn.Module, rule: InitRule | None, seed: int | None, team: Team) -> None:
    if seed is not None:
        set_seed(seed)
        if rule is not None:
            reset(net)  # biases too, which Xavier leaves alone
    if rule is not None:
        net.apply(rule)
    if team.rank > 0:  # dropout of its own; the weights are the first process's
        torch.manual_seed((torch.initial_seed() + team.rank) % 2**64)


def _evaluate(
    net: nn.Module, data_iter: Batches, device: torch.device, precision: str, team: Team
) -> float:
    correct = torch.zeros((), dtype=torch.int64, device=device)
    count = 0

    def right(X: Tensor, y: Tensor) -> Tensor:
        with precision_context(precision, device):  # the loader's own work is none of its business
            return (net(X).argmax(dim=1) == y).sum()

    with evaluation_mode(net):
        for X, y in _read(data_iter):
            count += len(y)
            X, y, mine = team.share(X, y)
            X, y = _move(X, device), _move(y, device)
            try:
                answers = right(X, y)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                attempt = partial(lambda X, y, size: right(X[:size], y[:size]), X, y)
                raise out_of_memory(error, device, len(X), attempt, team.size) from error
            correct += answers * (mine > 0)
    if count == 0:
        raise ValueError("data_iter gave no images; a generator can be read only once")
    team.add_up(correct)
    return correct.item() / count


def _read(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches. Raises MemoryError where loading one takes more than there is."""
    with _loading():
        yield from batches


def _move(batch: Tensor, device: torch.device) -> Tensor:
    with _loading():
        if device.type == "cuda" and batch.device.type == "cpu":
            batch = batch.pin_memory()  # from elsewhere in memory the copy would hold up the loop
        # elsewhere than on CUDA a copy that is not waited for may read memory already used anew
        return batch.to(device, non_blocking=device.type == "cuda")


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            "too little memory to load a batch: load smaller batches (batch_size=) or smaller "
            "images (resize=)"
        ) from error


def _name(value: Any) -> str | None:
    """How a setting is written in a record: a name, a function's name or a class's."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "__name__", None) or type(value).__name__)


def _device_of(net: nn.Module) -> torch.device:
    parameter = next(net.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
