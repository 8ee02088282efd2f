"""Network in Network. Lin, Chen and Yan (2014), arXiv:1312.4400; D2L's form."""

from torch import nn

from d2lmini.models.size import output_size

# (channels, kernel, stride, padding) of a block's first convolution; "M": 3×3/2 max-pool
NIN = ((96, 11, 4, 0), "M", (256, 5, 1, 2), "M", (384, 3, 1, 1), "M")
# class size: a quarter of the channels, and a first kernel that fits 28 pixels
NIN_SMALL = ((24, 5, 1, 2), "M", (64, 5, 1, 2), "M", (96, 3, 1, 1), "M")


def nin_block(in_channels, out_channels, kernel_size, stride, padding):
    """A convolution, then two of 1×1, with a ReLU after each. Source: section 3.1."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding), nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1), nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1), nn.ReLU(),
    )


def nin(in_channels=1, num_classes=10, *, conv_arch=NIN, image_size=224, dropout=0.5):
    """NiN: (N, in_channels, image_size, image_size) → logits (N, num_classes).

    The last block makes one map per class, and each map's mean is that class's logit.
    Source: the paper's section 3.2. Raises ValueError if image_size is too small.
    """
    layers, channels = [], in_channels
    for spec in conv_arch:
        if spec == "M":
            layers += [nn.MaxPool2d(kernel_size=3, stride=2)]
        else:
            layers += [nin_block(channels, *spec)]
            channels = spec[0]
    output_size(nn.Sequential(*layers), image_size, "nin")  # raises if it does not fit
    return nn.Sequential(
        *layers, nn.Dropout(dropout),
        nin_block(channels, num_classes, kernel_size=3, stride=1, padding=1),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )
