"""Random architectures, arguments and files: a right answer, or an error of our own.

What is right comes from PyTorch: its own FLOP counter, its layers' shapes, its gradients. An error
is ours if it is raised by a line of this package and says which argument or file is wrong. A few
examples of each, always the same, run by default; a soak run (`-m soak`) draws many more anew.
"""

import contextlib
import copy
import csv
import html.parser
import io
import json
import math
import re
import tempfile
import traceback
import zipfile
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import d2lmini
from d2lmini import data, files
from d2lmini.data import ArrayLoader, ImageSet, load_data_fashion_mnist
from d2lmini.grading import read_assignments
from d2lmini.grading.assignment import student_version
from d2lmini.grading.feedback import feedback_page
from d2lmini.grading.grade import Grade, Result
from d2lmini.grading.match import match, name_assignment
from d2lmini.grading.sheet import Row, to_csv
from d2lmini.grading.submissions import find_submissions
from d2lmini.grading.worker import read_notebook
from d2lmini.models import alexnet, googlenet, lenet, narrow, nin, vgg, vgg_block, vgg_cifar10
from d2lmini.record import Divergence, EpochStats, Record
from d2lmini.summary import summarize

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # not the tree
PACKAGE = Path(d2lmini.__file__).parent
ASSIGNMENTS = read_assignments(PACKAGE.parent / "chapters" / "assignments")


def fuzz(few, many, *strategies):
    """Make a test of a property: of `few` examples, the same each time, and of `many` in a soak."""

    def decorate(holds):
        @pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.soak)])
        def test(count):
            how = settings(
                max_examples=count,
                derandomize=count == few,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            how(given(*strategies)(holds))()

        test.__name__, test.__doc__ = holds.__name__, holds.__doc__
        return test

    return decorate


def is_ours(error, word):
    """Whether a line of the package raised it, and it names what was wrong."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return PACKAGE in Path(last.filename).parents and word in str(error)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([10**9, -(10**9), 2**63, 10**30]),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-1, 3), max_size=3),
    st.tuples(st.integers(-1, 3), st.none()),
    st.just(np.int64(3)),
    st.just(torch.tensor(3)),
    st.just(object()),
)


def places(content):
    """The keys that lead to each part of nested content, from the whole on."""
    inside = enumerate(content) if isinstance(content, list) else ()
    inside = content.items() if isinstance(content, dict) else inside
    return [(), *((key, *rest) for key, part in inside for rest in places(part))]


@st.composite
def with_one_changed(draw, content, others):
    """A copy of nested content in which one part is one of `others`, or gone."""
    way = draw(st.sampled_from(places(content)))
    if not way:
        return draw(others)
    whole = part = copy.deepcopy(content)
    for key in way[:-1]:
        part = part[key]
    if draw(st.integers(0, 6)):
        part[way[-1]] = draw(others)
    else:
        del part[way[-1]]
    return whole


# ---- architectures ------------------------------------------------------------------------------


def counts(most):
    return st.integers(1, most)


def one_of_each(**options):
    return st.fixed_dictionaries(options)


IN_AND_OUT = {"in_channels": counts(4), "num_classes": counts(12)}
HIDDEN = st.lists(counts(32), max_size=2).map(tuple)
VGG_BLOCKS = st.lists(
    st.one_of(
        st.tuples(counts(3), counts(16)),
        st.tuples(counts(3), counts(16), st.sampled_from([1, 3, 5])),
    ),
    min_size=1,
    max_size=5,
).map(tuple)
CONV = st.tuples(counts(16), counts(7), counts(3), st.integers(0, 3))
CONVS = st.lists(st.one_of(st.just("M"), CONV, CONV), min_size=1, max_size=6).map(tuple)
PAIR = st.tuples(counts(8), counts(8))
STAGES = st.lists(
    st.lists(st.tuples(counts(8), PAIR, PAIR, counts(8)), min_size=1, max_size=3).map(tuple),
    min_size=1,
    max_size=3,
).map(tuple)
STEM = st.lists(st.lists(CONV, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2)
CIFAR10_STAGES = st.lists(
    st.tuples(counts(8), st.lists(st.sampled_from([1, 3]), min_size=1, max_size=3).map(tuple)),
    min_size=1,
    max_size=4,
).map(tuple)
SIDE = st.integers(1, 80)

NETS = st.one_of(
    st.tuples(st.just(lenet), one_of_each(**IN_AND_OUT, image_size=SIDE)),
    st.tuples(
        st.just(vgg),
        one_of_each(
            **IN_AND_OUT, conv_arch=VGG_BLOCKS, hidden=HIDDEN, image_size=SIDE,
            batch_norm=st.booleans(),
        ),
    ),
    st.tuples(
        st.just(alexnet),
        one_of_each(**IN_AND_OUT, conv_arch=CONVS, hidden=HIDDEN, image_size=SIDE),
    ),
    st.tuples(st.just(nin), one_of_each(**IN_AND_OUT, conv_arch=CONVS, image_size=SIDE)),
    st.tuples(
        st.just(googlenet),
        one_of_each(
            **IN_AND_OUT, conv_arch=STAGES, stem=STEM.map(tuple), image_size=SIDE,
            ceil_mode=st.booleans(),
        ),
    ),
    st.tuples(
        st.just(vgg_cifar10),
        one_of_each(
            **IN_AND_OUT, conv_arch=CIFAR10_STAGES, hidden=HIDDEN, image_size=SIDE,
            same_size=st.booleans(), norm_each=st.booleans(),
        ),
    ),
)  # fmt: skip


def agrees_with_torch(net, shape):
    """What `summarize` says of a net, against hooks, a sum and PyTorch's own counter."""
    walk = summarize(net, shape)
    seen = []
    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape[1:])))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = net.eval()(torch.zeros(1, *shape))
    assert [row.output_shape for row in walk] == seen
    assert walk[-1].output_shape == tuple(output.shape[1:])
    assert walk.parameters == sum(p.numel() for p in net.parameters())
    assert 2 * walk.macs == counter.get_total_flops()
    assert walk.memory_bytes == 4 * sum(map(math.prod, seen))
    by_child = summarize(net, shape, depth=1)
    assert (by_child.macs, by_child.parameters) == (walk.macs, walk.parameters)
    assert by_child[-1].receptive_field == walk[-1].receptive_field
    return output


