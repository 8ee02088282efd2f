"""A ready example of each widget, by name, for the tests that hold for all of them."""

from collections.abc import Callable
from functools import cache

from torch import nn

import d2lmini as d2l
from d2lmini.data import ArrayLoader
from d2lmini.widgets.base import Widget


@cache
def batches() -> ArrayLoader:
    return d2l.load_data_fashion_mnist(256, normalize=True, subset=256)[1]


def fresh(name: str) -> nn.Module:
    """An untrained net, always the same."""
    d2l.set_seed(0)
    return d2l.initialize(d2l.build(name), "he")


def lenet_alive() -> Widget:
    _, images = d2l.fashion_mnist()
    return d2l.LeNetAlive(
        fresh("lenet"), images.images, images.labels, images.classes,
        mean=images.mean, std=images.std,
    )  # fmt: skip


def self_check() -> d2l.SelfCheck:
    """A question of each kind. It has no picture, so what holds for `SAMPLES` holds in part."""
    return d2l.SelfCheck(
        d2l.choose(
            "How many parameters has `nn.Conv2d(1, 6, 5)`, biases *included*?",
            {
                "6": "That is the number of kernels.",
                "31": "Each output channel has a kernel of its own.",
                "156": "Six kernels of 25 weights, and six biases.",
            },
            right="156",
        ),
        d2l.number(
            "Which side has the map after a 5×5 convolution over 28×28 pixels, without padding?",
            24,
            "28 − 5 + 1 = 24.",
            hints={28: "Without padding, the kernel has fewer places."},
        ),
        d2l.order(
            "Put a block of VGG into order.",
            ["3×3 convolution", "ReLU", "2×2 max-pool"],
            "The block ends in the pooling that halves the map.",
        ),
    )


# the figures: what draws, and has a picture and a table where no script runs
SAMPLES: dict[str, Callable[[], Widget]] = {
    "conv_arithmetic": d2l.ConvArithmetic,
    "conv_stack": d2l.ConvStack,
    "five_networks": d2l.FiveNetworks,
    "inception_budget": d2l.InceptionBudget,
    "inside": lambda: d2l.InsideNetwork(fresh("lenet"), batches(), name="LeNet"),
    "lenet_alive": lenet_alive,
    "nin_head": lambda: d2l.NiNHead(fresh("nin-small"), batches()),
    "shape_walk": d2l.ShapeWalk,
    "vgg_width": d2l.VGGWidth,
}
