"""VGG. Simonyan and Zisserman (2015), "Very deep convolutional networks for large-scale
image recognition", arXiv:1409.1556; D2L's form."""

from torch import nn

from d2lmini.models.size import output_size

# one block: (number of 3×3 convolutions, channels); a third number: the last one's kernel
VGG11 = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))  # configuration A
VGG13 = ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512))  # B
VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # D
VGG16_C = ((2, 64), (2, 128), (3, 256, 1), (3, 512, 1), (3, 512, 1))  # C: with 1×1
VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # E


def vgg_block(num_convs, in_channels, out_channels, last_kernel=3, *, batch_norm=False):
    """(N, in_channels, H, W) → (N, out_channels, H // 2, W // 2). Source: section 2.1."""
    layers = []
    for i in range(num_convs):
        kernel_size = last_kernel if i == num_convs - 1 else 3
        padding = kernel_size // 2  # 1 for 3×3, 0 for 1×1: the map keeps its size
        layers += [nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)]
        layers += [nn.BatchNorm2d(out_channels)] if batch_norm else []
        layers += [nn.ReLU()]
        in_channels = out_channels
    return nn.Sequential(*layers, nn.MaxPool2d(kernel_size=2, stride=2))


def vgg(conv_arch=VGG11, in_channels=1, num_classes=10, *, hidden=(4096, 4096),
        image_size=224, dropout=0.5, batch_norm=False):
    """VGG: (N, in_channels, image_size, image_size) → logits (N, num_classes).

    hidden: widths of the linear layers before the output; () leaves the output alone.
    Source: the paper's table 1. Raises ValueError if image_size is too small.
    """
    blocks = []
    for num_convs, out_channels, *kernel in conv_arch:
        blocks += [
            vgg_block(num_convs, in_channels, out_channels, *kernel, batch_norm=batch_norm)
        ]
        in_channels = out_channels
    size = output_size(nn.Sequential(*blocks), image_size, "vgg")
    head, width = [nn.Flatten()], in_channels * size * size
    for units in hidden:
        head += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*blocks, *head, nn.Linear(width, num_classes))


def narrow(conv_arch, ratio):
    """The same blocks, every channel count // ratio. Raises ValueError if none is left."""
    least = min(channels for _, channels, *_ in conv_arch)
    if not 1 <= ratio <= least:
        raise ValueError(
            f"ratio={ratio} leaves {least} // {ratio} channels; use 1 to {least}"
        )
    return tuple((n, channels // ratio, *kernel) for n, channels, *kernel in conv_arch)


def vgg_pooled(conv_arch=VGG11, in_channels=1, num_classes=10):
    """VGG's blocks, the mean of each last map, one linear layer: a head for every size.

    (N, in_channels, H, W), H and W at least 32 → logits (N, num_classes).
    """
    net = vgg(conv_arch, in_channels, num_classes, hidden=(), image_size=32)
    *blocks, flatten, output = net
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d((1, 1)), flatten, output)
