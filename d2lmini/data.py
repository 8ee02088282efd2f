"""Fashion-MNIST and CIFAR-10 as uint8 tensors in memory, and the loader that batches them.

The images stay uint8 (47 MB for Fashion-MNIST's training set). Each batch is converted to
float32, resized, augmented and normalised at once, on the device that will use it.
"""

from __future__ import annotations

import gzip
import hashlib
import operator
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FASHION_MNIST_LABELS = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

# sha256 of the four official IDX files, decompressed (the .gz wrapper differs between mirrors)
FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PACKAGED_DATASETS = Path(__file__).parent / "datasets"


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split, in memory.

    images: uint8 (N, C, H, W); labels: int64 (N,), each in 0 … len(classes) - 1.
    mean, std: of the *training* images per channel, on the scale of [0, 1].
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
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
    Raises TypeError or ValueError for a batch size, resize or shift that cannot be used.
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
        self.device = torch.device(device or "cpu")
        self.seed = seed
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
        X = images.float().div_(255)
        if self.normalize:  # before the resize, which a shift and a factor pass through unchanged
            X = X.sub_(self.mean).div_(self.std)
        if self.resize is not None and self.resize != tuple(X.shape[-2:]):
            X = self.rows @ X @ self.columns  # (H', H) @ (N, C, H, W) @ (W, W')
        return X

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
    (`~/.cache/d2lmini`), into which torchvision downloads the checksummed archive if needed.
    Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images".
    """
    train, test = cifar10(root)
    return _loaders(
        train, test, batch_size, resize, device, seed, normalize, augment, subset, validation
    )


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> tuple[ImageSet, ImageSet]:
    """The training and the test split, checksummed; images uint8 (N, 1, 28, 28)."""
    folders = _search_folders(root) + ([] if root is not None else [PACKAGED_DATASETS])
    arrays = {name: _read_idx(_find(name, folders), name) for name in FASHION_MNIST_SHA256}

    def split(prefix: str) -> ImageSet:
        return ImageSet(
            images=torch.from_numpy(arrays[f"{prefix}-images-idx3-ubyte"]).unsqueeze(1),
            labels=torch.from_numpy(arrays[f"{prefix}-labels-idx1-ubyte"]).long(),
            classes=FASHION_MNIST_LABELS,
            mean=(0.2860,),
            std=(0.3530,),
        )

    return split("train"), split("t10k")


def cifar10(root: str | os.PathLike[str] | None = None) -> tuple[ImageSet, ImageSet]:
    """The training and the test split; images uint8 (N, 3, 32, 32), RGB."""
    folders = _search_folders(root)
    for folder in folders:
        archive = folder / "cifar10.npz"
        if archive.is_file():
            return _cifar10_from_npz(archive)
    return _cifar10_from_torchvision(folders, download=root is None)


def cifar10_is_here() -> bool:
    """Whether `cifar10()` would find all of its files without a download."""
    folders = _search_folders(None)
    return any((folder / "cifar10.npz").is_file() for folder in folders) or any(
        all((folder / "cifar-10-batches-py" / name).is_file() for name in CIFAR10_BATCHES)
        for folder in (*folders, _download_cache())
    )


def get_fashion_mnist_labels(labels: Any) -> list[str]:
    """The class names of integer labels (any iterable of 0 … 9)."""
    return [FASHION_MNIST_LABELS[int(i)] for i in labels]


def get_cifar10_labels(labels: Any) -> list[str]:
    """The class names of integer labels (any iterable of 0 … 9)."""
    return [CIFAR10_LABELS[int(i)] for i in labels]


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
        generator = torch.Generator().manual_seed(seed or 0)
        train = train.take(torch.randperm(len(train), generator=generator)[:subset])
    shared: dict[str, Any] = {"resize": resize, "device": device, "normalize": normalize}
    return (
        ArrayLoader(train, batch_size, shuffle=True, seed=seed, augment=augment, **shared),
        ArrayLoader(test, batch_size, **shared),
    )


def _check_count(name: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ValueError(f"{name}={count} must lie between 1 and {most}")


def _batch_size(batch_size: int) -> int:
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size={batch_size!r} is a {type(batch_size).__name__}; it must be an int"
        ) from None
    if isinstance(batch_size, bool) or size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be 1 or more")
    return size


def _shift(augment: bool | int, side: int) -> int:
    """Pixels."""
    if isinstance(augment, (bool, np.bool_)):
        return side // 14
    pixels = operator.index(augment)
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
    if min(sides) < 1:
        raise ValueError(f"resize={resize!r} must be 1 pixel or more")
    return int(sides[0]), int(sides[1])


def _search_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    if root is not None:
        return [Path(root).expanduser()]
    folder = os.environ.get("D2LMINI_DATA")
    return [Path(folder).expanduser()] if folder else []


def _find(name: str, folders: list[Path]) -> Path:
    """`name` or `name.gz` in a folder itself or in torchvision's layout below it."""
    for folder in folders:
        for place in (folder, folder / "FashionMNIST" / "raw", folder / "raw"):
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    looked = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"{name} (or {name}.gz) was not found in {looked}, nor in FashionMNIST/raw below it; "
        "call without root= to use the copy inside d2lmini"
    )


