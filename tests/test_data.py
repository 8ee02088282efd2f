"""Data sets and the loader, against torchvision's data set and transforms."""

import gzip
import hashlib
import shutil
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import datasets, transforms

from d2lmini import data, files
from d2lmini.data import (
    CIFAR10_LABELS,
    FASHION_MNIST_LABELS,
    ArrayLoader,
    ImageSet,
    fashion_mnist,
    flip_and_shift,
    load_data_cifar10,
    load_data_fashion_mnist,
    resize_matrix,
)

RAW = files.PACKAGED_DATASETS / "FashionMNIST" / "raw"
needs_cifar10 = pytest.mark.skipif(
    not files.cifar10_is_here(),
    reason="CIFAR-10 is neither in the folder D2LMINI_DATA nor in ~/.cache/d2lmini",
)


@pytest.fixture(scope="module")
def splits():
    return fashion_mnist()


@pytest.fixture
def read_once(monkeypatch, splits):
    """The files are read and checksummed once for all tests that are not about files."""
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None: splits)


@pytest.fixture(scope="module")
def torchvision_root(tmp_path_factory):
    """The packaged files as torchvision wants them: decompressed."""
    root = tmp_path_factory.mktemp("torchvision")
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in files.FASHION_MNIST_SHA256:
        (folder / name).write_bytes(gzip.decompress((RAW / f"{name}.gz").read_bytes()))
    return root


