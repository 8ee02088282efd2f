"""LeNet in the page: its trained weights, a forward pass in JavaScript and a pad to draw on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor, nn

from d2lmini.models import lenet
from d2lmini.plot import BLUE, ORANGE
from d2lmini.summary import evaluation_mode, summarize
from d2lmini.widgets.base import HERE, Table, Widget, script

SIDE = 28  # pixels
PICTURES = 2  # of each class
LARGEST = 2047  # of the whole numbers that stand for a row's weights; two bytes each
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "white", ORANGE])
# (name, shape) of what the page shows: the input, lenet()'s layers without Flatten, the softmax
LAYERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("input", (1, 28, 28)),
    ("convolution 1", (6, 28, 28)), ("sigmoid 1", (6, 28, 28)), ("average pool 1", (6, 14, 14)),
    ("convolution 2", (16, 10, 10)), ("sigmoid 2", (16, 10, 10)), ("average pool 2", (16, 5, 5)),
    ("linear 1", (120,)), ("sigmoid 3", (120,)), ("linear 2", (84,)), ("sigmoid 4", (84,)),
    ("linear 3: logits", (10,)), ("softmax: probabilities", (10,)),
)  # fmt: skip


class LeNetAlive(Widget):
    """Draw, and watch each layer of a trained LeNet answer; any number shows its arithmetic.

    net: a trained `d2lmini.lenet()`, with sigmoids and average pools. images: uint8
    (N, 1, 28, 28) or (N, 28, 28), of which the first two of each class are kept; labels: (N,);
    mean, std: those by which the net's training images were normalised, as
    `d2lmini.fashion_mnist()`'s sets know them (numbers, or one in a sequence).
    Raises ValueError for another net, other images, or a class without two images.
    """

    _esm = script("lenet.js", "lenet_alive.js")
    _css = Widget._css + (HERE / "lenet_alive.css").read_text(encoding="utf-8")
    title = "LeNet at work: draw, and watch every layer answer"

    weights = traitlets.Bytes().tag(sync=True)  # see pack()
    images = traitlets.Bytes().tag(sync=True)  # 20 × 28 × 28 greys
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    mean = traitlets.Float().tag(sync=True)
    std = traitlets.Float().tag(sync=True)

    image = traitlets.Int(0).tag(sync=True)  # the picture on the pad; -1: a drawing from blank
    pixels = traitlets.List(traitlets.Int()).tag(sync=True)  # the pad's 784 greys, row by row
    layer = traitlets.Int(1).tag(sync=True)  # of the number under the glass, in LAYERS
    cell = traitlets.Int(0).tag(sync=True)  # its place in the layer's flattened output
    eraser = traitlets.Bool(False).tag(sync=True)
    brush = traitlets.Int(2, min=1, max=4).tag(sync=True)  # pixels across
    ink = traitlets.Int(80, min=20, max=100).tag(sync=True)  # per cent of white
    cursor = traitlets.Int(14 * SIDE + 14, min=0, max=SIDE * SIDE - 1).tag(sync=True)

    def __init__(
        self,
        net: nn.Module,
        images: Any,
        labels: Any,
        classes: Sequence[str],
        *,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        **traits: Any,
    ) -> None:
        chosen, chosen_labels = _two_of_each(images, labels, len(classes))
        shift, scale = _number("mean", mean), _number("std", std)
        if not scale > 0:
            raise ValueError(f"std={scale} must be above 0")
        super().__init__(
            weights=pack(net),
            images=chosen.tobytes(),
            labels=chosen_labels,
            classes=list(classes),
            mean=shift,
            std=scale,
            pixels=chosen[0].ravel().tolist(),
            cell=3 * SIDE * SIDE + 10 * SIDE + 14,
        )
        for name, value in traits.items():
            if name not in ("image", "pixels", "layer", "cell", "eraser", "brush", "ink", "cursor"):
                raise TypeError(f"LeNetAlive has no state {name!r}")
            setattr(self, name, value)

    @traitlets.validate("image")
    def _image_exists(self, proposal: Any) -> int:
        if not -1 <= proposal.value < len(self.labels):
            raise traitlets.TraitError(
                f"image={proposal.value}: there are pictures 0 to {len(self.labels) - 1}; "
                "-1 stands for a drawing from a blank pad"
            )
        return int(proposal.value)

    @traitlets.validate("pixels")
    def _greys(self, proposal: Any) -> list[int]:
        greys = proposal.value
        if len(greys) != SIDE * SIDE or not 0 <= min(greys) <= max(greys) <= 255:
            raise traitlets.TraitError("pixels must be 784 whole numbers from 0 to 255, row by row")
        return list(greys)

    @traitlets.validate("layer")
    def _layer_exists(self, proposal: Any) -> int:
        if not 0 <= proposal.value < len(LAYERS):
            raise traitlets.TraitError(
                f"layer={proposal.value} must lie between 0 (input) and {len(LAYERS) - 1} (softmax)"
            )
        return int(proposal.value)

    @traitlets.validate("cell")
    def _cell_exists(self, proposal: Any) -> int:
        name, shape = LAYERS[self.layer]
        if not 0 <= proposal.value < np.prod(shape):
            raise traitlets.TraitError(
                f"cell={proposal.value}: {name} has numbers 0 to {np.prod(shape) - 1}"
            )
        return int(proposal.value)

    @traitlets.observe("image")
    def _picture_to_pad(self, change: Any) -> None:
        if change.new >= 0:
            self.pixels = self._pictures()[change.new].ravel().tolist()

    @traitlets.observe("layer")
    def _cell_within(self, change: Any) -> None:
        size = int(np.prod(LAYERS[change.new][1]))
        self.cell = min(self.cell, size - 1)

    def torch_net(self) -> nn.Sequential:
        """A `d2lmini.lenet()` with the very weights that the page computes with, float32."""
        return unpack(self.weights)

    def answers(self) -> list[Tensor]:
        """What each of LAYERS gives for the pad as it is: float32, shapes as in LAYERS."""
        X = torch.tensor(self.pixels, dtype=torch.float32).view(1, 1, SIDE, SIDE)
        X = X.div(255).sub(self.mean).div(self.std)
        outputs = [X]
        net = self.torch_net()
        with evaluation_mode(net):
            for module in net:
                X = module(X)
                if not isinstance(module, nn.Flatten):
                    outputs.append(X)
        outputs.append(X.softmax(dim=1))
        return [output[0] for output in outputs]

    def figure(self) -> Figure:
        """The pad, the maps of the convolutional half, and the probabilities."""
        answers = self.answers()
        figure = Figure(figsize=(7.6, 4.4), layout="constrained")
        grid = figure.add_gridspec(5, 2, width_ratios=(1.5, 1), height_ratios=(1.6, 1, 1, 0.6, 0.6))
        pad = figure.add_subplot(grid[0, 0])
        pad.imshow(np.reshape(self.pixels, (SIDE, SIDE)), cmap="gray", vmin=0, vmax=255)
        pad.set_title(self._on_the_pad(), fontsize=9)
        for row, layer in enumerate((1, 3, 4, 6), start=1):
            axes = figure.add_subplot(grid[row, 0])
            name, shape = LAYERS[layer]
            maps = _side_by_side(answers[layer].numpy())
            if name.startswith("convolution"):  # sums; beyond ±6 a sigmoid hardly moves
                axes.imshow(maps, cmap=SIGNED, vmin=-6, vmax=6)
            else:
                axes.imshow(maps, cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"{name}, {_times(shape)}", fontsize=9)
        for axes in figure.axes:
            axes.set_axis_off()

        probabilities = answers[-1].numpy()
        best = int(probabilities.argmax())
        bars = figure.add_subplot(grid[:, 1])
        colours = [ORANGE if i == best else BLUE for i in range(len(self.classes))]
        bars.barh(self.classes, probabilities, color=colours)
        for i, probability in enumerate(probabilities):
            bars.text(probability + 0.02, i, _percent(probability), va="center", fontsize=8)
        bars.invert_yaxis()
        bars.set(xlim=(0, 1.25), xticks=[])
        bars.set_title("probability", fontsize=9)
        bars.spines[["top", "right", "bottom"]].set_visible(False)
        return figure

    def table(self) -> Table:
        """The layers' shapes and parameters; then what each class gets for the pad as it is."""
        *_, logits, probabilities = self.answers()
        head = ("layer or class", "output shape", "parameters", "logit", "probability")
        rows: list[Sequence[object]] = [
            (f"{row.name} {row.kind}", _times(row.output_shape), f"{row.parameters:,}", "", "")
            for row in summarize(self.torch_net(), (1, SIDE, SIDE))
        ]
        for name, logit, probability in zip(self.classes, logits, probabilities, strict=True):
            rows.append((name, "", "", f"{logit:.2f}".replace("-", "−"), _percent(probability)))
        return head, rows

    def _pictures(self) -> np.ndarray:
        return np.frombuffer(self.images, np.uint8).reshape(-1, SIDE, SIDE)

    def _on_the_pad(self) -> str:
        if not any(self.pixels):
            return "a blank pad"
        if self.image < 0:
            return "a drawing"
        name = self.classes[self.labels[self.image]]
        same = self._pictures()[self.image].ravel().tolist() == self.pixels
        return f"true class: {name}" if same else f"{name}, changed"


