"""ConvStack's counts against real convolutions."""

from itertools import product

import pytest
from traitlets import TraitError

from d2lmini.widgets.conv_stack import CHANNELS, SIZES, ConvStack


def test_costs_are_those_of_real_convolutions(module):
    cases = [*product(range(1, 6), CHANNELS, (7, 56)), *product((2, 3), (16,), SIZES)]
    shown = module(ConvStack(), "data.map((c) => m.stackCosts(...c))", cases)
    for (depth, channels, size), costs in zip(cases, shown, strict=True):
        widget = ConvStack(depth=depth, channels=channels, size=size)
        for key, walk in zip(("stack", "single"), widget.walks(), strict=True):
            own = costs[key]
            assert own["weights"] + own["biases"] == walk.parameters
            assert own["macs"] == walk.macs
            assert walk[-1].receptive_field == costs["kernel"]
            assert walk[-1].output_shape == (channels, size, size)
    three = shown[cases.index((3, 64, 56))]
    assert (three["stack"]["weights"], three["single"]["weights"]) == (27 * 64**2, 49 * 64**2)
    assert (round(100 * three["saving"]), round(100 * three["more"])) == (45, 81)


def test_sliders_move_and_the_sentences_follow(mount):
    page = mount(ConvStack())
    text = page.locator(".d2l").inner_text().replace("\u00a0", " ")
    assert "27C² weights instead of 49C²: 45 % fewer" in text
    assert "81 % is not the saving" in text
    page.get_by_role("slider", name="3×3 layers").press("ArrowLeft")
    page.get_by_role("slider", name="channels C").press("ArrowRight")
    text = page.locator(".d2l").inner_text().replace("\u00a0", " ")
    assert "18C² weights instead of 25C²: 28 % fewer" in text
    assert f"{18 * 128**2:,}" in text and f"{25 * 128**2:,}" in text


def test_state_is_checked_and_the_still_form_is_right():
    widget = ConvStack(depth=2, channels=32)
    rows = {row[0]: row[1:] for row in widget.table()[1]}
    assert rows["receptive field"] == ("5×5", "5×5")
    assert rows["weights"] == (f"{18 * 32**2:,}", f"{25 * 32**2:,}")
    assert len(widget.figure().axes) == 2
    for bad in ({"depth": 0}, {"channels": 48}, {"size": 10}):
        with pytest.raises(TraitError):
            ConvStack(**bad)
