"""VGG's width: the page's arithmetic against PyTorch's, its code against its numbers."""

import json
from itertools import product

import pytest
import torch
import traitlets
from torch import nn

import d2lmini as d2l
from d2lmini import recorder
from d2lmini.experiments import EXPERIMENTS
from d2lmini.widgets import vgg_width
from d2lmini.widgets.vgg_width import CONFIGURATIONS, HEADS, RATIOS, SIZES, VGGWidth, build_vgg

CHOICES = list(product(CONFIGURATIONS, RATIOS, SIZES, HEADS))


@pytest.fixture(scope="module")
def widget():
    return VGGWidth()


def test_every_number_of_every_choice_is_pytorchs(widget, module):
    script = """data.map(([config, ratio, size, head]) => {
        const costs = m.vggCosts(tables[config], ratio, size, head);
        return costs.rows.map((r) => [r.name, r.kind, r.shape, r.parameters, r.macs, r.bytes,
                                      r.field[0]]);
    })""".replace("tables", json.dumps(widget.tables))
    shown = module(widget, script, CHOICES)
    for (config, ratio, size, head), rows in zip(CHOICES, shown, strict=True):
        with torch.device("meta"):  # shapes alone
            net = build_vgg(config, ratio, size, head)
        walk = d2l.summarize(net, (1, size, size))
        expected = [
            [r.name, r.kind, list(r.output_shape), r.parameters, r.macs, r.memory_bytes,
             r.receptive_field] for r in walk
        ]  # fmt: skip
        assert rows == expected, (config, ratio, size, head)


def test_the_line_of_code_builds_the_very_net(widget, module):
    lines = module(
        widget,
        f"data.map(([c, r, s, h]) => m.vggCode(c, {json.dumps(widget.tables)}[c], r, s, h))",
        CHOICES,
    )
    for choice, line in zip(CHOICES, lines, strict=True):
        with torch.device("meta"):
            built = eval(line, {"d2l": d2l, "nn": nn})
            expected = build_vgg(*choice)
        assert str(built) == str(expected), choice


def test_arrow_keys_slide_the_ratio_and_everything_follows(widget, mount):
    page = mount(VGGWidth())
    page.get_by_label("width ratio").focus()
    shown = {}
    for ratio in (8, 16):
        page.keyboard.press("ArrowRight")
        shown[ratio] = page.locator(".d2l-facts dd").first.inner_text()
        assert f", {ratio})" in page.locator("code").inner_text()
    for ratio, text in shown.items():
        net = build_vgg("VGG-11", ratio, 32, "small")
        assert text.startswith(f"{sum(p.numel() for p in net.parameters()):,}")


def test_a_network_without_a_record_says_so_and_leads_to_one_that_has(mount):
    page = mount(VGGWidth(size=224, head="fixed"))
    assert "none is guessed" in page.locator(".d2l").inner_text()
    page.get_by_role("button", name="Show the recorded form").click()
    assert "seeds" in page.locator(".d2l").inner_text()


def test_a_run_that_never_learnt_is_named_and_left_out_of_the_mean(mount):
    runs = [run for run in VGGWidth().runs if run["ratio"] == 8][:2]
    good = [{**runs[0], "seed": 0}, {**runs[1], "seed": 1}]
    dead = {**runs[0], "seed": 2, "accuracy": [0.1] * 8}
    page = mount(VGGWidth(ratio=8, runs=[*good, dead]))
    text = page.locator(".d2l").inner_text()
    mean = sum(run["accuracy"][-1] for run in good) / 2
    assert f"test accuracy {mean:.3f}" in text
    assert "1 of n = 3 ended below 0.5 and is not in the mean" in text
    ticks = page.locator(".d2l-drawing").nth(1).locator("text[text-anchor=end]").all_text_contents()
    assert min(map(float, ticks)) >= 0.5  # the axis is that of the others


def test_the_runs_are_the_records():
    widget = VGGWidth()
    chapter = [
        r for r in d2l.load_records("five_networks") if r.settings["variant"] == "vgg11-small"
    ]
    shown = [
        run for run in widget.runs
        if (run["config"], run["ratio"], run["size"]) == ("VGG-11", 4, 32)
        and run["heads"] == ["small"]
    ]  # fmt: skip
    assert [run["accuracy"] for run in shown] == [
        [round(epoch.test_acc, 4) for epoch in record.history] for record in chapter
    ]
    assert len(shown) == 5


@pytest.mark.parametrize("experiment", ["width", "depth"])
def test_every_planned_vgg_is_one_that_the_widget_can_show(experiment):
    for variant in EXPERIMENTS[experiment].variants:
        identity = recorder._identity(EXPERIMENTS[experiment], variant, seed=0)
        form = vgg_width._form(identity)
        assert form["heads"], variant.name
        net = build_vgg(form["config"], form["ratio"], form["size"], form["heads"][0])
        planned = d2l.build(variant.model, **variant.options)
        assert [p.shape for p in net.parameters()] == [p.shape for p in planned.parameters()]


def test_other_trainings_of_a_vgg_are_not_shown():
    (variant, *_) = EXPERIMENTS["resolution"].variants  # by another recipe
    identity = recorder._identity(EXPERIMENTS["resolution"], variant, seed=0)
    assert vgg_width._form(identity) is None


def test_training_adds_a_curve_and_reports_its_progress(monkeypatch):
    few = vgg_width.load_data_fashion_mnist
    monkeypatch.setattr(
        vgg_width, "load_data_fashion_mnist",
        lambda *a, **k: few(*a, **k, subset=256, validation=256),
    )  # fmt: skip
    widget, told = VGGWidth(ratio=16), []
    widget.observe(lambda change: told.append(change["new"]), "progress")
    record = widget.train(num_epochs=2)
    (run,) = widget.own_runs
    assert run["accuracy"] == [epoch.test_acc for epoch in record.history]
    assert told[0].endswith("…")
    assert not told[-1].endswith("…")


def test_wrong_choices_are_refused():
    for wrong in ({"ratio": 3}, {"size": 28}, {"config": "VGG-12"}, {"head": "none"}):
        with pytest.raises(traitlets.TraitError):
            VGGWidth(**wrong)


def test_the_still_picture_and_its_table():
    head, rows = VGGWidth().table()
    assert [row[0] for row in rows] == list(RATIOS)
    assert rows[2][head.index("parameters")] == "910,666"
    assert VGGWidth().figure().axes
