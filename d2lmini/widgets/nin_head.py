"""NiN's head: what classifying costs with and without linear layers, and the ten class maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor, nn

from d2lmini.data import ArrayLoader
from d2lmini.models import VGG11, nin, nin_block
from d2lmini.plot import BLUE
from d2lmini.summary import summarize
from d2lmini.widgets.base import Table, script
from d2lmini.widgets.maps import MapWidget, choose, outputs_of, significant

CHANNELS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
SIDES = tuple(range(1, 15))  # of the last maps
DIGITS = 5  # significant, of a class map's numbers
HEADS = ("AlexNet's head", "one linear layer", "NiN's head", "GoogLeNet's head")


def head(name: str, channels: int, side: int, num_classes: int = 10) -> nn.Sequential:
    """(N, channels, side, side) → logits (N, num_classes), in one of the four ways compared."""
    inputs = channels * side * side
    average = [nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    if name == "AlexNet's head":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 4096), nn.ReLU(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, num_classes),
        )  # fmt: skip
    if name == "one linear layer":
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, num_classes))
    if name == "NiN's head":
        return nn.Sequential(nin_block(channels, num_classes, 3, 1, 1), *average)
    return nn.Sequential(*average, nn.Linear(channels, num_classes))


class NiNHead(MapWidget):
    """What four heads cost on the same maps, and the ten class maps of a test image.

    net: ends in a global average over one map per class, as nin() does, or ValueError is raised.
    test_iter, images: see InsideNetwork. channels, side: of the maps that the heads are given; both
    snap to the values that the sliders have, others raise TraitError.
    """

    _esm = script("layers.js", "maps.js", "nin_head.js")
    title = "NiN's head: what a classifier costs, and the ten maps that are averaged into scores"

    channels = traitlets.Enum(CHANNELS, 384).tag(sync=True)
    side = traitlets.Enum(SIDES, 5).tag(sync=True)
    presets: Any = traitlets.List().tag(sync=True)
    class_maps: Any = traitlets.List().tag(sync=True)

    def __init__(
        self,
        net: nn.Module,
        test_iter: ArrayLoader,
        *,
        images: Sequence[int] | None = None,
        **state: Any,
    ) -> None:
        samples = choose(net, test_iter, images)
        maps, last = class_maps_of(net, samples.X)
        presets = [
            ["NiN, 224 px", *paper_maps()],
            ["VGG-11, 224 px", VGG11[-1][1], 224 // 2 ** len(VGG11)],
        ]
        if last[0] in CHANNELS and last[1] in SIDES:
            presets.append(["this network", *last])
        super().__init__(
            samples, images is None, class_maps=rounded(maps), presets=presets, **state
        )

    def show(self, net: nn.Module) -> None:
        """The class maps of another net, or of the same one after more training."""
        self.class_maps = rounded(class_maps_of(net, self.samples.X)[0])

    def means(self) -> Tensor:
        """The ten maps' means for the image shown, which are its logits: (classes,)."""
        return torch.tensor(self.class_maps[self.image]).mean(dim=(1, 2))

    def costs(self) -> list[list[Any]]:
        """Name, parameters and MACs of each head on `channels` maps of side × side."""
        rows = []
        for name in HEADS:
            with torch.device("meta"):  # counted, not computed
                net = head(name, self.channels, self.side, len(self.classes))
                walk = summarize(net, (self.channels, self.side, self.side))
            rows.append([name, walk.parameters, walk.macs])
        return rows

    def figure(self) -> Figure:
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        halves: Any = figure.subfigures(1, 2, width_ratios=(4.6, 3.2))
        top, maps = halves[0].subfigures(2, 1, height_ratios=(1, 1.5))
        axes = top.subplots()
        names, parameters, _ = zip(*self.costs(), strict=True)
        bars = axes.barh(names, parameters, color=BLUE)
        axes.bar_label(bars, [f" {count:,}" for count in parameters], fontsize=8)
        axes.set(xlim=(0, 1.4 * max(parameters)), xticks=[])
        axes.tick_params(labelsize=8)
        axes.set_title(f"parameters on {self.channels} maps of {self.side}×{self.side}", fontsize=8)
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        class_maps = torch.tensor(self.class_maps[self.image])
        grid = maps.subplots(-(-len(self.classes) // 5), 5, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, name, map_ in zip(grid, self.classes, class_maps, strict=False):
            axes.imshow(map_.numpy(), cmap="viridis", vmin=0, vmax=float(class_maps.max()))
            axes.set_title(f"{name}\nmean {map_.mean():.2f}", fontsize=7)
        picture, chances = halves[1].subfigures(2, 1, height_ratios=(1, 1.9))
        self.draw_input(picture.subplots())
        self.draw_probabilities(chances.subplots(), self.means().softmax(dim=0).tolist())
        return figure

    def table(self) -> Table:
        rows = [[name, f"{parameters:,}", f"{macs:,}"] for name, parameters, macs in self.costs()]
        return ("head", "parameters", "MACs"), rows


def paper_maps() -> tuple[int, int]:
    """Channels and side of the maps before the class block of NiN at 224 pixels."""
    with torch.device("meta"):
        features = nin()[:-4]
        *_, last = summarize(features, (1, 224, 224))
    return last.output_shape[0], last.output_shape[1]


def class_maps_of(net: nn.Module, X: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The maps (n, classes, h, w) whose means are the logits; channels and side of those before."""
    children = dict(net.named_children())
    names = list(children)
    outputs, logits = outputs_of(net, X, names)
    pools = [i for i, m in enumerate(children.values()) if isinstance(m, nn.AdaptiveAvgPool2d)]
    at = pools[-1] if pools else 0
    if at < 2 or not _averages_to(outputs[names[at - 1]], logits):
        raise ValueError(
            "the net must end in a global average over one map per class, as nin() does"
        )
    _, channels, side, _ = outputs[names[at - 2]].shape
    return outputs[names[at - 1]], (channels, side)


def _averages_to(maps: Tensor, logits: Tensor) -> bool:
    return maps.shape[:2] == logits.shape and torch.allclose(
        maps.mean(dim=(2, 3)), logits, rtol=1e-4, atol=1e-5, equal_nan=True
    )


def rounded(maps: Tensor) -> list[Any]:
    """Nested lists of the same shape, in five significant digits."""
    if not torch.isfinite(maps).all():
        raise ValueError("the net's numbers are not finite: its training has diverged")
    return [
        [[[significant(v, DIGITS) for v in row] for row in map_] for map_ in image]
        for image in maps.tolist()
    ]
