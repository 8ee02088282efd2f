"""The Inception block's budget: numbers against PyTorch's modules, controls, Python side."""

import random
from itertools import pairwise, product

import pytest
import torch
from torch import nn
from traitlets import TraitError

import d2lmini as d2l
from d2lmini.models import GOOGLENET
from d2lmini.widgets.inception_budget import NAMES, STEP, InceptionBudget, preset

WIDTHS = [256, 480, 512, 512, 512, 528, 832, 832, 1024]
CHANNELS = ("in_channels", "c1", "c2_reduce", "c2", "c3_reduce", "c3", "c4")


def states():
    """Each preset on each map that one of them has, and others from all over the sliders."""
    for name, side in product(NAMES, (28, 14, 12, 7, 6, 3)):
        yield preset(name) | {"side": side}
    chance, most = random.Random(0), InceptionBudget().most
    for _ in range(40):
        steps = {name: STEP * chance.randint(1, most[name] // STEP) for name in CHANNELS}
        yield steps | {"side": chance.randint(1, most["side"])}


def oracle(s):
    """Parameters and MACs by PyTorch's own modules, of each path, with the block's reductions and
    without, and of the two plain convolutions."""
    n, width = s["in_channels"], s["c1"] + s["c2"] + s["c3"] + s["c4"]
    with torch.device("meta"):
        block = d2l.Inception(
            n, s["c1"], (s["c2_reduce"], s["c2"]), (s["c3_reduce"], s["c3"]), s["c4"]
        )
        forms = {
            "paths": [
                block.b1, nn.Sequential(block.b2_1, block.b2_2),
                nn.Sequential(block.b3_1, block.b3_2), nn.Sequential(block.b4_1, block.b4_2),
            ],
            "straight": [
                nn.Conv2d(n, s["c1"], 1), nn.Conv2d(n, s["c2"], 3, padding=1),
                nn.Conv2d(n, s["c3"], 5, padding=2), nn.Conv2d(n, s["c4"], 1),
            ],
            "rest": [
                block, nn.Conv2d(n, width, 3, padding=1), nn.Conv2d(n, width, 5, padding=2)
            ],
        }  # fmt: skip
        shape = (n, s["side"], s["side"])
        counts = {
            key: [d2l.summarize(net, shape, depth=0)[0] for net in nets]
            for key, nets in forms.items()
        }
    return {key: [[r.parameters, r.macs] for r in rows] for key, rows in counts.items()}


def test_the_scripts_numbers_are_pytorchs(module):
    wanted = list(states())
    shown = module(InceptionBudget(), "data.map(m.budget)", wanted)

    def pair(cost):
        return [cost["parameters"], cost["macs"]]

    for state, b in zip(wanted, shown, strict=True):
        true = oracle(state)
        assert [pair(path) for path in b["paths"]] == true["paths"], state
        assert [pair(path) for path in b["straight"]] == true["straight"], state
        assert [pair(b[key]) for key in ("block", "plain3", "plain5")] == true["rest"], state
        assert pair(b["unreduced"]) == [
            sum(column) for column in zip(*true["straight"], strict=True)
        ]
        assert [path["channels"] for path in b["paths"]] == [
            state[name] for name in ("c1", "c2", "c3", "c4")
        ]


def test_the_presets_are_the_papers_blocks(module):
    blocks = InceptionBudget().blocks
    widths = module(InceptionBudget(), "data.map(s => m.budget(s).width)", [
        b["channels"] | {"side": 1} for b in blocks
    ])  # fmt: skip
    assert widths == WIDTHS
    for before, after in pairwise(zip(widths, blocks, strict=True)):
        assert after[1]["channels"]["in_channels"] == before[0]
    for size in (96, 224):
        net = d2l.googlenet(image_size=size)
        walk = d2l.summarize(net, (1, size, size), depth=2)
        shapes = [row.output_shape for row in walk if row.kind == "Inception"]
        sides = [b["sides"][str(size)] for b in blocks]
        assert shapes == [(w, s, s) for w, s in zip(WIDTHS, sides, strict=True)]
    assert {tuple(b["sides"].values()) for b in blocks} == {(12, 28), (6, 14), (3, 7)}
    # what is built from a preset is the paper's line, in the chapter's words
    for name, line in zip(NAMES, (line for stage in GOOGLENET for line in stage), strict=True):
        s = preset(name)
        assert line == (s["c1"], (s["c2_reduce"], s["c2"]), (s["c3_reduce"], s["c3"]), s["c4"])


def test_claim_s1f_and_the_line_to_copy(module):
    widget = InceptionBudget()
    line, ratio, b = module(
        widget, "[m.code(data), m.ratio([64, 128, 32, 32]), m.budget(data)]", preset("3a")
    )
    assert line == "d2l.Inception(192, 64, (96, 128), (16, 32), 32)"
    assert ratio == "2 : 4 : 1 : 1"
    block = eval(line, {"d2l": d2l})
    assert b["block"]["parameters"] == sum(p.numel() for p in block.parameters())
    plain = d2l.summarize(nn.Conv2d(192, 256, 3, padding=1), (192, 12, 12))
    assert b["block"]["parameters"] < plain.parameters


def test_a_block_and_its_map_are_recognised(module):
    widget = InceptionBudget()
    data = [preset("4b", 224), preset("3a") | {"side": 5}, preset("5a") | {"c1": 8}]
    shown = module(
        widget,
        "data[1].map(s => [m.presetOf(data[0], s)?.name ?? null, m.imageOf(data[0], s) ?? null,"
        " m.sideFor(data[0], s, '96'), m.sideFor(data[0], s, '224')])",
        [widget.blocks, data],
    )
    assert shown == [["4b", "224", 6, 14], ["3a", None, 6, 7], [None, "96", 3, 7]]


def test_controls(mount):
    page = mount(InceptionBudget())
    code = page.locator(".d2l-code code")
    assert page.get_by_role("button", name="3a").get_attribute("aria-pressed") == "true"
    slider = page.get_by_label("3×3 path gives")
    slider.focus()
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "136"
    assert code.inner_text() == "d2l.Inception(192, 64, (96, 136), (16, 32), 32)"
    assert page.get_by_role("button", name="3a").get_attribute("aria-pressed") == "false"
    expected = oracle(preset("3a") | {"c2": 136})
    assert f"{expected['rest'][0][0]:,} parameters" in page.locator(".d2l").inner_text()
    page.get_by_role("button", name="4a").press("Enter")
    page.get_by_role("button", name="224 px").press("Enter")
    assert page.get_by_label("Map").get_attribute("aria-valuetext") == "14 × 14"
    assert code.inner_text() == "d2l.Inception(480, 192, (96, 208), (16, 48), 64)"
    text = page.locator(".d2l").inner_text().replace("\u00a0", " ")
    expected = oracle(preset("4a", 224))
    for parameters, _ in expected["paths"] + expected["rest"]:
        assert f"{parameters:,}" in text
    assert "12 : 13 : 3 : 4" in text


def test_python_side():
    state = torch.random.get_rng_state()
    widget = InceptionBudget("4e", image_size=224, c4=64)
    assert (widget.in_channels, widget.c2_reduce, widget.c4, widget.side) == (528, 160, 64, 14)
    head, rows = widget.table()
    assert head == ("part", "channels", "parameters", "MACs")
    figures = {row[0]: row[1:] for row in rows}
    true = oracle({name: getattr(widget, name) for name in (*CHANNELS, "side")})
    assert figures["the block"] == ("768", *(f"{n:,}" for n in true["rest"][0]))
    assert figures["5×5 path"] == ("128", *(f"{n:,}" for n in true["paths"][2]))
    unreduced = [sum(column) for column in zip(*true["straight"], strict=True)]
    assert figures["without the reductions"] == ("768", *(f"{n:,}" for n in unreduced))
    assert len(widget.figure().axes) == 2
    assert torch.equal(state, torch.random.get_rng_state())  # a reader's seed still holds
    seen = []
    widget.observe(lambda change: seen.append(change.name))
    widget.use("3a")
    assert {"in_channels", "c1", "side"} <= set(seen)
    assert tuple(widget.build()(torch.zeros(1, 192, 12, 12)).shape) == (1, 256, 12, 12)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"block='6a' is none of the paper's; use one of 3a"):
        InceptionBudget("6a")
    with pytest.raises(ValueError, match="image_size=32 has no preset map sides"):
        InceptionBudget(image_size=32)
    widget = InceptionBudget()
    with pytest.raises(TraitError, match="c1=100 is no multiple of 8; use 96 or 104"):
        widget.c1 = 100
    with pytest.raises(TraitError, match="c4"):
        widget.c4 = 1000
    assert (widget.c1, widget.c4) == (64, 32)


def test_the_picture_holds_at_the_sliders_ends():
    for least in (True, False):
        most = InceptionBudget().most
        ends = {name: (STEP if least else most[name]) for name in CHANNELS}
        InceptionBudget(**ends, side=1).figure().savefig("/dev/null", format="png")
    InceptionBudget(in_channels=8, c2=8, c2_reduce=192).figure().savefig("/dev/null", format="png")
