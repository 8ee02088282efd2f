"""The five networks' chart: every recorded run where it belongs, its details by keyboard."""

import math
from statistics import mean, stdev

import pytest
import torch
from traitlets import TraitError

import d2lmini as d2l
from d2lmini.models import MODELS, build
from d2lmini.widgets.five_networks import NETWORKS, FiveNetworks

LINKS = {network.chapter: f"../chapters/{network.chapter}.html" for network in NETWORKS}


def run(model, seed, accuracy, seconds, **settings):
    epoch = d2l.EpochStats(1, 0.3, 0.9, accuracy, seconds, 0.1, 0.5, 60_000, 0.01)
    machine = {"device": "cpu", "processor": "Some CPU", "cores": 2, "torch": "2.9.0+cpu"}
    settings = {"variant": model, "seed": seed, "precision": "fp32"} | settings
    return d2l.Record((epoch,), settings, machine)


@pytest.fixture
def records():
    """Three runs of each network, and one of NiN's."""
    return [
        run("lenet", 0, 0.8991, 20.0), run("lenet", 1, 0.9003, 24.0), run("lenet", 2, 0.8970, 23.0),
        run("alexnet-small", 0, 0.9090, 70.0), run("alexnet-small", 1, 0.9101, 75.0),
        run("alexnet-small", 2, 0.9110, 71.0), run("nin-small", 7, 0.9140, 60.0),
        run("vgg11-small", 0, 0.9250, 100.0), run("vgg11-small", 1, 0.9262, 101.0),
        run("vgg11-small", 2, 0.9240, 99.0), run("googlenet-small", 0, 0.9120, 120.0),
        run("googlenet-small", 1, 0.9131, 130.0), run("googlenet-small", 2, 0.9126, 128.0),
    ]  # fmt: skip


def by_model(records):
    names = {network.model: network.name for network in NETWORKS}
    found = {network.name: [] for network in NETWORKS}
    for record in records:
        found[names[record.settings["variant"]]].append(record)
    return {name: runs for name, runs in found.items() if runs}


def test_the_packages_records_are_all_there(module):
    recorded = d2l.load_records("five_networks")
    widget = FiveNetworks()
    expected = by_model(recorded)
    assert [network["name"] for network in widget.networks] == list(expected)
    for network, statistics in zip(
        widget.networks, module(widget, "data.map(m.statistics)", widget.networks), strict=True
    ):
        runs = expected[network["name"]]
        accuracies = [record.test_acc for record in runs]
        assert [r["accuracy"] for r in network["runs"]] == accuracies
        assert [r["seed"] for r in network["runs"]] == [r.settings["seed"] for r in runs]
        assert statistics["n"] == len(runs)
        assert statistics["mean"] == pytest.approx(mean(accuracies), abs=1e-12)
        assert statistics["seconds"] == pytest.approx(mean(r.seconds for r in runs), abs=0.05)
        if len(runs) > 1:
            assert statistics["deviation"] == pytest.approx(stdev(accuracies), abs=1e-12)


def test_costs_are_those_of_the_networks(records):
    state = torch.random.get_rng_state()
    widget = FiveNetworks(records)
    assert torch.equal(state, torch.random.get_rng_state())  # a reader's seed still holds
    for network, shown in zip(NETWORKS, widget.networks, strict=True):
        for model, counts in ((network.model, shown), (network.full, shown["full"])):
            net = build(model)
            assert counts["parameters"] == sum(p.numel() for p in net.parameters())
            assert counts["macs"] == d2l.summarize(net, MODELS[model].input_shape).macs
    head, rows = widget.table()
    vgg = dict(zip(head, rows[3], strict=True))
    assert vgg == {
        "network": "VGG", "year": "2014", "parameters": "910,666", "MACs": "9,917,440",
        "runs": "3", "mean test accuracy": "0.9251", "lowest": "0.9240", "highest": "0.9262",
        "mean seconds": "100",
    }  # fmt: skip
    assert widget.chosen == "VGG"  # at first the best


