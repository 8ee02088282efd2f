"""`summarize` against hand counts, forward hooks and gradients."""

import html
import re
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from d2lmini import Inception, alexnet, googlenet, lenet, nin, summarize, vgg
from d2lmini.models import MODELS


def on_meta(factory, **options):
    with torch.device("meta"):
        return factory(**options)


def test_lenet_layer_by_layer_by_hand():
    rows = [(r.name, r.kind, r.output_shape, r.parameters, r.macs) for r in
            summarize(lenet(), (1, 28, 28))]  # fmt: skip
    assert rows == [
        ("0", "Conv2d", (6, 28, 28), 6 * 25 + 6, 28 * 28 * 6 * 25),
        ("1", "Sigmoid", (6, 28, 28), 0, 0),
        ("2", "AvgPool2d", (6, 14, 14), 0, 0),
        ("3", "Conv2d", (16, 10, 10), 16 * 6 * 25 + 16, 10 * 10 * 16 * 6 * 25),
        ("4", "Sigmoid", (16, 10, 10), 0, 0),
        ("5", "AvgPool2d", (16, 5, 5), 0, 0),
        ("6", "Flatten", (400,), 0, 0),
        ("7", "Linear", (120,), 400 * 120 + 120, 400 * 120),
        ("8", "Sigmoid", (120,), 0, 0),
        ("9", "Linear", (84,), 120 * 84 + 84, 120 * 84),
        ("10", "Sigmoid", (84,), 0, 0),
        ("11", "Linear", (10,), 84 * 10 + 10, 84 * 10),
    ]


@pytest.mark.parametrize(
    ("options", "macs"),
    [
        ({"kernel_size": 3, "padding": 1}, 8 * 8 * 12 * 6 * 9),
        ({"kernel_size": (1, 5)}, 8 * 4 * 12 * 6 * 5),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, 4 * 4 * 12 * 6 * 9),
        ({"kernel_size": 3, "padding": 1, "groups": 6}, 8 * 8 * 12 * 1 * 9),
        ({"kernel_size": 3, "dilation": 2}, 4 * 4 * 12 * 6 * 9),
    ],
    ids=str,
)
def test_macs_of_convolutions_of_every_kind(options, macs):
    summary = summarize(nn.Sequential(nn.Conv2d(6, 12, **options)), (6, 8, 8))
    assert summary.macs == macs


def test_macs_and_fields_in_other_dimensions():
    for dim, (conv, transposed) in enumerate(
        [
            (nn.Conv1d, nn.ConvTranspose1d),
            (None, nn.ConvTranspose2d),
            (nn.Conv3d, nn.ConvTranspose3d),
        ],
        start=1,
    ):
        shape = (4, *(7,) * dim)
        if conv is not None:
            costs = summarize(conv(4, 6, 3, stride=2, groups=2), shape)
            assert costs.macs == 6 * 3**dim * (2 * 3**dim)  # places × (C_in / groups, k …)
            assert costs[0].receptive_field == 3
        assert summarize(transposed(4, 6, 3, groups=2), shape).macs == 4 * 7**dim * 3 * 3**dim


@pytest.mark.parametrize("depth", [None, 1, 2])
@pytest.mark.parametrize("name", ["lenet", "alexnet-small", "vgg11-quarter", "nin", "googlenet"])
def test_rows_sum_to_the_totals_at_every_depth(name, depth):
    net, shape = on_meta(MODELS[name].factory), MODELS[name].input_shape
    summary = summarize(net, shape, depth=depth)
    whole = summarize(net, shape)
    assert summary.parameters == sum(p.numel() for p in net.parameters())
    assert summary.parameters == sum(r.parameters for r in summary)
    assert summary.macs == sum(r.macs for r in summary) == whole.macs
    assert summary.memory_bytes == sum(r.memory_bytes for r in summary)
    assert summary[-1].output_shape == (10,)
    assert summary[-1].receptive_field == whole[-1].receptive_field


def test_depth_1_gives_the_nets_own_children():
    net = on_meta(vgg)
    rows = summarize(net, (1, 224, 224), depth=1)
    assert [r.name for r in rows] == [name for name, _ in net.named_children()]
    assert [r.kind for r in rows][:6] == ["Sequential"] * 5 + ["Flatten"]
    assert rows[0].output_shape == (64, 112, 112)
    assert rows[0].parameters == 64 * 9 + 64


