"""Wrong answers to the assignment on LeNet."""

from assignments import Wrong

WRONG = {
    "lenet-conv": [
        Wrong(
            "padded below and on the right only",
            (1, 1, 1, 0, 1),
            """
def convolve(X, weight, bias, stride=1, padding=0):
    X = F.pad(X, (0, 2 * padding, 0, 2 * padding))
    k_h, k_w = weight.shape[2:]
    rows = (X.shape[1] - k_h) // stride + 1
    columns = (X.shape[2] - k_w) // stride + 1
    out = torch.zeros(len(weight), rows, columns)
    for i in range(rows):
        for j in range(columns):
            window = X[:, i * stride : i * stride + k_h, j * stride : j * stride + k_w]
            out[:, i, j] = (window * weight).sum((1, 2, 3)) + bias
    return out
""",
        ),
        Wrong(
            "the kernel is turned round, as in mathematics",
            (1, 0, 0, 0, 1),
            """
def convolve(X, weight, bias, stride=1, padding=0):
    X = F.pad(X, (padding,) * 4)
    weight = weight.flip(2, 3)
    k_h, k_w = weight.shape[2:]
    rows = (X.shape[1] - k_h) // stride + 1
    columns = (X.shape[2] - k_w) // stride + 1
    out = torch.zeros(len(weight), rows, columns)
    for o in range(len(weight)):
        for i in range(rows):
            for j in range(columns):
                window = X[:, i * stride : i * stride + k_h, j * stride : j * stride + k_w]
                out[o, i, j] = (window * weight[o]).sum() + bias[o]
    return out
""",
        ),
        Wrong(
            "PyTorch does it",
            (1, 1, 1, 1, 0),
            """
def convolve(X, weight, bias, stride=1, padding=0):
    return nn.functional.conv2d(X, weight, bias, stride=stride, padding=padding)
""",
        ),
    ],
    "lenet-pool": [
        Wrong(
            "one coefficient and one bias for all channels",
            (0, 1, 0),
            """
class LearnedPool(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.coefficient = nn.Parameter(torch.tensor(0.25))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, X):
        return 4 * F.avg_pool2d(X, 2) * self.coefficient + self.bias
""",
        ),
        Wrong(
            "the average is multiplied, not the sum",
            (1, 1, 0),
            """
class LearnedPool(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, X):
        average = F.avg_pool2d(X, kernel_size=2, stride=2)
        return average * self.coefficient[:, None, None] + self.bias[:, None, None]
""",
        ),
        Wrong(
            "plain tensors, which no optimizer finds",
            (0, 1, 1),
            """
class LearnedPool(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.coefficient = torch.ones(channels) / 4
        self.bias = torch.zeros(channels)

    def forward(self, X):
        h, w = X.shape[2] // 2 * 2, X.shape[3] // 2 * 2
        sums = (X[..., 0:h:2, 0:w:2] + X[..., 1:h:2, 0:w:2]
                + X[..., 0:h:2, 1:w:2] + X[..., 1:h:2, 1:w:2])
        return sums * self.coefficient.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
""",
        ),
    ],
    "lenet-everywhere": [
        Wrong(
            "the right shapes with new weights",
            (1, 1, 0),
            """
def everywhere(net):
    layers, channels = [], 0
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Linear):
            side = int((layer.in_features // channels) ** 0.5)
            layers.append(nn.Conv2d(channels, layer.out_features, side))
            channels = layer.out_features
        elif not isinstance(layer, nn.Flatten):
            layers.append(layer)
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "weights laid out with the channels last",
            (1, 1, 0),
            """
def everywhere(net):
    layers, channels = [], 0
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Linear):
            side = int((layer.in_features // channels) ** 0.5)
            conv = nn.Conv2d(channels, layer.out_features, side)
            weight = layer.weight.data.reshape(-1, side, side, channels)
            conv.weight.data = weight.permute(0, 3, 1, 2).contiguous()
            conv.bias.data = layer.bias.data
            layers.append(conv)
            channels = layer.out_features
        elif not isinstance(layer, nn.Flatten):
            layers.append(layer)
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "padding keeps the 5×5 places apart",
            (0, 1, 0),
            """
def everywhere(net):
    layers, channels = [], 0
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Linear):
            side = int((layer.in_features // channels) ** 0.5)
            conv = nn.Conv2d(channels, layer.out_features, side, padding=side // 2)
            conv.weight.data = layer.weight.data.view(-1, channels, side, side)
            conv.bias.data = layer.bias.data
            layers.append(conv)
            channels = layer.out_features
        elif not isinstance(layer, nn.Flatten):
            layers.append(layer)
    return nn.Sequential(*layers)
""",
        ),
    ],
    "lenet-least": [
        Wrong(
            "padding forgotten",
            (1, 1, 0),
            """
def least_image(layers, side=1):
    for kernel, stride, padding in reversed(layers):
        side = (side - 1) * stride + kernel
    return side
""",
        ),
        Wrong(
            "from the first layer to the last",
            (0, 0, 0),
            """
def least_image(layers, side=1):
    for kernel, stride, padding in layers:
        side = max(1, (side - 1) * stride + kernel - 2 * padding)
    return side
""",
        ),
        Wrong(
            "padding may leave no image at all",
            (1, 1, 0),
            """
def least_image(layers, side=1):
    for kernel, stride, padding in reversed(layers):
        side = (side - 1) * stride + kernel - 2 * padding
    return side
""",
        ),
    ],
    "lenet-costs": [
        Wrong(
            "biases not counted",
            (0, 2, 0),
            """
def lenet_costs(in_channels, size, channels=(6, 16), hidden=(120, 84), classes=10):
    c1, c2 = channels
    parameters = 25 * in_channels * c1 + 25 * c1 * c2
    macs = 25 * in_channels * c1 * size**2 + 25 * c1 * c2 * (size // 2 - 4) ** 2
    width = c2 * ((size // 2 - 4) // 2) ** 2
    for units in (*hidden, classes):
        parameters += width * units
        macs += width * units
        width = units
    return parameters, macs
""",
        ),
        Wrong(
            "MACs without the kernel's area",
            (2, 0, 0),
            """
def lenet_costs(in_channels, size, channels=(6, 16), hidden=(120, 84), classes=10):
    c1, c2 = channels
    parameters = (25 * in_channels + 1) * c1 + (25 * c1 + 1) * c2
    macs = in_channels * c1 * size**2 + c1 * c2 * (size // 2 - 4) ** 2
    width = c2 * ((size // 2 - 4) // 2) ** 2
    for units in (*hidden, classes):
        parameters += (width + 1) * units
        macs += width * units
        width = units
    return parameters, macs
""",
        ),
        Wrong(
            "the pools round up",
            (2, 2, 0),
            """
def lenet_costs(in_channels, size, channels=(6, 16), hidden=(120, 84), classes=10):
    def half(n):
        return -(-n // 2)

    c1, c2 = channels
    second = half(size) - 4
    parameters = (25 * in_channels + 1) * c1 + (25 * c1 + 1) * c2
    macs = 25 * in_channels * c1 * size**2 + 25 * c1 * c2 * second**2
    width = c2 * half(second) ** 2
    for units in (*hidden, classes):
        parameters += (width + 1) * units
        macs += width * units
        width = units
    return parameters, macs
""",
        ),
    ],
    "lenet-gradients": [
        Wrong(
            "biases too",
            (0, 1, 1),
            """
def gradient_sizes(net, X, y):
    net.zero_grad()
    F.cross_entropy(net(X), y).backward()
    sizes = [p.grad.pow(2).mean().sqrt().item() for p in net.parameters()]
    net.zero_grad()
    return sizes
""",
        ),
        Wrong(
            "gradients pile up from call to call",
            (1, 1, 0),
            """
def gradient_sizes(net, X, y):
    F.cross_entropy(net(X), y).backward()
    return [m.weight.grad.pow(2).mean().sqrt().item() for m in net.modules()
            if isinstance(m, (nn.Conv2d, nn.Linear))]
""",
        ),
        Wrong(
            "the norm in the place of the root mean square, of top layers only",
            (0, 0, 1),
            """
def gradient_sizes(net, X, y):
    net.zero_grad()
    F.cross_entropy(net(X), y).backward()
    sizes = []
    for layer in net.children() if len(list(net.children())) else [net]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            sizes.append(layer.weight.grad.norm().item())
    net.zero_grad()
    return sizes
""",
        ),
    ],
    "lenet-calibrate": [
        Wrong(
            "all deviations are measured before any layer is repaired",
            (1, 0, 1),
            """
def calibrate(net, X):
    with torch.no_grad():
        layers, deviations = [], []
        for layer in net:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.bias.zero_()
                layers.append(layer)
                deviations.append(layer(X).std())
            X = layer(X)
        for layer, deviation in zip(layers, deviations):
            layer.weight /= deviation
    return net
""",
        ),
        Wrong(
            "biases are left as they are",
            (0, 0, 1),
            """
def calibrate(net, X):
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight /= layer(X).std()
            X = layer(X)
    return net
""",
        ),
        Wrong(
            "a rule for random weights in the place of a measurement",
            (1, 0, 0),
            """
def calibrate(net, X):
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(layer.bias)
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return net
""",
        ),
    ],
}
