"""ConvArithmetic's sizes and sums against torch's own convolution and pooling."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F
from traitlets import TraitError

from d2lmini.widgets.conv_arithmetic import FILTERS, IMAGES, SIZES, ConvArithmetic, kernel_values

GRID = [
    {"kernel": k, "stride": s, "padding": p, "size": n}
    for k, s, p, n in product(range(1, 12), range(1, 6), range(6), SIZES)
]


def test_output_sizes_are_those_of_torch(module):
    cases = [case | {"ceil": ceil} for case in GRID for ceil in (False, True)]
    sides = module(ConvArithmetic(), "data.map((c) => m.outputSize(c.size, c))", cases)
    X = torch.ones(1, 1, 16, 16, device="meta")
    for case, side in zip(cases, sides, strict=True):
        k, s, p, n, ceil = case.values()
        x = X[..., :n, :n]
        if n + 2 * p < k:
            if not ceil:
                assert side < 1, case
            continue
        if not ceil:
            out = F.conv2d(x, torch.ones(1, 1, k, k, device="meta"), stride=s, padding=p)
            assert side == out.shape[-1], case
        if p <= k // 2:  # torch pads a pool by half a window at most
            out = F.max_pool2d(x, k, s, p, ceil_mode=ceil)
            assert side == out.shape[-1], case


def test_outputs_and_unused_cells_are_those_of_torch(module):
    widget = ConvArithmetic()
    settings = [c for c in GRID if c["size"] in (3, 8, 13) and c["padding"] in (0, 1, 4)]
    cases = [
        c | {"filter": FILTERS[i % 5], "image": list(IMAGES)[i % 3]} for i, c in enumerate(settings)
    ]
    cases += [
        {"kernel": k, "stride": 1, "padding": 1, "size": 16, "filter": name, "image": "bag"}
        for k in range(1, 12) for name in FILTERS
    ]  # fmt: skip
    shown = module(
        widget,
        """data.cases.map((c) => {
            const image = [...data.images[c.image][c.size]].map(Number);
            const kernel = m.kernelValues(c.filter, c.kernel);
            const side = Math.max(0, m.outputSize(c.size, c));
            return [kernel, m.convolve(image, kernel, c), m.unusedCells(c, side)];
        })""",
        {"cases": cases, "images": widget.images},
    )
    for case, (kernel, output, unused) in zip(cases, shown, strict=True):
        k, s, p, n = (case[key] for key in ("kernel", "stride", "padding", "size"))
        weights = kernel_values(case["filter"], k)
        assert kernel == weights.flatten().tolist()
        digits = [float(digit) for digit in widget.images[case["image"]][str(n)]]
        X = torch.tensor(digits).view(1, 1, n, n).requires_grad_()
        if n + 2 * p < k:
            assert output == [] and unused == n * n
            continue
        assert output == F.conv2d(X, weights[None, None], stride=s, padding=p).flatten().tolist()
        # a cell that some window covers gets a gradient from a kernel of ones
        F.conv2d(X, torch.ones(1, 1, k, k), stride=s, padding=p).sum().backward()
        assert unused == int((X.grad == 0).sum()), case


def test_the_window_moves_and_writes_its_sum(mount):
    widget = ConvArithmetic(image="bag", filter="sharpen", size=6, step=7)
    page = mount(widget)
    output = widget.output().flatten().tolist()
    total = page.locator(".conv-sum span b").last

    def shows(step):
        assert total.inner_text().replace("−", "-") == f"{output[step]:.0f}"
        assert page.get_by_role("slider", name="window at").input_value() == str(step)

    shows(7)
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    shows(8)
    page.keyboard.press("ArrowDown")
    shows(14)
    page.get_by_role("button", name="Step").press("Enter")
    shows(15)
    page.get_by_role("slider", name="window at").press("ArrowLeft")
    shows(14)
    cell = page.locator(".conv-grid svg > g:last-child rect").last.bounding_box()
    page.mouse.click(cell["x"] + 2.5 * cell["width"], cell["y"] - 0.5 * cell["height"])
    shows(14 + 2 - 6)

    page.get_by_role("slider", name="kernel k").press("End")
    assert "does not fit into 8×8" in page.locator(".conv-verdict").inner_text()
    assert page.get_by_role("button", name="Step").is_disabled()
    page.get_by_role("button", name="AlexNet").click()
    assert "60 of the 256 input cells" in page.locator(".conv-verdict").inner_text()
    assert "⌊1.75⌋ + 1 = 2" in page.locator(".conv-formula").inner_text()


def test_state_is_checked_and_the_still_form_is_right():
    widget = ConvArithmetic(size=8, padding=2, stride=2, step=3)
    rows = dict(widget.table()[1])
    assert (
        rows["output side"].endswith("⌊(8 + 2·2 − 3) / 2⌋ + 1 = 5")
        and widget.output().shape[0] == 5
    )
    formula, value = (
        rows["output at row 1, column 4"].replace("−", "-").replace("·", "*").split(" = ")
    )
    assert eval(formula) == int(value)
    assert len(widget.figure().axes) == 3
    widget.size, widget.padding, widget.kernel = 3, 0, 11
    assert widget.output().numel() == 0 and widget.figure().axes
    assert "why" in dict(widget.table()[1])
    for bad in ({"kernel": 12}, {"stride": 0}, {"padding": 6}, {"size": 2}, {"filter": "x"}):
        with pytest.raises(TraitError):
            ConvArithmetic(**bad)