def pack(net: nn.Module) -> bytes:
    """LeNet's 61,706 weights as whole numbers of two bytes, 124,356 bytes in all.

    A row is what one output of a layer owns: its weights and then its bias. First stands a scale
    for each of the 236 rows (float32, little-endian), chosen so that the row's largest number is
    ±2047: finer steps change no answer, and the page would compress less. Then come the high
    bytes of all numbers, then the low bytes, each number + 32,768.
    Raises ValueError for a net that is not `d2lmini.lenet()` for 28×28 grey images.
    """
    scales, numbers = [], []
    for module in _weighted(_checked(net)):
        bias = module.bias.detach()
        rows = torch.cat([module.weight.detach().flatten(1), bias[:, None]], dim=1).cpu().float()
        if not bool(torch.isfinite(rows).all()):
            raise ValueError("the net has weights that are not finite; train it anew")
        scale = rows.abs().amax(dim=1).clamp_min(1e-30) / LARGEST
        scales.append(scale.numpy())
        numbers.append(torch.round(rows / scale[:, None]).numpy().ravel())
    whole = (np.concatenate(numbers) + 32768).astype(np.uint16)
    high, low = (whole >> 8).astype(np.uint8), (whole & 255).astype(np.uint8)
    return np.concatenate(scales).astype("<f4").tobytes() + high.tobytes() + low.tobytes()


