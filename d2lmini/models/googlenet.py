"""GoogLeNet. Szegedy et al. (2015), "Going deeper with convolutions", CVPR; D2L's form
by default, the paper's pooling, dropout and auxiliary classifiers by keyword."""

import torch
from torch import nn
from torch.nn import functional as F

from d2lmini.models.size import output_size

# a block's four branches: c1, (c2 reduce, c2), (c3 reduce, c3), c4 channels (table 1)
GOOGLENET = (
    ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)),  # 3a, 3b
    ((192, (96, 208), (16, 48), 64), (160, (112, 224), (24, 64), 64),  # 4a, 4b
     (128, (128, 256), (24, 64), 64), (112, (144, 288), (32, 64), 64),  # 4c, 4d
     (256, (160, 320), (32, 128), 128)),  # 4e
    ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)),  # 5a, 5b
)  # fmt: skip


def thin(conv_arch, ratio):
    """The same table with every channel count // ratio."""
    if isinstance(conv_arch, int):
        return conv_arch // ratio
    return tuple(thin(part, ratio) for part in conv_arch)


# stages of convolutions (channels, kernel, stride, padding), each ended by a max-pool
STEM = (((64, 7, 2, 3),), ((64, 1, 1, 0), (192, 3, 1, 1)))

# class size: a quarter of the channels, and a stem of 3×3 kernels that fits 28 pixels
GOOGLENET_SMALL = thin(GOOGLENET, 4)
STEM_SMALL = (((16, 3, 1, 1),), ((48, 3, 1, 1),))


class Inception(nn.Module):
    """(N, in_channels, H, W) → (N, c1 + c2[1] + c3[1] + c4, H, W). Source: figure 2b."""

    def __init__(self, in_channels, c1, c2, c3, c4):
        super().__init__()
        self.b1 = nn.Conv2d(in_channels, c1, kernel_size=1)
        self.b2_1 = nn.Conv2d(in_channels, c2[0], kernel_size=1)
        self.b2_2 = nn.Conv2d(c2[0], c2[1], kernel_size=3, padding=1)
        self.b3_1 = nn.Conv2d(in_channels, c3[0], kernel_size=1)
        self.b3_2 = nn.Conv2d(c3[0], c3[1], kernel_size=5, padding=2)
        self.b4_1 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.b4_2 = nn.Conv2d(in_channels, c4, kernel_size=1)

    def forward(self, x):
        b1 = F.relu(self.b1(x))
        b2 = F.relu(self.b2_2(F.relu(self.b2_1(x))))
        b3 = F.relu(self.b3_2(F.relu(self.b3_1(x))))
        b4 = F.relu(self.b4_2(self.b4_1(x)))
        return torch.cat((b1, b2, b3, b4), dim=1)


def inception_channels(c1, c2, c3, c4):
    """The channels that an Inception block gives: its branches' side by side."""
    return c1 + c2[1] + c3[1] + c4


def stem_layers(in_channels, convs):
    """Convolutions (channels, kernel, stride, padding), each with its ReLU."""
    layers = []
    for out_channels, kernel_size, stride, padding in convs:
        layers += [nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)]
        layers += [nn.ReLU()]
        in_channels = out_channels
    return layers


def inception_layers(in_channels, blocks):
    """Inception blocks, each taking what the one before gives."""
    layers = []
    for block in blocks:
        layers += [Inception(in_channels, *block)]
        in_channels = inception_channels(*block)
    return layers


def halve(ceil_mode):
    """Halves height and width, rounded up: by D2L's padding or as the paper does."""
    padding = 0 if ceil_mode else 1
    return nn.MaxPool2d(3, stride=2, padding=padding, ceil_mode=ceil_mode)


class AuxiliaryClassifier(nn.Module):
    """(N, in_channels, size, size) → logits (N, num_classes). Source: section 5."""

    def __init__(self, in_channels, num_classes, size, dropout=0.5):
        super().__init__()
        pool = nn.AvgPool2d(kernel_size=5, stride=3)
        size = output_size(nn.Sequential(pool), size, "the auxiliary classifier")
        self.layers = nn.Sequential(
            pool, nn.Conv2d(in_channels, 128, kernel_size=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * size * size, 1024), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(1024, num_classes),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


class GoogLeNetWithAuxiliary(nn.Module):
    """GoogLeNet and its two extra classifiers after blocks 4a and 4d.

    While training, forward returns (logits, those after 4a, those after 4d), in this
    order; else the logits alone.
    """

    def __init__(self, net, aux_4a, aux_4d):
        super().__init__()
        self.net, self.aux_4a, self.aux_4d = net, aux_4a, aux_4d

    def forward(self, x):
        if not self.training:
            return self.net(x)
        *before, b4, b5, output = self.net
        x_4a = nn.Sequential(*before, b4[0])(x)
        x_4d = b4[1:4](x_4a)
        return output(b5(b4[4:](x_4d))), self.aux_4a(x_4a), self.aux_4d(x_4d)


def with_auxiliary(net, blocks, num_classes, image_size):
    """The net with classifiers after 4a and 4d, the first and the fourth of `blocks`."""
    before = net[:-3]  # all that comes before 4a
    with_pool = nn.Sequential(before, nn.AvgPool2d(5, 3))
    output_size(with_pool, image_size, "googlenet with aux")  # raises if it does not fit
    size = output_size(before, image_size, "googlenet")
    widths = [inception_channels(*blocks[i]) for i in (0, 3)]
    heads = [AuxiliaryClassifier(width, num_classes, size) for width in widths]
    return GoogLeNetWithAuxiliary(net, *heads)


def googlenet(in_channels=1, num_classes=10, *, conv_arch=GOOGLENET, stem=STEM,
              image_size=96, dropout=0.0, ceil_mode=False, aux=False):
    """GoogLeNet: (N, in_channels, image_size, image_size) → logits (N, num_classes).

    aux: a GoogLeNetWithAuxiliary. Raises ValueError if image_size is too small.
    """
    stages = []
    for convs in stem:
        stages += [[*stem_layers(in_channels, convs), halve(ceil_mode)]]
        in_channels = convs[-1][0]
    for blocks in conv_arch:
        stages += [[*inception_layers(in_channels, blocks), halve(ceil_mode)]]
        in_channels = inception_channels(*blocks[-1])
    # the last stage ends in a global average pool, not in a max-pool
    stages[-1][-1:] = [nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(dropout)]
    stages = [nn.Sequential(*layers) for layers in stages]
    net = nn.Sequential(*stages, nn.Linear(in_channels, num_classes))
    if aux:  # the auxiliary pools need a larger image than the net itself
        return with_auxiliary(net, conv_arch[1], num_classes, image_size)
    output_size(net, image_size, "googlenet")  # raises if it does not fit
    return net
