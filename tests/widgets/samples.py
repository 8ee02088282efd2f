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
