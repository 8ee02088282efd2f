"""ShapeWalk's numbers against `summarize` and torch's own layers; what it says and does."""

import math
import re
from functools import cache

import pytest
import torch
from traitlets import TraitError

from d2lmini.models import MODELS, build
from d2lmini.summary import summarize
from d2lmini.widgets.shape_walk import NETS, ShapeWalk

SIZES = (8, 27, 28, 31, 32, 64, 65, 67, 96, 224, 227, 256)


@cache
def expected(name, size, channels):
    """The rows by `summarize`, or the factory's complaint."""
    try:
        with torch.device("meta"):
            net = build(name, image_size=size, in_channels=channels)
            walk = summarize(net, (channels, size, size))
    except ValueError as error:
        return str(error)
    return [
        [r.name, r.kind, list(r.output_shape), r.parameters, r.macs, r.memory_bytes,
         r.receptive_field] for r in walk
    ]  # fmt: skip


def walked(module, widget, cases):
    return module(
        widget,
        """data.cases.map(([net, size, channels]) => {
            const { layers } = data.nets[net];
            const rows = m.walk(layers, channels, size);
            const { name, kind, input, error } = rows.at(-1);
            if (!error) {
                return rows.map((r) =>
                    [r.name, r.kind, r.shape, r.parameters, r.macs, r.bytes, r.field[0]]);
            }
            const { kernel, stride } = layers.find((layer) => layer.name === name);
            const least = m.leastSize(layers, channels, size);
            return { name, kind, kernel, stride, map: input.shape[1], least };
        })""",
        {"cases": cases, "nets": widget.nets},
    )


def test_rows_equal_summarize_for_every_network_and_say_what_fails(module):
    cases = [(name, size, 1) for name in NETS for size in SIZES]
    cases += [(name, MODELS[name].input_shape[-1], 3) for name in NETS]
    too_small = 0
    for case, shown in zip(cases, walked(module, ShapeWalk(), cases), strict=True):
        truth = expected(*case)
        if isinstance(truth, list):
            assert shown == truth, case
            continue
        too_small += 1
        kind, size = ("convolution" if shown["kind"] == "Conv2d" else "pooling"), shown["map"]
        layer = f"{shown['kernel']}×{shown['kernel']}/{shown['stride']} {kind}"
        assert re.search(rf"the {layer}.* meets a map of {size}×{size};", truth), (case, truth)
        assert truth.endswith(f"use {shown['least']} or more"), (case, shown)
    assert too_small > 20


def refused(name, size):
    try:
        with torch.device("meta"):
            build(name, image_size=size)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("name", NETS)
def test_the_failing_layer_is_the_one_at_which_torch_stops(module, name):
    with torch.device("meta"):
        net = build(name).eval()
    reached = []
    for path, layer in net.named_modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(lambda *_, path=path: reached.append(path))
    sizes = [size for size in range(8, 70) if refused(name, size)]
    shown = walked(module, ShapeWalk(), [(name, size, 1) for size in sizes])
    for size, failure in zip(sizes, shown, strict=True):
        with pytest.raises(RuntimeError):
            net(torch.empty(1, 1, size, size, device="meta"))
        assert reached[-1] == failure["name"], size


def test_every_written_sum_gives_the_number_beside_it(module):
    widget = ShapeWalk()
    cases = [(name, MODELS[name].input_shape[-1]) for name in NETS] + [("alexnet", 227)]
    sums = module(
        widget,
        """data.cases.flatMap(([net, size]) => m.walkGroups(data.nets[net].layers, 1, size).groups)
            .flatMap((group) => group.rows.flatMap((row) => {
                const layer = group.layers.find((l) => l.name === row.name);
                const truth = { parameters: row.parameters, MACs: row.macs, memory: row.bytes,
                    "output side": row.shape[1], "receptive field": row.field[0] };
                return m.arithmetic(layer, row)
                    .map((line) => [line.label, line.sum, line.value, truth[line.label]]);
            }))""",
        {"cases": cases, "nets": widget.nets},
    )
    python = str.maketrans({"×": "*", "−": "-", ",": None})
    for _, text, value, truth in sums:
        plain = text.translate(python).replace("⌊", "math.floor(").replace("⌋", ")")
        assert eval(plain, {"math": math}) == value == truth, text
    assert {label for label, *_ in sums} == {
        "output side", "parameters", "MACs", "memory", "receptive field",
    }  # fmt: skip


def test_a_group_for_each_row_and_none_left_out(module):
    widget = ShapeWalk()
    groups = module(
        widget,
        """Object.entries(data).map(([net, { layers, size }]) => {
            const { rows, groups, parameters } = m.walkGroups(layers, 1, size);
            const own = groups.map((group) => [group.label, group.rows.length, group.shape]);
            return [net, rows.length, own, parameters];
        })""",
        widget.nets,
    )
    inceptions = {}
    for name, rows, own, parameters in groups:
        assert sum(count for _, count, _ in own) == rows
        assert parameters == sum(row[3] for row in expected(name, widget.nets[name]["size"], 1))
        if name == "googlenet":
            inceptions = {label: shape for label, count, shape in own if count == 7}
    assert len(inceptions) == 9
    assert inceptions["Inception 3a"] == [256, 12, 12]
    assert inceptions["Inception 5b"] == [1024, 3, 3]


def test_the_slider_the_list_and_the_rows_answer(mount):
    page = mount(ShapeWalk("alexnet", 66))
    facts = page.locator(".d2l-facts dd")
    slider = page.get_by_label("image", exact=True)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "65 × 65 pixels"
    page.keyboard.press("ArrowLeft")
    verdict = page.locator(".walk-verdict")
    assert "AlexNet stops at the 3rd MaxPool2d" in verdict.inner_text()
    assert page.locator(".walk-failed").count() == 1
    assert page.locator(".walk-unreached").count() == 4
    page.get_by_role("button", name="Set 65 pixels").press("Enter")
    assert page.locator(".walk-failed").count() == 0
    assert slider.get_attribute("aria-valuetext") == "65 × 65 pixels"

    page.get_by_role("combobox", name="network").select_option(label="LeNet")
    assert facts.first.inner_text().startswith("61,706")
    row = page.get_by_role("button", name="Conv2d 5×5").first
    row.press("Enter")
    assert row.get_attribute("aria-expanded") == "true"
    assert "6 × (5 × 5 × 1 + 1) = 156" in page.locator(".walk-detail:visible").inner_text()
    assert "⌊(28 + 2 × 2 − 5) / 1⌋ + 1 = 28" in page.locator(".walk-detail:visible").inner_text()
    row.press("Enter")
    assert page.locator(".walk-detail:visible").count() == 0


def test_state_is_checked_and_the_still_form_is_right():
    widget = ShapeWalk("nin-small", channels=3)
    assert widget.size == 28
    head, rows = widget.table()
    assert len(head) == len(rows[0]) == 7 and len(rows) == len(widget.walk())
    assert widget.figure().axes
    widget.size = 8
    assert "use" in widget.table()[1][0][1]
    assert widget.figure().texts
    for bad in ({"net": "resnet"}, {"size": 7}, {"size": 300}, {"channels": 2}):
        with pytest.raises(TraitError):
            ShapeWalk(**bad)