def test_marks_stand_where_the_records_say(module, records):
    """Up the page goes linearly with accuracy, across with the cost or its logarithm."""
    widget = FiveNetworks(records)
    for axis, whole in (("parameters", False), ("macs", False), ("seconds", False), ("macs", True)):
        view = {"axis": axis, "whole": whole, "path": True}
        plan = module(widget, "m.layout(data[0], data[1], 640, 380)", [widget.networks, view])
        assert [p["name"] for p in plan["points"]] == [network.name for network in NETWORKS]
        across, up = [], []
        for network, point in zip(widget.networks, plan["points"], strict=True):
            assert len(point["runs"]) == len(network["runs"])
            seconds = [r["seconds"] for r in network["runs"]]
            costs = seconds if axis == "seconds" else [network[axis]] * len(seconds)
            accuracies = [r["accuracy"] for r in network["runs"]]
            marks = [*point["runs"], point]
            values = zip([*costs, mean(costs)], [*accuracies, mean(accuracies)], strict=True)
            for mark, (cost, accuracy) in zip(marks, values, strict=True):
                across.append((cost if axis == "seconds" else math.log(cost), mark["x"]))
                up.append((accuracy, mark["y"]))
                assert 48 <= mark["x"] <= 640 - 14
                assert 46 <= mark["y"] <= 380 - 44
        assert_linear(across, rising=True)
        assert_linear(up, rising=False)  # y grows downwards


def assert_linear(pairs, *, rising):
    (a, at_a), (b, at_b) = min(pairs), max(pairs)
    slope = (at_b - at_a) / (b - a)
    assert (slope > 0) == rising
    for value, at in pairs:
        assert at == pytest.approx(at_a + slope * (value - a), abs=1e-6)


def test_what_the_view_shows_in_words(module, records):
    widget = FiveNetworks(records)
    networks = widget.networks
    by_parameters, by_seconds = module(
        widget, "['parameters', 'seconds'].map(axis => m.verdict(data, axis).join(' '))", networks
    )
    assert by_parameters.startswith("Best on average: VGG, 0.9251 over 3 runs.")
    assert "LeNet has the fewest parameters (61.7 k against 911 k)" in by_parameters
    assert "gets 263 images fewer right, of 10,000" in by_parameters
    assert "NiN, VGG and GoogLeNet do better than AlexNet with fewer parameters." in by_parameters
    assert "NiN does better than AlexNet with less time." in by_seconds
    close = FiveNetworks([*records, run("nin-small", 8, 0.9249, 61.0)]).networks
    assert "overlaps with that of NiN" in " ".join(module(widget, "m.verdict(data, 'macs')", close))


def test_switching_the_axis_moves_the_marks(mount, records):
    page = mount(FiveNetworks(records, LINKS), reduced_motion="reduce")
    groups = page.locator("[data-network]")
    count = "nodes => nodes.map(n => n.querySelectorAll('.run').length)"
    assert groups.evaluate_all(count) == [3, 3, 1, 3, 3]
    places = "nodes => nodes.map(n => n.getAttribute('transform'))"
    before = groups.evaluate_all(places)
    select = page.get_by_label("Against", exact=True)
    select.focus()
    select.press("ArrowDown")
    after = groups.evaluate_all(places)
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert "needs the fewest MACs" in page.locator(".d2l").inner_text()
    page.get_by_label("Whole axis").press("Space")
    assert groups.evaluate_all(places) != after
    assert page.locator(".years").count() == 1
    page.get_by_label("Path of the years").press("Space")
    assert page.locator(".years").count() == 0


