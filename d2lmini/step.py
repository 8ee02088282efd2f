"""One training step: the optimizers and schedules by name, and what a batch must be like."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2lmini.device import has_fast_bf16
from d2lmini.distributed import Team
from d2lmini.faults import is_out_of_memory, out_of_memory
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
MOST_STATES = 2  # what an optimizer keeps of each weight, at most: Adam's two moments


def one_cycle(progress: float) -> float:
    """The rate's multiplier at `progress` 0 … 1: up from 0 over the first fifth, down to 0.

    Source: after Smith and Topin (2018), with straight lines.
    """
    return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8


SCHEDULES: dict[str, Schedule] = {"one_cycle": one_cycle}


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


class Stepper:
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
        team: Team,
    ) -> None:
        self.net = self.forward = net
        self.forward_context = forward_context
        self.team = team
        self.optimizer = _make_optimizer(optimizer, net, lr)
        self.schedule = _lookup("schedule", schedule, SCHEDULES) if schedule else None
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.num_epochs = num_epochs
        self.num_batches = _length(train_iter)
        self.num_classes = getattr(train_iter, "num_classes", None)
        self.label_smoothing = label_smoothing

    def identity(self) -> dict[str, str]:
        """What is trained how, beyond the names in a record's settings; before the first step."""
        options = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        factors = [self.schedule((i + 0.5) / 10) for i in range(10)] if self.schedule else None
        return {
            "layers": repr(self.net),
            "optimizer's options": repr(options),
            "schedule's rates": repr(factors),
        }

    def start(self) -> None:
        """Once the weights are those to start from: all processes take the first one's."""
        self.forward = self.team.wrap(self.net)

    def finish(self) -> None:
        """The net ready to answer; an optimizer's own rates as they were."""
        self.net.eval()
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate

    @property
    def rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def set_rate(self, epoch: int, batch: int) -> None:
        """epoch from 1, batch from 0; without a length the rate changes by the epoch."""
        if self.schedule is None:
            return
        done = epoch - 1 + ((batch + 0.5) / self.num_batches if self.num_batches else 0.5)
        factor = self.schedule(done / self.num_epochs)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def __call__(self, X: Tensor, y: Tensor, weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """The batch's mean loss and its number of right answers, both before the step.

        weight: of this process's images in the mean over all processes.
        Raises MemoryError naming a batch size that fits.
        """
        try:
            loss, logits = self._backward(self.forward, X, y, weight)
            self.optimizer.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory(error, X, y) from error
        return loss, (logits.argmax(dim=1) == y).sum()

    def _backward(
        self, net: nn.Module, X: Tensor, y: Tensor, weight: float
    ) -> tuple[Tensor, Tensor]:
        """Leaves the gradients in the parameters; returns the mean loss and the logits."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.forward_context():
            logits, *auxiliary = (output.float() for output in _as_tuple(net(X)))
        try:
            loss = F.cross_entropy(
                logits, y, ignore_index=NO_LABEL, label_smoothing=self.label_smoothing
            )
        except IndexError:  # what torch raises on the CPU for a label that no output stands for
            _check_labels(y, logits.shape[1])
            raise
        for extra in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(extra, y)
        (loss if weight == 1 else weight * loss).backward()
        return loss.detach(), logits.detach()

    def _out_of_memory(self, error: RuntimeError, X: Tensor, y: Tensor) -> MemoryError:
        def attempt(size: int) -> None:
            reserve = None
            if not self.optimizer.state:  # it takes its memory at the first step
                weights = sum(p.numel() for p in self.net.parameters())
                reserve = torch.empty(MOST_STATES * weights, device=X.device)
            self._backward(self.net, X[:size], y[:size], 1.0)
            del reserve

        return out_of_memory(error, X.device, len(X), attempt, self.team.size)


def check_rereadable(train_iter: Batches, test_iter: Batches, num_epochs: int) -> None:
    """Raises ValueError unless both can be read once in every epoch."""
    if num_epochs < 1:
        raise ValueError(f"num_epochs={num_epochs} must be 1 or more")
    for name, batches in (("train_iter", train_iter), ("test_iter", test_iter)):
        if num_epochs > 1 and isinstance(batches, Iterator):
            raise ValueError(
                f"{name} is a generator, which can be read only once, but num_epochs={num_epochs}; "
                "pass a list of batches or a loader"
            )


def check_fit(net: nn.Module, X: Tensor, y: Tensor, num_classes: int | None) -> None:
    """Try one forward pass, so that what does not fit is said in the terms of the call.

    A net that flattens by `.view()` takes no channels-last maps; its weights are laid out anew.
    """
    if y.shape != X.shape[:1] or y.dtype != torch.int64:
        raise ValueError(
            f"labels are {y.dtype} of shape {tuple(y.shape)}; expected torch.int64 of shape "
            f"({len(X)},), one for each of the {len(X)} images"
        )
    try:
        logits = _answer(net, X[:1])
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise out_of_memory(error, X.device, 1, net) from error
        net.to(memory_format=torch.contiguous_format)
        try:
            logits = _answer(net, X[:1])
        except RuntimeError as again:
            raise ValueError(
                f"the net does not take images of shape {tuple(X.shape[1:])}: {again}; "
                "build it for that image_size and in_channels, or load the data with resize="
            ) from again
    if logits.dim() != 2 or (num_classes is not None and logits.shape[1] != num_classes):
        expected = num_classes if num_classes is not None else "classes"
        raise ValueError(
            f"the net's output for one image is {tuple(logits.shape)}, but the data needs "
            f"(1, {expected}); build it with num_classes={expected}"
        )
    _check_labels(y, logits.shape[1])


def describe_data(batches: Batches) -> str:
    """What a loader says of itself; of other iterables there is nothing to compare."""
    return str(batches.describe()) if hasattr(batches, "describe") else ""


def _answer(net: nn.Module, X: Tensor) -> Tensor:
    with evaluation_mode(net):
        return net(X)


def _length(batches: Batches) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:  # it has none, or, as a DataLoader of an IterableDataset, cannot tell
        return None


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


def _as_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)