@fuzz(200, 2_000, NETS)
def test_networks_are_what_torch_makes_of_them(case):
    """Shapes, parameters and multiplications of a random network; or an image truly too small."""
    factory, options = case
    channels, size = options["in_channels"], options["image_size"]
    try:
        net = factory(**options)
    except ValueError as error:
        assert is_ours(error, f"image_size={size} is too small")
        least = int(re.search(r"use (\d+) or more", str(error))[1])
        assert least > size
        net = factory(**options | {"image_size": least})
        layers = takewhile(lambda layer: not isinstance(layer, nn.Flatten), net)
        with pytest.raises(RuntimeError):
            nn.Sequential(*layers)(torch.zeros(2, channels, least - 1, least - 1))
        size = least
    output = agrees_with_torch(net, (channels, size, size))
    assert output.shape == (1, options["num_classes"])


@st.composite
def stacks(draw):
    """A Sequential of layers in every form that PyTorch has of them, and an image for it."""
    channels = draw(counts(6))
    shape = (channels, draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    pair = st.tuples(counts(5), counts(5))
    layers = []
    for kind in draw(st.lists(st.sampled_from("cccpanrd"), min_size=1, max_size=7)):
        if kind == "c":
            groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
            new = groups * draw(counts(4))
            kernel = draw(st.one_of(counts(5), pair))
            stride = draw(st.one_of(counts(3), st.tuples(counts(2), counts(3))))
            options = {"dilation": draw(counts(3)), "groups": groups, "bias": draw(st.booleans())}
            options["padding"] = draw(st.integers(0, 3))
            if stride == 1 and kernel in (1, 3, 5) and draw(st.booleans()):
                options["padding"] = "same"
            options["padding_mode"] = draw(st.sampled_from(["zeros", "replicate"]))
            layers += [nn.Conv2d(channels, new, kernel, stride, **options)]
            channels = new
        elif kind == "p":
            kernel = draw(counts(4))
            pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
            padding = draw(st.integers(0, kernel // 2))
            layers += [pool(kernel, draw(counts(3)), padding, ceil_mode=draw(st.booleans()))]
        elif kind == "a":
            layers += [
                nn.AdaptiveAvgPool2d(draw(st.one_of(counts(7), st.tuples(counts(3), counts(7)))))
            ]
        elif kind == "n":
            layers += [nn.BatchNorm2d(channels)]
        elif kind == "r":
            layers += [nn.ReLU()]
        else:
            layers += [nn.Dropout2d()]
    if draw(st.booleans()):
        layers += [nn.Flatten()]
    return nn.Sequential(*layers), shape


@fuzz(100, 2_000, stacks().filter(lambda case: len(case[0]) > 0))
def test_any_stack_of_layers_is_what_torch_makes_of_it(case):
    net, shape = case
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError):
        with pytest.raises(ValueError) as caught:
            summarize(net, shape)
        assert is_ours(caught.value, "input_shape")
        return
    agrees_with_torch(net, shape)


WINDOW = st.tuples(st.sampled_from(["conv", "avg", "max"]), counts(5), counts(3), st.integers(1, 2))


@fuzz(40, 1_000, st.lists(WINDOW, min_size=1, max_size=4))
def test_receptive_fields_are_what_a_gradient_reaches(windows):
    """Of stacks of convolutions and pools; means in the place of maxima hide nothing."""
    named, plain = [], []
    for kind, kernel, stride, dilation in windows:
        conv = nn.Conv2d(1, 1, kernel, stride, dilation=dilation, bias=False).double()
        nn.init.ones_(conv.weight)
        mean = nn.AvgPool2d(kernel, stride)
        same = {"conv": conv, "avg": mean, "max": nn.MaxPool2d(kernel, stride, dilation=dilation)}
        named += [same[kind]]
        plain += [mean if kind == "avg" else conv]
    field = summarize(nn.Sequential(*named), (1, 400, 400))[-1].receptive_field
    X = torch.ones(1, 1, field + 5, field + 5, dtype=torch.float64, requires_grad=True)
    nn.Sequential(*plain)(X)[0, 0, 0, 0].backward()
    touched = X.grad[0, 0].any(dim=0).nonzero()
    assert int(touched.max()) - int(touched.min()) + 1 == field


class Shared(nn.Module):
    """A convolution used twice, and a weight of the module's own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU()
        self.scale = nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x):
        a, b = torch.chunk(self.conv(input=self.relu(self.conv(x))), 2, dim=1)
        return torch.cat(tensors=(a, b), dim=1) * self.scale


@fuzz(20, 100, st.integers(1, 20), st.integers(0, 3))
def test_what_is_shared_is_counted_once_and_what_runs_twice_twice(size, depth):
    net = nn.Sequential(Shared(), nn.ReLU(), nn.Sequential(nn.Conv2d(2, 1, 1)))
    for walk in (summarize(net, (2, size, size)), summarize(net, (2, size, size), depth=depth)):
        assert walk.parameters == sum(p.numel() for p in net.parameters())
        assert walk.macs == size * size * (2 * 2 * 2 * 9 + 2)
        assert walk[-1].receptive_field == 5


# ---- arguments ----------------------------------------------------------------------------------

FACTORIES = {
    "vgg": (partial(vgg, conv_arch=((1, 2), (1, 3)), hidden=(4,), image_size=8), (1, 8, 8)),
    "alexnet": (partial(alexnet, conv_arch=((2, 3, 1, 1), "M"), image_size=8), (1, 8, 8)),
    "nin": (partial(nin, conv_arch=((2, 3, 1, 1), "M"), image_size=8), (1, 8, 8)),
    "lenet": (lenet, (1, 28, 28)),
    "googlenet": (partial(googlenet, conv_arch=(((1, (1, 1), (1, 1), 1),),)), (1, 96, 96)),
    "vgg_cifar10": (partial(vgg_cifar10, conv_arch=((2, (3, 1)),)), (3, 32, 32)),
}
TABLES = st.one_of(JUNK, st.lists(st.one_of(JUNK, st.lists(JUNK, max_size=4)), max_size=3))
# of each factory, one of which something will be changed
RIGHT_TABLES = {
    "vgg": [[1, 2], [2, 3, 1]],
    "alexnet": [[2, 3, 1, 1], "M"],
    "nin": [[2, 3, 1, 1], "M"],
    "googlenet": [[[1, [1, 1], [1, 1], 1]]],
    "vgg_cifar10": [[2, [3, 1]]],
}


def runs(net, channels, size, num_classes):
    """Whether it takes such images and gives so many logits."""
    return net.eval()(torch.zeros(2, channels, size, size)).shape == (2, num_classes)


@fuzz(
    150, 1_000, st.sampled_from([*FACTORIES]),
    st.sampled_from(["in_channels", "num_classes", "image_size", "hidden", "dropout"]), TABLES,
)  # fmt: skip
def test_a_network_is_built_or_the_argument_named(name, argument, value):
    factory, (channels, size, _) = FACTORIES[name]
    assume(argument not in ("hidden", "dropout") or name in ("vgg", "alexnet"))
    if argument == "image_size" and isinstance(value, int):
        assume(value < 1_000)  # a larger one is built, slowly
    try:
        net = factory(**{argument: value})
    except (TypeError, ValueError) as error:
        assert is_ours(error, argument)
        return
    got = {"in_channels": channels, "image_size": size, "num_classes": 10} | {argument: value}
    assert runs(net, int(got["in_channels"]), int(got["image_size"]), int(got["num_classes"]))


@fuzz(
    100, 1_000,
    st.sampled_from([*RIGHT_TABLES]).flatmap(
        lambda name: st.tuples(st.just(name), with_one_changed(RIGHT_TABLES[name], JUNK))
    ),
)  # fmt: skip
def test_a_table_is_built_or_named(case):
    name, table = case
    factory, (channels, size, _) = FACTORIES[name]
    try:
        net = factory(conv_arch=table)
    except (TypeError, ValueError) as error:  # or it is right and leaves no pixel
        assert is_ours(error, "conv_arch") or is_ours(error, f"image_size={size} is too small")
        return
    assert runs(net, channels, size, 10)


@fuzz(60, 1_000, st.sampled_from(["num_convs", "in_channels", "out_channels", "last_kernel"]), JUNK)
def test_a_block_is_built_or_the_argument_named(argument, value):
    options = {"num_convs": 2, "in_channels": 1, "out_channels": 2, "last_kernel": 3}
    if argument == "num_convs" and isinstance(value, int):
        assume(value < 100)
    try:
        block = vgg_block(**options | {argument: value})
    except (TypeError, ValueError) as error:
        assert is_ours(error, argument)
        return
    got = options | {argument: int(value)}
    X = torch.zeros(1, got["in_channels"], 64, 64)
    assert block(X).shape[1] == got["out_channels"]


@fuzz(80, 1_000, st.one_of(VGG_BLOCKS, TABLES), st.one_of(st.integers(-2, 20), JUNK))
def test_narrow_divides_or_names_the_ratio(conv_arch, ratio):
    try:
        narrowed = narrow(conv_arch, ratio)
    except (TypeError, ValueError) as error:
        assert is_ours(error, "ratio=") or is_ours(error, "conv_arch")
        return
    for (n, channels, *kernel), new in zip(conv_arch, narrowed, strict=True):
        assert new == (n, channels // ratio, *kernel)
        assert new[1] >= 1


SMALL_NETS = [
    nn.Conv2d(1, 2, 3), nn.Linear(4, 2), nn.LSTM(4, 2), nn.Identity(), nn.LazyLinear(3),
    nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), nn.BatchNorm2d(3), None, 3, lenet,
]  # fmt: skip
SHAPES = st.one_of(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.lists(JUNK, max_size=3),
    JUNK,
)


@fuzz(150, 1_000, st.sampled_from(SMALL_NETS), SHAPES, st.one_of(st.none(), JUNK))
def test_summarize_answers_or_says_what_is_wrong(net, shape, depth):
    try:
        walk = summarize(net, shape, depth=depth)
    except (TypeError, ValueError) as error:
        assert any(is_ours(error, word) for word in ("input_shape", "depth", "nn.Module", "lazy"))
        return
    expected = net.eval()(torch.zeros(1, *shape))
    assert walk[-1].output_shape == tuple(expected.shape[1:])
    assert walk.parameters == sum(p.numel() for p in net.parameters())
    assert str(walk)
    assert walk._repr_html_()


# ---- loaders ------------------------------------------------------------------------------------


def numbered(count, channels, height, width):
    """An ImageSet whose image i has the label i."""
    images = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)
    names = tuple(map(str, range(max(count, 1))))
    return ImageSet(images, torch.arange(count), names, (0.5,) * channels, (0.25,) * channels)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "resize": st.one_of(JUNK, st.tuples(counts(40), counts(40))),
        "seed": st.one_of(st.integers(-(2**70), 2**70), JUNK),
        "augment": JUNK,
        "normalize": st.booleans(),
        "device": st.sampled_from(
            [None, "cpu", "cuda:99", "banana", "", 5, torch.device("cpu"), 2.5]
        ),
    },
)


@fuzz(
    100, 1_000, st.tuples(st.integers(0, 30), counts(3), counts(20), counts(20)),
    st.one_of(counts(40), JUNK), OPTIONS, st.booleans(),
)  # fmt: skip
def test_a_loader_gives_each_image_once_or_says_what_is_wrong(shape, batch_size, options, shuffle):
    images = numbered(*shape)
    try:
        loader = ArrayLoader(images, batch_size, shuffle=shuffle, **options)
    except (TypeError, ValueError) as error:
        assert any(is_ours(error, f"{name}=") for name in ("batch_size", *options))
        return
    batches = list(loader)
    resize = options.get("resize")
    side = tuple(shape[2:]) if resize is None else resize
    height, width = side if isinstance(side, (tuple, list)) else (side, side)
    assert len(batches) == len(loader) == -(-len(images) // int(batch_size))
    for X, y in batches:
        assert X.shape == (len(y), shape[1], int(height), int(width))
        assert X.dtype == torch.float32
        assert X.isfinite().all()
    assert sorted(int(label) for _, y in batches for label in y) == list(range(len(images)))


@fuzz(
    80, 1_000,
    st.fixed_dictionaries(
        {},
        optional={
            "subset": st.one_of(counts(35), JUNK),
            "validation": st.one_of(counts(35), JUNK),
            "seed": st.one_of(st.integers(-(2**70), 2**70), JUNK),
        },
    ),
)  # fmt: skip
def test_splits_do_not_overlap_or_the_count_is_named(options):
    sets = numbered(30, 1, 4, 4), numbered(10, 1, 4, 4)
    with mock.patch.object(data, "fashion_mnist", lambda root: sets):
        try:
            train_iter, test_iter = load_data_fashion_mnist(7, **options)
        except (TypeError, ValueError) as error:
            assert any(is_ours(error, f"{name}=") for name in options)
            return
    training = sorted(int(i) for i in train_iter.data.labels)
    held = sorted(int(i) for i in test_iter.data.labels)
    assert (
        len({*training})
        == len(training)
        == int(options.get("subset") or 30 - int(options.get("validation") or 0))
    )
    if options.get("validation") is not None:
        assert len({*training} | {*held}) == len(training) + int(options["validation"])


# ---- files --------------------------------------------------------------------------------------


@contextlib.contextmanager
def file_of(content, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield path


@st.composite
def spoiled(draw, content):
    """The bytes with some changed, lost or put in."""
    at = draw(st.integers(0, len(content) - 1))
    way = draw(st.sampled_from(["flip", "cut", "insert", "overwrite", "anything"]))
    if way == "flip":
        return content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
    if way == "cut":
        return content[:at]
    new = draw(st.binary(min_size=1, max_size=40))
    if way == "insert":
        return content[:at] + new + content[at:]
    return content[:at] + new + content[at + len(new) :] if way == "overwrite" else new


RAW = files.PACKAGED_DATASETS / "FashionMNIST" / "raw"
LABELS = "t10k-labels-idx1-ubyte"


@fuzz(100, 1_000, spoiled((RAW / f"{LABELS}.gz").read_bytes()), st.sampled_from(["", ".gz"]))
def test_spoiled_idx_files_are_never_taken(content, suffix):
    with file_of(content, LABELS + suffix) as path:
        try:
            labels = files._read_idx(path, LABELS)
        except ValueError as error:
            assert is_ours(error, str(path))
        else:  # gzip's head has bytes that mean nothing to the content
            assert np.bincount(labels).tolist() == [1000] * 10


def small_npz(compressed):
    buffer = io.BytesIO()
    arrays = {
        f"{split}_{kind}": np.zeros((3, 32, 32, 3) if kind == "images" else 3, np.uint8)
        for split in ("train", "test")
        for kind in ("images", "labels")
    }
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


@fuzz(150, 1_000, st.booleans().flatmap(lambda compressed: spoiled(small_npz(compressed))))
def test_spoiled_npz_archives_are_value_errors(content):
    with file_of(content, "cifar10.npz") as path:
        with pytest.raises(ValueError) as caught:
            data.cifar10(root=path.parent)
        assert is_ours(caught.value, str(path))


EPOCHS = tuple(EpochStats(i, 0.5, 0.8, 0.7, 1.5, 0.1, 0.2, 600, 0.1) for i in (1, 2))
DIVERGED = Divergence(3, 7, math.nan, 0.1)
RECORD = json.loads(Record(EPOCHS, {"lr": 0.1, "seed": 0}, {"cores": 2}, 9.0, DIVERGED).to_json())
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from([2**70, -1, "\ud800", "1", "=1+1", "<script>"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


NUMBER = st.floats(0, 1e9)
EPOCH = st.builds(
    EpochStats, counts(99), st.floats(), NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, counts(99), NUMBER
)
SETTINGS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
END = st.none() | st.builds(Divergence, counts(99), counts(999), st.floats(), NUMBER)


@fuzz(60, 1_000, st.lists(EPOCH, max_size=3), SETTINGS, SETTINGS, st.none() | NUMBER, END)
def test_a_saved_record_is_read_as_it_was(history, settings, environment, seconds, end):
    record = Record(tuple(history), settings, environment, seconds, end)
    assume("nan" not in repr(settings) + repr(environment))
    assume("inf" not in repr(settings) + repr(environment))
    with file_of(b"", "record.json") as path:
        record.save(path)
        read = Record.load(path)
    for epoch, again in zip(history, read.history, strict=True):
        loss = epoch.train_loss if math.isfinite(epoch.train_loss) else math.nan
        assert repr(again) == repr(replace(epoch, train_loss=loss))  # nan is not equal to itself
    assert (read.settings, read.environment, read.wall_seconds) == (settings, environment, seconds)
    if end is not None and not math.isfinite(end.loss):
        end = replace(end, loss=math.nan)
    assert repr(read.diverged) == repr(end)


CHANGED_RECORD = st.one_of(with_one_changed(RECORD, JSON), JSON)


@fuzz(
    150, 1_000,
    CHANGED_RECORD.map(lambda content: json.dumps(content).encode())
    | st.binary(max_size=60) | spoiled(json.dumps(RECORD).encode()),
)  # fmt: skip
def test_what_is_no_record_is_a_value_error(content):
    with file_of(content, "record.json") as path:
        try:
            record = Record.load(path)
        except ValueError as error:
            assert is_ours(error, str(path))
            return
    for name, value in (pair for epoch in record.history for pair in vars(epoch).items()):
        assert type(value) in (int, float)
        assert name == "train_loss" or math.isfinite(value)
    assert Record.from_dict(json.loads(record.to_json())).settings == record.settings


# ---- the grader ---------------------------------------------------------------------------------

GRADE_IDS = [cell.grade_id for a in ASSIGNMENTS.values() for cell in a.cells]
SOURCES = [cell.source for a in ASSIGNMENTS.values() for cell in a.cells][:40]
CELL = st.fixed_dictionaries(
    {
        "code": st.booleans(),
        "grade_id": st.one_of(st.none(), st.sampled_from(GRADE_IDS), st.text(max_size=5)),
        "source": st.one_of(
            st.text(max_size=30),
            st.sampled_from(SOURCES),
            st.sampled_from(GRADE_IDS).map("# Question {}\n1 + 1".format),
        ),
    }
)
NOTEBOOK = st.fixed_dictionaries(
    {
        "assignment": st.one_of(st.none(), st.sampled_from([*ASSIGNMENTS]), st.text(max_size=5)),
        "cells": st.lists(CELL, max_size=25),
    }
)


@fuzz(100, 1_000, NOTEBOOK, st.sampled_from([*ASSIGNMENTS]))
def test_every_test_runs_once_and_as_it_was_after_its_answer(content, name):
    assert name_assignment(content, [*ASSIGNMENTS]) in (None, *ASSIGNMENTS)
    assignment = ASSIGNMENTS[name]
    try:
        matched = match(content, assignment)
    except ValueError as error:
        assert is_ours(error, "no answer to")
        return
    run = [cell.of.grade_id for cell in matched.cells if cell.of is not None]
    assert len({*run}) == len(run)
    for test in assignment.tests:
        assert run.count(test.grade_id) == 1
        at = run.index(test.grade_id)
        assert test.question not in run[at:]
        cells = [cell for cell in matched.cells if cell.of is test]
        assert [cell.source for cell in cells] == [test.source]


@fuzz(
    150, 1_000,
    st.one_of(
        JSON,
        with_one_changed(
            {
                "metadata": {"d2lmini": {"assignment": "vgg"}},
                "cells": [
                    {"cell_type": "code", "source": ["a\n", "b"], "metadata": {"nbgrader": {}}},
                    {"cell_type": "markdown", "source": "x", "metadata": {}},
                ],
            },
            JSON,
        ),
        with_one_changed({"worksheets": [{"cells": [{"cell_type": "code", "input": "1"}]}]}, JSON),
    ).map(lambda content: json.dumps(content).encode()) | st.binary(max_size=30),
)  # fmt: skip
def test_any_file_is_a_notebook_or_a_value_error(content):
    with file_of(content, "a.ipynb") as path:
        try:
            notebook = read_notebook(path)
        except ValueError:
            return
    json.dumps(notebook).encode()  # one line for the grader
    for cell in notebook["cells"]:
        assert isinstance(cell["source"], str)
        assert isinstance(cell["code"], bool)
        assert cell["grade_id"] is None or isinstance(cell["grade_id"], str)


@fuzz(
    60,
    1_000,
    st.lists(
        st.sampled_from(
            [
                "a",
                "### BEGIN SOLUTION",
                "### END SOLUTION",
                "    ### BEGIN HIDDEN TESTS",
                "### END HIDDEN TESTS",
            ]
        )
    ),
)
def test_a_solution_is_never_shown(lines):
    source = "\n".join(lines)
    try:
        visible = student_version(source, "stub")
    except ValueError as error:
        assert is_ours(error, "without END")
        return
    shown, inside = 0, None
    for line in lines:
        if inside is None and "BEGIN" in line:
            inside = line.strip().replace("BEGIN", "END")
        elif inside is not None:
            inside = None if line == inside else inside
        else:
            shown += line == "a"
    assert visible.split().count("a") == shown


class Tags(html.parser.HTMLParser):
    """Counts the tags of a page, and reads its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags += [(tag, *(name for name, _ in attrs))]

    def handle_data(self, text):
        self.text += [text]


WORDS = st.text(max_size=20) | st.sampled_from(
    ["<script>alert(1)</script>", "</pre><b>", "=1+1", '"; DROP', "a,b\n\rc", "&amp;", "\t=1", "\0"]
)


def graded(assignment, student, file, note, answer, message, share):
    """A Row whose every text is the student's."""
    results = tuple(
        Result(test, None if share is None else share * test.points, message)
        for test in assignment.tests
    )
    answers = dict.fromkeys(assignment.maximum, answer)
    return Row(
        student, assignment, Grade(assignment, results, answers, [note]), "", (file,), (note,)
    )


@fuzz(60, 1_000, st.sampled_from([*ASSIGNMENTS.values()]), WORDS, WORDS, WORDS, WORDS, WORDS,
      st.sampled_from([None, 0.0, 1.0]))  # fmt: skip
def test_no_text_of_a_student_changes_the_table_or_the_page(
    assignment, student, file, note, answer, message, share
):
    row = graded(assignment, student, file, note, answer, message, share)
    head, line = list(csv.reader(io.StringIO(to_csv([row]), newline="")))
    assert len(head) == len(line)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)
    points = {None: "", 0.0: "0", 1.0: f"{sum(t.points for t in assignment.tests):g}"}
    assert line[head.index("points")] == points[share]
    page = Tags(feedback_page(student, file, assignment, row.grade, "", (note,)))
    plain = graded(assignment, "a", "a", "a", "a", "a" if message else "", share)
    expected = Tags(feedback_page("a", "a", assignment, plain.grade, "", ("a",)))
    assert page.tags == expected.tags


NAMES = st.text("aß/._- Ø()1Z\\:", min_size=1, max_size=12) | st.sampled_from(
    ["vgg.ipynb", "ada_vgg.ipynb", "../../x.ipynb", "/x.ipynb", "C:\\x.ipynb", "a/b/c.ipynb",
     "Ada L_1_assignsubmission_file_/x.ipynb", "x.zip", "vgg/ada/x.ipynb"]
)  # fmt: skip


def as_zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@fuzz(
    80, 1_000, st.dictionaries(NAMES, st.binary(max_size=9), max_size=4), st.data(), st.booleans()
)
def test_any_zip_is_unpacked_inside_or_not_at_all(files, draws, spoil):
    content = as_zip(files)
    if spoil:
        content = draws.draw(spoiled(content))
    with tempfile.TemporaryDirectory() as name:
        submitted, scratch = Path(name, "submitted"), Path(name, "scratch")
        submitted.mkdir()
        scratch.mkdir()
        (submitted / "ada_vgg.zip").write_bytes(content)
        found = find_submissions(submitted, ["vgg"], scratch)
        assert {path.name for path in Path(name).iterdir()} == {"submitted", "scratch"}
        assert all(s.student and (s.path is None) == bool(s.trouble) for s in found)
        assert all(s.path is None or scratch in s.path.parents for s in found)
        assert found