def middle(page, name):
    box = page.locator(f"[data-network={name}] .mean").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_focus_pointer_and_tap_reveal_the_runs(mount, records):
    page = mount(FiveNetworks(records, LINKS))
    panel = page.get_by_role("group", name="Runs of")
    page.get_by_label("Whole axis").focus()
    for name, runs in by_model(records).items():
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.dataset.network")
        assert focused == name
        text = panel.inner_text()
        assert f"n = {len(runs)}" in text
        assert name in text
        assert "Some CPU, 2 cores, torch 2.9.0, fp32" in text
        for record in runs:
            assert f"{record.test_acc:.4f}" in text
    page.mouse.move(*middle(page, "LeNet"))
    assert "0.8970" in panel.inner_text()
    page.mouse.click(*middle(page, "NiN"))
    assert "one run has no spread" in panel.inner_text()
    assert page.locator("[data-network=NiN]").get_attribute("aria-pressed") == "true"
    link = page.get_by_role("link", name="NiN", exact=True)
    assert link.get_attribute("href") == LINKS["nin"]


def test_marks_travel_to_their_new_places_and_arrive(mount, records):
    page = mount(FiveNetworks(records))
    still = mount(FiveNetworks(records, axis="seconds"))
    page.evaluate(
        """() => {
             const mark = document.querySelector("[data-network]");
             window.seen = new Set([mark.getAttribute("transform")]);
             new MutationObserver(() => seen.add(mark.getAttribute("transform")))
               .observe(mark, { attributeFilter: ["transform"] });
           }"""
    )
    page.get_by_label("Against", exact=True).select_option(label="seconds of training")
    places = "nodes => nodes.map(n => n.getAttribute('transform'))"
    wanted = still.locator("[data-network]").evaluate_all(places)
    page.wait_for_function(
        """wanted => [...document.querySelectorAll("[data-network]")]
             .every((n, i) => n.getAttribute("transform") === wanted[i])""",
        arg=wanted, timeout=3000,
    )  # fmt: skip
    assert page.evaluate("seen.size") > 3  # both ends, and places between them


def test_one_seed_and_missing_networks(mount):
    widget = FiveNetworks([run("lenet", 0, 0.9, 20.0), run("vgg11-small", 0, 0.92, 90.0)])
    page = mount(widget)
    text = page.locator(".d2l").inner_text()
    assert "No run of AlexNet, NiN and GoogLeNet is recorded here." in text
    assert "0.9200 over one run" in text
    assert page.locator("[data-network]").count() == 2
    assert widget.figure().axes
    alone = mount(FiveNetworks([run("lenet", 0, 0.9, 20.0)], axis="seconds"))
    assert alone.locator(".run").count() == 1


def test_python_side(records):
    widget = FiveNetworks(records, LINKS, axis="macs", chosen="NiN")
    seen = []
    widget.observe(lambda change: seen.append((change.name, change.new)))
    widget.axis, widget.chosen = "seconds", "LeNet"
    assert seen == [("axis", "seconds"), ("chosen", "LeNet")]
    for axis in ("parameters", "macs", "seconds"):
        widget.axis, widget.whole = axis, axis == "macs"
        (axes,) = widget.figure().axes
        assert "10,000 images" in axes.get_ylabel()
        assert axes.get_xscale() == ("linear" if axis == "seconds" else "log")


def test_what_cannot_be_is_refused(records):
    with pytest.raises(ValueError, match=r"a run of 'resnet'; settings\['variant'\] must be lenet"):
        FiveNetworks([run("resnet", 0, 0.9, 10.0)])
    with pytest.raises(ValueError, match="was measured on validation, not on the test set"):
        FiveNetworks([run("lenet", 0, 0.9, 10.0, split="validation")])
    with pytest.raises(ValueError, match="no runs; record some"):
        FiveNetworks([])
    with pytest.raises(TraitError, match=r"links\['resnet'\]: no such chapter; use lenet"):
        FiveNetworks(records, {"resnet": "resnet.html"})
    with pytest.raises(TraitError, match="relative to the page"):
        FiveNetworks(records, {"vgg": "https://example.org/vgg.html"})
    with pytest.raises(TraitError, match="chosen='ResNet' has no runs here; LeNet, AlexNet"):
        FiveNetworks(records, chosen="ResNet")
    with pytest.raises(TraitError, match="axis"):
        FiveNetworks(records, axis="beauty")
