"""Wrong answers to the assignment on VGG."""

from assignments import Wrong

WRONG = {
    "vgg-block": [
        Wrong(
            "in_channels is not moved on",
            (0, 1, 0, 0, 1),
            """
def norm_block(num_convs, in_channels, out_channels, pool="max"):
    layers = []
    for i in range(num_convs):
        stride = 2 if pool == "stride" and i == num_convs - 1 else 1
        layers.append(nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU())
    if pool == "max":
        layers.append(nn.MaxPool2d(2))
    elif pool == "average":
        layers.append(nn.AvgPool2d(2))
    elif pool != "stride":
        raise ValueError(pool)
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "padding forgotten, biases kept, any pool is a stride",
            (0, 1, 0, 0, 0),
            """
def norm_block(num_convs, in_channels, out_channels, pool="max"):
    layers = []
    for i in range(num_convs):
        stride = 2 if pool == "stride" and i == num_convs - 1 else 1
        layers += [nn.Conv2d(in_channels, out_channels, 3, stride=stride),
                   nn.BatchNorm2d(out_channels), nn.ReLU()]
        in_channels = out_channels
    if pool == "max":
        layers += [nn.MaxPool2d(2)]
    if pool == "average":
        layers += [nn.AvgPool2d(2)]
    return nn.Sequential(*layers)
""",
        ),
        Wrong(
            "the last ReLU stands after the pool",
            (1, 0, 1, 0, 1),
            """
def norm_block(num_convs, in_channels, out_channels, pool="max"):
    pools = {"max": [nn.MaxPool2d(2)], "average": [nn.AvgPool2d(2)], "stride": []}
    if pool not in pools:
        raise ValueError("pool must be max, average or stride")
    layers = []
    for i in range(num_convs):
        last = i == num_convs - 1
        stride = 2 if last and pool == "stride" else 1
        layers += [nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)]
        layers += [nn.BatchNorm2d(out_channels)]
        layers += pools[pool] if last else []
        layers += [nn.ReLU()]
        in_channels = out_channels
    return nn.Sequential(*layers)
""",
        ),
    ],
    "vgg-scale": [
        Wrong(
            "the ratio applied to the head",
            (1, 1, 0),
            """
def scaled_vgg(conv_arch, width, image_size, hidden=(256,)):
    def scale(channels):
        return max(8, round(channels * width / 8) * 8)

    table = [(n, scale(channels)) for n, channels in conv_arch]
    hidden = [scale(units) for units in hidden]
    return d2l.vgg(table, hidden=hidden, image_size=image_size)
""",
        ),
        Wrong(
            "rounded down",
            (1, 0, 1),
            """
def scaled_vgg(conv_arch, width, image_size, hidden=(256,)):
    table = [(n, max(8, int(channels * width) // 8 * 8)) for n, channels in conv_arch]
    return d2l.vgg(table, hidden=hidden, image_size=image_size)
""",
        ),
        Wrong(
            "the head is built for 32 pixels, whatever the image",
            (0, 1, 1),
            """
def scaled_vgg(conv_arch, width, image_size, hidden=(256,)):
    table = [(n, max(8, round(channels * width / 8) * 8)) for n, channels in conv_arch]
    return d2l.vgg(table, hidden=hidden, image_size=32)
""",
        ),
    ],
    "vgg-parameters": [
        Wrong(
            "biases not counted",
            (0, 0, 0),
            """
def count_parameters(conv_arch, in_channels, image_size, hidden, num_classes):
    body, side = 0, image_size
    for num_convs, channels, *last in conv_arch:
        for kernel in [3] * (num_convs - len(last)) + last:
            body += in_channels * kernel**2 * channels
            in_channels = channels
        side //= 2
    head, width = 0, in_channels * side**2
    for units in (*hidden, num_classes):
        head += width * units
        width = units
    return body, head
""",
        ),
        Wrong(
            "the last map is not flattened",
            (1, 1, 0),
            """
def count_parameters(conv_arch, in_channels, image_size, hidden, num_classes):
    body = 0
    for num_convs, channels, *last in conv_arch:
        for i in range(num_convs):
            kernel = last[0] if last and i == num_convs - 1 else 3
            body += (in_channels * kernel * kernel + 1) * channels
            in_channels = channels
    head = 0
    for units in (*hidden, num_classes):
        head += in_channels * units + units
        in_channels = units
    return body, head
""",
        ),
        Wrong(
            "odd sides are rounded up, and every kernel is 3×3",
            (1, 0, 0),
            """
def count_parameters(conv_arch, in_channels, image_size, hidden, num_classes):
    body, side = 0, image_size
    for num_convs, channels, *_ in conv_arch:
        for _ in range(num_convs):
            body += (in_channels * 9 + 1) * channels
            in_channels = channels
        side = (side + 1) // 2
    sizes = [in_channels * side * side, *hidden, num_classes]
    head = sum((sizes[i] + 1) * sizes[i + 1] for i in range(len(sizes) - 1))
    return body, head
""",
        ),
    ],
    "vgg-macs": [
        Wrong(
            "the kernel's area is forgotten",
            (0, 0, 0),
            """
def count_macs(conv_arch, in_channels, image_size):
    macs = []
    for num_convs, channels, *_ in conv_arch:
        work = 0
        for _ in range(num_convs):
            work += in_channels * channels * image_size**2
            in_channels = channels
        macs.append(work)
        image_size //= 2
    return macs
""",
        ),
        Wrong(
            "counted on the map that leaves the pool",
            (0, 0, 0),
            """
def count_macs(conv_arch, in_channels, image_size):
    macs = []
    for num_convs, channels, *last in conv_arch:
        image_size //= 2
        work = 0
        for kernel in [3] * (num_convs - len(last)) + last:
            work += kernel**2 * in_channels * channels * image_size**2
            in_channels = channels
        macs.append(work)
    return macs
""",
        ),
        Wrong(
            "in_channels is moved on after the block only, and every kernel is 3×3",
            (1, 0, 0),
            """
def count_macs(conv_arch, in_channels, image_size):
    macs = []
    for num_convs, channels, *_ in conv_arch:
        macs.append(num_convs * 9 * in_channels * channels * image_size**2)
        in_channels = channels
        image_size //= 2
    return macs
""",
        ),
    ],
    "vgg-batch": [
        Wrong(
            "the weights are counted for each image",
            (1, 0, 1),
            """
def largest_batch(conv_arch, parameters, image_size, budget):
    numbers = 3 * parameters
    for num_convs, channels in conv_arch:
        numbers += 2 * num_convs * channels * image_size**2
        image_size //= 2
        numbers += channels * image_size**2
    return budget // (4 * numbers)
""",
        ),
        Wrong(
            "only the convolutions' outputs are counted",
            (0, 0, 1),
            """
def largest_batch(conv_arch, parameters, image_size, budget):
    numbers = 0
    for num_convs, channels in conv_arch:
        numbers += num_convs * channels * image_size**2
        image_size //= 2
    if 4 * (3 * parameters + numbers) > budget:
        return 0
    return (budget - 12 * parameters) // (4 * numbers)
""",
        ),
        Wrong(
            "a negative batch where nothing fits",
            (1, 1, 0),
            """
def largest_batch(conv_arch, parameters, image_size, budget):
    numbers = 0
    for num_convs, channels in conv_arch:
        numbers += 2 * num_convs * channels * image_size**2
        image_size //= 2
        numbers += channels * image_size**2
    return (budget - 12 * parameters) // (4 * numbers)
""",
        ),
    ],
    "vgg-signal": [
        Wrong(
            "the mean, and the hooks stay",
            (1, 0, 0),
            """
def signal_sizes(net, X):
    sizes = []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda m, i, out: sizes.append(out.mean().item()))
    with torch.no_grad():
        net(X)
    return sizes
""",
        ),
        Wrong(
            "only ReLUs at the top",
            (0, 1, 1),
            """
def signal_sizes(net, X):
    sizes = []
    with torch.no_grad():
        for layer in net:
            X = layer(X)
            if isinstance(layer, nn.ReLU):
                sizes.append(X.pow(2).mean().sqrt().item())
    return sizes
""",
        ),
        Wrong(
            "the deviation",
            (1, 0, 1),
            """
def signal_sizes(net, X):
    sizes, hooks = [], []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            hook = lambda m, i, out: sizes.append(out.std().item())
            hooks.append(module.register_forward_hook(hook))
    with torch.no_grad():
        net(X)
    for hook in hooks:
        hook.remove()
    return sizes
""",
        ),
    ],
    "vgg-train": [
        Wrong(
            "gradients are never set back to zero",
            (1, 0, 1),
            """
def train(net, batches, lr):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses = []
    net.train()
    for X, y in batches:
        loss = F.cross_entropy(net(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
        ),
        Wrong(
            "a softmax before the cross-entropy",
            (0, 0, 1),
            """
def train(net, batches, lr):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses = []
    net.train()
    for X, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X).softmax(dim=1), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
        ),
        Wrong(
            "in the mode in which the net came",
            (1, 2, 0),
            """
def train(net, batches, lr):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses = []
    for X, y in batches:
        loss = F.cross_entropy(net(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
        ),
    ],
}
