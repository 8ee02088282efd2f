"""LeNet in the page against PyTorch: every layer, every sum, every frame; and the page's pad."""

import gzip
import json
import re

import numpy as np
import pytest
import torch
from ipywidgets.embed import dependency_state
from torch import nn
from traitlets import TraitError

import d2lmini as d2l
from d2lmini.widgets.lenet_alive import LAYERS, LeNetAlive, pack

MATRICES = "m.unpack(new DataView(Uint8Array.from(data.weights).buffer))"
WITH_PRODUCTS = {1: 25, 3: 4, 4: 150, 6: 4, 7: 400, 9: 120, 11: 84}  # layer: products of a sum


@pytest.fixture(scope="module")
def test_set():
    return d2l.fashion_mnist()[1]


@pytest.fixture(scope="module")
def net():
    iters = d2l.load_data_fashion_mnist(64, normalize=True, subset=6400, seed=0)
    net = d2l.lenet()
    d2l.train_ch6(net, *iters, 1, 0.01, "cpu", optimizer="adam", seed=0, plot=False)
    return net


@pytest.fixture
def widget(net, test_set):
    return make(net, test_set)


def make(net, test_set, **traits):
    return LeNetAlive(
        net, test_set.images, test_set.labels, test_set.classes,
        mean=test_set.mean, std=test_set.std, **traits,
    )  # fmt: skip


def data_of(widget, **more):
    return {"weights": list(widget.weights), "mean": widget.mean, "std": widget.std, **more}


def layers_by_torch(net, X):
    """What each of LAYERS gives, flattened, for a batch X."""
    values = [X]
    for module in net:
        X = module(X)
        if not isinstance(module, nn.Flatten):
            values.append(X)
    return [value.flatten(1).detach() for value in (*values, X.softmax(1))]


def test_every_layer_and_the_logits_agree_with_torch(module, widget, test_set):
    images = test_set.images[:200].flatten(1).clone()
    images[0] = 0  # a blank pad
    images[1] = torch.randint(0, 256, (784,), generator=torch.Generator().manual_seed(0))
    X = (images.float() / 255 - widget.mean) / widget.std
    expected = layers_by_torch(widget.torch_net(), X.view(-1, 1, 28, 28))
    got = module(
        widget,
        f"""(() => {{
            const all = data.images.map((x) => m.forward({MATRICES}, x, data.mean, data.std));
            return {{ shapes: m.LAYERS.map((layer) => layer.shape),
                few: all.slice(0, 8).map((values) => values.map((v) => Array.from(v))),
                last: all.map((values) => [Array.from(values[11]), Array.from(values[12])]) }};
        }})()""",
        data_of(widget, images=images.tolist()),
    )
    assert [tuple(shape) for shape in got["shapes"]] == [shape for _, shape in LAYERS]
    for layer, values in enumerate(expected):
        few = torch.tensor([image[layer] for image in got["few"]])
        torch.testing.assert_close(few, values[:8], rtol=0, atol=1e-4)
    logits, shares = zip(*got["last"], strict=True)
    torch.testing.assert_close(torch.tensor(logits), expected[11], rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor(shares), expected[12], rtol=0, atol=1e-4)


def test_rounded_weights_answer_as_the_trained_ones_do(net, widget, test_set):
    X = (test_set.images.float() / 255 - widget.mean) / widget.std
    with torch.no_grad():
        trained, rounded = net(X), widget.torch_net()(X)
    assert (trained - rounded).abs().max() < 1e-2
    right = [(y.argmax(1) == test_set.labels).float().mean() for y in (trained, rounded)]
    assert abs(right[0] - right[1]) <= 0.001
    assert sum(p.numel() for p in widget.torch_net().parameters()) == 61_706


def test_the_state_is_small(widget):
    assert len(widget.weights) == 2 * 61_706 + 4 * 236 <= 130_000
    state = json.dumps(dependency_state([widget], drop_defaults=False))
    assert len(gzip.compress(state.encode())) <= 140_000


def test_a_forward_pass_takes_less_than_20_ms(module, widget):
    times = module(
        widget,
        f"""(() => {{
            const matrices = {MATRICES}, times = [];
            for (let i = 0; i < 30; i++) {{
                const start = performance.now();
                m.forward(matrices, data.pixels, data.mean, data.std);
                times.push(performance.now() - start);
            }}
            return times;
        }})()""",
        data_of(widget, pixels=widget.pixels),
    )
    assert np.median(times) < 20


