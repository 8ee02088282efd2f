"""Wrong answers to the assignment on AlexNet."""

from assignments import Wrong

WRONG = {
    "alexnet-dropout": [
        Wrong(
            "not scaled, and any p will do",
            (1, 0, 0, 1, 0),
            """
class MapDropout(nn.Module):
    def __init__(self, p=0.5, whole_maps=False):
        super().__init__()
        self.p = p
        self.whole_maps = whole_maps

    def forward(self, X):
        if not self.training:
            return X
        shape = X.shape[:2] + (1, 1) if self.whole_maps else X.shape
        return X * (torch.rand(shape) > self.p)
""",
        ),
        Wrong(
            "in evaluation too, and one set of maps for all images",
            (0, 1, 0, 1, 1),
            """
class MapDropout(nn.Module):
    def __init__(self, p=0.5, whole_maps=False):
        super().__init__()
        if p < 0 or p >= 1:
            raise ValueError("p must lie in [0, 1)")
        self.p = p
        self.whole_maps = whole_maps

    def forward(self, X):
        shape = (X.shape[1], 1, 1) if self.whole_maps else X.shape
        mask = (torch.rand(shape) > self.p).float()
        return mask * X / (1.0 - self.p)
""",
        ),
        Wrong(
            "divided by the share that is dropped",
            (0, 0, 0, 1, 1),
            """
class MapDropout(nn.Module):
    def __init__(self, p=0.5, whole_maps=False):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(p)
        self.p = p
        self.whole_maps = whole_maps

    def forward(self, X):
        if not self.training:
            return X
        shape = (*X.shape[:2], 1, 1) if self.whole_maps else X.shape
        return X * (torch.rand(shape) > self.p) / self.p
""",
        ),
    ],
    "alexnet-pool": [
        Wrong(
            "the largest so far begins at zero",
            (1, 1, 0),
            """
def overlapping_pool(X, kernel=3, stride=2):
    rows = (X.shape[2] - kernel) // stride + 1
    columns = (X.shape[3] - kernel) // stride + 1
    out = torch.zeros(X.shape[0], X.shape[1], rows, columns)
    for i in range(kernel):
        for j in range(kernel):
            part = X[:, :, i::stride, j::stride][:, :, :rows, :columns]
            out = torch.maximum(out, part)
    return out
""",
        ),
        Wrong(
            "windows side by side",
            (0, 0, 0),
            """
def overlapping_pool(X, kernel=3, stride=2):
    rows, columns = X.shape[2] // kernel, X.shape[3] // kernel
    out = torch.empty(X.shape[0], X.shape[1], rows, columns)
    for i in range(rows):
        for j in range(columns):
            window = X[:, :, i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel]
            out[:, :, i, j] = window.amax(dim=(2, 3))
    return out
""",
        ),
        Wrong(
            "windows that reach over the edge are kept",
            (0, 1, 1),
            """
def overlapping_pool(X, kernel=3, stride=2):
    rows = math.ceil((X.shape[2] - kernel) / stride) + 1
    columns = math.ceil((X.shape[3] - kernel) / stride) + 1
    out = torch.empty(X.shape[0], X.shape[1], rows, columns)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            window = X[:, :, top : top + kernel, left : left + kernel]
            out[:, :, i, j] = window.amax(dim=(2, 3))
    return out
""",
        ),
    ],
    "alexnet-towers": [
        Wrong(
            "both cards always read all maps",
            (1, 0, 0, 1),
            """
class TwoTowers(nn.Module):
    def __init__(self, in_channels, out_channels, kernel, padding=0, cross=False):
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels // 2, kernel, padding=padding)
        self.second = nn.Conv2d(in_channels, out_channels // 2, kernel, padding=padding)

    def forward(self, X):
        return torch.cat((self.first(X), self.second(X)), dim=1)
""",
        ),
        Wrong(
            "each card reads the other's maps",
            (1, 1, 0, 1),
            """
class TwoTowers(nn.Module):
    def __init__(self, in_channels, out_channels, kernel, padding=0, cross=False):
        super().__init__()
        self.cross = cross
        read = in_channels if cross else in_channels // 2
        self.first = nn.Conv2d(read, out_channels // 2, kernel, padding=padding)
        self.second = nn.Conv2d(read, out_channels // 2, kernel, padding=padding)

    def forward(self, X):
        if self.cross:
            return torch.cat((self.first(X), self.second(X)), dim=1)
        left, right = X.chunk(2, dim=1)
        return torch.cat((self.first(right), self.second(left)), dim=1)
""",
        ),
        Wrong(
            "padding forgotten, and cross too",
            (0, 0, 1, 0),
            """
class TwoTowers(nn.Module):
    def __init__(self, in_channels, out_channels, kernel, padding=0, cross=False):
        super().__init__()
        self.first = nn.Conv2d(in_channels // 2, out_channels // 2, kernel)
        self.second = nn.Conv2d(in_channels // 2, out_channels // 2, kernel)

    def forward(self, X):
        left, right = X.chunk(2, dim=1)
        return torch.cat((self.first(left), self.second(right)), dim=1)
""",
        ),
    ],
    "alexnet-costs": [
        Wrong(
            "groups ignored",
            (2, 0, 1, 0),
            """
def count_costs(conv_arch, in_channels, image_size, hidden, classes):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = (image_size - 3) // 2 + 1
        else:
            channels, kernel, stride, padding, _ = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            weights = in_channels * kernel**2 * channels
            parameters += weights + channels
            macs += weights * image_size**2
            in_channels = channels
    width = in_channels * image_size**2
    for units in (*hidden, classes):
        parameters, macs = parameters + (width + 1) * units, macs + width * units
        width = units
    return parameters, macs
""",
        ),
        Wrong(
            "biases counted in the work and not in the parameters",
            (0, 0, 0, 0),
            """
def count_costs(conv_arch, in_channels, image_size, hidden, classes):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = (image_size - 3) // 2 + 1
        else:
            channels, kernel, stride, padding, groups = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            weights = in_channels * kernel**2 * channels // groups
            parameters += weights
            macs += (weights + channels) * image_size**2
            in_channels = channels
    width = in_channels * image_size**2
    for units in (*hidden, classes):
        parameters, macs = parameters + width * units, macs + (width + 1) * units
        width = units
    return parameters, macs
""",
        ),
        Wrong(
            "MACs without the kernel's area",
            (2, 1, 0, 0),
            """
def count_costs(conv_arch, in_channels, image_size, hidden, classes):
    parameters = macs = 0
    for entry in conv_arch:
        if entry == "M":
            image_size = (image_size - 3) // 2 + 1
        else:
            channels, kernel, stride, padding, groups = entry
            image_size = (image_size + 2 * padding - kernel) // stride + 1
            pairs = in_channels // groups * channels
            parameters += pairs * kernel**2 + channels
            macs += pairs * image_size**2
            in_channels = channels
    width = in_channels * image_size**2
    for units in (*hidden, classes):
        parameters, macs = parameters + (width + 1) * units, macs + width * units
        width = units
    return parameters, macs
""",
        ),
    ],
    "alexnet-field": [
        Wrong(
            "a layer's own stride widens its own window",
            (1, 0, 1),
            """
def sight(layers):
    field, jump = 1, 1
    for kernel, stride in layers:
        jump = jump * stride
        field = field + (kernel - 1) * jump
    return field, jump
""",
        ),
        Wrong(
            "strides forgotten in the field and added in the steps",
            (1, 0, 0),
            """
def sight(layers):
    field = 1 + sum(kernel - 1 for kernel, _ in layers)
    return field, sum(stride for _, stride in layers)
""",
        ),
        Wrong(
            "kernels multiplied",
            (0, 0, 1),
            """
def sight(layers):
    kernels = math.prod(kernel for kernel, stride in layers)
    return kernels, math.prod(stride for kernel, stride in layers)
""",
        ),
    ],
    "alexnet-many": [
        Wrong(
            "the whole network in training mode",
            (1, 1, 0, 0),
            """
def many_answers(net, X, passes):
    net.train()
    with torch.no_grad():
        return torch.stack([net(X).softmax(dim=1) for _ in range(passes)])
""",
        ),
        Wrong(
            "dropout at rest",
            (1, 0, 1, 0),
            """
def many_answers(net, X, passes):
    was_training = net.training
    net.eval()
    with torch.no_grad():
        answers = [net(X).softmax(dim=1) for _ in range(passes)]
    net.train(was_training)
    return torch.stack(answers)
""",
        ),
        Wrong(
            "logits in the place of probabilities",
            (0, 0, 0, 1),
            """
def many_answers(net, X, passes):
    modes = [module.training for module in net.modules()]
    for module in net.modules():
        module.training = isinstance(module, nn.Dropout)
    with torch.no_grad():
        answers = torch.stack([net(X) for _ in range(passes)])
    for module, mode in zip(net.modules(), modes):
        module.training = mode
    return answers
""",
        ),
    ],
    "alexnet-doubt": [
        Wrong(
            "the mean of the entropies",
            (1, 1, 0),
            """
def doubt(answers):
    return -torch.xlogy(answers, answers).sum(dim=2).mean(dim=0)
""",
        ),
        Wrong(
            "0 ln 0 is no number",
            (1, 0, 1),
            """
def doubt(answers):
    mean = answers.mean(dim=0)
    return -(mean * mean.log()).sum(dim=1)
""",
        ),
        Wrong(
            "in bits",
            (0, 1, 0),
            """
def doubt(answers):
    mean = answers.mean(dim=0).clamp(min=1e-12)
    return -(mean * mean.log2()).sum(dim=1)
""",
        ),
    ],
}
