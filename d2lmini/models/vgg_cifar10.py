"""A VGG-16 for CIFAR-10 as a study note built it: batch norm after the pool, no activation
between the convolutions of a stage, and 1×1 convolutions padded by 1, which grow the map."""

from torch import nn

from d2lmini.models.size import output_size

# one stage: its channels and the kernel of each convolution; every convolution is padded by 1
VGG16_CIFAR10 = ((64, (3, 3)), (128, (3, 3)), (128, (3, 3, 1)), (256, (3, 3, 1)), (512, (3, 3, 1)))


def vgg_cifar10(conv_arch=VGG16_CIFAR10, in_channels=3, num_classes=10, *, image_size=32):
    """(N, in_channels, image_size, image_size) → logits (N, num_classes).

    At 32 pixels the maps are 16, 9, 6, 5 and 4 pixels wide after the five stages. The note's
    Dropout2d is given vectors, on which it acts as Dropout does (and is deprecated by torch).
    """
    layers = []
    for stage, (out_channels, kernels) in enumerate(conv_arch):
        for kernel_size in kernels:
            layers += [nn.Conv2d(in_channels, out_channels, kernel_size, padding=1)]
            in_channels = out_channels
        pool = nn.MaxPool2d(kernel_size=2, stride=2, padding=0 if stage == 0 else 1)
        layers += [pool, nn.BatchNorm2d(out_channels), nn.ReLU()]
    size = output_size(nn.Sequential(*layers), image_size, "vgg_cifar10")
    return nn.Sequential(
        *layers, nn.Flatten(),
        nn.Linear(in_channels * size * size, 1024), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(1024, num_classes),
    )  # fmt: skip