def test_the_arithmetic_of_any_number_adds_up_to_it(module, widget):
    rng = np.random.default_rng(0)
    cells = [
        [layer, int(cell)]
        for layer in WITH_PRODUCTS
        for size in [int(np.prod(LAYERS[layer][1]))]
        for cell in [0, size - 1, *rng.integers(0, size, 30)]
    ]
    found = module(
        widget,
        f"""(() => {{
            const matrices = {MATRICES};
            const values = m.forward(matrices, data.pixels, data.mean, data.std);
            return data.cells.map(([layer, cell]) => m.arithmetic(matrices, values, layer, cell));
        }})()""",
        data_of(widget, pixels=widget.pixels, cells=cells),
    )
    answers = [answer.flatten() for answer in widget.answers()]
    for (layer, cell), made in zip(cells, found, strict=True):
        assert len(made["products"]) == WITH_PRODUCTS[layer]
        assert np.dot(made["x"], made["w"]) == pytest.approx(made["sum"], abs=1e-6)
        assert sum(made["parts"]) + made["bias"] == pytest.approx(made["total"], abs=1e-6)
        assert made["total"] == pytest.approx(float(answers[layer][cell]), abs=1e-4)
        for at, x in zip(made["at"], made["x"], strict=True):
            assert x == (0 if at < 0 else pytest.approx(float(answers[layer - 1][at]), abs=1e-5))


