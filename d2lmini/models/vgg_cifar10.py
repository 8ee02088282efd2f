"""A VGG-16 for CIFAR-10 as a study note built it, and, by options, mended: the note norms after
the pool, has no activation within a stage, and pads its 1×1 convolutions, which grow the map."""

from torch import nn

from d2lmini.models.size import output_size

# one stage: its channels, and the kernel of each convolution
VGG16_CIFAR10 = (
    (64, (3, 3)), (128, (3, 3)), (128, (3, 3, 1)), (256, (3, 3, 1)), (512, (3, 3, 1))
)


def cifar10_stage(kernels, in_channels, out_channels, pool_padding=1, *,
                  same_size=False, norm_each=False):
    """(N, in_channels, H, W) → convolutions, one pool, batch norm and ReLU.

    same_size: convolutions keep the map's size, the pool halves it; if not, each 1×1
    adds a rim. norm_each: batch norm and ReLU after every convolution, not the pool.
    """
    layers = []
    for kernel_size in kernels:
        padding = kernel_size // 2 if same_size else 1
        layers += [nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)]
        layers += [nn.BatchNorm2d(out_channels), nn.ReLU()] if norm_each else []
        in_channels = out_channels
    pool_padding = 0 if same_size else pool_padding
    layers += [nn.MaxPool2d(kernel_size=2, stride=2, padding=pool_padding)]
    layers += [] if norm_each else [nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


def vgg_cifar10(conv_arch=VGG16_CIFAR10, in_channels=3, num_classes=10, *,
                image_size=32, same_size=False, norm_each=False, hidden=(1024, 1024)):
    """(N, in_channels, image_size, image_size) → logits (N, num_classes).

    As the note has it, the stages leave maps of 16, 9, 6, 5 and 4 pixels. same_size,
    norm_each: of each stage; with both it is `vgg` with batch norm. hidden: widths of
    the linear layers before the output. Raises ValueError if image_size is too small.
    """
    options = {"same_size": same_size, "norm_each": norm_each}
    stages = []
    for i, (out_channels, kernels) in enumerate(conv_arch):
        channels = in_channels, out_channels
        stages += [cifar10_stage(kernels, *channels, 0 if i == 0 else 1, **options)]
        in_channels = out_channels
    size = output_size(nn.Sequential(*stages), image_size, "vgg_cifar10")
    head, width = [nn.Flatten()], in_channels * size * size
    for units in hidden:  # the note's Dropout2d acts on vectors as Dropout
        head += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(0.5)]
        width = units
    return nn.Sequential(*stages, *head, nn.Linear(width, num_classes))
