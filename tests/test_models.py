"""The networks against torchvision's, against hand counts and against the study notes' systems.

Counting and shape tests build on the meta device: real layers, no memory for the weights.
"""

import re
from itertools import pairwise, product, takewhile

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.googlenet import Inception as ReferenceInception
from torchvision.models.googlenet import InceptionAux as ReferenceAux

from d2lmini import summarize
from d2lmini.models import (
    ALEXNET_ONE_TOWER,
    ALEXNET_TORCHVISION,
    ALEXNET_UNPADDED,
    GOOGLENET,
    MODELS,
    VGG11,
    VGG13,
    VGG16,
    VGG16_C,
    VGG16_CIFAR10,
    VGG19,
    GoogLeNetWithAuxiliary,
    Inception,
    alexnet,
    build,
    googlenet,
    lenet,
    narrow,
    nin,
    thin,
    vgg,
    vgg_block,
    vgg_cifar10,
)
from d2lmini.models.size import output_size


def on_meta(factory, *args, **options):
    with torch.device("meta"):
        return factory(*args, **options)


def layers(net, kind):
    return [m for m in net.modules() if isinstance(m, kind)]


def conv_rows(net):
    """(in, out, kernel, stride, padding) of each convolution, in order."""
    return [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0])
        for c in layers(net, nn.Conv2d)
    ]


def linear_rows(net):
    return [(m.in_features, m.out_features) for m in layers(net, nn.Linear)]


def shapes_after_children(net, *input_shape):
    """Output shape, without the batch, after each child of a Sequential."""
    X, shapes = torch.zeros(1, *input_shape, device="meta"), []
    for child in net.eval():
        X = child(X)
        shapes.append((type(child).__name__, tuple(X.shape[1:])))
    return shapes


def give_same_weights(ours, reference, seed=0):
    """Draw He-like random weights once and put them, in order, into both nets (built on meta)."""
    generator = torch.Generator().manual_seed(seed)
    mine, theirs = ours.state_dict(), reference.state_dict()
    assert [v.shape for v in mine.values()] == [v.shape for v in theirs.values()]
    drawn = []
    for v in mine.values():
        bound = (6 / v[0].numel()) ** 0.5 if v.dim() > 1 else 0.1
        drawn.append(torch.empty(v.shape).uniform_(-bound, bound, generator=generator))
    for net, state in ((ours, mine), (reference, theirs)):
        net.load_state_dict(dict(zip(state, drawn, strict=True)), assign=True)
        net.eval()
    return generator


def largest_relative_difference(ours, reference, X):
    with torch.no_grad():
        got, expected = ours(X), reference(X)
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


# ---- exact counts (SOURCES.md) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "input_shape", "parameters", "mega_macs"),
    [
        ("lenet", (1, 28, 28), 61_706, 0.42),
        ("alexnet", (1, 224, 224), 46_764_746, 938),
        ("vgg11", (1, 224, 224), 128_806_154, 7_547),
        ("vgg11-quarter", (1, 224, 224), 43_093_322, 512),
        ("nin", (1, 224, 224), 1_992_166, 762),
        ("googlenet", (1, 96, 96), 5_977_530, 276),
    ],
)
def test_parameters_and_macs(name, input_shape, parameters, mega_macs):
    assert MODELS[name].input_shape == input_shape
    net = on_meta(build, name)
    assert sum(p.numel() for p in net.parameters()) == parameters
    summary = summarize(net, input_shape)
    assert summary.parameters == parameters
    assert round(summary.macs / 1e6, 2 if mega_macs < 1 else 0) == mega_macs


# ---- every entry of MODELS --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_logits_for_grey_and_colour_and_any_number_of_classes(name):
    _, height, width = MODELS[name].input_shape
    for in_channels, num_classes in product((1, 3), (10, 1000)):
        net = on_meta(build, name, in_channels=in_channels, num_classes=num_classes).eval()
        X = torch.zeros(2, in_channels, height, width, device="meta")
        assert net(X).shape == (2, num_classes)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_plain_modules_that_take_their_own_input(name):
    net = on_meta(build, name)
    assert not any(isinstance(p, nn.UninitializedParameter) for p in net.parameters())
    assert net(torch.zeros(2, *MODELS[name].input_shape, device="meta")).shape == (2, 10)


