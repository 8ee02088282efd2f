"""Wrong answers to the assignment on GoogLeNet."""

from assignments import Wrong

WRONG = {
    "googlenet-block": [
        Wrong(
            "padding of 1 for every kernel",
            (0, 1, 0, 2),
            """
class Branches(nn.Module):
    def __init__(self, in_channels, branches):
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in branches:
            if branch[0] == "pool":
                layers = [nn.MaxPool2d(3, 1, 1), *self.unit(in_channels, branch[1], 1)]
            elif len(branch) == 1:
                layers = self.unit(in_channels, branch[0], 1)
            else:
                reduced, channels, kernel = branch
                layers = self.unit(in_channels, reduced, 1)
                layers += self.unit(reduced, channels, kernel, padding=1)
            self.branches.append(nn.Sequential(*layers))

    def unit(self, c_in, c_out, kernel, padding=0):
        conv = nn.Conv2d(c_in, c_out, kernel, padding=padding, bias=False)
        return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]

    def forward(self, X):
        return torch.cat([branch(X) for branch in self.branches], dim=1)
""",
        ),
        Wrong(
            "neither norm nor ReLU between reduction and kernel",
            (1, 0, 1, 0),
            """
class Branches(nn.Module):
    def __init__(self, in_channels, branches):
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in branches:
            if branch[0] == "pool":
                layers = [nn.MaxPool2d(3, 1, 1)]
                layers += [nn.Conv2d(in_channels, branch[1], 1, bias=False)]
            elif len(branch) == 1:
                layers = [nn.Conv2d(in_channels, branch[0], 1, bias=False)]
            else:
                reduced, channels, k = branch
                layers = [nn.Conv2d(in_channels, reduced, 1, bias=False)]
                layers += [nn.Conv2d(reduced, channels, k, padding=k // 2, bias=False)]
            layers += [nn.BatchNorm2d(layers[-1].out_channels), nn.ReLU()]
            self.branches.append(nn.Sequential(*layers))

    def forward(self, X):
        return torch.cat([branch(X) for branch in self.branches], dim=1)
""",
        ),
        Wrong(
            "the pool branches always come last",
            (1, 1, 0, 2),
            """
class Branches(nn.Module):
    def __init__(self, in_channels, branches):
        super().__init__()
        self.convs, self.pools = nn.ModuleList(), nn.ModuleList()
        for branch in branches:
            if branch[0] == "pool":
                layers = [nn.MaxPool2d(3, 1, 1), *self.unit(in_channels, branch[1], 1)]
                self.pools.append(nn.Sequential(*layers))
            elif len(branch) == 1:
                self.convs.append(nn.Sequential(*self.unit(in_channels, branch[0], 1)))
            else:
                reduced, channels, kernel = branch
                layers = self.unit(in_channels, reduced, 1)
                layers += self.unit(reduced, channels, kernel)
                self.convs.append(nn.Sequential(*layers))

    def unit(self, c_in, c_out, kernel):
        conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
        return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]

    def forward(self, X):
        return torch.cat([branch(X) for branch in (*self.convs, *self.pools)], dim=1)
""",
        ),
    ],
    "googlenet-supervised": [
        Wrong(
            "kept in plain lists",
            (1, 0, 1, 1),
            """
class Supervised(nn.Module):
    def __init__(self, stages, heads, output):
        super().__init__()
        self.stages, self.heads, self.output = stages, heads, output

    def forward(self, X):
        others = []
        for i, stage in enumerate(self.stages):
            X = stage(X)
            if self.training and i in self.heads:
                others.append(self.heads[i](X))
        if self.training:
            return self.output(X), *others
        return self.output(X)
""",
        ),
        Wrong(
            "a head reads what enters its stage",
            (1, 1, 0, 1),
            """
class Supervised(nn.Module):
    def __init__(self, stages, heads, output):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.numbers = sorted(heads)
        self.heads = nn.ModuleList([heads[i] for i in self.numbers])
        self.output = output

    def forward(self, X):
        others = []
        for i, stage in enumerate(self.stages):
            if self.training and i in self.numbers:
                others.append(self.heads[self.numbers.index(i)](X))
            X = stage(X)
        if self.training:
            return self.output(X), *others
        return self.output(X)
""",
        ),
        Wrong(
            "the heads always run, in the dictionary's order",
            (1, 1, 0, 0),
            """
class Supervised(nn.Module):
    def __init__(self, stages, heads, output):
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.heads = nn.ModuleList(heads.values())
        self.numbers = list(heads)
        self.output = output

    def forward(self, X):
        outputs = []
        for stage in self.stages:
            X = stage(X)
            outputs.append(X)
        others = [head(outputs[i]) for i, head in zip(self.numbers, self.heads)]
        logits = self.output(X)
        return (logits, *others) if self.training else logits
""",
        ),
    ],
    "googlenet-costs": [
        Wrong(
            "the reductions are forgotten",
            (1, 0, 0),
            """
def branch_costs(in_channels, side, block):
    c1, c2, c3, c4 = block
    costs = []
    for c_in, c_out, kernel in ((in_channels, c1, 1), (*c2, 3), (*c3, 5), (in_channels, c4, 1)):
        weights = c_in * kernel**2 * c_out
        costs.append((weights + c_out, weights * side**2))
    return costs
""",
        ),
        Wrong(
            "MACs without the kernel's area",
            (1, 1, 0),
            """
def branch_costs(in_channels, side, block):
    c1, (r2, c2), (r3, c3), c4 = block
    n, places = in_channels, side**2
    return [
        ((n + 1) * c1, n * c1 * places),
        ((n + 1) * r2 + (9 * r2 + 1) * c2, (n * r2 + r2 * c2) * places),
        ((n + 1) * r3 + (25 * r3 + 1) * c3, (n * r3 + r3 * c3) * places),
        ((n + 1) * c4, n * c4 * places),
    ]
""",
        ),
        Wrong(
            "one bias for a branch",
            (1, 0, 2),
            """
def branch_costs(in_channels, side, block):
    costs = []
    for widths, kernel in zip(block, (1, 3, 5, 1)):
        if kernel == 1:
            weights, channels = in_channels * widths, widths
        else:
            reduced, channels = widths
            weights = in_channels * reduced + kernel * kernel * reduced * channels
        costs.append((weights + channels, weights * side * side))
    return costs
""",
        ),
    ],
    "googlenet-fields": [
        Wrong(
            "the steps between neighbours are forgotten",
            (1, 0, 0),
            """
def fields(field, jump, blocks):
    seen = [field]
    for kernels in blocks:
        seen = [side + kernel - 1 for side in seen for kernel in kernels]
    return sorted(set(seen))
""",
        ),
        Wrong(
            "every way counted",
            (1, 0, 0),
            """
def fields(field, jump, blocks):
    seen = [field]
    for kernels in blocks:
        seen = [side + (kernel - 1) * jump for side in seen for kernel in kernels]
    return sorted(seen)
""",
        ),
        Wrong(
            "what an earlier block saw is kept",
            (1, 1, 0),
            """
def fields(field, jump, blocks):
    seen = {field}
    for kernels in blocks:
        for side in list(seen):
            for kernel in kernels:
                seen.add(side + (kernel - 1) * jump)
    return sorted(seen)
""",
        ),
    ],
    "googlenet-widest": [
        Wrong(
            "the reductions are thought to be free",
            (1, 0, 0),
            """
def widest_block(in_channels, side, budget):
    u = 0
    while True:
        v = u + 2
        work = (in_channels * 3 * v + 9 * 3 * v * 4 * v + 25 * (v // 2) * v) * side**2
        if work > budget:
            break
        u = v
    if u == 0:
        raise ValueError("the budget is too small")
    return 2 * u, (3 * u, 4 * u), (u // 2, u), u
""",
        ),
        Wrong(
            "a block of nothing for a budget that is too small",
            (1, 2, 0),
            """
def widest_block(in_channels, side, budget):
    # 6.5 n u + 120.5 u² = budget / side²
    n, work = in_channels, budget / side**2
    u = (-6.5 * n + math.sqrt((6.5 * n) ** 2 + 4 * 120.5 * work)) / (2 * 120.5)
    u = int(u // 2 * 2)
    return 2 * u, (3 * u, 4 * u), (u // 2, u), u
""",
        ),
        Wrong(
            "odd u too, and one step too far",
            (0, 0, 0),
            """
def widest_block(in_channels, side, budget):
    u = 1
    while (in_channels * 6.5 * u + 120.5 * u * u) * side**2 <= budget:
        u += 1
    if u == 1:
        raise ValueError("the budget is too small")
    return 2 * u, (3 * u, 4 * u), (u // 2, u), u
""",
        ),
    ],
    "googlenet-fit": [
        Wrong(
            "each parameter is shortened by itself",
            (1, 1, 0, 1),
            """
def fit(net, batches, lr, most):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses, norms = [], []
    net.train()
    for X, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), y)
        loss.backward()
        norms.append(math.sqrt(sum(p.grad.norm().item() ** 2 for p in net.parameters())))
        for p in net.parameters():
            if p.grad.norm() > most:
                p.grad *= most / p.grad.norm()
        optimizer.step()
        losses.append(loss.item())
    return losses, norms
""",
        ),
        Wrong(
            "short gradients are lengthened, and the norm is taken afterwards",
            (1, 0, 1, 0),
            """
def fit(net, batches, lr, most):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses, norms = [], []
    net.train()
    for X, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), y)
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in net.parameters()]).norm()
        for p in net.parameters():
            p.grad *= most / norm
        norm = torch.cat([p.grad.flatten() for p in net.parameters()]).norm()
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms
""",
        ),
        Wrong(
            "shortened after the step",
            (1, 1, 0, 1),
            """
def fit(net, batches, lr, most):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    losses, norms = [], []
    net.train()
    for X, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), y)
        loss.backward()
        optimizer.step()
        norm = nn.utils.clip_grad_norm_(net.parameters(), most)
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms
""",
        ),
    ],
    "googlenet-without": [
        Wrong(
            "the hooks stay",
            (1, 0, 0),
            """
def losses_without(net, block, parts, X, y):
    was_training = net.training
    net.eval()
    losses = []
    for start, stop in parts:
        def silence(module, args, output, start=start, stop=stop):
            output = output.clone()
            output[:, start:stop] = 0
            return output

        block.register_forward_hook(silence)
        with torch.no_grad():
            losses.append(F.cross_entropy(net(X), y).item())
    net.train(was_training)
    return losses
""",
        ),
        Wrong(
            "images are silenced in the place of channels",
            (1, 0, 1),
            """
def losses_without(net, block, parts, X, y):
    was_training = net.training
    net.eval()
    losses = []
    for start, stop in parts:
        def silence(module, args, output, start=start, stop=stop):
            output = output.clone()
            output[start:stop] = 0
            return output

        hook = block.register_forward_hook(silence)
        with torch.no_grad():
            losses.append(F.cross_entropy(net(X), y).item())
        hook.remove()
    net.train(was_training)
    return losses
""",
        ),
        Wrong(
            "in the mode in which the net came",
            (1, 1, 0),
            """
def losses_without(net, block, parts, X, y):
    losses = []
    for part in parts:
        def silence(module, args, output):
            keep = torch.ones(output.shape[1])
            keep[part[0] : part[1]] = 0
            return output * keep.view(1, -1, *[1] * (output.dim() - 2))

        hook = block.register_forward_hook(silence)
        with torch.no_grad():
            losses.append(F.cross_entropy(net(X), y).item())
        hook.remove()
    return losses
""",
        ),
    ],
}