@pytest.fixture
def no_data_folder(monkeypatch, tmp_path):
    """Neither D2LMINI_DATA nor a cache: an empty home."""
    monkeypatch.delenv("D2LMINI_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))


def numbered(count, channels=1, side=28, classes=10):
    """An ImageSet whose image i is filled with i, so that an image tells its number."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    images = images.expand(count, channels, side, side).contiguous()
    labels = torch.arange(count) % classes
    names = tuple("abcdefghij"[:classes])
    return ImageSet(images, labels, names, (0.5,) * channels, (0.25,) * channels)


def order_of(loader):
    """The numbers of a `numbered` set's images in the order of one iteration."""
    return [int(v) for X, _ in loader for v in (X[:, 0, 14, 14] * 255).round()]


# ---- Fashion-MNIST ----------------------------------------------------------------------------


@pytest.mark.parametrize("resize", [None, 14, 32, 64, 96, 224, (40, 56)], ids=str)
def test_pixels_are_torchvisions(torchvision_root, resize, read_once):
    steps = [transforms.ToTensor()]
    if resize is not None:
        steps.insert(0, transforms.Resize(resize if isinstance(resize, tuple) else (resize,) * 2))
    reference = datasets.FashionMNIST(
        torchvision_root, train=False, transform=transforms.Compose(steps)
    )
    expected, labels = zip(*(reference[i] for i in range(64)), strict=True)
    _, test_iter = load_data_fashion_mnist(64, resize)
    X, y = next(iter(test_iter))
    assert y.tolist() == list(labels)
    assert X.shape == torch.stack(expected).shape
    assert (X - torch.stack(expected)).abs().max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("new", [1, 9, 20, 28, 29, 96, 224])
def test_resizing_by_matrices_is_torchs_interpolation(new):
    X = torch.rand(3, 2, 28, 20, generator=torch.Generator().manual_seed(0))
    reference = F.interpolate(X, (new, new + 3), mode="bilinear", antialias=True)
    resized = resize_matrix(28, new) @ X @ resize_matrix(20, new + 3).T
    torch.testing.assert_close(resized, reference, atol=2e-6, rtol=0)


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that is made within it, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def test_the_whole_data_set_takes_60_mb_and_reading_it_no_more_than_batches(splits):
    loaders = load_data_fashion_mnist(128, resize=224)
    tensors = [t for loader in loaders for t in (loader.images, loader.labels)]
    assert sum(t.nbytes for t in tensors) <= 60e6
    assert all(t.untyped_storage().nbytes() <= t.nbytes + 64 for t in tensors)  # no larger behind
    for loader in loaders:
        with Largest() as made:
            X, _ = next(iter(loader))
        assert X.shape == (128, 1, 224, 224) and made.bytes <= 1.1 * X.nbytes


def test_batches_have_the_documented_form(read_once):
    train_iter, test_iter = load_data_fashion_mnist(256)
    assert (len(train_iter), len(test_iter)) == (235, 40)
    for loader in (train_iter, test_iter):
        X, y = next(iter(loader))
        assert (X.dtype, tuple(X.shape)) == (torch.float32, (256, 1, 28, 28))
        assert (y.dtype, tuple(y.shape)) == (torch.int64, (256,))
        assert X.min() == 0.0
        assert X.max() == 1.0


def test_train_and_test_splits_are_the_official_ones(splits):
    """60,000 and 10,000 images, balanced, none of the first test images among the training ones."""
    train, test = splits
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    training = {image.tobytes() for image in train.images.numpy()}
    held_out = [image.tobytes() in training for image in test.images[:100].numpy()]
    assert not any(held_out)


def test_labels_name_the_classes_as_torchvision_does(splits):
    reference = [name.lower() for name in datasets.FashionMNIST.classes]
    ours = [name.lower().replace("t-shirt", "t-shirt/top") for name in FASHION_MNIST_LABELS]
    assert ours == reference
    assert data.get_fashion_mnist_labels(torch.tensor([9, 0])) == ["ankle boot", "t-shirt"]


def mean_and_deviation(images):
    """Of uint8 images on the scale of [0, 1], exactly, from the count of each of the 256 values."""
    counts = np.bincount(images.numpy().ravel(), minlength=256)
    mean = float((counts * np.arange(256)).sum() / counts.sum()) / 255
    variance = float((counts * (np.arange(256) / 255 - mean) ** 2).sum() / counts.sum())
    return mean, variance**0.5


def test_stored_mean_and_deviation_are_the_training_images(splits):
    train, test = splits
    assert (test.mean, test.std) == (train.mean, train.std)
    assert (*train.mean, *train.std) == pytest.approx(mean_and_deviation(train.images), abs=5e-5)


def test_normalize_subtracts_the_mean_and_divides_by_the_deviation(splits, read_once):
    """With the statistics above: mean 0 and deviation 1 over the training set."""
    train, _ = splits
    for loader, plain in zip(
        load_data_fashion_mnist(500, seed=1, normalize=True),
        load_data_fashion_mnist(500, seed=1),
        strict=True,
    ):
        (X, y), (raw, labels) = next(iter(loader)), next(iter(plain))
        assert torch.equal(y, labels)
        assert torch.allclose(X * train.std[0] + train.mean[0], raw, atol=1e-6)


# ---- where files are looked for ---------------------------------------------------------------


@pytest.fixture(scope="module")
def layouts(tmp_path_factory, torchvision_root):
    """The four files in each place and form that is looked in."""
    base = tmp_path_factory.mktemp("layouts")
    plain = torchvision_root / "FashionMNIST" / "raw"
    shutil.copytree(plain, base / "plain")
    shutil.copytree(RAW, base / "gz")
    shutil.copytree(RAW, base / "torchvision-gz" / "FashionMNIST" / "raw")
    shutil.copytree(RAW, base / "class-folder" / "raw")
    (base / "torchvision").symlink_to(torchvision_root)
    return base


@pytest.mark.parametrize(
    ("way", "layout"),
    [
        ("root", "plain"),
        ("root", "gz"),
        ("root", "torchvision"),
        ("root", "class-folder"),
        ("root", "~"),
        ("D2LMINI_DATA", "torchvision-gz"),
        ("D2LMINI_DATA", "~"),
    ],
)
def test_files_are_found_in_every_layout(layouts, layout, way, monkeypatch):
    monkeypatch.delenv("D2LMINI_DATA", raising=False)
    monkeypatch.setattr(files, "PACKAGED_DATASETS", layouts / "nothing-here")
    folder = layouts / layout
    if layout == "~":
        monkeypatch.setenv("HOME", str(layouts))
        monkeypatch.setenv("USERPROFILE", str(layouts))
        folder = "~/gz"
    if way == "root":
        train, test = fashion_mnist(root=folder)
    else:
        monkeypatch.setenv("D2LMINI_DATA", str(folder))
        train, test = fashion_mnist()
    assert (len(train), len(test)) == (60_000, 10_000)


def test_root_is_the_only_place_looked_in(layouts, tmp_path, monkeypatch):
    monkeypatch.setenv("D2LMINI_DATA", str(layouts / "gz"))
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        load_data_fashion_mnist(64, root=tmp_path)


def test_data_folder_without_the_files_falls_back_to_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("D2LMINI_DATA", str(tmp_path))
    assert len(fashion_mnist()[0]) == 60_000


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_altered_file_is_named_with_both_checksums(layouts, tmp_path, suffix):
    root = shutil.copytree(layouts / "gz", tmp_path / "altered")
    name = "t10k-labels-idx1-ubyte"
    (root / f"{name}.gz").unlink()
    content = bytearray((layouts / "plain" / name).read_bytes())
    content[-1] ^= 1
    path = root / f"{name}{suffix}"
    path.write_bytes(gzip.compress(bytes(content)) if suffix else bytes(content))
    with pytest.raises(ValueError, match=files.FASHION_MNIST_SHA256[name]) as error:
        fashion_mnist(root=root)
    assert str(path) in str(error.value)
    assert hashlib.sha256(bytes(content)).hexdigest() in str(error.value)


def flipped(content):
    """One bit of the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


PORTAL = b"<!DOCTYPE html><title>Sign in to CampusNet</title>"
FAULTS = {
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-4],
    "flipped": flipped,
    "empty": lambda content: b"",
    "garbled": lambda content: content[:200] + b"\xff" * 200 + content[400:],
    "sign-in page": lambda content: PORTAL,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_file_is_a_value_error_with_its_path_and_the_way_out(
    layouts, tmp_path, name, suffix, fault
):
    for other in files.FASHION_MNIST_SHA256:
        (tmp_path / other).symlink_to(layouts / "plain" / other)
    (tmp_path / name).unlink()
    path = tmp_path / f"{name}{suffix}"
    whole = layouts / ("gz" if suffix else "plain") / path.name
    path.write_bytes(fault(whole.read_bytes()))
    with pytest.raises(ValueError, match=r"call without root=.* to use the copy") as error:
        fashion_mnist(root=tmp_path)
    assert str(path) in str(error.value)
    if fault is FAULTS["sign-in page"] and not suffix:
        assert "sign-in page" in str(error.value)


@pytest.mark.parametrize("count", [9_999, 10_001, 2**31 - 1, 0])
def test_a_wrong_count_in_the_header_is_refused(layouts, tmp_path, count):
    root = shutil.copytree(layouts / "plain", tmp_path / "miscounted")
    path = root / "t10k-labels-idx1-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:4] + count.to_bytes(4, "big") + content[8:])
    with pytest.raises(ValueError, match=path.name):
        fashion_mnist(root=root)


def test_a_gzip_bomb_is_left_off_after_the_size_of_the_real_file(tmp_path):
    """Eight gigabytes of zeros; members of a gzip file follow each other."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(2**23)) * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 47,040,016 bytes"):
            fashion_mnist(root=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


# ---- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.5, "64", None])
def test_a_batch_size_that_is_no_count_is_refused(batch_size):
    with pytest.raises((TypeError, ValueError), match="batch_size="):
        ArrayLoader(numbered(10), batch_size)


@pytest.mark.parametrize(
    "resize", ["224", 2.5, (1, 2, 3), (32,), 0, -4, (32, 0), (32, 2.5), True, float("nan")], ids=str
)
def test_a_resize_that_is_no_size_is_refused(resize):
    with pytest.raises((TypeError, ValueError), match="resize="):
        ArrayLoader(numbered(10), 4, resize=resize)


@pytest.mark.parametrize("number", [np.int64(16), torch.tensor(16)], ids=["numpy", "torch"])
def test_whole_numbers_of_other_kinds_are_batch_sizes(number):
    assert len(ArrayLoader(numbered(40), number)) == 3


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_without_a_class_are_refused(label):
    images, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, label, 9])
    with pytest.raises(ValueError, match=str(label)):
        ImageSet(images, labels, FASHION_MNIST_LABELS, (0.0,), (1.0,))


