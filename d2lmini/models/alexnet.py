"""AlexNet. Krizhevsky, Sutskever and Hinton (2012), "ImageNet classification with deep
convolutional neural networks", as one tower and without local response normalisation."""

from torch import nn

from d2lmini.models.size import output_size

# (channels, kernel, stride, padding) of each conv; "M": 3×3 max-pool of stride 2
ALEXNET = (
    (96, 11, 4, 1), "M", (256, 5, 1, 2), "M",
    (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1), "M",
)  # fmt: skip
# the first convolution unpadded; one of the paper's two towers; torchvision's
ALEXNET_UNPADDED = ((96, 11, 4, 0), *ALEXNET[1:])
ALEXNET_ONE_TOWER = (
    (48, 11, 4, 2), "M", (128, 5, 1, 2), "M",
    (192, 3, 1, 1), (192, 3, 1, 1), (128, 3, 1, 1), "M",
)  # fmt: skip
ALEXNET_TORCHVISION = (
    (64, 11, 4, 2), "M", (192, 5, 1, 2), "M",
    (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "M",
)  # fmt: skip
# class size: a quarter of the channels, and a first kernel that fits 28 pixels
ALEXNET_SMALL = (
    (24, 5, 2, 2), (64, 5, 1, 2), "M",
    (96, 3, 1, 1), (96, 3, 1, 1), (64, 3, 1, 1), "M",
)  # fmt: skip


def alexnet(in_channels=1, num_classes=10, *, conv_arch=ALEXNET, hidden=(4096, 4096),
            image_size=224, dropout=0.5, dropout_first=False, activation=nn.ReLU):
    """AlexNet: (N, in_channels, image_size, image_size) → logits (N, num_classes).

    Dropout follows each hidden layer (section 4.2); dropout_first puts it before,
    as torchvision does. Raises ValueError if image_size is too small.
    """
    layers, channels = [], in_channels
    for spec in conv_arch:
        if spec == "M":
            layers += [nn.MaxPool2d(kernel_size=3, stride=2)]
        else:
            out_channels, kernel_size, stride, padding = spec
            conv = nn.Conv2d(channels, out_channels, kernel_size, stride, padding)
            layers += [conv, activation()]
            channels = out_channels
    size = output_size(nn.Sequential(*layers), image_size, "alexnet")
    layers += [nn.Flatten()]
    width = channels * size * size
    for units in hidden:
        dense, drop = [nn.Linear(width, units), activation()], [nn.Dropout(dropout)]
        layers += drop + dense if dropout_first else dense + drop
        width = units
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