def test_build_lists_the_known_names():
    with pytest.raises(ValueError, match="nope") as error:
        build("nope")
    assert all(name in str(error.value) for name in MODELS)


# shapes that D2L's book prints after each layer or block
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lenet", [
            ("Conv2d", (6, 28, 28)), ("Sigmoid", (6, 28, 28)), ("AvgPool2d", (6, 14, 14)),
            ("Conv2d", (16, 10, 10)), ("Sigmoid", (16, 10, 10)), ("AvgPool2d", (16, 5, 5)),
            ("Flatten", (400,)), ("Linear", (120,)), ("Sigmoid", (120,)),
            ("Linear", (84,)), ("Sigmoid", (84,)), ("Linear", (10,)),
        ]),
        ("alexnet", [
            ("Conv2d", (96, 54, 54)), ("ReLU", (96, 54, 54)), ("MaxPool2d", (96, 26, 26)),
            ("Conv2d", (256, 26, 26)), ("ReLU", (256, 26, 26)), ("MaxPool2d", (256, 12, 12)),
            ("Conv2d", (384, 12, 12)), ("ReLU", (384, 12, 12)),
            ("Conv2d", (384, 12, 12)), ("ReLU", (384, 12, 12)),
            ("Conv2d", (256, 12, 12)), ("ReLU", (256, 12, 12)), ("MaxPool2d", (256, 5, 5)),
            ("Flatten", (6400,)), ("Linear", (4096,)), ("ReLU", (4096,)), ("Dropout", (4096,)),
            ("Linear", (4096,)), ("ReLU", (4096,)), ("Dropout", (4096,)), ("Linear", (10,)),
        ]),
        ("vgg11", [
            ("Sequential", (64, 112, 112)), ("Sequential", (128, 56, 56)),
            ("Sequential", (256, 28, 28)), ("Sequential", (512, 14, 14)),
            ("Sequential", (512, 7, 7)), ("Flatten", (25088,)),
            ("Linear", (4096,)), ("ReLU", (4096,)), ("Dropout", (4096,)),
            ("Linear", (4096,)), ("ReLU", (4096,)), ("Dropout", (4096,)), ("Linear", (10,)),
        ]),
        ("nin", [
            ("Sequential", (96, 54, 54)), ("MaxPool2d", (96, 26, 26)),
            ("Sequential", (256, 26, 26)), ("MaxPool2d", (256, 12, 12)),
            ("Sequential", (384, 12, 12)), ("MaxPool2d", (384, 5, 5)), ("Dropout", (384, 5, 5)),
            ("Sequential", (10, 5, 5)), ("AdaptiveAvgPool2d", (10, 1, 1)), ("Flatten", (10,)),
        ]),
        ("googlenet", [
            ("Sequential", (64, 24, 24)), ("Sequential", (192, 12, 12)),
            ("Sequential", (480, 6, 6)), ("Sequential", (832, 3, 3)), ("Sequential", (1024,)),
            ("Linear", (10,)),
        ]),
    ],
)  # fmt: skip
def test_layer_walk_is_the_one_d2l_prints(name, expected):
    assert shapes_after_children(on_meta(build, name), *MODELS[name].input_shape) == expected


# ---- torchvision as the oracle ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("conv_arch", "reference"),
    [
        (VGG11, torchvision.models.vgg11),
        (VGG13, torchvision.models.vgg13),
        (VGG16, torchvision.models.vgg16),
        (VGG19, torchvision.models.vgg19),
    ],
    ids=["vgg11", "vgg13", "vgg16", "vgg19"],
)
def test_vgg_computes_what_torchvisions_does(conv_arch, reference):
    ours = on_meta(vgg, conv_arch, in_channels=3, num_classes=1000)
    theirs = on_meta(reference, init_weights=False)
    generator = give_same_weights(ours, theirs)
    X = torch.rand(1, 3, 224, 224, generator=generator)
    assert largest_relative_difference(ours, theirs, X) < 1e-5


def test_vgg_batch_norm_is_torchvisions():
    reference = torchvision.models.vgg11_bn
    ours = on_meta(vgg, VGG11, in_channels=3, num_classes=1000, batch_norm=True)
    theirs = on_meta(reference, init_weights=False)
    assert [str(m) for m in layers(ours, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d))] == [
        str(m) for m in layers(theirs, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d))
    ]


