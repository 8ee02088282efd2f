"""What an Inception block gives and costs, path by path."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn
from traitlets import Dict, Int, List, TraitError, validate

from d2lmini.models import GOOGLENET, Inception, googlenet
from d2lmini.models.googlenet import inception_channels
from d2lmini.models.size import output_size
from d2lmini.plot import BLUE, GREEN, ORANGE, PURPLE
from d2lmini.summary import Summary, summarize
from d2lmini.widgets.base import Table, Widget, script

STEP = 8  # every channel count of the paper's table is a multiple of it
MOST = {
    "in_channels": 832, "c1": 384, "c2_reduce": 192, "c2": 384, "c3_reduce": 192, "c3": 192,
    "c4": 128, "side": 28,
}  # fmt: skip
NAMES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
IMAGE_SIZES = (96, 224)  # pixels: this book's GoogLeNet, the paper's
PATHS = {"1×1": BLUE, "3×3": ORANGE, "5×5": GREEN, "pool": PURPLE}


def _channels(default: int, name: str) -> Any:
    return Int(default, min=STEP, max=MOST[name]).tag(sync=True)


class InceptionBudget(Widget):
    """An Inception block whose channels can be slid: what its four paths give and cost.

    block: one of the paper's nine, "3a" … "5b", as image_size (96 or 224 pixels) reaches it;
    traits given besides replace its numbers. Source: Szegedy et al. (2015), table 1.
    Raises ValueError for an unknown block or image size, TraitError for a channel count that is
    no multiple of 8 or too large.
    """

    _esm = script("layers.js", "inception_budget.js")
    title = "What an Inception block gives and costs, path by path, against plain convolutions"
    in_channels = _channels(192, "in_channels")
    c1 = _channels(64, "c1")
    c2_reduce = _channels(96, "c2_reduce")
    c2 = _channels(128, "c2")
    c3_reduce = _channels(16, "c3_reduce")
    c3 = _channels(32, "c3")
    c4 = _channels(32, "c4")
    side = Int(12, min=1, max=MOST["side"]).tag(sync=True)  # of the map, the same in and out
    blocks = List(Dict()).tag(sync=True)  # the paper's nine
    most = Dict(MOST).tag(sync=True)

    def __init__(self, block: str = "3a", *, image_size: int = 96, **traits: Any) -> None:
        start = preset(block, image_size) | traits
        super().__init__(blocks=_blocks(), **start)

    @validate("in_channels", "c1", "c2_reduce", "c2", "c3_reduce", "c3", "c4")
    def _whole_steps(self, proposal: Any) -> int:
        value, name = proposal["value"], proposal["trait"].name
        if value % STEP:
            below = value - value % STEP
            raise TraitError(
                f"{name}={value} is no multiple of {STEP}; use {below} or {below + STEP}"
            )
        return int(value)

    def use(self, block: str, image_size: int = 96) -> None:
        """Set the channels and the map's side to those of one of the paper's blocks."""
        start = preset(block, image_size)
        with self.hold_sync():
            for name, value in start.items():
                setattr(self, name, value)

    def build(self) -> Inception:
        """The block that is shown, as a module."""
        return Inception(
            self.in_channels, self.c1, (self.c2_reduce, self.c2), (self.c3_reduce, self.c3), self.c4
        )

    def costs(self) -> dict[str, Summary]:
        """The rows of the block and of what it is compared with, for the present map."""
        width = inception_channels(
            self.c1, (self.c2_reduce, self.c2), (self.c3_reduce, self.c3), self.c4
        )
        with torch.device("meta"):  # counted, not run; no random number is drawn
            forms = {
                "the block": self.build(),
                "without the reductions": Unreduced(
                    self.in_channels, self.c1, self.c2, self.c3, self.c4
                ),
                "one plain 3×3": nn.Conv2d(self.in_channels, width, 3, padding=1),
                "one plain 5×5": nn.Conv2d(self.in_channels, width, 5, padding=2),
            }
            shape = (self.in_channels, self.side, self.side)
            return {name: summarize(form, shape) for name, form in forms.items()}

    def table(self) -> Table:
        forms = self.costs()
        given = (self.c1, self.c2, self.c3, self.c4)
        rows = []
        for path, channels, layers in zip(PATHS, given, _by_path(forms["the block"]), strict=True):
            parameters, macs = (sum(getattr(r, k) for r in layers) for k in ("parameters", "macs"))
            rows.append((f"{path} path", str(channels), f"{parameters:,}", f"{macs:,}"))
        for name, form in forms.items():
            rows.append((name, str(sum(given)), f"{form.parameters:,}", f"{form.macs:,}"))
        return ("part", "channels", "parameters", "MACs"), rows

    def figure(self) -> Figure:
        forms = self.costs()
        figure = Figure(figsize=(7.4, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        at, tallest = 0, 25.0 * self.in_channels
        given = (self.c1, self.c2, self.c3, self.c4)
        paths = zip(PATHS.items(), given, _by_path(forms["the block"]), strict=True)
        for (path, colour), channels, layers in paths:
            bottom = 0.0
            # the convolution that gives the channels, then its reduction
            for layer, alpha in zip(reversed(layers), (1, 0.45), strict=False):
                height = layer.macs / self.side**2 / channels
                if height:
                    left.bar(at, height, channels, bottom, align="edge", color=colour, alpha=alpha)
                bottom += height
            left.text(at + channels / 2, bottom, path, ha="center", va="bottom", fontsize=9)
            at += channels
            tallest = max(tallest, bottom)
        for kernel in (3, 5):
            fan_in = kernel**2 * self.in_channels
            left.axhline(fan_in, color="0.3", lw=1, ls="--")
            left.text(
                0, fan_in, f"one plain {kernel}×{kernel}: {fan_in:,}", va="bottom", fontsize=9
            )
        left.set(
            xlabel=f"{at} output channels, path by path", ylabel="weights behind each channel",
            xlim=(0, at), ylim=(0, 1.15 * tallest),
        )  # fmt: skip
        names = [name.replace("without the ", "without\n") for name in forms]
        counts = [form.parameters for form in forms.values()]
        bars = right.barh(names, counts, color=[BLUE, "0.55", "0.55", "0.55"])
        right.bar_label(bars, [f" {count:,}" for count in counts], fontsize=9)
        right.set(xlabel="parameters", xlim=(0, 1.45 * max(counts)), xticks=[])
        right.invert_yaxis()
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        return figure


class Unreduced(nn.Module):
    """An Inception block without its 1×1 reductions: (N, in_channels, H, W) → the same output as
    with them. The pool keeps its 1×1; without that one the output would grow by in_channels."""

    def __init__(self, in_channels: int, c1: int, c2: int, c3: int, c4: int) -> None:
        super().__init__()
        self.b1 = nn.Conv2d(in_channels, c1, kernel_size=1)
        self.b2 = nn.Conv2d(in_channels, c2, kernel_size=3, padding=1)
        self.b3 = nn.Conv2d(in_channels, c3, kernel_size=5, padding=2)
        self.b4_1 = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.b4_2 = nn.Conv2d(in_channels, c4, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.b1(x), self.b2(x), self.b3(x), self.b4_2(self.b4_1(x))), dim=1)


def preset(block: str, image_size: int = 96) -> dict[str, int]:
    """The traits of one of the paper's nine blocks. Raises ValueError if there is none such."""
    if block not in NAMES:
        raise ValueError(f"block={block!r} is none of the paper's; use one of {', '.join(NAMES)}")
    if image_size not in IMAGE_SIZES:
        raise ValueError(
            f"image_size={image_size!r} has no preset map sides; use 96 (this book) or 224 "
            "(the paper), or set side"
        )
    found = _blocks()[NAMES.index(block)]
    return found["channels"] | {"side": found["sides"][str(image_size)]}