NOTHING = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)


def test_images_and_labels_must_be_as_many():
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        ImageSet(NOTHING, torch.zeros(2).long(), ("a",), (0.0,), (1.0,))


@pytest.mark.parametrize(
    ("images", "labels"), [(torch.float32, torch.int64), (torch.uint8, torch.int32)], ids=str
)
def test_numbers_of_another_kind_are_refused(images, labels):
    """Pixels of 0 to 1 would be divided by 255 once more."""
    with pytest.raises(ValueError, match=f"images are {images} and labels {labels}"):
        ImageSet(NOTHING.to(images), torch.zeros(3, dtype=labels), ("a",), (0.0,), (1.0,))


def test_preparing_images_leaves_the_callers_alone():
    loader = ArrayLoader(ImageSet(NOTHING, torch.zeros(3).long(), ("a",), (0.0,), (1.0,)), 3)
    images = torch.full((3, 1, 4, 4), 255.0)
    assert loader.prepare(images).max() == 1 and images.min() == 255


@pytest.mark.parametrize(
    ("images", "labels", "mean"),
    [((3, 4, 4), (3,), 1), ((3, 1, 4, 4), (3, 1), 1), ((3, 1, 4, 4), (3,), 3)],
    ids=str,
)
def test_an_image_set_that_does_not_fit_together_is_refused(images, labels, mean):
    labels = torch.zeros(labels, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"images of (shape \(3|1 channels)"):
        pixels = torch.zeros(images, dtype=torch.uint8)
        ImageSet(pixels, labels, ("a",), (0.0,) * mean, (1.0,) * mean)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_without_a_name_is_refused(label):
    with pytest.raises(ValueError, match=f"label {label} has no class"):
        data.get_fashion_mnist_labels(torch.tensor([0, label]))


