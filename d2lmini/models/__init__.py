"""The five networks, one file per paper, and `MODELS`: every form the book uses, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from d2lmini.models.alexnet import (
    ALEXNET,
    ALEXNET_ONE_TOWER,
    ALEXNET_SMALL,
    ALEXNET_TORCHVISION,
    ALEXNET_UNPADDED,
    alexnet,
)
from d2lmini.models.arguments import checked
from d2lmini.models.googlenet import (
    GOOGLENET,
    GOOGLENET_SMALL,
    STEM,
    STEM_SMALL,
    AuxiliaryClassifier,
    GoogLeNetWithAuxiliary,
    Inception,
    googlenet,
    thin,
)
from d2lmini.models.lenet import lenet
from d2lmini.models.nin import NIN, NIN_SMALL, nin, nin_block
from d2lmini.models.vgg import (
    VGG11,
    VGG13,
    VGG16,
    VGG16_C,
    VGG19,
    narrow,
    vgg,
    vgg_block,
    vgg_pooled,
)
from d2lmini.models.vgg_cifar10 import VGG16_CIFAR10, vgg_cifar10

__all__ = [
    "ALEXNET", "ALEXNET_ONE_TOWER", "ALEXNET_SMALL", "ALEXNET_TORCHVISION", "ALEXNET_UNPADDED",
    "AuxiliaryClassifier", "GOOGLENET", "GOOGLENET_SMALL", "GoogLeNetWithAuxiliary", "Inception",
    "MODELS", "Model", "NIN", "NIN_SMALL", "STEM", "STEM_SMALL", "VGG11", "VGG13", "VGG16",
    "VGG16_C", "VGG16_CIFAR10", "VGG19", "alexnet", "build", "googlenet", "lenet", "narrow", "nin",
    "nin_block", "thin", "vgg", "vgg_block", "vgg_cifar10", "vgg_pooled",
]  # fmt: skip


# examples of what `conv_arch` may hold
ALEXNET_ENTRIES = (96, 11, 4, 0), "M"  # NiN's too: channels, kernel, stride, padding
VGG_ENTRIES = (2, 64), (3, 256, 1)  # convolutions, channels, the last one's kernel
GOOGLENET_STAGE = [(64, (96, 128), (16, 32), 32)]

# what the chapters define, to the letter, with a check of the arguments around it
lenet = checked()(lenet)
alexnet = checked(*ALEXNET_ENTRIES)(alexnet)
vgg_block = checked()(vgg_block)
vgg = checked(*VGG_ENTRIES)(vgg)
vgg_pooled = checked(*VGG_ENTRIES)(vgg_pooled)
narrow = checked(*VGG_ENTRIES)(narrow)
nin_block = checked()(nin_block)
nin = checked(*ALEXNET_ENTRIES)(nin)
googlenet = checked(GOOGLENET_STAGE)(googlenet)
thin = checked(GOOGLENET_STAGE)(thin)
vgg_cifar10 = checked((64, [3]))(vgg_cifar10)


@dataclass(frozen=True)
class Model:
    """A network's factory and the (C, H, W) of the images it is built for."""

    factory: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]


# paper size under the network's plain name, class size under "-small"
MODELS = {
    "lenet": Model(lenet, (1, 28, 28)),
    "alexnet": Model(alexnet, (1, 224, 224)),
    "alexnet-small": Model(
        partial(alexnet, conv_arch=ALEXNET_SMALL, hidden=(1024, 1024), image_size=28), (1, 28, 28)
    ),
    "vgg11": Model(vgg, (1, 224, 224)),
    "vgg11-quarter": Model(partial(vgg, narrow(VGG11, 4)), (1, 224, 224)),
    "vgg11-small": Model(
        partial(vgg, narrow(VGG11, 4), hidden=(512, 512), image_size=32), (1, 32, 32)
    ),
    "vgg11-pooled": Model(vgg_pooled, (1, 32, 32)),
    "vgg13": Model(partial(vgg, VGG13), (1, 224, 224)),
    "vgg16": Model(partial(vgg, VGG16), (1, 224, 224)),
    "vgg16-c": Model(partial(vgg, VGG16_C), (1, 224, 224)),
    "vgg19": Model(partial(vgg, VGG19), (1, 224, 224)),
    "nin": Model(nin, (1, 224, 224)),
    "nin-small": Model(partial(nin, conv_arch=NIN_SMALL, image_size=28), (1, 28, 28)),
    "googlenet": Model(googlenet, (1, 96, 96)),
    "googlenet-small": Model(
        partial(googlenet, conv_arch=GOOGLENET_SMALL, stem=STEM_SMALL, image_size=28), (1, 28, 28)
    ),
    "vgg16-cifar10": Model(vgg_cifar10, (3, 32, 32)),
}


def build(name: str, **options: object) -> nn.Module:
    """The network `name` of `MODELS`; options go to its factory. Raises ValueError if unknown."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known are {', '.join(MODELS)}")
    return MODELS[name].factory(**options)
