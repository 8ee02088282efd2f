"""n stacked 3×3 convolutions against the one k×k that sees as much."""

from __future__ import annotations

import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from d2lmini.summary import Summary, summarize
from d2lmini.widgets.base import HERE, Table, Widget, script

CHANNELS = (16, 32, 64, 128, 256, 512)
SIZES = (7, 14, 28, 56, 112, 224)  # pixels of the map


class ConvStack(Widget):
    """Stack 3×3 convolutions; compare with one kernel of the same receptive field.

    depth: 1 to 5 layers; channels: in and out, one of `CHANNELS`; size: the map's side, one of
    `SIZES`. Other values raise TraitError. Source: Simonyan and Zisserman (2015), section 2.3.
    """

    _esm = script("conv_stack.js")
    _css = Widget._css + (HERE / "conv_stack.css").read_text(encoding="utf-8")

    depth = traitlets.Int(3, min=1, max=5).tag(sync=True)
    channels = traitlets.Enum(CHANNELS, 64).tag(sync=True)
    size = traitlets.Enum(SIZES, 56).tag(sync=True)

    @property
    def title(self) -> str:  # type: ignore[override]
        k = 2 * self.depth + 1
        return f"{self.depth} stacked 3×3 convolutions against one {k}×{k}"

    def stack(self) -> nn.Sequential:
        """The 3×3 layers with their ReLUs: (N, channels, H, W) → the same shape."""
        convs = [nn.Conv2d(self.channels, self.channels, 3, padding=1) for _ in range(self.depth)]
        return nn.Sequential(*(layer for conv in convs for layer in (conv, nn.ReLU())))

    def single(self) -> nn.Sequential:
        """The one layer that sees as much, with its ReLU."""
        conv = nn.Conv2d(self.channels, self.channels, 2 * self.depth + 1, padding=self.depth)
        return nn.Sequential(conv, nn.ReLU())

    def walks(self) -> tuple[Summary, Summary]:
        """Both, layer by layer, on a map of size × size."""
        shape = (self.channels, self.size, self.size)
        with torch.device("meta"):
            return summarize(self.stack(), shape), summarize(self.single(), shape)

    def figure(self) -> Figure:
        """The weights as the kernels' cells, each standing for channels² of them."""
        figure = Figure(figsize=(7.6, 3), layout="constrained")
        k = 2 * self.depth + 1
        kernels = [(f"{self.depth} × 3×3", [3] * self.depth), (f"one {k}×{k}", [k])]
        panels = figure.subplots(1, 2)
        width = max(k, 3.6 * self.depth)  # of both panels, so that a cell is as large in either
        for axes, (name, sides), walk in zip(panels, kernels, self.walks(), strict=True):
            left = 0.0
            for side in sides:
                for i in range(side * side):
                    corner = (left + i % side, i // side)
                    axes.add_patch(Rectangle(corner, 1, 1, facecolor="tab:blue", edgecolor="w"))
                left += side + 0.6
            axes.set(xlim=(0, width), ylim=(k, 0), aspect="equal", anchor="NW")
            axes.set_axis_off()
            axes.set_title(f"{name}: {walk.parameters:,} parameters, sees {k}×{k}", fontsize=10)
        return figure

    def table(self) -> Table:
        """What both see and cost."""
        k = 2 * self.depth + 1
        walks = self.walks()
        biases = (self.depth * self.channels, self.channels)
        rows = [
            (
                "receptive field",
                *(f"{w[-1].receptive_field}×{w[-1].receptive_field}" for w in walks),
            ),
            ("weights", *(f"{w.parameters - b:,}" for w, b in zip(walks, biases, strict=True))),
            ("biases", *(f"{b:,}" for b in biases)),
            ("parameters", *(f"{w.parameters:,}" for w in walks)),
            (f"MACs, {self.size} × {self.size}", *(f"{w.macs:,}" for w in walks)),
        ]
        return ("quantity", f"{self.depth} × 3×3", f"one {k}×{k}"), rows