# ---- order ------------------------------------------------------------------------------------


def test_a_seed_fixes_the_order_of_every_epoch():
    first, second = (ArrayLoader(numbered(200), 32, shuffle=True, seed=5) for _ in range(2))
    epochs = [order_of(first) for _ in range(3)]
    assert epochs == [order_of(second) for _ in range(3)]
    assert all(sorted(epoch) == list(range(200)) for epoch in epochs)
    assert all(a != b for a, b in pairwise([*epochs, list(range(200)), epochs[0]]))


def test_neighbouring_seeds_share_no_epoch():
    orders = [
        tuple(order_of(loader))
        for seed in range(4)
        for loader in [ArrayLoader(numbered(100), 50, shuffle=True, seed=seed)]
        for _ in range(4)
    ]
    assert len(set(orders)) == len(orders)


def test_without_a_seed_the_order_follows_torchs_generator():
    loader = ArrayLoader(numbered(200), 32, shuffle=True)
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(order_of(loader))
    assert orders[0] == orders[1] != orders[2]
    assert order_of(loader) != orders[2]


def test_unshuffled_batches_are_in_order_and_the_last_is_short():
    loader = ArrayLoader(numbered(100), 32)
    assert [len(y) for _, y in loader] == [32, 32, 32, 4]
    assert len(loader) == 4
    assert order_of(loader) == list(range(100)) == order_of(loader)


def test_images_keep_their_labels_when_shuffled():
    loader = ArrayLoader(numbered(200), 32, shuffle=True, seed=3)
    for X, y in loader:
        assert ((X[:, 0, 0, 0] * 255).round().long() % 10 == y).all()


