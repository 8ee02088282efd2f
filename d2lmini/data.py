"""Fashion-MNIST and CIFAR-10 as uint8 tensors in memory, and the loader that batches them.

The images stay uint8 (47 MB for Fashion-MNIST's training set). Each batch is converted to
float32, resized, augmented and normalised at once, on the device that will use it.
"""

from __future__ import annotations

import operator
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from d2lmini.files import cifar10_arrays, fashion_mnist_arrays

FASHION_MNIST_LABELS = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
LARGEST_SIDE = 16_384  # pixels of a resized image


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split, in memory.

    images: uint8 (N, C, H, W); labels: int64 (N,), each in 0 … len(classes) - 1.
    mean, std: of the *training* images per channel, on the scale of [0, 1].
    Raises ValueError where these do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.images.dim() != 4 or self.labels.dim() != 1:
            raise ValueError(
                f"images of shape {tuple(self.images.shape)} and labels of shape "
                f"{tuple(self.labels.shape)}; they must be (N, C, H, W) and (N,)"
            )
        if (self.images.dtype, self.labels.dtype) != (torch.uint8, torch.int64):
            raise ValueError(
                f"images are {self.images.dtype} and labels {self.labels.dtype}; they must be "
                "torch.uint8, 0 to 255, and torch.int64"
            )
        channels = self.images.shape[1]
        if not channels == len(self.mean) == len(self.std):
            raise ValueError(
                f"images of {channels} channels, but {len(self.mean)} means and {len(self.std)} "
                "deviations"
            )
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(
            self.classes
        ):
            raise ValueError(
                f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, but the "
                f"{len(self.classes)} classes are numbered 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> ImageSet:
        """The images and labels at `index` (int64), in that order."""
        return replace(self, images=self.images[index], labels=self.labels[index])


class ArrayLoader:
    """Batches `(X, y)` of an `ImageSet`: X float32 (N, C, H, W), y int64 (N,).

    Every iteration starts afresh. With `shuffle`, the order comes from `seed` and the number of
    iterations begun so far (`state_dict` keeps that number), or from torch's global generator
    where `seed` is None.

    resize: an int (height and width) or (height, width) in pixels; bilinear, antialiased when
    shrinking, as torchvision's Resize. normalize: subtract the mean, divide by the deviation.
    augment: a random horizontal flip and a random shift, new for every image of every batch; by
    up to that many pixels, or, where it is True, 1/14 of the side (2 pixels of 28).
    Raises TypeError or ValueError for a batch size, resize, shift, seed or device that cannot be
    used.
    """

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        *,
        shuffle: bool = False,
        resize: int | tuple[int, int] | None = None,
        device: torch.device | str | None = None,
        seed: int | None = None,
        normalize: bool = False,
        augment: bool | int = False,
    ) -> None:
        self.data = data
        self.batch_size = _batch_size(batch_size)
        self.resize = _image_size(resize)
        self.shuffle = shuffle
        self.device = _usable_device(device)
        self.seed = None if seed is None else _whole("seed", seed)
        self.normalize = normalize
        self.augment = bool(augment)
        self.largest_shift = _shift(augment, data.images.shape[-1])
        self.iterations = 0
        self.images = data.images.to(self.device)
        self.labels = data.labels.to(self.device)
        self.mean = torch.tensor(data.mean, device=self.device).view(1, -1, 1, 1)
        self.std = torch.tensor(data.std, device=self.device).view(1, -1, 1, 1)
        height, width = data.images.shape[-2:]
        new_height, new_width = self.resize or (height, width)
        self.rows = resize_matrix(height, new_height).to(self.device)
        self.columns = resize_matrix(width, new_width).T.to(self.device)

    @property
    def num_classes(self) -> int:
        return len(self.data.classes)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = self._generator()
        order = torch.randperm(len(self.data), generator=generator) if self.shuffle else None
        for start in range(0, len(self.data), self.batch_size):
            stop = start + self.batch_size
            if order is None:
                X, y = self.images[start:stop], self.labels[start:stop]
            else:
                index = order[start:stop].to(self.device)
                X, y = self.images[index], self.labels[index]
            yield self.prepare(X, generator), y

    def prepare(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """uint8 (N, C, H, W) → float32 (N, C, H', W'): augmented, resized, normalised."""
        if self.augment:
            images = flip_and_shift(images, self.largest_shift, generator)
        X = images.to(torch.float32, copy=True).div_(255)
        if self.normalize:  # before the resize, which a shift and a factor pass through unchanged
            X = X.sub_(self.mean).div_(self.std)
        if self.resize is not None and self.resize != tuple(X.shape[-2:]):
            X = self.rows @ X @ self.columns  # (H', H) @ (N, C, H, W) @ (W, W')
        return X

    def describe(self) -> dict[str, Any]:
        """What makes two loaders give the same batches."""
        return {
            "images": zlib.crc32(self.data.images.contiguous().numpy().data),
            "labels": zlib.crc32(self.data.labels.contiguous().numpy().data),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "resize": self.resize,
            "seed": self.seed,
            "normalize": self.normalize,
            "shift": self.largest_shift if self.augment else None,
        }

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint must keep so that the next iteration's order is the same."""
        return {"iterations": self.iterations}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.iterations = state["iterations"]

    def _generator(self) -> torch.Generator | None:
        if self.seed is None or not (self.shuffle or self.augment):
            return None
        self.iterations += 1
        # one stream per (seed, iteration); the CPU's generator reads only 32 bits of a seed
        mixed = np.random.SeedSequence([self.seed % 2**64, self.iterations]).generate_state(1)
        return torch.Generator().manual_seed(int(mixed[0]))


def resize_matrix(old: int, new: int) -> Tensor:
    """float32 (new, old): times a column of `old` pixels it gives the column of `new` pixels.

    Bilinear resizing is linear, and separable into rows and columns, so two matrix products do
    it. Its columns are what torch's own antialiased interpolation makes of one lit row each.
    """
    lit = torch.eye(old).view(1, 1, old, old)
    return F.interpolate(lit, (new, old), mode="bilinear", antialias=True)[0, 0]


def flip_and_shift(images: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    """Each image flipped left to right with chance 1/2 and shifted by up to `most` pixels.

    images: (N, C, H, W), any dtype; what the shift uncovers is 0. Returns a new tensor.
    """
    n, _, height, width = images.shape
    flips = torch.rand(n, generator=generator) < 0.5
    shifts = torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator)
    rows = shifts[0] + torch.arange(height)  # (N, H): source rows in the padded image
    columns = shifts[1] + torch.arange(width)  # (N, W)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    padded = F.pad(images, (most, most, most, most))
    sample = torch.arange(n, device=images.device)
    # advanced indices around a slice put the channel last: (N, H, W, C)
    return padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def load_data_fashion_mnist(
    batch_size: int,
    resize: int | tuple[int, int] | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    seed: int | None = None,
    normalize: bool = False,
    augment: bool | int = False,
    subset: int | None = None,
    validation: int | None = None,
) -> tuple[ArrayLoader, ArrayLoader]:
    """Fashion-MNIST's 60,000 training and 10,000 test images as `(train_iter, test_iter)`.

    Batches are X float32 (N, 1, H, W) in [0, 1] (before `normalize`) and y int64 (N,).
    `root` is where to look, and only there; without it the folder `D2LMINI_DATA` is looked in
    first, then the package's own files. `device`, `seed`, `normalize`, `augment`: see
    `ArrayLoader`; only the training images are shuffled and augmented.
    `subset`: train on this many images only, drawn with `seed`. `validation`: hold this many
    training images back and return them as the second loader in the test images' place; the
    split is the same for every `seed`.
    Source: Xiao, Rasul and Vollgraf (2017), arXiv:1708.07747.
    Raises FileNotFoundError or ValueError for missing or altered files.
    """
    train, test = fashion_mnist(root)
    return _loaders(
        train, test, batch_size, resize, device, seed, normalize, augment, subset, validation
    )


def load_data_cifar10(
    batch_size: int,
    resize: int | tuple[int, int] | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    seed: int | None = None,
    normalize: bool = False,
    augment: bool | int = False,
    subset: int | None = None,
    validation: int | None = None,
) -> tuple[ArrayLoader, ArrayLoader]:
    """CIFAR-10's 50,000 training and 10,000 test images; batches X are (N, 3, H, W).

    Options as for `load_data_fashion_mnist`. Without `root`, the folder `D2LMINI_DATA` is
    looked in first (`cifar10.npz` or torchvision's layout), then the download cache
    (`~/.cache/d2lmini`), into which the checksummed archive (170 MB) is downloaded if needed.
    Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images".
    Raises FileNotFoundError or ValueError for missing or altered files, and OSError, with what to
    do by hand, if the download fails.
    """
    train, test = cifar10(root)
    return _loaders(
        train, test, batch_size, resize, device, seed, normalize, augment, subset, validation
    )


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> tuple[ImageSet, ImageSet]:
    """The training and the test split, checksummed; images uint8 (N, 1, 28, 28)."""

    def image_set(images: np.ndarray, labels: np.ndarray) -> ImageSet:
        return ImageSet(
            images=torch.from_numpy(images).unsqueeze(1),
            labels=torch.from_numpy(labels).long(),
            classes=FASHION_MNIST_LABELS,
            mean=(0.2860,),
            std=(0.3530,),
        )

    train, test = fashion_mnist_arrays(root)
    return image_set(*train), image_set(*test)


def cifar10(root: str | os.PathLike[str] | None = None) -> tuple[ImageSet, ImageSet]:
    """The training and the test split; images uint8 (N, 3, 32, 32), RGB.

    Raises FileNotFoundError or ValueError for missing or altered files, and OSError, with what to
    do by hand, if the download fails.
    """

    def image_set(images: np.ndarray, labels: np.ndarray) -> ImageSet:
        return ImageSet(
            images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            labels=torch.from_numpy(labels.astype(np.int64)),
            classes=CIFAR10_LABELS,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        )

    train, test = cifar10_arrays(root)
    return image_set(*train), image_set(*test)


def get_fashion_mnist_labels(labels: Any) -> list[str]:
    """The class names of integer labels (any iterable of 0 … 9). Raises ValueError for others."""
    return _names(labels, FASHION_MNIST_LABELS)


def get_cifar10_labels(labels: Any) -> list[str]:
    """The class names of integer labels (any iterable of 0 … 9). Raises ValueError for others."""
    return _names(labels, CIFAR10_LABELS)


def _names(labels: Any, classes: tuple[str, ...]) -> list[str]:
    numbers = [int(i) for i in labels]
    if wrong := [i for i in numbers if not 0 <= i < len(classes)]:
        raise ValueError(f"label {wrong[0]} has no class; they are 0 to {len(classes) - 1}")
    return [classes[i] for i in numbers]


def _loaders(
    train: ImageSet,
    test: ImageSet,
    batch_size: int,
    resize: int | tuple[int, int] | None,
    device: torch.device | str | None,
    seed: int | None,
    normalize: bool,
    augment: bool | int,
    subset: int | None,
    validation: int | None,
) -> tuple[ArrayLoader, ArrayLoader]:
    if validation is not None:
        _check_count("validation", validation, len(train) - 1)
        # a fixed permutation, so that every experiment holds the same images back
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        train, test = train.take(order[validation:]), train.take(order[:validation])
    if subset is not None:
        _check_count("subset", subset, len(train))
        number = 0 if seed is None else _whole("seed", seed)
        generator = torch.Generator().manual_seed(number % 2**64)
        train = train.take(torch.randperm(len(train), generator=generator)[:subset])
    shared: dict[str, Any] = {"resize": resize, "device": device, "normalize": normalize}
    return (
        ArrayLoader(train, batch_size, shuffle=True, seed=seed, augment=augment, **shared),
        ArrayLoader(test, batch_size, **shared),
    )


def _whole(name: str, number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(
            f"{name}={number!r} is a {type(number).__name__}; it must be an int"
        ) from None


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= _whole(name, count) <= most:
        raise ValueError(f"{name}={count} must lie between 1 and {most}")


def _batch_size(batch_size: int) -> int:
    size = _whole("batch_size", batch_size)
    if isinstance(batch_size, bool) or size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be 1 or more")
    return size


def _usable_device(device: torch.device | str | None) -> torch.device:
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device={device!r} cannot be used here: {reason}") from error
    return found


def _shift(augment: bool | int, side: int) -> int:
    """Pixels."""
    if isinstance(augment, (bool, np.bool_)):
        return side // 14
    pixels = _whole("augment", augment)
    if not 0 <= pixels < side:
        raise ValueError(f"augment={augment} pixels must lie between 0 and {side - 1}")
    return pixels


def _image_size(resize: Any) -> tuple[int, int] | None:
    if resize is None:
        return None
    sides = tuple(resize) if isinstance(resize, (tuple, list)) else (resize, resize)
    if len(sides) != 2 or not all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) for side in sides
    ):
        raise TypeError(
            f"resize={resize!r} must be None, an int (pixels) or a pair (height, width) of ints"
        )
    if not 1 <= min(sides) <= max(sides) <= LARGEST_SIDE:
        raise ValueError(f"resize={resize!r} must be 1 to {LARGEST_SIDE:,} pixels a side")
    return int(sides[0]), int(sides[1])
