"""Fashion-MNIST and CIFAR-10 as uint8 tensors in memory, and the loader that batches them.

The images stay uint8 (47 MB for Fashion-MNIST's training set). Each batch is converted to
float32, resized, augmented and normalised at once, on the device that will use it.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import operator
import os
import shutil
import stat
import tarfile
import tempfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

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
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_BYTES = 170_498_071
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
DOWNLOAD_TRIES = 5  # in a row that bring nothing new
DOWNLOAD_PAUSE = 1.0  # seconds before the second try, twice as many before each after it
DOWNLOAD_SILENCE = 30.0  # seconds without a byte that end a try

# sha256 of the four official IDX files, decompressed (the .gz wrapper differs between mirrors)
FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
LARGEST_IDX = 16 + 60_000 * 28 * 28  # bytes, decompressed
LARGEST_NPZ = 60_000 * (32 * 32 * 3 + 8) + 4_096  # bytes, decompressed; labels of 8 bytes
LARGEST_SIDE = 16_384  # pixels of a resized image
PACKAGED_DATASETS = Path(__file__).parent / "datasets"


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
    """The training and the test split; images uint8 (N, 3, 32, 32), RGB.

    Raises FileNotFoundError or ValueError for missing or altered files, and OSError, with what to
    do by hand, if the download fails.
    """
    folders = _search_folders(root)
    for folder in folders:
        archive = folder / "cifar10.npz"
        if _is_file(archive):
            return _cifar10_from_npz(archive)
        if (folder / CIFAR10_FOLDER).is_dir():
            return _cifar10_from_batches(folder)
    if root is not None:
        raise FileNotFoundError(f"neither cifar10.npz nor {CIFAR10_FOLDER} was found in {root}")
    cache = _download_cache()
    try:
        return _cifar10_from_batches(cache)
    except ValueError:  # not there yet, or damaged
        _fetch_cifar10(cache)
    return _cifar10_from_batches(cache)


def cifar10_is_here() -> bool:
    """Whether `cifar10()` would find all of its files without a download."""
    folders = _search_folders(None)
    return any((folder / "cifar10.npz").is_file() for folder in folders) or any(
        all((folder / CIFAR10_FOLDER / name).is_file() for name in CIFAR10_BATCHES)
        for folder in (*folders, _download_cache())
    )


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


def _search_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    folder = root if root is not None else os.environ.get("D2LMINI_DATA") or None
    if folder is None:
        return []
    try:
        return [Path(folder).expanduser()]
    except RuntimeError as error:  # "~name" of nobody
        raise ValueError(f"the folder {folder} cannot be found: {error}") from error


def _is_file(path: Path) -> bool:
    """Raises ValueError where the system does not let us look."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _find(name: str, folders: list[Path]) -> Path:
    """`name` or `name.gz` in a folder itself or in torchvision's layout below it."""
    for folder in folders:
        for place in (folder, folder / "FashionMNIST" / "raw", folder / "raw"):
            for path in (place / name, place / f"{name}.gz"):
                if _is_file(path):
                    return path
    looked = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"{name} (or {name}.gz) was not found in {looked}, nor in FashionMNIST/raw below it; "
        "call without root= to use the copy inside d2lmini"
    )


def _read_idx(path: Path, name: str) -> np.ndarray:
    """An IDX file, plain or gzipped, as a uint8 array, after its checksum has been verified."""
    again = (
        "fetch the file again, or call without root= and with D2LMINI_DATA unset to use the copy "
        "inside d2lmini"
    )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_IDX + 1)  # of a gzip bomb no more than that
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}; {again}") from error
    found = hashlib.sha256(content).hexdigest()
    if len(content) > LARGEST_IDX:
        found = f"more than {LARGEST_IDX:,} bytes"
    elif content[:1] == b"<":
        found = f"{found} of a web page (a network's sign-in page?)"
    expected = FASHION_MNIST_SHA256[name]
    if found != expected:
        raise ValueError(
            f"{path} is not Fashion-MNIST's {name}: expected sha256 {expected} (decompressed), "
            f"found {found}; {again}"
        )
    num_dimensions = content[3]
    header = 4 + 4 * num_dimensions  # magic number, then one big-endian int32 per dimension
    shape = np.frombuffer(content, ">i4", num_dimensions, offset=4)
    return np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(shape)


def _cifar10_from_npz(archive: Path) -> tuple[ImageSet, ImageSet]:
    shapes = {"train": (50_000, 32, 32, 3), "test": (10_000, 32, 32, 3)}
    try:
        with zipfile.ZipFile(archive) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > LARGEST_NPZ:
            raise ValueError(f"unpacked it would hold {size:,} bytes")
        with np.load(archive, allow_pickle=False) as arrays:
            splits = {s: (arrays[f"{s}_images"], arrays[f"{s}_labels"]) for s in shapes}
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise ValueError(
            f"{archive} is not a readable CIFAR-10 archive: {error}; put a whole one in its "
            "place, or remove it"
        ) from error
    for split, shape in shapes.items():
        images, labels = splits[split]
        if (
            (images.shape, labels.shape) != (shape, shape[:1])
            or images.dtype != np.uint8
            or labels.dtype.kind not in "iu"
        ):
            raise ValueError(
                f"{archive}: {split}_images is {images.dtype} {images.shape}, expected uint8 "
                f"{shape}; {split}_labels is {labels.dtype} {labels.shape}, expected whole numbers "
                f"{shape[:1]}"
            )
    return _cifar10_set(*splits["train"]), _cifar10_set(*splits["test"])


