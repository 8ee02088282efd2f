"""Names from older editions of D2L, so that code written for them runs unchanged."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from d2lmini.record import Record
from d2lmini.step import Batches
from d2lmini.train import evaluate_accuracy, train_ch6


class FlattenLayer(nn.Module):
    """(N, …) → (N, product of the rest)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(start_dim=1)


class GlobalAvgPool2d(nn.Module):
    """(N, C, H, W) → (N, C, 1, 1), each channel's mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class Timer:
    """Seconds of several stretches; starts when made."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start()

    def start(self) -> None:
        self.tik = time.perf_counter()

    def stop(self) -> float:
        """End a stretch and return its seconds."""
        self.times.append(time.perf_counter() - self.tik)
        return self.times[-1]

    def avg(self) -> float:
        return self.sum() / len(self.times)

    def sum(self) -> float:
        return sum(self.times)

    def cumsum(self) -> list[float]:
        return [sum(self.times[: i + 1]) for i in range(len(self.times))]


class Accumulator:
    """Sums over n quantities."""

    def __init__(self, n: int) -> None:
        self.data = [0.0] * n

    def add(self, *args: Any) -> None:
        self.data = [total + float(value) for total, value in zip(self.data, args, strict=True)]

    def reset(self) -> None:
        self.data = [0.0] * len(self.data)

    def __getitem__(self, index: int) -> float:
        return self.data[index]


def accuracy(y_hat: Tensor, y: Tensor) -> float:
    """The number of rows of y_hat (N, classes), or of class numbers (N,), that agree with y."""
    if y_hat.dim() > 1 and y_hat.shape[1] > 1:
        y_hat = y_hat.argmax(dim=1)
    return float((y_hat.type(y.dtype) == y).sum())


def train_ch5(
    net: nn.Module,
    train_iter: Batches,
    test_iter: Batches,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    device: torch.device | str | None,
    num_epochs: int,
) -> Record:
    """`train_ch6` in an older call: the optimizer brings the rate, the weights are kept.

    batch_size is not used: the loaders know theirs.
    """
    return train_ch6(
        net, train_iter, test_iter, num_epochs, None, device, optimizer=optimizer, init=None
    )


evaluate_accuracy_gpu = evaluate_accuracy
