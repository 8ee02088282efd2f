"""The experiments behind the book's figures: which nets are trained how, with how many seeds.

Data only; `d2lmini.recorder` runs them. `python -m d2lmini record --list` shows what is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from d2lmini.models import (
    ALEXNET_SMALL,
    VGG11,
    VGG13,
    VGG16,
    VGG16_C,
    VGG16_CIFAR10,
    VGG19,
    build,
    narrow,
)


@dataclass(frozen=True)
class Recipe:
    """How a net is trained: what `load_data_…` and `train_ch6` are told.

    stop_after: end after this many epochs of a schedule laid out over num_epochs.
    """

    num_epochs: int
    lr: float
    optimizer: str = "nesterov"
    schedule: str | None = "one_cycle"
    init: str | None = "he"
    label_smoothing: float = 0.0
    data: str = "fashion_mnist"
    batch_size: int = 128
    resize: int | None = None  # pixels
    normalize: bool = True
    augment: bool | int = False
    precision: str = "auto"
    subset: int | None = None  # images
    validation: int | None = None  # images
    stop_after: int | None = None  # epochs


@dataclass(frozen=True)
class Variant:
    """One net trained one way, `seeds` times over (seeds 0, 1, …).

    model, options: of `build_net`. target: the accuracy the run is for, within: in how many
    seconds from the start of its process.
    """

    name: str
    model: str
    recipe: Recipe
    seeds: int
    options: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None
    within: float | None = None


@dataclass(frozen=True)
class Experiment:
    """A question and the runs that answer it. fresh_process: each run is timed from the start of
    a process of its own, and if interrupted begins anew."""

    name: str
    question: str
    variants: tuple[Variant, ...]
    fresh_process: bool = False


def build_net(model: str, options: Mapping[str, Any], recipe: Recipe) -> nn.Module:
    """A net of `MODELS` for the data set of the recipe."""
    colour = {"in_channels": 3} if recipe.data == "cifar10" else {}
    return build(model, **colour, **options)


# the recipes of the five chapters, chosen on 10,000 training images held back ("validation")
CHAPTERS = {
    "lenet": Recipe(10, 0.01, optimizer="adam", init="xavier"),
    "alexnet-small": Recipe(6, 0.03),
    "vgg11-small": Recipe(8, 0.08, resize=32),
    "nin-small": Recipe(6, 0.003, optimizer="adam", init="he_open"),
    "googlenet-small": Recipe(6, 0.003, optimizer="adam"),
}
VGG_RECIPE = CHAPTERS["vgg11-small"]
SMALL_HEAD = {"hidden": (512, 512), "image_size": 32}
# D2L's own: plain SGD at one rate, Xavier's weights, pixels in [0, 1]
D2L_RECIPE = Recipe(10, 0.05, optimizer="sgd", schedule=None, init="xavier", normalize=False)


def _validation() -> Iterator[Variant]:
    for model, recipe in CHAPTERS.items():
        yield Variant(model, model, replace(recipe, validation=10_000), seeds=1)


def _five_networks() -> Iterator[Variant]:
    for model, recipe in CHAPTERS.items():
        yield Variant(model, model, recipe, seeds=5)


def _plateau() -> Iterator[Variant]:
    for model, recipe in CHAPTERS.items():
        yield Variant(model, model, replace(recipe, stop_after=1), seeds=20)


def _precision() -> Iterator[Variant]:
    for precision in ("fp32", "bf16"):
        recipe = replace(VGG_RECIPE, precision=precision)
        yield Variant(precision, "vgg11-small", recipe, seeds=3)


def _width() -> Iterator[Variant]:
    # ratio 4 with the fixed head is the chapter's own net: five_networks
    for ratio, seeds in ((8, 5), (16, 5), (2, 3), (4, 5), (1, 1)):
        conv_arch = narrow(VGG11, ratio)
        scaled = 4096 // ratio  # as wide as the fixed head at ratio 8
        for name, units in (("fixed", 512), ("scaled", scaled)):
            if (ratio, name) not in ((4, "fixed"), (8, "scaled")):
                yield Variant(
                    f"ratio {ratio}, head {name}", "vgg11", VGG_RECIPE, seeds,
                    {"conv_arch": conv_arch, "hidden": (units, units), "image_size": 32},
                )  # fmt: skip


def _depth() -> Iterator[Variant]:
    # VGG-11 is the chapter's own net: five_networks. One seed where a run takes over five minutes
    for name, conv_arch, seeds in (
        ("VGG-13", VGG13, 3), ("VGG-16", VGG16, 1), ("VGG-16-C", VGG16_C, 1), ("VGG-19", VGG19, 1),
    ):  # fmt: skip
        options = {"conv_arch": narrow(conv_arch, 4), **SMALL_HEAD}
        yield Variant(name, "vgg11", VGG_RECIPE, seeds, options)


def _resolution() -> Iterator[Variant]:
    conv_arch = narrow(VGG11, 4)
    for size, seeds in ((32, 5), (64, 3), (96, 1)):
        for lr in (0.08, 0.04):
            recipe = replace(VGG_RECIPE, num_epochs=4, lr=lr, resize=size)
            options = {"conv_arch": conv_arch, "hidden": (512, 512), "image_size": size}
            yield Variant(f"{size} px, linear head, rate {lr}", "vgg11", recipe, seeds, options)
            yield Variant(
                f"{size} px, pooled head, rate {lr}", "vgg11-pooled", recipe, seeds,
                {"conv_arch": conv_arch},
            )  # fmt: skip


def _init() -> Iterator[Variant]:
    for model in ("vgg11-small", "nin-small", "googlenet-small"):
        rules = (None, "xavier", "he", *(("he_open",) if model == "nin-small" else ()))
        for init in rules:
            for lr in (0.02, 0.1, 0.5):
                recipe = replace(
                    CHAPTERS[model], num_epochs=1, lr=lr, optimizer="sgd", schedule=None,
                    init=init, subset=30_000,
                )  # fmt: skip
                name = f"{model}, {init or 'default'}, rate {lr}"
                yield Variant(name, model, recipe, seeds=10)


def _class_maps() -> Iterator[Variant]:
    # a class whose map stays shut is never answered, which shows in the first half of the recipe
    for bias, init in (("0", "he"), ("1", "he_open")):
        recipe = replace(CHAPTERS["nin-small"], init=init, stop_after=3, validation=10_000)
        yield Variant(f"biases of {bias}", "nin-small", recipe, seeds=10)


def _claims() -> Iterator[Variant]:
    def vgg_of(*conv_arch: tuple[int, ...]) -> dict[str, Any]:
        return {"conv_arch": conv_arch, **SMALL_HEAD}

    def alexnet_of(*conv_arch: Any) -> dict[str, Any]:
        return {"conv_arch": conv_arch}

    # S4c, S1h: a few multiply–accumulates more or less than VGG-11/4's 9.9 M
    no_linear = {"conv_arch": narrow(VGG11, 4), "hidden": (), "image_size": 32}
    yield Variant("VGG-11/4 without linear layers", "vgg11", VGG_RECIPE, 5, no_linear)
    deep = vgg_of((7, 6), (7, 12), (7, 24), (7, 48), (7, 48))
    yield Variant("VGG, 35 narrow convolutions", "vgg11", VGG_RECIPE, 3, deep)
    wide = vgg_of((1, 32), (1, 64), (1, 96))
    yield Variant("VGG, 3 wide convolutions", "vgg11", VGG_RECIPE, 5, wide)
    # S0c, S1b: around the chapter's AlexNet (five_networks)
    first, last = ALEXNET_SMALL[:4], ALEXNET_SMALL[4:]
    recipe = CHAPTERS["alexnet-small"]
    more = (96, 3, 1, 1)
    yield Variant(
        "AlexNet, two convolutions more", "alexnet-small", recipe, 3,
        alexnet_of(*first, more, more, *last),
    )  # fmt: skip
    yield Variant(
        "AlexNet, one convolution fewer", "alexnet-small", recipe, 5, alexnet_of(*first, *last[1:])
    )
    # S0b: one large kernel a block, widened until it costs what two or three 3×3 cost
    widths = (16, 32, 64, 128, 128)
    kernels: dict[str, list[tuple[int, ...]]] = {
        "two 3×3": [(2, w) for w in widths],
        "one 5×5": [(1, w, 5) for w in (18, 35, 70, 140, 140)],
        "three 3×3": [(3, w) for w in widths],
        "one 7×7": [(1, w, 7) for w in (16, 33, 66, 131, 131)],
    }
    for name, blocks in kernels.items():
        yield Variant(f"VGG, blocks of {name}", "vgg11", VGG_RECIPE, 3, vgg_of(*blocks))
    # S1g: at 40 pixels, the least that the auxiliary classifiers' 5×5 pools can take
    recipe = replace(CHAPTERS["googlenet-small"], resize=40)
    for aux in (False, True):
        name = f"GoogLeNet, {'with' if aux else 'without'} auxiliary classifiers"
        yield Variant(name, "googlenet-small", recipe, 3, {"image_size": 40, "aux": aux})


def _regularisation() -> Iterator[Variant]:
    # beside the chapter's AlexNet, which has dropout 0.5 and no augmentation: five_networks
    plain = CHAPTERS["alexnet-small"]
    shifted = replace(plain, augment=True)
    for name, recipe, dropout in (
        ("no dropout", plain, 0.0),
        ("dropout, flips and shifts", shifted, 0.5),
        ("no dropout, flips and shifts", shifted, 0.0),
    ):
        yield Variant(name, "alexnet-small", recipe, 3, {"dropout": dropout})


def _vgg_cifar10() -> Iterator[Variant]:
    # the note tells 20 epochs; optimizer, rate and batch size are ours
    as_told = Recipe(
        20, 0.001, optimizer="adam", schedule=None, init=None, data="cifar10", batch_size=128
    )
    yield Variant("the note's net, the note's training", "vgg16-cifar10", as_told, 1)
    # the chapter's steps by one recipe
    no_rim = {"same_size": True}
    norm_each = {**no_rim, "norm_each": True}
    no_hidden: dict[str, Any] = {**norm_each, "hidden": ()}
    half = tuple((channels // 2, kernels) for channels, kernels in VGG16_CIFAR10)
    # one run each: without bf16, 12 to 90 minutes on two cores
    for name, options in (
        ("as written", {}),
        ("a: no rim", no_rim),
        ("b: norm and ReLU each", norm_each),
        ("c: no hidden layers", no_hidden),
        ("d: half as wide", {**no_hidden, "conv_arch": half}),
    ):
        yield Variant(name, "vgg16-cifar10", CIFAR10_RECIPE, 1, options)
    yield Variant("e: four stages", "vgg11", CIFAR10_RECIPE, 5, CIFAR10_NET)


def _paper_size() -> Iterator[Variant]:
    for model, lr, size in (("googlenet", 0.1, 96), ("vgg11-quarter", 0.05, 224)):
        yield Variant(model, model, replace(D2L_RECIPE, lr=lr, resize=size), seeds=1)


def _thin(*conv_arch: tuple[int, int], image_size: int) -> dict[str, Any]:
    """A VGG with batch norm and no hidden linear layers: what two cores can train in a minute."""
    return {
        "conv_arch": conv_arch, "hidden": (), "image_size": image_size, "batch_norm": True
    }  # fmt: skip


CIFAR10_NET = _thin((1, 32), (1, 64), (2, 128), (2, 256), image_size=32)
# all recipes were chosen on 10,000 training images held back
CIFAR10_RECIPE = Recipe(6, 0.05, data="cifar10", augment=True)


def _time_to_accuracy() -> Iterator[Variant]:
    net = _thin((1, 32), (1, 64), (1, 128), (1, 256), image_size=28)
    plain = Recipe(3, 0.1)
    yield Variant("Fashion-MNIST 0.913", "vgg11", plain, 5, net, target=0.913, within=60)
    # thinner than that one where maps are large; twice the steps an epoch
    net = _thin((1, 16), (1, 64), (1, 128), (1, 256), image_size=28)
    shifted = Recipe(8, 0.1, augment=1, batch_size=64)
    yield Variant("Fashion-MNIST 0.929", "vgg11", shifted, 5, net, target=0.929, within=150)
    # the CIFAR-10 chapter's own, (f) there: thinner than (e), most of all where maps are large
    net = _thin((1, 16), (1, 64), (2, 96), (2, 192), image_size=32)
    quick = replace(CIFAR10_RECIPE, num_epochs=5, batch_size=64)
    yield Variant("CIFAR-10 0.82", "vgg11", quick, 5, net, target=0.82, within=150)
    net = {**CIFAR10_NET, "image_size": 28}
    longest = Recipe(30, 0.1, augment=1)
    yield Variant("Fashion-MNIST 0.940", "vgg11", longest, 1, net, target=0.94, within=600)
    colour = Recipe(27, 0.1, data="cifar10", augment=4, label_smoothing=0.1)
    net = CIFAR10_NET
    yield Variant("CIFAR-10 0.900", "vgg11", colour, 1, net, target=0.9, within=600)


def _experiments() -> Iterator[Experiment]:
    yield Experiment("validation", "Which recipe for each chapter?", tuple(_validation()))
    yield Experiment("five_networks", "How do the five networks compare?", tuple(_five_networks()))
    yield Experiment(
        "time_to_accuracy",
        "How long from nothing to a good figure?",
        tuple(_time_to_accuracy()),
        fresh_process=True,
    )
    yield Experiment("width", "What does VGG's width buy?", tuple(_width()))
    yield Experiment("plateau", "Does a chapter's net ever fail to start?", tuple(_plateau()))
    yield Experiment("precision", "Does bf16 end where fp32 ends?", tuple(_precision()))
    yield Experiment("depth", "What does VGG's depth buy?", tuple(_depth()))
    yield Experiment("init", "Which start and rate let a net learn at all?", tuple(_init()))
    yield Experiment(
        "class_maps", "Do biases above zero keep NiN's class maps open?", tuple(_class_maps())
    )
    yield Experiment("claims", "What the study notes claim of the designs", tuple(_claims()))
    yield Experiment(
        "regularisation",
        "What do dropout and augmentation buy AlexNet?",
        tuple(_regularisation()),
    )
    yield Experiment("resolution", "Why does a smaller input end lower?", tuple(_resolution()))
    yield Experiment("vgg_cifar10", "How good is the note's VGG-16?", tuple(_vgg_cifar10()))
    yield Experiment("paper_size", "What does D2L's recipe give here?", tuple(_paper_size()))


EXPERIMENTS = {experiment.name: experiment for experiment in _experiments()}