def test_alexnet_with_torchvisions_table_computes_what_torchvisions_does():
    ours = on_meta(
        alexnet, 3, 1000, conv_arch=ALEXNET_TORCHVISION, image_size=224, dropout_first=True
    )
    theirs = on_meta(torchvision.models.alexnet)
    order = [type(m) for m in layers(theirs, (nn.Dropout, nn.Linear))]
    assert [type(m) for m in layers(ours, (nn.Dropout, nn.Linear))] == order
    generator = give_same_weights(ours, theirs)
    X = torch.rand(2, 3, 224, 224, generator=generator)
    assert largest_relative_difference(ours, theirs, X) < 1e-5


def test_d2ls_alexnet_is_not_torchvisions():
    """D2L pads by 1 and keeps the 2012 widths of both towers together; torchvision's is the 2014
    one-GPU variant, narrower in three layers, padded by 2."""
    ours = conv_rows(on_meta(alexnet, in_channels=3))
    theirs = conv_rows(on_meta(torchvision.models.alexnet))
    assert ours == [
        (3, 96, 11, 4, 1), (96, 256, 5, 1, 2),
        (256, 384, 3, 1, 1), (384, 384, 3, 1, 1), (384, 256, 3, 1, 1),
    ]  # fmt: skip
    assert theirs == [
        (3, 64, 11, 4, 2), (64, 192, 5, 1, 2),
        (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1),
    ]  # fmt: skip


class PlainConv(nn.Conv2d):
    """torchvision's BasicConv2d without batch norm, with the bias and ReLU of the 2014 paper."""

    def forward(self, x):
        return super().forward(x).relu()


def paper_inception(*channels):
    """torchvision's Inception, whose third branch's 3×3 is made the paper's 5×5."""
    block = ReferenceInception(*channels, conv_block=PlainConv)
    narrow_, wide = block.branch3[1].in_channels, block.branch3[1].out_channels
    block.branch3[1] = PlainConv(narrow_, wide, kernel_size=5, padding=2)
    return block


def test_googlenet_computes_what_torchvisions_wiring_does():
    ours = on_meta(googlenet, 3, 1000, image_size=224, ceil_mode=True, dropout=0.4)
    with torch.device("meta"):
        theirs = torchvision.models.GoogLeNet(
            aux_logits=False,
            init_weights=False,
            blocks=[PlainConv, paper_inception, ReferenceAux],
        )
    theirs.maxpool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # table 1; torchvision's is 2×2
    generator = give_same_weights(ours, theirs)
    X = torch.rand(1, 3, 224, 224, generator=generator)
    assert largest_relative_difference(ours, theirs, X) < 1e-5


def test_googlenet_table_has_torchvisions_channels():
    """Channels only: torchvision's third branch is 3×3 where the paper's is 5×5."""
    reference = on_meta(torchvision.models.googlenet, init_weights=False, aux_logits=False)
    theirs = [
        [(c.in_channels, c.out_channels) for c in layers(block, nn.Conv2d)]
        for block in layers(reference, ReferenceInception)
    ]
    ours = [
        [(c.in_channels, c.out_channels) for c in layers(block, nn.Conv2d)]
        for block in layers(on_meta(googlenet), Inception)
    ]
    assert ours == theirs
    assert [len(stage) for stage in GOOGLENET] == [2, 5, 2]


def test_inception_output_channels():
    """S2, claim (e)."""
    net = on_meta(googlenet)
    outputs = []
    for block in layers(net, Inception):
        block.register_forward_hook(lambda module, args, output: outputs.append(output.shape[1]))
    net(torch.zeros(1, 1, 96, 96, device="meta"))
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


# ---- GoogLeNet's auxiliary heads --------------------------------------------------------------


def small_googlenet_with_heads():
    tiny = tuple(
        tuple((4 + i, (3, 4), (2, 4), 4) for i in range(len(stage))) for stage in GOOGLENET
    )
    torch.manual_seed(0)
    stem = (((4, 7, 2, 3),), ((4, 1, 1, 0), (6, 3, 1, 1)))
    return googlenet(1, 7, conv_arch=tiny, stem=stem, image_size=96, aux=True)