@pytest.mark.parametrize("name", ["vgg11-small", "googlenet-small", "vgg16-cifar10"])
def test_shapes_and_memory_are_what_forward_hooks_see(name):
    net, shape = MODELS[name].factory(), MODELS[name].input_shape
    summary = summarize(net, shape)
    seen = {}
    for module_name, module in net.named_modules():
        module.register_forward_hook(
            lambda m, args, out, n=module_name: seen.update({n: tuple(out.shape[1:])})
        )
    net.eval()(torch.zeros(1, *shape))
    for row in summary:
        assert row.output_shape == seen[row.name]
        assert row.memory_bytes == 4 * torch.Size(row.output_shape).numel()


# ---- receptive fields -------------------------------------------------------------------------


def recursion(net, input_size):
    """Fields of a plain Sequential's layers, from their own kernels and strides."""
    side, jump, size, fields = 1, 1, input_size, []
    for layer in net:
        if isinstance(layer, nn.Flatten):
            fields.append(side)
            side += (size - 1) * jump
            continue
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            k, s, p = (
                v[0] if isinstance(v, tuple) else v
                for v in (layer.kernel_size, layer.stride, layer.padding)
            )
            side, jump, size = side + (k - 1) * jump, jump * s, (size + 2 * p - k) // s + 1
        fields.append(side)
    return fields


def flat(net):
    return [m for m in net.modules() if not list(m.children())]


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg11"])
def test_fields_by_recursion(name):
    net, shape = on_meta(MODELS[name].factory), MODELS[name].input_shape
    summary = summarize(net, shape)
    assert [r.receptive_field for r in summary] == recursion(flat(net), shape[-1])


def test_fields_that_books_print():
    """VGG-11's last map sees 150 pixels and AlexNet's 195 (Araujo et al., 2019, table 1)."""
    vgg11 = summarize(on_meta(vgg), (1, 224, 224), depth=1)
    assert [r.receptive_field for r in vgg11][:5] == [4, 10, 30, 70, 150]
    alex = summarize(on_meta(alexnet), (1, 224, 224))
    assert next(r for r in reversed(alex.rows) if r.kind == "MaxPool2d").receptive_field == 195


def fields_by_gradient(net, size):
    """Each layer's side of the square of input pixels whose change reaches a middle output.

    Positive weights and means in the place of maxima let nothing cancel or hide.
    """
    X = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    maps, fields = {}, {}
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.AvgPool2d)):
            module.register_forward_hook(lambda m, a, out, name=name: maps.update({name: out}))
    net(X)
    for name, out in maps.items():
        middle = out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum()
        (gradient,) = torch.autograd.grad(middle, X, retain_graph=True)
        touched = gradient[0, 0].any(dim=0).nonzero()
        first, last = int(touched.min()), int(touched.max())
        assert 0 < first <= last < size - 1, "the image is too small to show the field"
        fields[name] = last - first + 1
    return fields


def linearised(net):
    net = net.double().eval()
    for path, module in list(net.named_modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MaxPool2d):
            parent, _, child = path.rpartition(".")
            mean = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(net.get_submodule(parent), child, mean)
    return net