def test_state_dict_resumes_the_order():
    uninterrupted = ArrayLoader(numbered(100), 32, shuffle=True, seed=1)
    first = order_of(uninterrupted)
    state = uninterrupted.state_dict()
    second = order_of(uninterrupted)
    resumed = ArrayLoader(numbered(100), 32, shuffle=True, seed=1)
    resumed.load_state_dict(state)
    assert order_of(resumed) == second != first


# ---- subset and validation --------------------------------------------------------------------


def keys(loader):
    return {image.tobytes() for image in loader.data.images.numpy()}


def test_validation_images_are_held_out_and_the_same_for_every_seed(splits, read_once):
    train_iter, validation_iter = load_data_fashion_mnist(256, validation=10_000, seed=1)
    _, other = load_data_fashion_mnist(256, validation=10_000, seed=2)
    assert (len(train_iter.data), len(validation_iter.data)) == (50_000, 10_000)
    assert torch.equal(validation_iter.data.images, other.data.images)
    assert torch.equal(validation_iter.data.labels, other.data.labels)
    # together they are the training images: no image twice, none lost, none of the test set
    both = torch.cat([train_iter.data.images, validation_iter.data.images]).flatten(1)
    assert sorted(map(bytes, both.numpy())) == sorted(
        map(bytes, splits[0].images.flatten(1).numpy())
    )


def test_subset_draws_training_images_only(splits, read_once):
    train_iter, test_iter = load_data_fashion_mnist(100, subset=1000, seed=3)
    again, _ = load_data_fashion_mnist(100, subset=1000, seed=3)
    other, _ = load_data_fashion_mnist(100, subset=1000, seed=4)
    assert (len(train_iter.data), len(test_iter.data)) == (1000, 10_000)
    assert torch.equal(train_iter.data.images, again.data.images)
    assert not torch.equal(train_iter.data.images, other.data.images)
    assert train_iter.data.labels.bincount().min() > 60  # drawn, not the first of one class


def test_subset_and_validation_do_not_overlap(read_once):
    train_iter, validation_iter = load_data_fashion_mnist(100, subset=500, validation=1000, seed=1)
    full, _ = load_data_fashion_mnist(100, validation=1000)
    assert (len(train_iter.data), len(validation_iter.data)) == (500, 1000)
    assert keys(train_iter) <= keys(full)


@pytest.mark.parametrize(
    "option",
    [{"subset": 0}, {"subset": 60_001}, {"validation": 0}, {"validation": 60_000}, {"subset": -5},
     {"validation": 50_000, "subset": 20_000}],
    ids=str,
)  # fmt: skip
def test_counts_out_of_range_are_refused(option, read_once):
    with pytest.raises(ValueError, match="between 1 and"):
        load_data_fashion_mnist(64, **option)


# ---- augmentation -----------------------------------------------------------------------------


