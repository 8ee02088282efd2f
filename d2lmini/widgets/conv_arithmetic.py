"""A window that steps over an image: where it fits, and the sum of products it makes there."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F

from d2lmini.data import fashion_mnist
from d2lmini.widgets.base import HERE, Table, Widget, script

FILTERS = ("vertical edge", "horizontal edge", "sharpen", "blur", "ones")
IMAGES = {"ankle boot": 0, "trouser": 2, "bag": 18}  # places among the test images
SIZES = range(3, 17)
MOST = 9  # the largest number in the input


class ConvArithmetic(Widget):
    """Step a window over an image and read its sum of products; see where it fits.

    kernel: 1 to 11; stride: 1 to 5; padding: 0 to 5; size: side of the input, 3 to 16; filter:
    one of `FILTERS`; image: one of `IMAGES`; step: the output cell shown, counted row by row
    from 0 (a number beyond the last shows the last). Other values raise TraitError.
    """

    _esm = script("layers.js", "conv_arithmetic.js")
    _css = Widget._css + (HERE / "conv_arithmetic.css").read_text(encoding="utf-8")

    kernel = traitlets.Int(3, min=1, max=11).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=5).tag(sync=True)
    padding = traitlets.Int(1, min=0, max=5).tag(sync=True)
    size = traitlets.Int(8, min=SIZES[0], max=SIZES[-1]).tag(sync=True)
    filter = traitlets.Enum(FILTERS, "vertical edge").tag(sync=True)
    image = traitlets.Enum(tuple(IMAGES), "trouser").tag(sync=True)
    step = traitlets.Int(26, min=0).tag(sync=True)
    images = traitlets.Dict().tag(sync=True)  # name → side → one digit for each cell

    def __init__(self, **state: object) -> None:
        super().__init__(images=_images(), **state)

    @property
    def title(self) -> str:  # type: ignore[override]
        return (
            f"A {self.kernel}×{self.kernel} convolution, stride {self.stride}, padding "
            f"{self.padding}, of a {self.size}×{self.size} image"
        )

    def input(self) -> Tensor:
        """The image, (size, size), of whole numbers from 0 to 9."""
        digits = self.images[self.image][str(self.size)]
        return torch.tensor([float(digit) for digit in digits]).view(self.size, self.size)

    def weights(self) -> Tensor:
        """The kernel, (kernel, kernel)."""
        return kernel_values(self.filter, self.kernel)

    def output(self) -> Tensor:
        """(H, W), empty where the window does not fit."""
        if self.kernel > self.size + 2 * self.padding:
            return torch.empty(0, 0)
        X, kernel = self.input()[None, None], self.weights()[None, None]
        return F.conv2d(X, kernel, stride=self.stride, padding=self.padding)[0, 0]

    def figure(self) -> Figure:
        """Input with its padding, kernel and output; the present window and what it makes."""
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        padded, kernel, output = (
            F.pad(self.input(), (self.padding,) * 4),
            self.weights(),
            self.output(),
        )
        sides = [max(len(grid), 1) for grid in (padded, kernel, output)]
        panels = figure.subplots(1, 3, width_ratios=sides)  # a cell is as large in each
        titles = ("input, padded", "kernel", "output")
        for axes, title, grid in zip(panels, titles, (padded, kernel, output), strict=True):
            axes.set_axis_off()
            side = len(grid)
            axes.set_title(f"{title}\n{side}×{side}" if side else "no output", fontsize=9)
            if not side:
                continue
            largest = float(grid.abs().max()) or 1.0
            axes.imshow(grid.numpy(), cmap="RdBu", vmin=-1.6 * largest, vmax=1.6 * largest)
            axes.set_ylim(max(sides) - 0.5, -0.5)
            axes.add_patch(Rectangle((-0.5, -0.5), side, side, fill=False, lw=1.5, clip_on=False))
            if sum(sides) <= 26:
                for (row, column), value in np.ndenumerate(grid.numpy()):
                    text = f"{value:.0f}".replace("-", "−")
                    axes.text(column, row, text, ha="center", va="center", fontsize=7)
        if len(output):
            row, column = divmod(min(self.step, output.numel() - 1), len(output))
            corners = (row * self.stride, column * self.stride), (row, column)
            window = (panels[0], corners[0], self.kernel), (panels[2], corners[1], 1)
            for axes, (top, left), side in window:
                corner = (left - 0.5, top - 0.5)
                axes.add_patch(Rectangle(corner, side, side, fill=False, lw=2.5, clip_on=False))
        return figure

    def table(self) -> Table:
        """The output's size, and the sum of products at the present cell."""
        n, p, k, s = self.size, self.padding, self.kernel, self.stride
        output = self.output()
        side = (n + 2 * p - k) // s + 1
        rows: list[tuple[str, str]] = [
            ("input n, kernel k, padding p, stride s", f"{n}, {k}, {p}, {s}"),
            ("output side", f"⌊(n + 2p − k) / s⌋ + 1 = ⌊({n} + 2·{p} − {k}) / {s}⌋ + 1 = {side}"),
        ]
        if not len(output):
            return ("quantity", "value"), [*rows, ("why", "the window is larger than its input")]
        cell = min(self.step, output.numel() - 1)
        row, column = divmod(cell, side)
        padded = F.pad(self.input(), (p,) * 4)
        window = padded[row * s : row * s + k, column * s : column * s + k]
        terms = zip(window.flatten().tolist(), self.weights().flatten().tolist(), strict=True)
        if k <= 5:
            total = " + ".join(f"{x:.0f}·({w:.0f})" for x, w in terms) + " = "
        else:
            total = f"sum of {k * k} products = "
        rows += [
            ("multiplications", f"{side}² × {k}² = {side**2 * k**2:,}"),
            (f"output at row {row + 1}, column {column + 1}",
             f"{total}{output[row, column]:.0f}".replace("-", "−")),
        ]  # fmt: skip
        return ("quantity", "value"), rows


def kernel_values(name: str, k: int) -> Tensor:
    """The kernel `name` of `FILTERS`, (k, k), in whole numbers; one of 1 × 1 is the number 1."""
    if k == 1 or name == "ones":
        return torch.ones(k, k)
    places = torch.arange(k)
    if name == "blur":
        tent = torch.minimum(places + 1, k - places).float()
        return torch.outer(tent, tent)
    if name == "sharpen":
        kernel = -torch.ones(k, k)
        kernel[k // 2, k // 2] = k * k
        return kernel
    edge = torch.sign(2 * places - (k - 1)).float().expand(k, k)
    return edge if name == "vertical edge" else edge.T


@cache
def _images() -> dict[str, dict[str, str]]:
    """Each image's grey levels from 0 to 9, averaged down to every size, one digit a cell."""
    _, test = fashion_mnist()
    grids: dict[str, dict[str, str]] = {}
    for name, place in IMAGES.items():
        image = test.images[place].float()
        grids[name] = {}
        for size in SIZES:
            cells = F.adaptive_avg_pool2d(image, size)
            levels = (cells / cells.max() * MOST).round().int().flatten().tolist()
            grids[name][str(size)] = "".join(map(str, levels))
    return grids
