"""Any of the book's networks, layer by layer: what each gives and costs at any image size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from d2lmini.models import MODELS, build
from d2lmini.summary import LayerRow, Summary, summarize
from d2lmini.widgets.base import HERE, Table, Widget, script
from d2lmini.widgets.layers import layers_of

NETS = {
    "lenet": "LeNet",
    "alexnet": "AlexNet", "alexnet-small": "AlexNet, class size",
    "vgg11": "VGG-11", "vgg11-small": "VGG-11/4, class size",
    "nin": "NiN", "nin-small": "NiN, class size",
    "googlenet": "GoogLeNet", "googlenet-small": "GoogLeNet, class size",
}  # fmt: skip
SIZES = tuple(range(8, 257))  # pixels
KEEPS_SHAPE = ("ReLU", "Sigmoid", "Dropout", "BatchNorm2d")
COSTS = {"parameters": "parameters", "macs": "MACs", "memory_bytes": "memory"}


class ShapeWalk(Widget):
    """Slide the image's size and watch each layer's shape, parameters, MACs, memory and field.

    net: a key of `NETS`; size: the image's side, 8 to 256 pixels, by default the one that the
    network is built for; channels: 1 or 3; layer: the name of the layer whose row is unfolded, or
    "". Other nets, sizes and channels raise TraitError.
    """

    _esm = script("layers.js", "shape_walk.js")
    _css = Widget._css + (HERE / "shape_walk.css").read_text(encoding="utf-8")

    net = traitlets.Enum(tuple(NETS), "lenet").tag(sync=True)
    size = traitlets.Int(28, min=SIZES[0], max=SIZES[-1]).tag(sync=True)
    channels = traitlets.Enum((1, 3), 1).tag(sync=True)
    layer = traitlets.Unicode().tag(sync=True)
    sizes: traitlets.List[int] = traitlets.List().tag(sync=True)
    nets = traitlets.Dict().tag(sync=True)

    def __init__(self, net: str = "lenet", size: int | None = None, **state: Any) -> None:
        if size is None:
            size = MODELS[net].input_shape[-1] if net in NETS else SIZES[0]
        super().__init__(net=net, size=size, sizes=list(SIZES), nets=_all_layers(), **state)

    @property
    def title(self) -> str:  # type: ignore[override]
        return (
            f"{NETS[self.net]}, layer by layer, for an image of "
            f"{self.channels} × {self.size} × {self.size}"
        )

    def walk(self) -> Summary:
        """The layers at this size. Raises ValueError where it is too small for the network."""
        with torch.device("meta"):  # shapes alone: no weight is made
            net = build(self.net, in_channels=self.channels, image_size=self.size)
            return summarize(net, (self.channels, self.size, self.size))

    def figure(self) -> Figure:
        """Three bars for each row: where the parameters, the work and the memory sit."""
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        try:
            rows = _rows(self.walk())
        except ValueError as error:
            figure.text(0.5, 0.5, f"{NETS[self.net]}\n{error}", ha="center", wrap=True)
            return figure
        places = range(len(rows))
        panels = figure.subplots(1, 3, sharey=True)
        colours = ("tab:orange", "tab:blue", "tab:green")
        for axes, (key, label), colour in zip(panels, COSTS.items(), colours, strict=True):
            values = [sum(getattr(row, key) for row in own) for _, own in rows]
            axes.barh(places, values, color=colour)
            axes.set(title=label, xlim=(0, 1.02 * max(values)))
            axes.locator_params(axis="x", nbins=3)
            axes.xaxis.set_major_formatter(EngFormatter(unit="B" if label == "memory" else ""))
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_yticks(places, [name for name, _ in rows])
        panels[0].invert_yaxis()
        return figure

    def table(self) -> Table:
        """Every layer at this size; where it is too small, what fails."""
        try:
            walk = self.walk()
        except ValueError as error:
            return ("network", "why it stops"), [(NETS[self.net], str(error))]
        head = ("layer", "kind", "output", "parameters", "MACs", "output kB", "receptive field")
        rows = [
            (row.name, row.kind, _shape(row), f"{row.parameters:,}", f"{row.macs:,}",
             f"{row.memory_bytes / 1000:,.1f}", row.receptive_field)
            for row in walk
        ]  # fmt: skip
        return head, rows


@cache
def _all_layers() -> dict[str, Any]:
    with torch.device("meta"):
        return {
            name: {
                "title": title,
                "size": MODELS[name].input_shape[-1],
                "layers": layers_of(build(name)),
            }
            for name, title in NETS.items()
        }


def _rows(walk: Summary) -> list[tuple[str, Sequence[LayerRow]]]:
    """(label, layers) of each row: a layer with its activations, or an Inception block."""
    rows: list[tuple[str, str, list[LayerRow]]] = []
    for row in walk:
        block, _, part = row.name.rpartition(".")
        inside = part.startswith("b")  # b1, b2_1 … of an Inception block
        if inside and rows and rows[-1][0] == block:
            rows[-1][2].append(row)
        elif inside:
            stage, number = map(int, block.split("."))
            rows.append((block, f"Inception {stage + 1}{'abcde'[number]}", [row]))
        elif row.kind in KEEPS_SHAPE and rows:
            rows[-1][2].append(row)
        else:
            rows.append((row.name, f"{row.kind}  {_shape(row)}", [row]))
    return [(label, own) for _, label, own in rows]


def _shape(row: LayerRow) -> str:
    return "×".join(map(str, row.output_shape))
