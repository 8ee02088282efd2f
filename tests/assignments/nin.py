"""Wrong answers to the assignment on NiN."""

from assignments import Wrong

WRONG = {
    "nin-mlpconv": [
        Wrong(
            "every convolution takes in_channels",
            (0, 1, 0, 0),
            """
def mlpconv(in_channels, widths, kernel_size, stride=1, padding=0, last_relu=True):
    layers = [nn.Conv2d(in_channels, widths[0], kernel_size, stride, padding), nn.ReLU()]
    for width in widths[1:]:
        layers += [nn.Conv2d(in_channels, width, 1), nn.ReLU()]
    if not last_relu:
        layers.pop()
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "the first window for every convolution",
            (0, 1, 0, 0),
            """
def mlpconv(in_channels, widths, kernel_size, stride=1, padding=0, last_relu=True):
    layers = []
    for width in widths:
        layers += [nn.Conv2d(in_channels, width, kernel_size, stride, padding), nn.ReLU()]
        in_channels = width
    if not last_relu:
        layers.pop()
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "one ReLU at the end",
            (1, 0, 1, 0),
            """
def mlpconv(in_channels, widths, kernel_size, stride=1, padding=0, last_relu=True):
    layers = [nn.Conv2d(in_channels, widths[0], kernel_size, stride, padding)]
    for i in range(1, len(widths)):
        layers.append(nn.Conv2d(widths[i - 1], widths[i], 1))
    if last_relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
""",
        ),
    ],
    "nin-maxout": [
        Wrong(
            "pieces and channels in the wrong order",
            (1, 0, 0),
            """
class Maxout(nn.Module):
    def __init__(self, in_channels, out_channels, pieces):
        super().__init__()
        self.out_channels, self.pieces = out_channels, pieces
        self.conv = nn.Conv2d(in_channels, out_channels * pieces, 1)

    def forward(self, X):
        sums = self.conv(X)
        n, _, h, w = sums.shape
        return sums.view(n, self.pieces, self.out_channels, h, w).max(dim=1).values
""",
        ),
        Wrong(
            "a ReLU on top",
            (1, 1, 0),
            """
class Maxout(nn.Module):
    def __init__(self, in_channels, out_channels, pieces):
        super().__init__()
        self.out_channels, self.pieces = out_channels, pieces
        self.conv = nn.Conv2d(in_channels, out_channels * pieces, 1)

    def forward(self, X):
        sums = F.relu(self.conv(X))
        n, _, h, w = sums.shape
        return sums.view(n, self.out_channels, self.pieces, h, w).max(dim=2).values
""",
        ),
        Wrong(
            "the pieces are added up",
            (1, 0, 0),
            """
class Maxout(nn.Module):
    def __init__(self, in_channels, out_channels, pieces):
        super().__init__()
        self.pieces = pieces
        self.conv = nn.Conv2d(in_channels, out_channels * pieces, 1)

    def forward(self, X):
        return self.conv(X).unflatten(1, (-1, self.pieces)).sum(dim=2)
""",
        ),
    ],
    "nin-maps": [
        Wrong(
            "the bias is forgotten",
            (1, 1, 0),
            """
def class_maps(features, linear):
    return F.conv2d(features, linear.weight[:, :, None, None])
""",
        ),
        Wrong(
            "a softmax over the classes",
            (1, 0, 0),
            """
def class_maps(features, linear):
    scores = linear(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return scores.softmax(dim=1)
""",
        ),
        Wrong(
            "the score itself at every place",
            (1, 0, 1),
            """
def class_maps(features, linear):
    scores = linear(features.mean(dim=(2, 3)))
    return scores[:, :, None, None].expand(-1, -1, *features.shape[2:])
""",
        ),
    ],
    "nin-costs": [
        Wrong(
            "the 1×1 layers are forgotten",
            (0, 0, 0, 0),
            """
def count_costs(conv_arch, in_channels, image_size):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = (image_size - 3) // 2 + 1
        else:
            widths, kernel, stride, padding = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            parameters += (in_channels * kernel**2 + 1) * widths[0]
            macs += in_channels * kernel**2 * widths[0] * image_size**2
            in_channels = widths[-1]
    return parameters, macs
""",
        ),
        Wrong(
            "the pools round up",
            (1, 1, 1, 0),
            """
def count_costs(conv_arch, in_channels, image_size):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = -(-(image_size - 3) // 2) + 1
        else:
            widths, kernel, stride, padding = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            for i, width in enumerate(widths):
                area = kernel**2 if i == 0 else 1
                parameters += (in_channels * area + 1) * width
                macs += in_channels * area * width * image_size**2
                in_channels = width
    return parameters, macs
""",
        ),
        Wrong(
            "MACs without the kernel's area",
            (1, 1, 0, 0),
            """
def count_costs(conv_arch, in_channels, image_size):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = (image_size - 3) // 2 + 1
        else:
            widths, kernel, stride, padding = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            for i, width in enumerate(widths):
                area = kernel**2 if i == 0 else 1
                parameters += (in_channels * area + 1) * width
                macs += in_channels * width * image_size**2
                in_channels = width
    return parameters, macs
""",
        ),
    ],
    "nin-reduction": [
        Wrong(
            "the reduction itself is thought to be free",
            (0, 0, 0),
            """
def widest_reduction(in_channels, out_channels, kernel, share):
    alone = in_channels * kernel**2 * out_channels
    width = 0
    while (width + 1) * kernel**2 * out_channels <= share * alone:
        width += 1
    return width
""",
        ),
        Wrong(
            "rounded to the nearest",
            (1, 0, 0),
            """
def widest_reduction(in_channels, out_channels, kernel, share):
    area = kernel * kernel
    alone = in_channels * area * out_channels
    return round(share * alone / (in_channels + area * out_channels))
""",
        ),
        Wrong(
            "less than the share, where as much is allowed",
            (1, 1, 0),
            """
def widest_reduction(in_channels, out_channels, kernel, share):
    area = kernel * kernel
    budget = share * in_channels * area * out_channels
    width = 0
    while (width + 1) * (in_channels + area * out_channels) < budget:
        width += 1
    return width
""",
        ),
    ],
    "nin-silent": [
        Wrong(
            "the last batch alone",
            (1, 1, 0, 1),
            """
def silent_classes(net, batches):
    training = net.training
    net.eval()
    with torch.no_grad():
        for X, _ in batches:
            silent = (net(X) <= 0).all(dim=3).all(dim=2).all(dim=0)
    net.train(training)
    return silent
""",
        ),
        Wrong(
            "a mean that is not above zero",
            (1, 0, 1, 1),
            """
def silent_classes(net, batches):
    training = net.training
    net.eval()
    with torch.no_grad():
        means = [net(X).mean(dim=(0, 2, 3)) for X, _ in batches]
    net.train(training)
    return torch.stack(means).mean(dim=0) <= 0
""",
        ),
        Wrong(
            "silent on one image is silent, in whatever mode",
            (1, 0, 0, 0),
            """
def silent_classes(net, batches):
    silent = torch.tensor(False)
    with torch.no_grad():
        for X, _ in batches:
            silent = silent | (net(X).amax(dim=(2, 3)) <= 0).any(dim=0)
    return silent
""",
        ),
    ],
    "nin-open": [
        Wrong(
            "every channel is shifted",
            (0, 1, 0),
            """
def open_silent(conv, inputs, silent, target=0.1):
    with torch.no_grad():
        conv.bias += target - conv(inputs).mean(dim=(0, 2, 3))
""",
        ),
        Wrong(
            "the bias becomes the target",
            (1, 0, 1),
            """
def open_silent(conv, inputs, silent, target=0.1):
    with torch.no_grad():
        conv.bias[silent] = target
""",
        ),
        Wrong(
            "a new parameter",
            (1, 1, 0),
            """
def open_silent(conv, inputs, silent, target=0.1):
    means = conv(inputs).mean(dim=(0, 2, 3)).detach()
    bias = conv.bias.detach().clone()
    bias[silent] = bias[silent] + target - means[silent]
    conv.bias = nn.Parameter(bias)
""",
        ),
    ],
}