def test_auxiliary_heads_are_the_papers():
    net = on_meta(googlenet, 3, 1000, image_size=224, ceil_mode=True, dropout=0.4, aux=True)
    assert isinstance(net, GoogLeNetWithAuxiliary)
    X = torch.zeros(2, 3, 224, 224, device="meta")
    assert [tuple(out.shape) for out in net.train()(X)] == [(2, 1000)] * 3
    assert net.eval()(X).shape == (2, 1000)
    for head, channels in ((net.aux_4a, 512), (net.aux_4d, 528)):
        assert conv_rows(head) == [(channels, 128, 1, 1, 0)]
        assert linear_rows(head) == [(2048, 1024), (1024, 1000)]
        assert [d.p for d in layers(head, nn.Dropout)] == [0.5]
        (pool,) = layers(head, nn.AvgPool2d)
        assert (pool.kernel_size, pool.stride) == (5, 3)


@pytest.mark.parametrize(
    ("position", "block"), [(1, 0), (2, 3)], ids=["4a is second", "4d is third"]
)
def test_auxiliary_outputs_stand_in_their_order(position, block):
    """Each head reads its own block's map: what hooks see there gives the returned logits."""
    net = small_googlenet_with_heads().train()
    for dropout in layers(net, nn.Dropout):
        dropout.p = 0.0
    seen = {}
    stage4 = layers(net.net, Inception)[2:7]
    stage4[block].register_forward_hook(lambda m, args, out: seen.update(map=out))
    head = (net.aux_4a, net.aux_4d)[position - 1]
    outputs = net(torch.rand(2, 1, 96, 96))
    assert torch.allclose(outputs[position], head(seen["map"]))

    nn.init.zeros_(layers(head, nn.Linear)[-1].weight)
    nn.init.constant_(layers(head, nn.Linear)[-1].bias, 9.0)
    silenced = net(torch.rand(2, 1, 96, 96))
    assert [bool((out == 9.0).all()) for out in silenced] == [i == position for i in range(3)]


@pytest.mark.parametrize(
    ("stages", "lengths"),
    [((0, 1), "2 and 5"), ((0, 2, 2), "2 and 2 and 2"), ((0, 1, 2, 2), "2 and 5 and 2 and 2")],
)
def test_auxiliary_heads_want_the_blocks_that_they_stand_at(stages, lengths):
    with pytest.raises(ValueError, match=f"aux=True wants .* has stages of {lengths}$"):
        googlenet(conv_arch=[GOOGLENET[i] for i in stages], aux=True)


def test_main_output_is_the_same_while_training_and_evaluating():
    net = small_googlenet_with_heads()
    X = torch.rand(2, 1, 96, 96)
    assert torch.allclose(net.train()(X)[0], net.eval()(X), atol=1e-6)  # dropout 0 by default


# ---- the study notes' systems -----------------------------------------------------------------


def test_s0_wide_variant():
    wide = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 1024))
    net = on_meta(vgg, wide)
    widths = [1, 64, 128, 256, 256, 512, 512, 1024, 1024]
    dense = [1024 * 7 * 7, 4096, 4096, 10]
    expected = sum(9 * a * b + b for a, b in pairwise(widths))
    expected += sum(a * b + b for a, b in pairwise(dense))
    assert sum(p.numel() for p in net.parameters()) == expected


def test_s0_vgg_block():
    block = vgg_block(2, 3, 8)
    kinds = [type(m).__name__ for m in block]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert conv_rows(block) == [(3, 8, 3, 1, 1), (8, 8, 3, 1, 1)]
    assert block(torch.zeros(2, 3, 10, 12)).shape == (2, 8, 5, 6)


def test_s1_one_tower_alexnet():
    net = on_meta(alexnet, 3, 1000, conv_arch=ALEXNET_ONE_TOWER, hidden=(2048, 2048),
                  dropout_first=True)  # fmt: skip
    assert conv_rows(net) == [
        (3, 48, 11, 4, 2), (48, 128, 5, 1, 2),
        (128, 192, 3, 1, 1), (192, 192, 3, 1, 1), (192, 128, 3, 1, 1),
    ]  # fmt: skip
    assert linear_rows(net) == [(128 * 6 * 6, 2048), (2048, 2048), (2048, 1000)]
    dense = [type(m).__name__ for m in layers(net, (nn.Dropout, nn.Linear))]
    assert dense == ["Dropout", "Linear", "Dropout", "Linear", "Linear"]