def _read_idx(path: Path, name: str) -> np.ndarray:
    """An IDX file, plain or gzipped, as a uint8 array, after its checksum has been verified."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as a gzip file: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    expected = FASHION_MNIST_SHA256[name]
    if found != expected:
        raise ValueError(
            f"{path} is not Fashion-MNIST's {name}: expected sha256 {expected} (decompressed), "
            f"found {found}; fetch the file again, or call without root= and with D2LMINI_DATA "
            "unset to use the copy inside d2lmini"
        )
    num_dimensions = content[3]
    header = 4 + 4 * num_dimensions  # magic number, then one big-endian int32 per dimension
    shape = np.frombuffer(content, ">i4", num_dimensions, offset=4)
    return np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(shape)


def _cifar10_from_npz(archive: Path) -> tuple[ImageSet, ImageSet]:
    shapes = {"train": (50_000, 32, 32, 3), "test": (10_000, 32, 32, 3)}
    try:
        with np.load(archive, allow_pickle=False) as arrays:
            splits = {s: (arrays[f"{s}_images"], arrays[f"{s}_labels"]) for s in shapes}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{archive} is not a readable CIFAR-10 archive: {error}") from error
    for split, shape in shapes.items():
        images, labels = splits[split]
        if images.shape != shape or images.dtype != np.uint8 or labels.shape != shape[:1]:
            raise ValueError(
                f"{archive}: {split}_images is {images.dtype} {images.shape}, expected uint8 "
                f"{shape}; {split}_labels is {labels.shape}, expected {shape[:1]}"
            )
    return _cifar10_set(*splits["train"]), _cifar10_set(*splits["test"])


def _cifar10_from_torchvision(folders: list[Path], download: bool) -> tuple[ImageSet, ImageSet]:
    from torchvision.datasets import CIFAR10  # imported late: it is slow, and rarely needed

    cache = _download_cache()
    for folder in folders:
        if (folder / "cifar-10-batches-py").is_dir():
            cache, download = folder, False
    if not download and cache not in folders:
        looked = ", ".join(str(folder) for folder in folders)
        raise FileNotFoundError(
            f"neither cifar10.npz nor cifar-10-batches-py was found in {looked}"
        )
    splits = [CIFAR10(str(cache), train=train, download=download) for train in (True, False)]
    train, test = (_cifar10_set(s.data, np.asarray(s.targets)) for s in splits)
    return train, test


def _download_cache() -> Path:
    return Path.home() / ".cache" / "d2lmini"


def _cifar10_set(images: np.ndarray, labels: np.ndarray) -> ImageSet:
    return ImageSet(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CIFAR10_LABELS,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )
