"""`train_ch6`: a plain training loop that measures itself and returns what it measured."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2lmini.device import (
    describe_environment,
    freed_memory_kept,
    has_fast_bf16,
    set_seed,
    synchronize,
    try_gpu,
)
from d2lmini.init import InitRule, find_rule, reset
from d2lmini.live import make_reporter
from d2lmini.record import EpochStats, Record, write_atomically
from d2lmini.summary import evaluation_mode

Batches = Iterable[tuple[Tensor, Tensor]]
OptimizerRule = Callable[..., torch.optim.Optimizer]
Schedule = Callable[[float], float]

OPTIMIZERS: dict[str, OptimizerRule] = {
    "sgd": torch.optim.SGD,
    "nesterov": partial(
        torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    ),
    "adam": partial(torch.optim.Adam, fused=True),
}
NO_LABEL = -(2**62)  # torch's own -100 would leave such an image out without a word
AUXILIARY_WEIGHT = 0.3  # of each auxiliary classifier's loss; Szegedy et al. (2015), section 5


def one_cycle(progress: float) -> float:
    """The rate's multiplier at `progress` 0 … 1: up from 0 over the first fifth, down to 0.

    Source: after Smith and Topin (2018), with straight lines.
    """
    return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8


SCHEDULES: dict[str, Schedule] = {"one_cycle": one_cycle}


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
    Raises ValueError for data that does not fit the net, and for a checkpoint of another run.
    """
    device = torch.device(device) if device is not None else try_gpu()
    precision = resolve_precision(precision, device)
    init_rule = None if init is None else find_rule(init)
    _check_rereadable(train_iter, test_iter, num_epochs)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward_context = partial(precision_context, precision, device)
    stepper = _Stepper(
        net, optimizer, lr, schedule, num_epochs, train_iter, label_smoothing, forward_context
    )
    # whatever is wrong with the call has been said: from here on the weights change
    if seed is not None:
        set_seed(seed)
        if init_rule is not None:
            reset(net)  # biases too, which Xavier leaves alone
    if init_rule is not None:
        net.apply(init_rule)
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
    environment = asdict(describe_environment(device))
    history: tuple[EpochStats, ...] = ()
    if checkpoint is not None and Path(checkpoint).exists():
        history = _load_checkpoint(Path(checkpoint), settings, stepper, train_iter)

    reporter = make_reporter(plot, num_epochs)
    with contextlib.closing(reporter), freed_memory_kept(device):
        for epoch in range(len(history) + 1, num_epochs + 1):
            stats = _train_epoch(epoch, stepper, train_iter, test_iter, device, precision, reporter)
            history += (stats,)
            if checkpoint is not None:
                _save_checkpoint(Path(checkpoint), settings, stepper, train_iter, history)
            record = Record(history, settings, environment)
            reporter.epoch(record)
            if on_epoch is not None:
                on_epoch(record)
    record = Record(history, settings, environment)
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
    """
    device = torch.device(device) if device is not None else _device_of(net)
    correct, count = torch.zeros((), dtype=torch.int64, device=device), 0
    context = precision_context(resolve_precision(precision, device), device)
    with evaluation_mode(net), context:
        for X, y in data_iter:
            X, y = _move(X, device), _move(y, device)
            correct += (net(X).argmax(dim=1) == y).sum()
            count += len(y)
    if count == 0:
        raise ValueError("data_iter gave no images; a generator can be read only once")
    return correct.item() / count


def resolve_precision(precision: str, device: torch.device) -> str:
    """For "auto" what is quicker there, "bf16" or "fp32". Raises ValueError if unknown."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f'precision={precision!r} is unknown; known are "auto", "fp32", "bf16"')
    if precision != "auto":
        return precision
    return "bf16" if has_fast_bf16(device) else "fp32"