def unpack(packed: bytes) -> nn.Sequential:
    """The net that `pack` made the bytes of, with the weights as rounded there."""
    net = lenet()
    modules = list(_weighted(net))
    num_rows = sum(len(module.bias) for module in modules)
    scales = np.frombuffer(packed, "<f4", num_rows)
    high, low = np.frombuffer(packed, np.uint8, offset=4 * num_rows).reshape(2, -1)
    whole = (high.astype(np.int32) << 8 | low).astype(np.float32) - 32768
    row, start = 0, 0
    for module in modules:
        outputs, inputs = len(module.bias), module.weight[0].numel() + 1
        scale = scales[row : row + outputs, None]
        rows = whole[start : start + outputs * inputs].reshape(outputs, inputs) * scale
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(rows[:, :-1]).view_as(module.weight))
            module.bias.copy_(torch.from_numpy(rows[:, -1]))
        row, start = row + outputs, start + outputs * inputs
    return net.eval()


def _weighted(net: nn.Sequential) -> Iterator[Any]:
    yield from (module for module in net if isinstance(module, (nn.Conv2d, nn.Linear)))


def _checked(net: nn.Module) -> nn.Sequential:
    expected = lenet()
    same = isinstance(net, nn.Sequential) and len(net) == len(expected)
    for module, other in zip(net.children(), expected, strict=False):
        # repr tells kind, sizes, strides and padding
        if not same or repr(module) != repr(other):
            raise ValueError(
                f"the page walks d2lmini.lenet() as it is by default; here {module} stands in the "
                f"place of {other}. Pass a net made by lenet(), with sigmoids, average pools, one "
                "input channel and ten classes"
            )
    if not isinstance(net, nn.Sequential) or not same:
        raise ValueError(f"{type(net).__name__} is not d2lmini.lenet(); pass a net made by it")
    return net


def _two_of_each(images: Any, labels: Any, num_classes: int) -> tuple[np.ndarray, list[int]]:
    """uint8 (20, 28, 28) and their labels, class by class."""
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.shape[-2:] != (SIDE, SIDE) or pixels[:1].size != 784:
        raise ValueError(
            f"images are {pixels.dtype} {pixels.shape}; they must be uint8 (N, 1, 28, 28), as "
            "fashion_mnist()'s are"
        )
    if num_classes != 10:
        raise ValueError(f"{num_classes} classes, but LeNet gives ten logits")
    numbers = np.asarray(labels)
    if numbers.shape != pixels.shape[:1]:
        raise ValueError(f"{len(pixels)} images but labels of shape {numbers.shape}")
    chosen: list[int] = []
    for k in range(num_classes):
        found = np.flatnonzero(numbers == k)[:PICTURES].tolist()
        if len(found) < PICTURES:
            raise ValueError(f"class {k} has {len(found)} images; {PICTURES} of each are shown")
        chosen += found
    return pixels.reshape(-1, SIDE, SIDE)[chosen], numbers[chosen].tolist()


def _number(name: str, value: Any) -> float:
    flat = np.asarray(value, dtype=np.float64).ravel()
    if flat.size != 1 or not np.isfinite(flat).all():
        raise ValueError(f"{name}={value!r} must be one number: the images have one channel")
    return float(flat[0])


def _side_by_side(maps: np.ndarray) -> np.ndarray:
    """(maps, H, W) → (H, all widths and gaps), nothing in the gaps."""
    gapped = np.pad(maps, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    return gapped.transpose(1, 0, 2).reshape(maps.shape[1], -1)[:, :-1]


def _percent(share: Any) -> str:
    return f"{100 * float(share):.1f} %"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
