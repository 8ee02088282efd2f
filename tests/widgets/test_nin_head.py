"""NiN's head: counts against PyTorch's modules, class maps against the net's own logits."""

import gzip
import json
from itertools import product

import pytest
import torch
import traitlets
from ipywidgets.embed import dependency_state

import d2lmini as d2l
from d2lmini.data import ArrayLoader
from d2lmini.models import build
from d2lmini.widgets.nin_head import CHANNELS, HEADS, SIDES, NiNHead, head

GRID = list(product(CHANNELS, SIDES))


@pytest.fixture(scope="module")
def loader():
    test_set = d2l.fashion_mnist()[1].take(torch.arange(400))
    return ArrayLoader(test_set, 100, normalize=True)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return d2l.initialize(build("nin-small"), "he")


@pytest.fixture(scope="module")
def widget(net, loader):
    return NiNHead(net, loader)


def test_every_count_is_pytorchs(widget, module):
    shown = module(
        widget,
        """data.map(([channels, side]) => m.headCosts(channels, side, 10)
            .map(({ parameters, macs }) => [parameters, macs]))""",
        GRID,
    )
    for (channels, side), counts in zip(GRID, shown, strict=True):
        for name, count in zip(HEADS, counts, strict=True):
            with torch.device("meta"):
                walk = d2l.summarize(head(name, channels, side), (channels, side, side))
            assert count == [walk.parameters, walk.macs], (name, channels, side)
            assert walk[-1].output_shape == (10,)


def test_the_heads_are_the_networks_own(widget, net):
    nin_rows = d2l.summarize(net, (1, 28, 28), depth=1)
    widget.set_trait("channels", 96)
    widget.side = 2
    costs = {name: counts for name, *counts in widget.costs()}
    assert costs["NiN's head"] == [nin_rows[-3].parameters, nin_rows[-3].macs]
    with torch.device("meta"):
        rows = d2l.summarize(d2l.alexnet(), (1, 224, 224))
    widget.channels, widget.side = 256, 5
    linears = [row for row in rows if row.kind == "Linear"]
    costs = {name: counts for name, *counts in widget.costs()}
    assert costs["AlexNet's head"] == [
        sum(row.parameters for row in linears), sum(row.macs for row in linears)
    ]  # fmt: skip
    assert widget.table()[1][0][1] == f"{sum(row.parameters for row in linears):,}"
    widget.channels, widget.side = 384, 5


def test_each_maps_mean_is_the_nets_logit(widget, net, loader, module):
    X = loader.prepare(loader.images[widget.index])
    net.eval()
    with torch.no_grad():
        logits, maps = net(X), net[:-2](X)
    torch.testing.assert_close(torch.tensor(widget.class_maps), maps, rtol=1e-4, atol=1e-5)
    shown = module(widget, "data.map((maps) => m.scores(maps))", widget.class_maps)
    torch.testing.assert_close(
        torch.tensor([s["logits"] for s in shown]), logits, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        torch.tensor([s["probabilities"] for s in shown]), logits.softmax(dim=1), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(widget.means(), logits[widget.image], rtol=1e-4, atol=1e-5)


def test_controls_move_and_the_page_follows(widget, mount):
    page = mount(widget)
    nin_row = page.locator(".d2l-head-row").nth(2)
    assert "34,790 parameters" in nin_row.inner_text()
    squares = nin_row.locator("svg").evaluate_all("all => all.map((s) => +s.getAttribute('width'))")
    whole = float(page.locator(".d2l-count svg").first.get_attribute("width"))
    widget_costs = {name: counts for name, *counts in widget.costs()}
    for side, ours, theirs in zip(
        squares, widget_costs["NiN's head"], [widget_costs["AlexNet's head"][0]] * 2, strict=True
    ):
        assert side**2 / whole**2 == pytest.approx(ours / theirs, rel=0.1)

    button = page.get_by_role("button", name="this network")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert (
        page.get_by_label("of size").get_attribute("aria-valuetext").replace("\xa0", " ") == "2 × 2"
    )
    assert "8,870 parameters" in nin_row.inner_text()
    page.get_by_label("of size").focus()
    page.keyboard.press("ArrowRight")
    assert "8,870 parameters" in nin_row.inner_text()  # for any size
    assert "79,560 MACs" in nin_row.inner_text()  # at each of 9 places
    assert button.get_attribute("aria-pressed") == "false"

    page.locator(".d2l-picker input").first.focus()
    for image in (1, 2):
        page.keyboard.press("ArrowRight")
        logits = torch.tensor(widget.class_maps[image]).mean(dim=(1, 2))
        answer = page.locator(".d2l-classes .answer").inner_text()
        assert widget.classes[int(logits.argmax())] in answer
        shown = page.locator(".d2l-mean").all_inner_texts()
        for text, logit in zip(shown, logits.tolist(), strict=True):
            assert float(text.removeprefix("mean ")) == pytest.approx(logit, abs=0.051)


def test_state_is_small_and_other_nets_are_refused(widget, net, loader):
    states = dependency_state([widget], drop_defaults=False).values()
    own = next(entry["state"] for entry in states if "_esm" in entry["state"])
    assert len(gzip.compress(json.dumps(own).encode(), 6)) <= 30_000
    with pytest.raises(ValueError, match="global average over one map per class"):
        NiNHead(build("googlenet-small"), loader)
    with pytest.raises(ValueError, match="global average over one map per class"):
        NiNHead(build("lenet"), loader)
    for trait, value in (("channels", 100), ("side", 15), ("image", 20)):
        with pytest.raises(traitlets.TraitError):
            setattr(widget, trait, value)
    assert widget.presets[-1] == ["this network", 96, 2] and widget.presets[0][1:] == [384, 5]
    before = widget.class_maps
    widget.show(d2l.initialize(build("nin-small"), "he"))
    assert widget.class_maps != before
    widget.show(net)
    assert widget.class_maps == before
    assert widget.figure().axes