def test_s2_unpadded_alexnet():
    net = on_meta(alexnet, conv_arch=ALEXNET_UNPADDED, hidden=(4096,))
    assert conv_rows(net)[0] == (1, 96, 11, 4, 0)
    assert linear_rows(net) == [(256 * 5 * 5, 4096), (4096, 10)]


def test_s2_vgg_with_a_narrowed_head():
    net = on_meta(vgg, narrow(VGG11, 8), hidden=(4096 // 8, 4096 // 8))
    assert linear_rows(net) == [(512 * 7 * 7 // 8, 512), (512, 512), (512, 10)]


def s3_conv_arch(blocks):
    """S3's rule: one more 1×1 convolution where the block's built width is 256 or more."""
    return tuple((n + 1, c, 1) if c >= 256 else (n, c) for n, c in blocks)


def test_s3_one_by_one_layers_vanish_when_narrowed():
    assert s3_conv_arch(VGG13) == VGG16_C
    assert s3_conv_arch(narrow(VGG13, 4)) == narrow(VGG13, 4)
    ours = [row[1:3] for row in conv_rows(on_meta(vgg, narrow(VGG16_C, 4)))]
    assert [row for row in ours if row[1] == 1] == [(64, 1), (128, 1), (128, 1)]


def test_s3_configuration_c_is_the_papers():
    """Table 1, column C: the third convolution of blocks 3 to 5 is 1×1, unpadded."""
    net = on_meta(vgg, VGG16_C, in_channels=3)
    one = [i for i, row in enumerate(conv_rows(net), start=1) if row[2:] == (1, 1, 0)]
    assert one == [7, 10, 13]
    assert len(layers(net, (nn.Conv2d, nn.Linear))) == 16


def kinds(net):
    """The feature layers by letter: c convolution, p pool, b batch norm, r ReLU."""
    letters = {nn.Conv2d: "c", nn.MaxPool2d: "p", nn.BatchNorm2d: "b", nn.ReLU: "r"}
    features = list(takewhile(lambda child: not isinstance(child, nn.Flatten), net))
    return ["".join(letters[type(layer)] for layer in stage) for stage in features]


def test_s4_vgg_for_cifar10():
    net = on_meta(vgg_cifar10)
    sizes = [shape[-1] for kind, shape in shapes_after_children(net, 3, 32, 32)
             if kind == "Sequential"]  # fmt: skip
    assert sizes == [16, 9, 6, 5, 4]
    assert linear_rows(net) == [(8192, 1024), (1024, 1024), (1024, 10)]
    assert kinds(net) == ["ccpbr", "ccpbr", "cccpbr", "cccpbr", "cccpbr"]
    assert all(padding == 1 for *_, padding in conv_rows(net))
    assert summarize(net, (3, 32, 32)).parameters == 14_777_162


S4_VGG16 = ((2, 64), (2, 128), (3, 128, 1), (3, 256, 1), (3, 512, 1))


@pytest.mark.parametrize("hidden", [(1024, 1024), ()])
def test_s4_mended_is_vgg_with_batch_norm(hidden):
    mended = on_meta(vgg_cifar10, same_size=True, norm_each=True, hidden=hidden)
    options = {"in_channels": 3, "hidden": hidden, "image_size": 32, "batch_norm": True}
    assert str(mended) == str(on_meta(vgg, S4_VGG16, **options))


def test_s4_each_mending_changes_one_thing():
    same_size = on_meta(vgg_cifar10, same_size=True)
    assert kinds(same_size) == ["ccpbr", "ccpbr", "cccpbr", "cccpbr", "cccpbr"]
    assert [s[-1] for _, s in shapes_after_children(same_size, 3, 32, 32)[:5]] == [16, 8, 4, 2, 1]
    norm_each = on_meta(vgg_cifar10, norm_each=True)
    assert kinds(norm_each) == ["cbrcbrp"] * 2 + ["cbrcbrcbrp"] * 3
    assert conv_rows(norm_each) == conv_rows(on_meta(vgg_cifar10))
    assert linear_rows(on_meta(vgg_cifar10, hidden=())) == [(8192, 10)]


def test_s4_the_rim_of_the_last_map_never_sees_the_image():
    """Seven of its sixteen places hold the last convolution's bias, whatever the image."""
    torch.manual_seed(0)
    features = vgg_cifar10(tuple((4, kernels) for _, kernels in VGG16_CIFAR10))[:5]
    with torch.no_grad():
        maps = features(torch.rand(16, 3, 32, 32))
    spread = (maps.amax(dim=0) - maps.amin(dim=0)).amax(dim=0)  # (4, 4)
    assert (spread < 1e-5).tolist() == [[i == 0 or j == 0 for j in range(4)] for i in range(4)]


# ---- narrow -----------------------------------------------------------------------------------


def test_narrow_divides_every_width():
    assert narrow(VGG11, 4) == ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
    assert narrow(VGG16_C, 64) == ((2, 1), (2, 2), (3, 4, 1), (3, 8, 1), (3, 8, 1))
    assert narrow(VGG19, 1) == VGG19


@pytest.mark.parametrize(
    ("arguments", "named"), [((GOOGLENET, 0), "ratio=0"), (([[1]], 2), "conv_arch has the entry")]
)
def test_thin_refuses_what_it_cannot_divide(arguments, named):
    with pytest.raises(ValueError, match=named):
        thin(*arguments)


@pytest.mark.parametrize("ratio", [0, -1, 65, 1000])
def test_narrow_refuses_a_ratio_that_leaves_no_channels(ratio):
    with pytest.raises(ValueError, match=f"ratio={ratio}"):
        narrow(VGG11, ratio)


# ---- images that are too small ----------------------------------------------------------------

SIZED = {
    "lenet": lenet,
    "alexnet": alexnet,
    "alexnet-small": MODELS["alexnet-small"].factory,
    "vgg": vgg,
    "nin": nin,
    "nin-small": MODELS["nin-small"].factory,
    "googlenet": googlenet,
    "googlenet-ceil": lambda **o: googlenet(ceil_mode=True, **o),
    "googlenet-small": MODELS["googlenet-small"].factory,
    "googlenet-aux": lambda **o: googlenet(aux=True, **o),
    "googlenet-paper": lambda **o: googlenet(aux=True, ceil_mode=True, **o),
    "vgg-cifar10": vgg_cifar10,
}


# D2L's padded GoogLeNet takes an image of any size, to a map of one pixel
ANY_SIZE = {"googlenet", "googlenet-small"}


@pytest.mark.parametrize("name", [name for name in SIZED if name not in ANY_SIZE])
def test_a_too_small_image_is_told_the_least_that_works(name):
    factory = SIZED[name]
    with pytest.raises(ValueError, match="image_size=1 ") as error:
        on_meta(factory, image_size=1)
    message = str(error.value)
    assert re.search(r"the \d+×\d+/\d (convolution|pooling)", message)
    least = int(re.search(r"use (\d+) or more", message)[1])
    net = on_meta(factory, image_size=least)
    in_channels = layers(net, nn.Conv2d)[0].in_channels
    net(torch.zeros(2, in_channels, least, least, device="meta"))
    with pytest.raises(ValueError, match="too small"):
        on_meta(factory, image_size=least - 1)
    # and it is not the arithmetic that is too strict: torch's own layers refuse one pixel less
    features = takewhile(lambda layer: not isinstance(layer, nn.Flatten), net.children())
    with pytest.raises(RuntimeError):
        X = torch.zeros(2, in_channels, least - 1, least - 1, device="meta")
        net(X) if isinstance(net, GoogLeNetWithAuxiliary) else nn.Sequential(*features)(X)


@pytest.mark.parametrize("name", sorted(ANY_SIZE))
def test_googlenet_takes_an_image_of_one_pixel(name):
    net = on_meta(SIZED[name], image_size=1)
    assert net(torch.zeros(2, 1, 1, 1, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("size", range(8, 40))
def test_ceil_mode_sizes_agree_with_torch(size):
    """The arithmetic of output_size against the layers themselves, for the paper's pooling."""
    pools = nn.Sequential(*[nn.MaxPool2d(3, 2, padding=p, ceil_mode=True) for p in (0, 1, 0)])
    assert output_size(pools, size, "pools") == pools(torch.zeros(1, 1, size, size)).shape[-1]