def test_frames_stand_where_gradients_reach(module, widget):
    """A number depends on a pixel just where its gradient is not zero."""
    torch.manual_seed(0)
    net = d2l.lenet().double()
    X = torch.rand(1, 1, 28, 28, dtype=torch.float64, requires_grad=True)
    values = [X]
    for layer in net:
        values.append(layer(values[-1]))
    values = [value for i, value in enumerate(values) if i != 7]  # without Flatten
    cells = [
        (layer, cell)
        for layer in range(1, 12)
        for size in [int(np.prod(LAYERS[layer][1]))]
        for cell in {0, size // 3, size // 2, size - 1}
    ]
    boxes = module(
        widget, "data.map(([layer, cell]) => m.field(layer, cell, 0))", [list(c) for c in cells]
    )
    for (layer, cell), box in zip(cells, boxes, strict=True):
        (gradient,) = torch.autograd.grad(values[layer].flatten()[cell], X, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        top, left, bottom, right = box
        assert [int(rows.min()), int(rows.max())] == [max(top, 0), min(bottom, 27)]
        assert [int(columns.min()), int(columns.max())] == [max(left, 0), min(right, 27)]


def test_places_on_the_canvas_are_found_again(module, widget):
    wrong = module(
        widget,
        """(() => {
            const maps = [[[6, 28, 28], 6], [[6, 28, 28], 3], [[16, 10, 10], 8]];
            return [...maps, [[120], 40], [[10], 10]].flatMap(([shape, across]) => {
                const plan = m.layout(shape, across), size = shape.reduce((a, b) => a * b);
                return Array.from({ length: size }, (_, i) => i).filter((cell) => {
                    const [x, y] = m.spot(plan, cell);
                    return m.cellAt(plan, x + 0.5, y + 0.5) !== cell;
                });
            });
        })()""",
    )
    assert wrong == []


# ---- the page
SHARES = (
    "[...document.querySelectorAll('.lenet-bars .share')].map((e) => parseFloat(e.textContent))"
)
PAD = """(() => {
    const copy = document.createElement("canvas");
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(document.querySelector(".lenet-pad canvas"), 0, 0);
    return Array.from(context.getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 0);
})()"""


def said(page):
    return page.locator(".lenet-said").inner_text()


def shown_agrees(page, widget):
    """The bars show what PyTorch says of the very pixels on the pad."""
    widget.pixels = page.evaluate(PAD)
    expected = 100 * widget.answers()[-1].double()
    assert page.evaluate(SHARES) == pytest.approx(expected.tolist(), abs=0.051)


def test_drawing_by_keyboard_mouse_and_finger(mount, widget):
    page = mount(widget, has_touch=True)
    assert said(page).startswith("True class: t-shirt")
    shown_agrees(page, widget)
    start = widget.pixels

    pad = page.locator(".lenet-pad")
    pad.focus()
    for key in ("Space", "Shift+ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert "changed at" in said(page)
    shown_agrees(page, widget)

    page.get_by_label("Eraser").check()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 125, steps=8)
    page.mouse.up()
    before = widget.pixels
    shown_agrees(page, widget)
    assert sum(widget.pixels) < sum(before)

    page.get_by_role("button", name="Restore").click()
    assert page.evaluate(PAD) == start
    page.get_by_role("button", name="Clear").click()
    assert said(page).startswith("The pad is blank.")
    shown_agrees(page, widget)

    page.get_by_label("Eraser").uncheck()
    assert pad.evaluate("(e) => getComputedStyle(e).touchAction") == "none"
    page.touchscreen.tap(box["x"] + 150, box["y"] + 150)
    assert said(page).startswith("Your drawing")
    shown_agrees(page, widget)


def test_pictures_by_arrow_keys(mount, widget, test_set):
    page = mount(widget)
    page.get_by_role("radio", checked=True).focus()
    for name in ("trouser", "pullover", "dress"):
        page.keyboard.press("ArrowRight")
        assert said(page).startswith(f"True class: {name}")
        shown_agrees(page, widget)


def test_any_layer_by_key_or_click_and_what_is_written_adds_up(mount, widget):
    page = mount(widget)
    row = page.locator(".lenet-row.chosen")
    row.locator(".lenet-strip").focus()
    names = []
    for _ in range(11):
        names.append(row.locator("b").inner_text())
        page.keyboard.press("PageDown")
    assert names == [name for name, _ in LAYERS[1:12]]
    assert "probabilities" in page.evaluate("document.activeElement.getAttribute('aria-label')")

    page.locator(".lenet-strip").nth(4).click(position={"x": 100, "y": 20})
    heading = page.locator(".lenet-glass > p").first
    first = heading.inner_text()
    assert first.startswith("convolution 2, map 2")
    page.keyboard.press("ArrowRight")
    second = heading.inner_text()
    assert second != first

    text = page.locator(".lenet-glass").inner_text().replace("−", "-")
    total = float(re.search(r"column \d+\n(-?[\d.]+)", text)[1])
    summed, bias = re.search(r"products (-?[\d.]+) \+ bias \(?(-?[\d.]+)", text).groups()
    parts = [float(li.inner_text().split()[-1].replace("−", "-"))
             for li in page.locator(".lenet-parts li").all()]  # fmt: skip
    assert len(parts) == 6
    assert sum(parts) == pytest.approx(float(summed), abs=0.004)  # each to three decimals
    assert float(summed) + float(bias) == pytest.approx(total, abs=0.0016)

    page.get_by_text("All its products").click()
    page.locator(".lenet-glass tbody tr").last.wait_for()
    assert page.locator(".lenet-glass tbody tr").count() == 150


# ---- the Python side
def test_the_pad_is_never_blank_at_first_and_state_is_checked(widget):
    assert sum(widget.pixels) > 0
    widget.image = 19
    assert widget.pixels == list(widget.images[-784:])
    widget.layer = 12
    assert widget.cell == 9
    for name, value, words in (
        ("image", 20, "pictures 0 to 19"), ("pixels", [0] * 783, "784"),
        ("pixels", [256] * 784, "0 to 255"), ("layer", 13, "softmax"), ("cell", 10, "0 to 9"),
        ("brush", 0, "brush"), ("ink", 101, "ink"),
    ):  # fmt: skip
        with pytest.raises(TraitError, match=words):
            setattr(widget, name, value)


def test_what_cannot_be_walked_is_refused(net, test_set):
    for other in (d2l.lenet(activation=nn.ReLU), d2l.lenet(num_classes=5), d2l.lenet()[:5],
                  nn.Linear(784, 10)):  # fmt: skip
        with pytest.raises(ValueError, match=r"lenet\(\)"):
            pack(other)
    broken = d2l.lenet()
    nn.init.constant_(broken[0].bias, torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        pack(broken)
    stats = {"mean": 0.3, "std": 0.3}
    with pytest.raises(ValueError, match="uint8"):
        LeNetAlive(net, test_set.images.float(), test_set.labels, test_set.classes, **stats)
    with pytest.raises(ValueError, match="class 0 has"):
        LeNetAlive(net, test_set.images[:5], test_set.labels[:5], test_set.classes, **stats)
    with pytest.raises(ValueError, match="one number"):
        LeNetAlive(
            net, test_set.images, test_set.labels, test_set.classes, mean=(0.1, 0.2), std=0.3
        )


def test_the_net_is_left_as_it_was_and_the_still_picture_stands(net, test_set):
    net.train()
    widget = make(net, test_set, image=9)
    assert net.training
    width, height = widget.figure().get_size_inches() * 80
    assert width <= 620 and height <= 400
    head, rows = widget.table()
    assert sum(int(row[2].replace(",", "") or 0) for row in rows) == 61_706
    assert [row[0] for row in rows[-10:]] == list(test_set.classes)
    assert all(len(row) == len(head) for row in rows)
    assert sum(float(row[4].split()[0]) for row in rows[-10:]) == pytest.approx(100, abs=0.51)
