"""A small helper package for a book on the classic convolutional networks.

`import d2lmini as d2l` gives the names that readers of *Dive into Deep Learning* know. Whatever
needs matplotlib (`d2lmini.plot`) is loaded when it is first used, so that this import is quick.
"""

from importlib import import_module
from typing import Any

from d2lmini.compat import (
    Accumulator,
    FlattenLayer,
    GlobalAvgPool2d,
    Timer,
    accuracy,
    evaluate_accuracy_gpu,
    train_ch5,
)
from d2lmini.data import (
    ArrayLoader,
    ImageSet,
    cifar10,
    fashion_mnist,
    get_cifar10_labels,
    get_fashion_mnist_labels,
    load_data_cifar10,
    load_data_fashion_mnist,
)
from d2lmini.device import affordable_epochs, set_seed, try_gpu
from d2lmini.faults import Diverged
from d2lmini.init import initialize
from d2lmini.models import (
    MODELS,
    VGG11,
    VGG13,
    VGG16,
    VGG16_C,
    VGG19,
    Inception,
    alexnet,
    build,
    googlenet,
    lenet,
    narrow,
    nin,
    nin_block,
    vgg,
    vgg_block,
    vgg_cifar10,
    vgg_pooled,
)
from d2lmini.record import Divergence, EpochStats, Record, load_records, spread
from d2lmini.step import one_cycle
from d2lmini.summary import LayerRow, Summary, summarize
from d2lmini.train import evaluate_accuracy, train_ch6

__version__ = "0.1.0"

_PLOT = (
    "compare", "confusion", "confusion_counts", "curves", "feature_maps", "mistakes", "predict",
    "show_images",
)  # fmt: skip
_WIDGETS = (
    "ConvArithmetic", "ConvStack", "FiveNetworks", "InceptionBudget", "InsideNetwork",
    "LeNetAlive", "NiNHead", "SelfCheck", "ShapeWalk", "VGGWidth", "choose", "number", "order",
)  # fmt: skip

__all__ = [
    "Accumulator", "ArrayLoader", "Diverged", "Divergence", "EpochStats", "FlattenLayer",
    "GlobalAvgPool2d", "ImageSet", "Inception", "LayerRow", "MODELS", "Record", "Summary", "Timer",
    "VGG11", "VGG13", "VGG16", "VGG16_C", "VGG19", "accuracy", "affordable_epochs", "alexnet",
    "build", "cifar10", "evaluate_accuracy", "evaluate_accuracy_gpu", "fashion_mnist",
    "get_cifar10_labels", "get_fashion_mnist_labels", "googlenet", "initialize", "lenet",
    "load_data_cifar10", "load_data_fashion_mnist", "load_records", "narrow", "nin", "nin_block",
    "one_cycle", "set_seed", "spread", "summarize", "train_ch5", "train_ch6", "try_gpu", "vgg",
    "vgg_block", "vgg_cifar10", "vgg_pooled",
    *_PLOT, *_WIDGETS,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PLOT:
        return getattr(import_module("d2lmini.plot"), name)
    if name in _WIDGETS:
        return getattr(import_module("d2lmini.widgets"), name)
    raise AttributeError(f"module 'd2lmini' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLOT, *_WIDGETS})