def shifted(image, down, right):
    """The image (C, H, W) moved by whole pixels, zeros coming in."""
    _, h, w = image.shape
    out = torch.zeros_like(image)
    out[:, max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = image[
        :, max(-down, 0) : h - max(down, 0), max(-right, 0) : w - max(right, 0)
    ]
    return out


def changes_between(original, augmented, most=2):
    """Every (flipped, down, right) within `most` pixels that makes the one of the other."""
    steps = range(-most, most + 1)
    return [
        (flip, down, right)
        for flip in (False, True)
        for down in steps
        for right in steps
        if torch.equal(shifted(original.flip(-1) if flip else original, down, right), augmented)
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_flip_and_shift_flips_and_shifts(channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 255, (400, channels, 9, 12), generator=generator, dtype=torch.uint8)
    kept = images.clone()
    out = flip_and_shift(images, 2, generator)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    assert torch.equal(images, kept)
    changes = [changes_between(a, b) for a, b in zip(images, out, strict=True)]
    assert all(len(found) == 1 for found in changes)  # none other, and one for all channels
    flips, downs, rights = zip(*(found[0] for found in changes), strict=True)
    assert 150 < sum(flips) < 250
    assert set(downs) == set(rights) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(("augment", "most"), [(True, 2), (1, 1), (4, 4)])
def test_augment_may_say_by_how_many_pixels(augment, most):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 255, (300, 1, 28, 28), generator=generator, dtype=torch.uint8)
    data = ImageSet(images, torch.zeros(300, dtype=torch.int64), ("one",), (0.0,), (1.0,))
    X, _ = next(iter(ArrayLoader(data, 300, seed=0, augment=augment)))
    found = [
        changes_between(a, (b * 255).round().to(torch.uint8), 5)[0]
        for a, b in zip(images, X, strict=True)
    ]
    assert {down for _, down, _ in found} == set(range(-most, most + 1))


@pytest.mark.parametrize("augment", [-1, 28])
def test_a_shift_out_of_the_image_is_refused(augment):
    with pytest.raises(ValueError, match=f"augment={augment} pixels"):
        load_data_fashion_mnist(50, augment=augment)


def test_training_images_are_augmented_anew_each_epoch_and_test_images_never(splits, read_once):
    train_iter, test_iter = load_data_fashion_mnist(50, subset=50, seed=1, augment=True)
    originals = dict(
        zip(map(bytes, splits[0].images.flatten(1).numpy()), range(60_000), strict=True)
    )
    assert len(originals) > 59_000
    (first, y), (second, _) = next(iter(train_iter)), next(iter(train_iter))
    assert (tuple(first.shape), first.dtype) == ((50, 1, 28, 28), torch.float32)
    assert not torch.equal(first, second)
    pool = train_iter.data
    for X, label in zip(first[:10], y[:10], strict=True):
        pixels = (X * 255).round().to(torch.uint8)
        found = [changes_between(image, pixels) for image in pool.images[pool.labels == label]]
        assert any(found)
    X, _ = next(iter(test_iter))
    assert torch.equal((X * 255).round().to(torch.uint8), splits[1].images[:50])


# ---- CIFAR-10 ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cifar10_splits():
    return data.cifar10()


@needs_cifar10
def test_cifar10_is_whole_and_balanced(cifar10_splits):
    train, test = cifar10_splits
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.classes == CIFAR10_LABELS == test.classes


@needs_cifar10
def test_cifar10_mean_and_deviation_by_channel(cifar10_splits):
    train, _ = cifar10_splits
    measured = [mean_and_deviation(train.images[:, channel]) for channel in range(3)]
    assert list(zip(train.mean, train.std, strict=True)) == [
        pytest.approx(pair, abs=1e-4) for pair in measured
    ]


@needs_cifar10
def test_cifar10_batches(cifar10_splits, monkeypatch):
    monkeypatch.setattr(data, "cifar10", lambda root=None: cifar10_splits)
    train_iter, test_iter = load_data_cifar10(128, 40, normalize=True)
    X, y = next(iter(train_iter))
    assert (X.dtype, tuple(X.shape)) == (torch.float32, (128, 3, 40, 40))
    assert (y.dtype, tuple(y.shape)) == (torch.int64, (128,))
    assert (len(train_iter), len(test_iter)) == (391, 79)


@pytest.mark.parametrize("way", ["root", "D2LMINI_DATA"])
def test_cifar10_in_torchvisions_layout_is_read_without_a_download(
    tmp_path, monkeypatch, no_data_folder, way
):
    """torchvision's reader is replaced: only where it is told to look, and how, matters here."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    calls = []

    class Reader:
        def __init__(self, root, train):
            calls.append((Path(root), train))
            self.data = np.zeros((10, 32, 32, 3), np.uint8)
            self.data[:, 0, 0] = (1, 2, 3)  # red, green, blue
            self.targets = list(range(10))

    monkeypatch.setattr(datasets, "CIFAR10", Reader)
    if way == "D2LMINI_DATA":
        monkeypatch.setenv("D2LMINI_DATA", str(tmp_path))
    train, _ = data.cifar10(root=tmp_path if way == "root" else None)
    assert calls == [(tmp_path, True), (tmp_path, False)]
    assert train.images[0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_cifar10_archive_is_a_value_error(tmp_path, content):
    (tmp_path / "cifar10.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cifar10\.npz"):
        data.cifar10(root=tmp_path)


def arrays_of(images, labels):
    return {f"{split}_{kind}": array for split in ("train", "test")
            for kind, array in (("images", images), ("labels", labels))}  # fmt: skip


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_damaged_cifar10_archive_is_named(tmp_path, save, fault):
    path = tmp_path / "cifar10.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    save(path, **arrays_of(pixels, np.arange(9)))
    path.write_bytes(fault(path.read_bytes()))
    with pytest.raises(ValueError, match=r"cifar10\.npz(:| is not)"):
        data.cifar10(root=tmp_path)


def test_a_cifar10_archive_whose_header_counts_too_many_is_named(tmp_path):
    path = tmp_path / "cifar10.npz"
    np.savez(path, **arrays_of(np.zeros((9, 32, 32, 3), np.uint8), np.arange(9)))
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content.replace(b"(9, 32", b"(9" + b"0" * 9 + b", 32"))
    with pytest.raises(ValueError, match=r"cifar10\.npz is not a readable"):
        data.cifar10(root=tmp_path)


def test_a_cifar10_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    real = [60_000 * 32 * 32 * 3, 60_000 * 8]  # images, labels as int64
    assert sum(real) < files.LARGEST_NPZ < 2 * sum(real)
    monkeypatch.setattr(files, "LARGEST_NPZ", 10_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("unpacked it"))
    pixels = np.zeros((9, 32, 32, 3), np.uint8)
    np.savez_compressed(tmp_path / "cifar10.npz", **arrays_of(pixels, np.arange(9)))
    assert (tmp_path / "cifar10.npz").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"unpacked it would hold 5\d,\d+ bytes"):
        data.cifar10(root=tmp_path)


def test_a_cifar10_archive_with_pickles_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **arrays_of(np.array([print, Path]), np.arange(2)))
    with pytest.raises(ValueError, match="is not a readable CIFAR-10 archive"):
        data.cifar10(root=tmp_path)


def test_a_folder_of_nobody_is_a_value_error():
    with pytest.raises(ValueError, match="~nobody-of-that-name/data cannot be found"):
        fashion_mnist(root="~nobody-of-that-name/data")


def test_a_cifar10_archive_of_other_shapes_is_a_value_error(tmp_path):
    arrays = {f"{s}_{a}": np.zeros(3) for s in ("train", "test") for a in ("images", "labels")}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(ValueError, match="expected uint8"):
        data.cifar10(root=tmp_path)


def test_cifar10_is_here_wants_the_archive_or_all_of_torchvisions_files(
    tmp_path, monkeypatch, no_data_folder
):
    assert not files.cifar10_is_here()
    cache = Path.home() / ".cache" / "d2lmini" / "cifar-10-batches-py"
    cache.mkdir(parents=True)
    for name in files.CIFAR10_BATCHES:
        assert not files.cifar10_is_here()
        (cache / name).touch()
    assert files.cifar10_is_here()
    (cache / "data_batch_5").unlink()
    monkeypatch.setenv("D2LMINI_DATA", str(tmp_path))
    assert not files.cifar10_is_here()
    (tmp_path / "cifar10.npz").touch()
    assert files.cifar10_is_here()


def test_root_without_cifar10_says_what_was_looked_for_and_downloads_nothing(
    tmp_path, monkeypatch, no_data_folder
):
    monkeypatch.setattr(datasets, "CIFAR10", lambda *a, **k: pytest.fail("tried to download"))
    with pytest.raises(FileNotFoundError, match=r"cifar10\.npz") as error:
        load_data_cifar10(64, root=tmp_path)
    assert str(tmp_path) in str(error.value)


def test_root_is_not_overruled_by_the_download_cache(tmp_path, monkeypatch, no_data_folder):
    (Path.home() / ".cache" / "d2lmini" / "cifar-10-batches-py").mkdir(parents=True)
    monkeypatch.setattr(datasets, "CIFAR10", lambda *a, **k: pytest.fail("read the cache"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        load_data_cifar10(64, root=tmp_path / "empty")
