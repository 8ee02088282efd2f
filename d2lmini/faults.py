"""What ends a training, said in the terms of the call: a loss out of bounds, too little memory.

A look at a loss makes the loop wait for a GPU, so there it is looked at once in many batches.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from d2lmini.record import Divergence, Record

LARGEST_LOSS = 1e6  # at the start it is about the logarithm of the number of classes
BATCHES_BETWEEN_LOOKS = 100  # on a GPU; on the CPU a loss can be read at once
# what RuntimeErrors of the CPU, of MPS and of libraries say where CUDA has an error of its own
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class Diverged(FloatingPointError):
    """The loss or the weights have grown out of bounds: where, is `divergence`.

    record: the epochs before it, as `train_ch6` hands them on.
    """

    def __init__(self, message: str, divergence: Divergence) -> None:
        super().__init__(message)
        self.divergence = divergence
        self.record: Record | None = None


class LossWatch:
    """Reads an epoch's losses; raises `Diverged` at the first that is no number or above 10⁶."""

    def __init__(
        self, epoch: int, num_batches: int | None, settings: dict[str, Any], device: torch.device
    ) -> None:
        self.epoch, self.num_batches, self.settings = epoch, num_batches, settings
        self.every = 1 if device.type == "cpu" else BATCHES_BETWEEN_LOOKS
        self.batches = 0  # looked at
        self.waiting: list[tuple[Tensor, float]] = []  # losses on the device, and their rates

    def add(self, loss: Tensor, rate: float, X: Tensor) -> None:
        self.waiting.append((loss, rate))
        if len(self.waiting) >= self.every:
            self.look(X)

    def look(self, X: Tensor | None = None) -> None:
        """X: the last batch's images, to see whether they are to blame."""
        if not self.waiting:
            return
        losses, rates = zip(*self.waiting, strict=True)
        self.waiting = []
        for loss, rate in zip(torch.stack(losses).tolist(), rates, strict=True):
            self.batches += 1
            if not loss <= LARGEST_LOSS:  # NaN is not, either
                raise self._diverged(f"the loss is {loss:.3g}", loss, rate, X)

    def check_weights(self, net: nn.Module, rate: float) -> None:
        """After the epoch's last step, whose outcome no loss has shown yet."""
        finite = [parameter.detach().isfinite().all() for parameter in net.parameters()]
        if finite and not torch.stack(finite).all():
            raise self._diverged("a weight is not finite after the step", math.nan, rate)

    def _diverged(self, what: str, loss: float, rate: float, X: Tensor | None = None) -> Diverged:
        of = f" of {self.num_batches}" if self.num_batches else ""
        where = f"in epoch {self.epoch}, batch {self.batches}{of}, at the rate {rate:g}"
        loss = loss if math.isfinite(loss) else math.nan
        divergence = Divergence(self.epoch, self.batches, loss, rate)
        return Diverged(f"{what} {where}; {self._advice(X)}", divergence)

    def _advice(self, X: Tensor | None = None) -> str:
        if self.every == 1 and X is not None and not X.isfinite().all():
            return (
                "the batch's images hold numbers that are not finite: look for them in the files "
                "read, or for a deviation of 0 that they are divided by"
            )
        if X is not None and self.epoch == self.batches == 1:
            return (
                "no step has been made yet, so it is not the rate: try images of mean 0 and "
                'deviation 1 (normalize=True), or other weights (init="he")'
            )
        lr = self.settings["lr"]
        lower = f"lr={lr / 10:g}" if lr else "a tenth of the rate"
        return f"try {lower}, or {_second_advice(self.settings)}"


def _second_advice(settings: dict[str, Any]) -> str:
    if settings["schedule"] is None:
        return 'schedule="one_cycle", which begins with low rates'
    if settings["init"] == "xavier":
        return 'init="he", made for ReLUs'
    if settings["precision"] == "bf16":
        return 'precision="fp32"'
    return "images of mean 0 and deviation 1 (normalize=True)"


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )


def out_of_memory(
    error: RuntimeError,
    device: torch.device,
    size: int,
    attempt: Callable[[int], object],
    processes: int = 1,
) -> MemoryError:
    """An error that names a batch size that fits: a half of `size`, or a quarter …, as tried.

    attempt: does with that many images what failed with `size` of them, in this process, one of
    `processes` that share each batch.
    """
    traceback.clear_frames(error.__traceback__)  # they hold the failed step's tensors
    said = f"{device} has too little memory for a batch of {size * processes}"
    while size > 1:
        size //= 2
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except RuntimeError as again:
            if not is_out_of_memory(again):
                raise
        else:
            fits = size * processes
            return MemoryError(f"{said}; {fits} fit: load the data with batch_size={fits}")
    return MemoryError(
        f"{said}, as for a single image: load smaller images (resize=) or take a narrower net"
    )
