"""Figures from records, images and nets. Each function returns a matplotlib Figure.

Colours: Okabe and Ito's, which colour-blind readers can tell apart; lines also differ in dashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from d2lmini.record import Record
from d2lmini.summary import evaluation_mode

BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))


def curves(record: Record, *, num_epochs: int | None = None) -> Figure:
    """Loss, and training and test accuracy, by epoch; num_epochs: where the axis ends."""
    epochs = [e.epoch for e in record.history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), layout="constrained")
    left.plot(epochs, [e.train_loss for e in record.history], "o-", ms=3, color=BLUE)
    left.set(ylabel="training loss", ylim=(0, None))
    train_acc = [e.train_acc for e in record.history]
    right.plot(epochs, train_acc, "o-", ms=3, color=BLUE, label="training")
    test_acc = [e.test_acc for e in record.history]
    right.plot(epochs, test_acc, "s--", ms=3, color=ORANGE, label="test")
    right.set(ylabel="accuracy")
    right.legend(frameon=False, loc="lower right")
    last = num_epochs or len(epochs) or 1  # none, if it diverged in its first epoch
    for axes in (left, right):
        axes.set(xlabel="epoch", xlim=(0.7, last + 0.3))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure


def compare(records: Mapping[str, Record]) -> Figure:
    """Test accuracy by epoch of several named runs."""
    figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for i, (name, record) in enumerate(records.items()):
        epochs = [e.epoch for e in record.history]
        accuracies = [e.test_acc for e in record.history]
        style: dict[str, Any] = {"color": CYCLE[i % 5], "linestyle": DASHES[i % 5]}
        axes.plot(epochs, accuracies, marker="o", ms=3, label=name, **style)
    axes.set(xlabel="epoch", ylabel="test accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    return figure


def show_images(
    imgs: Iterable[Tensor],
    num_rows: int,
    num_cols: int,
    titles: Sequence[str] | None = None,
    scale: float = 1.5,
) -> np.ndarray:
    """A grid of images (H, W), (1, H, W), (H, W, 3) or (3, H, W); returns its axes, flat."""
    _, grid = plt.subplots(
        num_rows,
        num_cols,
        figsize=(num_cols * scale, num_rows * scale * (1.2 if titles is not None else 1)),
        squeeze=False,
        layout="constrained",
    )
    axes = grid.ravel()
    for axis in axes:
        axis.set_axis_off()
    for i, (axis, img) in enumerate(zip(axes, imgs, strict=False)):
        axis.imshow(_to_pixels(img), cmap="gray")
        if titles is not None:
            axis.set_title(titles[i], fontsize=9)
    return axes


def predict(net: nn.Module, data_iter: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The net's class probabilities (N, classes) and the labels (N,) over a loader, on the CPU."""
    device = next(net.parameters()).device
    probabilities, labels = [], []
    with evaluation_mode(net):
        for X, y in data_iter:
            probabilities.append(net(X.to(device)).softmax(dim=1).cpu())
            labels.append(y.cpu())
    return torch.cat(probabilities), torch.cat(labels)


def confusion_counts(probabilities: Tensor, labels: Tensor) -> Tensor:
    """int64 (classes, classes): how many images of class (row) were given class (column)."""
    classes = probabilities.shape[1]
    cell = labels * classes + probabilities.argmax(dim=1)
    return torch.bincount(cell, minlength=classes**2).view(classes, classes)


def confusion(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> Figure:
    """The confusion matrix in per cent of each true class."""
    counts = confusion_counts(probabilities, labels).double()
    share = (100 * counts / counts.sum(dim=1, keepdim=True)).numpy()
    figure, axes = plt.subplots(figsize=(6.2, 5.4), layout="constrained")
    axes.imshow(np.sqrt(share), cmap="Blues")  # the root lets small confusions be seen
    for true in range(len(classes)):
        for given in range(len(classes)):
            if np.round(share[true, given]) >= 1:
                color = "white" if share[true, given] > 30 else "black"
                text = f"{share[true, given]:.0f}"
                axes.text(given, true, text, ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted class", ylabel="true class (rows sum to 100 %)")
    return figure


def mistakes(
    images: Tensor, probabilities: Tensor, labels: Tensor, classes: Sequence[str], count: int = 10
) -> Figure:
    """The wrong answers given with the highest probability. images: (N, C, H, W), any dtype."""
    confidence, given = probabilities.max(dim=1)
    wrong = torch.nonzero(given != labels).ravel()
    worst = wrong[confidence[wrong].argsort(descending=True)[:count]]
    titles = [
        f"{classes[int(given[i])]} {100 * float(confidence[i]):.0f} %\nis {classes[int(labels[i])]}"
        for i in worst
    ]
    columns = min(5, count)
    axes = show_images([images[i] for i in worst], -(-count // columns), columns, titles)
    return axes[0].figure


def feature_maps(
    net: nn.Sequential, image: Tensor, layers: Mapping[int, str], count: int = 8
) -> Figure:
    """The first `count` channels that each of `layers` (index in net → label) makes of an image.

    image: (C, H, W), prepared as the net was trained. The maps of a row share their colour scale.
    """
    maps: dict[int, Tensor] = {}
    x = image.unsqueeze(0).to(next(net.parameters()).device)
    with evaluation_mode(net):
        for i, layer in enumerate(net):
            x = layer(x)
            if i in layers:
                maps[i] = x[0].cpu()
    figure, grid = plt.subplots(
        len(maps), count + 1, figsize=(0.85 * (count + 1), 0.95 * len(maps)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, (i, channels) in zip(grid, maps.items(), strict=True):
        label = f"{layers[i]}\n{' × '.join(map(str, channels.shape))}"
        row[0].text(0.5, 0.5, label, ha="center", va="center", fontsize=8)
        for axis in row:
            axis.set_axis_off()
        shown = channels[:count]
        scale = {"vmin": float(shown.min()), "vmax": float(shown.max())}
        for axis, channel in zip(row[1:], shown, strict=False):
            axis.imshow(channel.numpy(), cmap="viridis", **scale)
    return figure


def _to_pixels(img: Any) -> np.ndarray:
    """(H, W) or (H, W, 3), as imshow takes it."""
    pixels = img.detach().cpu().numpy() if isinstance(img, Tensor) else np.asarray(img)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels.squeeze(-1) if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