def precision_context(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Within it, a forward pass runs in `precision` on `device`.

    One context per step: autocast keeps its bfloat16 copies of the weights until it is left.
    """
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


class _Stepper:
    """The net, its optimizer and its schedule: one call is one step on one batch."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: str | OptimizerRule | torch.optim.Optimizer,
        lr: float | None,
        schedule: str | Schedule | None,
        num_epochs: int,
        train_iter: Batches,
        label_smoothing: float,
        forward_context: Callable[[], contextlib.AbstractContextManager],
    ) -> None:
        self.net = net
        self.forward_context = forward_context
        self.optimizer = _make_optimizer(optimizer, net, lr)
        self.schedule = _lookup("schedule", schedule, SCHEDULES) if schedule else None
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.num_epochs = num_epochs
        self.num_batches = len(train_iter) if isinstance(train_iter, Sized) else None
        self.num_classes = getattr(train_iter, "num_classes", None)
        self.label_smoothing = label_smoothing

    def set_rate(self, epoch: int, batch: int) -> None:
        """epoch from 1, batch from 0; without a length the rate changes by the epoch."""
        if self.schedule is None:
            return
        done = epoch - 1 + ((batch + 0.5) / self.num_batches if self.num_batches else 0.5)
        factor = self.schedule(done / self.num_epochs)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def __call__(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's mean loss and its number of right answers, both before the step."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.forward_context():
            logits, *auxiliary = (output.float() for output in _as_tuple(self.net(X)))
        try:
            loss = F.cross_entropy(
                logits, y, ignore_index=NO_LABEL, label_smoothing=self.label_smoothing
            )
        except IndexError:  # what torch raises on the CPU for a label that no output stands for
            _check_labels(y, logits.shape[1])
            raise
        for extra in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(extra, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(dim=1) == y).sum()


def _train_epoch(
    epoch: int,
    stepper: _Stepper,
    train_iter: Batches,
    test_iter: Batches,
    device: torch.device,
    precision: str,
    reporter: Any,
) -> EpochStats:
    stepper.net.train()
    total_loss = torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    examples, load_seconds = 0, 0.0
    start = loading = perf_counter()
    for batch, (X, y) in enumerate(train_iter):
        X, y = _move(X, device), _move(y, device)
        load_seconds += perf_counter() - loading
        stepper.set_rate(epoch, batch)
        if batch == 0 and epoch == 1:
            _check_fit(stepper.net, X, y, stepper.num_classes)
        loss, right = stepper(X, y)
        total_loss += loss * len(y)
        correct += right
        examples += len(y)
        reporter.batch(epoch, batch, stepper.num_batches)
        loading = perf_counter()
    if examples == 0:
        raise ValueError(f"train_iter gave no batch in epoch {epoch}")
    synchronize(device)
    seconds = perf_counter() - start
    test_acc = evaluate_accuracy(stepper.net, test_iter, device, precision=precision)
    return EpochStats(
        epoch=epoch,
        train_loss=total_loss.item() / examples,
        train_acc=correct.item() / examples,
        test_acc=test_acc,
        seconds=seconds,
        load_seconds=load_seconds,
        test_seconds=perf_counter() - start - seconds,
        examples=examples,
        lr=stepper.optimizer.param_groups[0]["lr"],
    )


def _move(batch: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and batch.device.type == "cpu":
        batch = batch.pin_memory()  # from elsewhere in memory the copy would hold up the loop
    return batch.to(device, non_blocking=True)


def _check_rereadable(train_iter: Batches, test_iter: Batches, num_epochs: int) -> None:
    if num_epochs < 1:
        raise ValueError(f"num_epochs={num_epochs} must be 1 or more")
    for name, batches in (("train_iter", train_iter), ("test_iter", test_iter)):
        if num_epochs > 1 and isinstance(batches, Iterator):
            raise ValueError(
                f"{name} is a generator, which can be read only once, but num_epochs={num_epochs}; "
                "pass a list of batches or a loader"
            )


def _check_fit(net: nn.Module, X: Tensor, y: Tensor, num_classes: int | None) -> None:
    """Try one forward pass, so that what does not fit is said in the terms of the call."""
    if y.shape != X.shape[:1] or y.dtype != torch.int64:
        raise ValueError(
            f"labels are {y.dtype} of shape {tuple(y.shape)}; expected torch.int64 of shape "
            f"({len(X)},), one for each of the {len(X)} images"
        )
    try:
        with evaluation_mode(net):
            logits = net(X[:1])
    except RuntimeError as error:
        raise ValueError(
            f"the net does not take images of shape {tuple(X.shape[1:])}: {error}; "
            "build it for that image_size and in_channels, or load the data with resize="
        ) from error
    if logits.dim() != 2 or (num_classes is not None and logits.shape[1] != num_classes):
        expected = num_classes if num_classes is not None else "classes"
        raise ValueError(
            f"the net's output for one image is {tuple(logits.shape)}, but the data needs "
            f"(1, {expected}); build it with num_classes={expected}"
        )
    _check_labels(y, logits.shape[1])


def _check_labels(y: Tensor, width: int) -> None:
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= width:
        raise ValueError(
            f"labels run from {low} to {high}, but the net's {width} outputs are numbered "
            f"0 to {width - 1}"
        )


def _make_optimizer(
    optimizer: str | OptimizerRule | torch.optim.Optimizer, net: nn.Module, lr: float | None
) -> torch.optim.Optimizer:
    if isinstance(optimizer, torch.optim.Optimizer):
        if lr is not None:
            for group in optimizer.param_groups:
                group["lr"] = lr
        return optimizer
    if lr is None:
        raise ValueError("lr=None needs an optimizer instance that brings its own rate")
    return _lookup("optimizer", optimizer, OPTIMIZERS)(net.parameters(), lr=lr)


def _lookup(option: str, value: Any, known: dict[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    if value not in known:
        raise ValueError(f"{option}={value!r} is unknown; known are {', '.join(known)}")
    return known[value]


def _name(value: Any) -> str | None:
    """How a setting is written in a record: a name, a function's name or a class's."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "__name__", None) or type(value).__name__)


def _as_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def _device_of(net: nn.Module) -> torch.device:
    parameter = next(net.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")


def _save_checkpoint(
    path: Path,
    settings: dict[str, Any],
    stepper: _Stepper,
    train_iter: Batches,
    history: tuple[EpochStats, ...],
) -> None:
    content = {
        "settings": settings,
        "net": stepper.net.state_dict(),
        "optimizer": stepper.optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "loader": train_iter.state_dict() if hasattr(train_iter, "state_dict") else None,
        "history": [asdict(stats) for stats in history],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def _load_checkpoint(
    path: Path, settings: dict[str, Any], stepper: _Stepper, train_iter: Batches
) -> tuple[EpochStats, ...]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = content["settings"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a checkpoint of train_ch6: {error!r}") from error
    if before != settings:
        changed = [k for k in settings if before.get(k) != settings[k]]
        told = ", ".join(f"{k} {before.get(k)!r} → {settings[k]!r}" for k in changed)
        raise ValueError(
            f"checkpoint {path} is of a run with other settings ({told}); "
            "delete it or name another file"
        )
    try:
        stepper.net.load_state_dict(content["net"])
    except RuntimeError as error:
        raise ValueError(f"checkpoint {path} is of another net: {error}") from error
    stepper.optimizer.load_state_dict(content["optimizer"])
    if content["loader"] is not None and hasattr(train_iter, "load_state_dict"):
        train_iter.load_state_dict(content["loader"])
    torch.set_rng_state(content["rng"])
    if content["cuda_rng"]:
        torch.cuda.set_rng_state_all(content["cuda_rng"])
    return tuple(EpochStats(**stats) for stats in content["history"])