BLOCK = (1, (1, 1), (1, 1), 1)
THIN_ALEXNET = (
    (1, 11, 4, 1),
    "M",
    (1, 5, 1, 2),
    "M",
    (1, 3, 1, 1),
    (1, 3, 1, 1),
    (1, 3, 1, 1),
    "M",
)
THIN_NIN = ((1, 11, 4, 0), "M", (1, 5, 1, 2), "M", (1, 3, 1, 1), "M")
THIN_STEM = (((1, 7, 2, 3),), ((1, 1, 1, 0), (1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("factory", "options", "size"),
    [
        (lenet, {"activation": nn.ReLU, "image_size": 64}, 64),
        (alexnet, {"conv_arch": THIN_ALEXNET, "hidden": (), "image_size": 448}, 448),
        (vgg, {"conv_arch": ((1, 1), (1, 1), (2, 1), (2, 1), (2, 1)), "hidden": ()}, 224),
        (nin, {"conv_arch": THIN_NIN, "image_size": 448}, 448),
        (googlenet, {"conv_arch": ((BLOCK, BLOCK), (BLOCK,), (BLOCK,)), "stem": THIN_STEM}, 400),
        (googlenet, {"conv_arch": ((BLOCK,), (BLOCK,)), "stem": THIN_STEM, "ceil_mode": True}, 320),
    ],
    ids=["lenet", "alexnet", "vgg11", "nin", "googlenet", "googlenet-ceil"],
)
def test_fields_are_the_pixels_that_a_gradient_reaches(factory, options, size):
    net = factory(**options)
    counted = {
        row.name: row.receptive_field
        for row in summarize(net, (1, size, size))
        if row.kind in ("Conv2d", "MaxPool2d", "AvgPool2d")
    }
    assert len(counted) > 3
    assert counted == fields_by_gradient(linearised(net), size)


def test_inceptions_field_is_its_widest_branchs():
    net = nn.Sequential(Inception(1, 2, (2, 3), (2, 3), 2))
    assert summarize(net, (1, 16, 16), depth=1)[0].receptive_field == 5
    fields = {r.name[2:]: r.receptive_field for r in summarize(net, (1, 16, 16))}
    assert fields == {
        "b1": 1, "b2_1": 1, "b2_2": 3, "b3_1": 1, "b3_2": 5, "b4_1": 3, "b4_2": 3,
    }  # fmt: skip


def test_a_dilated_convolution_sees_further():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3))
    assert [r.receptive_field for r in summarize(net, (1, 16, 16))] == [5, 7]


class Functional(nn.Module):
    """Layers called as functions, with keywords, and a map flattened in one of three ways."""

    def __init__(self, flatten):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 1, 3, 3))
        self.flatten, self.dense = flatten, nn.Linear(4 * 4 * 4, 10)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.weight, padding=1))
        return self.dense(self.flatten(F.max_pool2d(x, kernel_size=2)))


@pytest.mark.parametrize(
    "flatten",
    [lambda x: torch.flatten(x, 1), lambda x: x.view(len(x), -1), lambda x: x.reshape(len(x), -1)],
    ids=["flatten", "view", "reshape"],
)
def test_functions_count_as_their_modules_do(flatten):
    modules = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    expected = summarize(modules, (1, 8, 8))
    (row,) = summarize(Functional(flatten), (1, 8, 8), depth=0)
    assert row.macs == expected.macs
    assert row.parameters == expected.parameters
    assert row.receptive_field == expected[-1].receptive_field == 10


# ---- leaving the net alone, and the table -----------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_the_net_is_left_as_it_was(training):
    net = vgg(((1, 4), (1, 8)), hidden=(), image_size=16, batch_norm=True).train(training)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    summarize(net, (1, 16, 16))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(m.training is training for m in net.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_the_hooks_go_also_when_the_net_fails():
    net = lenet()
    with pytest.raises(ValueError, match=r"3 × 28 × 28 .* at 0 \(Conv2d\)"):
        summarize(net, (3, 28, 28))
    assert net.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


class Odd(nn.Module):
    def forward(self, x):
        return x


def test_html_has_a_header_a_row_per_layer_and_the_totals():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))
    summary = summarize(net, (1, 8, 8))
    text = summary._repr_html_()
    head = re.findall('<th scope="col">(.*?)</th>', text.split("</thead>")[0])
    assert [html.unescape(h) for h in head] == [
        "layer", "kind", "output shape", "parameters", "MACs", "output kB", "receptive field",
    ]  # fmt: skip
    body = text.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr>") == len(summary) == 3
    assert f"{20 + 730:,}" in text.split("<tfoot>")[1]
    for tag in ("table", "thead", "tbody", "tfoot", "tr", "td", "th", "div"):
        assert len(re.findall(f"<{tag}[ >]", text)) == text.count(f"</{tag}>")


def test_html_escapes_names():
    odd = type("<b>&", (Odd,), {})
    text = summarize(nn.Sequential(odd()), (1, 2, 2))._repr_html_()
    assert "&lt;b&gt;&amp;" in text
    assert "<b>" not in text


def test_text_columns_line_up():
    lines = str(summarize(lenet(), (1, 28, 28))).splitlines()
    assert len(lines) == 1 + 12 + 1
    assert "61,706" in lines[-1]
    ends = [[m.end() for m in re.finditer(r"\S+(?: \S+)*", line)][3:6] for line in lines[:-1]]
    assert all(a == b for a, b in pairwise(ends))