@lru_cache
def _blocks() -> list[dict[str, Any]]:
    """{"name", "channels", "sides": of the map by image size} of the paper's nine."""
    with torch.device("meta"):
        nets = {size: googlenet(image_size=size) for size in IMAGE_SIZES}
    blocks: list[dict[str, Any]] = []
    in_channels = nets[96][1][-3].out_channels  # of the stem's last convolution
    for stage, stage_blocks in enumerate(GOOGLENET):
        before = {size: net[: 2 + stage] for size, net in nets.items()}
        sides = {str(size): output_size(net, size, "googlenet") for size, net in before.items()}
        for c1, c2, c3, c4 in stage_blocks:
            channels = {
                "in_channels": in_channels, "c1": c1, "c2_reduce": c2[0], "c2": c2[1],
                "c3_reduce": c3[0], "c3": c3[1], "c4": c4,
            }  # fmt: skip
            name = NAMES[len(blocks)]
            blocks.append({"name": name, "channels": channels, "sides": sides})
            in_channels = inception_channels(c1, c2, c3, c4)
    return blocks


def _by_path(block: Summary) -> list[list[Any]]:
    """The rows of a block's layers, those of each path together."""
    return [
        [row for row in block if row.name.startswith(path)] for path in ("b1", "b2", "b3", "b4")
    ]