def _cifar10_from_batches(folder: Path) -> tuple[ImageSet, ImageSet]:
    """The files in `folder`/cifar-10-batches-py, checksummed. Raises ValueError naming those that
    are missing or damaged."""
    from torchvision.datasets import CIFAR10  # imported late: it is slow, and rarely needed

    try:
        splits = [CIFAR10(str(folder), train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        wrong = ", ".join(_wrong_batches(folder)) or str(error)
        raise ValueError(
            f"{folder / CIFAR10_FOLDER} is not as published: {wrong}; unpack {CIFAR10_URL} "
            "there again, or remove the folder"
        ) from error
    train, test = (_cifar10_set(s.data, np.asarray(s.targets)) for s in splits)
    return train, test


def _wrong_batches(folder: Path) -> Iterator[str]:
    from torchvision.datasets import CIFAR10

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list, meta):
        try:
            content = (folder / CIFAR10_FOLDER / name).read_bytes()
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})"
        else:
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                yield f"{name} is damaged"


def _download_cache() -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user whom the system does not know, as in containers
        home = Path(tempfile.gettempdir())
    return home / ".cache" / "d2lmini"


def _fetch_cifar10(cache: Path) -> None:
    """Download the archive, unless it is there, and put its files in place.

    Each appears whole, so that neither a break nor another process at the same work leaves half
    of one. Raises OSError that says what to do by hand.
    """
    archive = cache / CIFAR10_URL.rpartition("/")[2]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as drafts:
            if not (archive.is_file() and _sha256(archive) == CIFAR10_SHA256):
                draft = Path(drafts, archive.name)
                _download(CIFAR10_URL, draft, CIFAR10_BYTES, CIFAR10_SHA256)
                draft.replace(archive)
            _unpack_cifar10(archive, cache / CIFAR10_FOLDER, Path(drafts))
    except OSError as error:
        raise OSError(
            f"CIFAR-10 could not be fetched: {error}. By hand: download {CIFAR10_URL} "
            f"({CIFAR10_BYTES:,} bytes, sha256 {CIFAR10_SHA256}) to {archive} and call this again; "
            f"or unpack it anywhere and set D2LMINI_DATA to the folder that {CIFAR10_FOLDER} is in"
        ) from error


def _unpack_cifar10(archive: Path, folder: Path, drafts: Path) -> None:
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive) as packed:
        for member in packed:
            name = Path(member.name).name
            content = packed.extractfile(member) if name in CIFAR10_BATCHES else None
            if content is not None:
                with (drafts / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                (drafts / name).replace(folder / name)


def _download(url: str, path: Path, size: int, sha256: str) -> None:
    """Fetch a file of `size` bytes. Where a connection breaks or falls silent, the next try goes
    on from there. Raises OSError: why the last of the tries failed, or that the checksum is wrong.
    """
    most = failures = 0
    with path.open("w+b") as file:
        while True:
            why = "the connection ended"
            try:
                _receive(url, file, size)
            except (OSError, http.client.HTTPException) as error:
                why = str(error) or type(error).__name__
            if file.tell() >= size:
                break
            failures = 0 if file.tell() > most else failures + 1
            most = max(most, file.tell())
            if failures == DOWNLOAD_TRIES:
                raise OSError(f"{why}, at {most:,} of {size:,} bytes, {failures} times")
            time.sleep(DOWNLOAD_PAUSE * 2**failures)
    if (found := _sha256(path)) != sha256:
        raise OSError(f"what came has the sha256 {found}, not {sha256}")


def _receive(url: str, file: BinaryIO, size: int) -> None:
    """Append to the file what it lacks of `size` bytes, until the connection ends."""
    from tqdm import tqdm  # imported late: rarely needed

    start = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=DOWNLOAD_SILENCE) as response:
        if response.headers.get_content_type() == "text/html":
            raise OSError("a web page came in its place (a network's sign-in page?)")
        if response.status != 206:  # all of it comes once more
            file.seek(0)
            file.truncate()
        progress = tqdm(
            desc=url.rpartition("/")[2], total=size, initial=file.tell(), unit="B", unit_scale=True
        )
        with progress:
            while file.tell() <= size and (chunk := response.read(2**16)):
                file.write(chunk)
                progress.update(len(chunk))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _cifar10_set(images: np.ndarray, labels: np.ndarray) -> ImageSet:
    return ImageSet(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CIFAR10_LABELS,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )
