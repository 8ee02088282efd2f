"""Inside the network: what the page shows against what torch computes."""

import gzip
import json

import pytest
import torch
import traitlets
from ipywidgets.embed import dependency_state
from torch import nn

import d2lmini as d2l
from d2lmini.data import ArrayLoader
from d2lmini.models import MODELS, build
from d2lmini.widgets.inside import InsideNetwork
from d2lmini.widgets.maps import choose

NETS = ("lenet", "alexnet-small", "vgg11-small", "nin-small", "googlenet-small")
STAGES = {"lenet": 4, "alexnet-small": 7, "vgg11-small": 5, "nin-small": 7, "googlenet-small": 6}


@pytest.fixture(scope="module")
def test_set():
    return d2l.fashion_mnist()[1].take(torch.arange(400))


@pytest.fixture(scope="module")
def loader(test_set):
    return ArrayLoader(test_set, 100, normalize=True)


def built(name):
    torch.manual_seed(0)
    return d2l.initialize(build(name), "xavier" if name == "lenet" else "he")


def nearest_mean(loader):
    """Logits by the distance to each class's mean image: right for about two images in three."""
    X, y = torch.cat([X for X, _ in loader]).flatten(1), loader.data.labels
    means = torch.stack([X[y == label].mean(dim=0) for label in range(10)])
    linear = nn.Linear(X.shape[1], 10)
    with torch.no_grad():
        linear.weight.copy_(means)
        linear.bias.copy_(-means.square().sum(dim=1) / 2)
    return nn.Sequential(nn.Identity(), nn.Flatten(), linear)


@pytest.fixture(scope="module")
def lenet_widget(loader):
    return InsideNetwork(built("lenet"), loader, name="LeNet")


@pytest.mark.parametrize("name", NETS)
def test_the_page_decodes_torchs_maps_and_probabilities(name, test_set, module):
    loader = ArrayLoader(test_set, 100, normalize=True, resize=MODELS[name].input_shape[1:])
    net = built(name).train()
    before = [value.clone() for value in net.state_dict().values()]
    widget = InsideNetwork(net, loader)
    assert all(m.training for m in net.modules())
    assert not any(len(m._forward_hooks) for m in net.modules())
    for old, new in zip(before, net.state_dict().values(), strict=True):
        assert torch.equal(old, new)

    assert len(widget.stages) == STAGES[name]
    assert len(json_gz(widget)) <= 60_000
    X = loader.prepare(test_set.images[widget.index])
    net.eval()
    with torch.no_grad():
        probabilities = net(X).softmax(dim=1)
    torch.testing.assert_close(torch.tensor(widget.probabilities), probabilities, atol=6e-5, rtol=0)
    shown = module(
        widget,
        """data.map((stage) => stage.ranges.map((_, image) => m.levelsOf(stage, image)
            .map((map) => [...map].map((level) => m.valueOf(stage, image, level)))))""",
        widget.stages,
    )
    for stage, values in zip(widget.stages, shown, strict=True):
        maps = {}
        handle = net.get_submodule(stage["name"]).register_forward_hook(
            lambda module, args, output, maps=maps: maps.update(all=output)
        )
        with torch.no_grad():
            net(X)
        handle.remove()
        assert stage["shape"] == list(maps["all"].shape[1:])
        assert not stage["shrunk"]
        expected = maps["all"][:, : stage["shown"]].flatten(2)
        least, most = torch.tensor(stage["ranges"]).T.view(2, -1, 1, 1)
        step = (most - least) / (stage["levels"] - 1)
        assert ((torch.tensor(values) - expected).abs() <= 0.51 * step + 1e-3 * most.abs()).all()
        assert stage["levels"] >= 8


def json_gz(widget):
    states = dependency_state([widget], drop_defaults=False).values()
    own = next(entry["state"] for entry in states if "_esm" in entry["state"])
    return gzip.compress(json.dumps(own).encode(), 6)


def test_each_class_gives_its_first_right_and_first_wrong_image(loader, test_set):
    net = nearest_mean(loader)
    index = choose(net, loader).index.tolist()
    assert index == choose(net, loader).index.tolist() and len(set(index)) == 20
    with torch.no_grad():
        given = torch.cat([net(X).argmax(dim=1) for X, _ in loader])
    for label in range(10):
        own = index[2 * label : 2 * label + 2]
        assert [int(test_set.labels[i]) for i in own] == [label, label]
        of_class = [i for i in range(400) if test_set.labels[i] == label]
        wrong = [i for i in of_class if given[i] != label]
        right = [i for i in of_class if given[i] == label]
        assert own[0] == right[0]
        assert own[1] == (wrong or right[1:])[0]


def test_controls_move_and_the_page_follows(lenet_widget, mount):
    page = mount(lenet_widget)
    head, sentence = page.locator(".d2l-maps-box .d2l-head"), page.locator(".d2l-inside + p")
    assert head.inner_text().replace("\xa0", " ") == "conv 5×5 + sigmoid: 6 × 28 × 28"
    assert page.locator(".d2l-maps .d2l-pick:visible").count() == 6
    slider = page.get_by_label("after stage")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "4 of 4: average pool"
    assert head.inner_text().replace("\xa0", " ") == "average pool: 16 × 5 × 5"
    assert page.locator(".d2l-maps .d2l-pick:visible").count() == 16
    assert page.locator(".d2l-path .here").inner_text().replace("\xa0", " ") == "16 × 5 × 5"
    assert page.locator(".d2l-big .d2l-cells span").count() == 25

    page.get_by_label("channel 7", exact=True).check(force=True)
    page.keyboard.press("ArrowRight")
    assert "channel 8:" in page.locator(".d2l-big figcaption").inner_text()

    page.locator(".d2l-picker input").first.focus()
    for image in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        expected = torch.tensor(lenet_widget.probabilities[image])
        answer = page.locator(".d2l-bars .answer").inner_text()
        assert lenet_widget.classes[int(expected.argmax())] in answer
        assert f"{expected.max():.0%}".rstrip("%") in answer
        true = lenet_widget.classes[lenet_widget.labels[image]]
        assert true in page.locator(".d2l-bars li:has(small:visible)").inner_text()
        assert f"test image {lenet_widget.index[image]}" in page.locator(".d2l-input").inner_text()
        wrong = int(expected.argmax()) != lenet_widget.labels[image]
        assert ("which is wrong" in sentence.inner_text()) == wrong
        cross = page.locator(".d2l-picker .d2l-pick").nth(image).locator(".d2l-cross")
        assert cross.is_visible() == wrong


def test_stages_are_chosen_by_name_and_another_net_is_shown(loader):
    net = built("googlenet-small")
    widget = InsideNetwork(net, loader, {0: "stem", "2.1": "3a, 3b"}, images=[5, 7], stage=1)
    assert [(s["name"], s["label"]) for s in widget.stages] == [("0", "stem"), ("2.1", "3a, 3b")]
    assert widget.index == [5, 7] and not widget.chosen
    seen = []
    widget.observe(lambda change: seen.append(change["name"]))
    before = widget.stages[1]["text"]
    d2l.initialize(net, "he")
    widget.show(net)
    assert widget.stages[1]["text"] != before
    assert {"stages", "probabilities"} <= set(seen) and widget.index == [5, 7]
    widget.image = 1
    assert "image" in seen
    head, rows = widget.table()
    assert head == ("class", "probability") and len(rows) == 10
    assert [f"{p:.1%}" for p in widget.probabilities[1]] == [row[1] for row in rows]
    axes = widget.figure().axes
    assert widget.true_class() in axes[0].get_title() and "test image 7" in axes[0].get_title()


def test_what_cannot_be_shown_is_refused(loader, lenet_widget):
    net = built("lenet")
    for trait, value in (("image", 20), ("stage", 4), ("channel", 16), ("image", -1)):
        with pytest.raises(traitlets.TraitError, match=f"{trait}={value} must lie between 0 and"):
            setattr(lenet_widget, trait, value)
    with pytest.raises(ValueError, match="no part named '99'; its parts are 0, 1"):
        InsideNetwork(net, loader, {99: "?"})
    with pytest.raises(ValueError, match=r"stage '7' gives \(120,\), not maps"):
        InsideNetwork(net, loader, {7: "linear"})
    with pytest.raises(ValueError, match="numbers from 0 to 399"):
        InsideNetwork(net, loader, images=[400])
    with pytest.raises(ValueError, match="pass the test loader"):
        InsideNetwork(net, ArrayLoader(loader.data, 100, augment=True))
    with pytest.raises(TypeError, match="test loader of load_data_fashion_mnist"):
        InsideNetwork(net, [(torch.zeros(1, 1, 28, 28), torch.zeros(1))])
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="training has diverged"):
        InsideNetwork(net, loader)


def test_large_maps_are_averaged_down(test_set):
    loader = ArrayLoader(test_set, 100, normalize=True, resize=64)
    net = nn.Sequential(nn.Conv2d(1, 20, 3, padding=1), nn.Flatten(), nn.LazyLinear(10))
    net(torch.zeros(1, 1, 64, 64))
    stage = InsideNetwork(net, loader, images=[0, 1]).stages[0]
    assert stage["shape"] == [20, 64, 64] and stage["size"] == [22, 22] and stage["shrunk"]
