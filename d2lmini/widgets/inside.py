"""Inside the network: the feature maps of each stage of a trained net, and its probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor, nn

from d2lmini.data import ArrayLoader
from d2lmini.summary import summarize
from d2lmini.widgets.base import Table, script
from d2lmini.widgets.maps import (
    MapWidget,
    choose,
    decode,
    default_stages,
    encode,
    in_range,
    outputs_of,
    plain,
)


class InsideNetwork(MapWidget):
    """Choose a test image, step through the stages of a net, see the maps and the answer.

    test_iter: the test loader that the net was trained with, so that each image is prepared as the
    net knows it. stages: module name (or index) → label, as {0: "conv 5×5", "2.1": "Inception 3b"};
    by default each convolution with its activation, each pool, each block. images: which test
    images; by default two of each class, one right and one wrong if there are such. name: the
    net's. image, stage, channel: what is shown, from 0; others raise TraitError.
    Raises ValueError for a stage that is not a part of the net or does not make maps, and for a net
    whose numbers are not finite.
    """

    _esm = script("maps.js", "inside.js")

    name = traitlets.Unicode().tag(sync=True)
    stage = traitlets.Int(0).tag(sync=True)
    channel = traitlets.Int(0).tag(sync=True)
    stages: Any = traitlets.List().tag(sync=True)
    probabilities: Any = traitlets.List().tag(sync=True)

    def __init__(
        self,
        net: nn.Module,
        test_iter: ArrayLoader,
        stages: Mapping[int, str] | Mapping[str, str] | None = None,
        *,
        images: Sequence[int] | None = None,
        name: str = "the network",
        **state: Any,
    ) -> None:
        samples = choose(net, test_iter, images)
        named = {str(key): label for key, label in (stages or {}).items()}
        self.stage_labels = named or default_stages(net, samples.X[:1])
        self.title = f"Inside {name}: the maps of each stage and the probabilities of its answer"
        seen = look_inside(net, samples.X, self.stage_labels)
        super().__init__(samples, images is None, name=name, **seen, **state)

    @traitlets.validate("stage")
    def _stage_exists(self, proposal: Any) -> int:
        return in_range("stage", proposal["value"], len(self.stages))

    @traitlets.validate("channel")
    def _channel_exists(self, proposal: Any) -> int:
        most = max(stage["shown"] for stage in self.stages)
        return in_range("channel", proposal["value"], most)

    def show(self, net: nn.Module) -> None:
        """Look into another net of the same stages, or into the same one after more training."""
        seen = look_inside(net, self.samples.X, self.stage_labels)
        with self.hold_sync():
            for trait, value in seen.items():
                setattr(self, trait, value)

    def figure(self) -> Figure:
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        parts: Any = figure.subfigures(1, 3, width_ratios=(2, 3.6, 3.2))
        left, middle, right = parts
        self.draw_input(left.subplots())
        stage = self.stages[self.stage]
        maps = decode(stage, self.image)
        columns = 3 if len(maps) <= 9 else 4
        rows = -(-len(maps) // columns)
        least, most = stage["ranges"][self.image]
        grid = middle.subplots(rows, columns, squeeze=False).flat
        for axes, map_ in zip(grid, maps, strict=False):
            axes.imshow(map_.numpy(), cmap="viridis", vmin=least, vmax=most)
        for axes in middle.axes:
            axes.set_axis_off()
        shape = " × ".join(map(str, stage["shape"]))
        middle.suptitle(f"{stage['label']}: {shape}, {plain(least)} to {plain(most)}", fontsize=8)
        self.draw_probabilities(right.subplots(), self.probabilities[self.image])
        return figure

    def table(self) -> Table:
        true = self.labels[self.image]
        rows = [
            [f"{name} (true class)" if i == true else name, f"{probability:.1%}"]
            for i, (name, probability) in enumerate(
                zip(self.classes, self.probabilities[self.image], strict=True)
            )
        ]
        return ("class", "probability"), rows


def look_inside(net: nn.Module, X: Tensor, labels: Mapping[str, str]) -> dict[str, Any]:
    """The traits that depend on the net: stages with their maps, and probabilities."""
    modules = dict(net.named_modules())
    if unknown := [name for name in labels if name not in modules]:
        raise ValueError(
            f"the net has no part named {', '.join(map(repr, unknown))}; its parts are "
            f"{', '.join(name for name in modules if name)}"
        )
    outputs, logits = outputs_of(net, X, list(labels))
    for name in labels:
        if name not in outputs or outputs[name].dim() != 4:
            shape = tuple(outputs[name].shape[1:]) if name in outputs else "nothing"
            raise ValueError(f"stage {name!r} gives {shape}, not maps (C, H, W): choose another")
    if not all(torch.isfinite(values).all() for values in (*outputs.values(), logits)):
        raise ValueError("the net's numbers are not finite: its training has diverged")
    fields = receptive_fields(net, X, labels)
    stages = [
        {
            "name": name,
            "label": label,
            "shape": list(outputs[name].shape[1:]),
            "field": fields.get(name),
            # share of numbers that are exactly 0, of each image
            "zeros": [round(float((maps == 0).float().mean()), 3) for maps in outputs[name]],
            **code,
        }
        for (name, label), code in zip(
            labels.items(), encode([outputs[name] for name in labels]), strict=True
        )
    ]
    probabilities = [[round(p, 4) for p in row] for row in logits.softmax(dim=1).tolist()]
    return {"stages": stages, "probabilities": probabilities}


def receptive_fields(net: nn.Module, X: Tensor, names: Mapping[str, str]) -> dict[str, int]:
    """Input pixels along a side that one number of each stage sees."""
    depths = {name.count(".") + 1 for name in names}
    walks = [summarize(net, X.shape[1:], depth=depth) for depth in sorted(depths)]
    return {row.name: row.receptive_field for walk in walks for row in walk if row.name in names}
