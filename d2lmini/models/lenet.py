"""LeNet-5. LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied
to document recognition", section II, in the form that D2L trains: no sparse connections
between the maps, a plain linear output in the place of Gaussian units."""

from torch import nn

from d2lmini.models.size import output_size


def lenet(in_channels=1, num_classes=10, *, activation=nn.Sigmoid, pool=nn.AvgPool2d,
          image_size=28):
    """LeNet-5: (N, in_channels, image_size, image_size) → logits (N, num_classes).

    Source: LeCun et al. (1998). Raises ValueError if image_size is too small.
    """
    features = nn.Sequential(
        nn.Conv2d(in_channels, 6, kernel_size=5, padding=2),  # N × 6 × 28 × 28
        activation(),
        pool(kernel_size=2, stride=2),  # N × 6 × 14 × 14
        nn.Conv2d(6, 16, kernel_size=5),  # N × 16 × 10 × 10
        activation(),
        pool(kernel_size=2, stride=2),  # N × 16 × 5 × 5
    )
    size = output_size(features, image_size, "lenet")
    return nn.Sequential(
        *features, nn.Flatten(),
        nn.Linear(16 * size * size, 120), activation(),
        nn.Linear(120, 84), activation(),
        nn.Linear(84, num_classes),
    )
