"""Fashion-MNIST's and CIFAR-10's files as published: found, checked, fetched; NumPy arrays."""

from __future__ import annotations

import gzip
import hashlib
import http.client
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
from pathlib import Path
from typing import BinaryIO

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]  # the images and the labels of one split

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
PACKAGED_DATASETS = Path(__file__).parent / "datasets"


def fashion_mnist_arrays(root: str | os.PathLike[str] | None = None) -> tuple[Arrays, Arrays]:
    """The training and the test split, checksummed: uint8 (N, 28, 28) and uint8 (N,)."""
    folders = _search_folders(root) + ([] if root is not None else [PACKAGED_DATASETS])
    arrays = {name: _read_idx(_find(name, folders), name) for name in FASHION_MNIST_SHA256}
    train, test = (
        (arrays[f"{prefix}-images-idx3-ubyte"], arrays[f"{prefix}-labels-idx1-ubyte"])
        for prefix in ("train", "t10k")
    )
    return train, test


def cifar10_arrays(root: str | os.PathLike[str] | None = None) -> tuple[Arrays, Arrays]:
    """The training and the test split: uint8 (N, 32, 32, 3) and whole numbers (N,).

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


def _cifar10_from_npz(archive: Path) -> tuple[Arrays, Arrays]:
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
    return splits["train"], splits["test"]


def _cifar10_from_batches(folder: Path) -> tuple[Arrays, Arrays]:
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
    train, test = ((split.data, np.asarray(split.targets)) for split in splits)
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
