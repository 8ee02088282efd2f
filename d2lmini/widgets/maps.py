"""What the widgets that look into a trained net share: which images, and their maps as text."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
import traitlets
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from d2lmini.data import ArrayLoader
from d2lmini.plot import BLUE, ORANGE
from d2lmini.summary import evaluation_mode
from d2lmini.widgets.base import HERE, Widget

SEARCHED = 2000  # images in which a right and a wrong answer of each class are looked for
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # levels 0 … 63
LARGEST_SIDE = 28  # of a map that is kept; larger ones are averaged down
COLOURS = 64
# levels of maps of more than 64 numbers, and of the smaller ones: the first pair that fits
FINENESS = (
    (64, 64), (32, 64), (24, 64), (16, 64), (14, 64), (12, 64),
    (12, 32), (11, 32), (10, 32), (9, 32), (8, 32),
)  # fmt: skip
BUDGET = 30_000  # bytes for all maps of a net with their scales, compressed
GREYS = 32  # levels of the pictures
SIGNIFICANT = 4  # digits of a scale's ends


@dataclass(frozen=True)
class Samples:
    """Images to look at, by their index (n,) in the loader's set.

    images: uint8 (n, C, H, W); X: float32 (n, C, H', W'), prepared as the loader does.
    """

    index: Tensor
    images: Tensor
    labels: Tensor
    X: Tensor
    classes: tuple[str, ...]


def choose(net: nn.Module, loader: ArrayLoader, index: Sequence[int] | None = None) -> Samples:
    """Two images of each class: the first that the net gets right, the first that it gets wrong.

    Looked for in the first 2,000 images; where there are none, the class's next image stands in.
    index: take these images instead. Raises TypeError for a loader that is none of d2lmini's,
    ValueError for one that augments its images and for an index out of range.
    """
    if not isinstance(loader, ArrayLoader):
        raise TypeError(
            f"expected the test loader of load_data_fashion_mnist, not a {type(loader).__name__}"
        )
    if loader.augment:
        raise ValueError("this loader shifts and flips its images: pass the test loader")
    data = loader.data
    chosen = torch.tensor(_found(net, loader) if index is None else list(index), dtype=torch.int64)
    if not len(chosen) or not 0 <= int(chosen.min()) <= int(chosen.max()) < len(data):
        raise ValueError(f"images={list(index or ())} must be numbers from 0 to {len(data) - 1}")
    X = loader.prepare(loader.images[chosen.to(loader.device)])
    taken = data.take(chosen)
    return Samples(chosen, taken.images, taken.labels, X, data.classes)


def _found(net: nn.Module, loader: ArrayLoader) -> list[int]:
    labels = loader.data.labels[:SEARCHED]
    batches = loader.images[:SEARCHED].split(loader.batch_size)
    device = device_of(net)
    with evaluation_mode(net):
        given = torch.cat([net(loader.prepare(b).to(device)).argmax(dim=1).cpu() for b in batches])
    index = []
    for label in range(loader.num_classes):
        of_class = torch.nonzero(labels == label).ravel()
        right = given[of_class] == label
        # the first of either kind, then whatever comes next
        order = [*of_class[right][:1], *of_class[~right][:1], *of_class[:2]]
        index += list(dict.fromkeys(map(int, order)))[:2]
    return index


def device_of(net: nn.Module) -> torch.device:
    return next((p.device for p in net.parameters()), torch.device("cpu"))


def outputs_of(net: nn.Module, X: Tensor, names: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """What each named module makes of X, and the logits, on the CPU; the net stays as it was."""
    modules = dict(net.named_modules())
    outputs: dict[str, Tensor] = {}
    handles = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.detach().cpu().clone()  # a ReLU may work in place

        return hook

    try:
        for name in names:
            handles.append(modules[name].register_forward_hook(keep(name)))
        with evaluation_mode(net):
            logits = net(X.to(device_of(net))).cpu()
    finally:
        for handle in handles:
            handle.remove()
    return outputs, logits


# ---- stages
KINDS = {
    nn.MaxPool2d: "max-pool", nn.AvgPool2d: "average pool", nn.BatchNorm2d: "batch norm",
    nn.Sigmoid: "sigmoid", nn.Tanh: "tanh",
}  # fmt: skip
FOLLOWERS = (nn.BatchNorm2d, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.SiLU)
NO_STAGE = (nn.Dropout, nn.AdaptiveAvgPool2d)  # the same maps again; one number of each map


def default_stages(net: nn.Module, X: Tensor) -> dict[str, str]:
    """Module name → label: each convolution with its activation, each pool, each block of maps.

    A part that ends in something other than maps is entered. X: one image (1, C, H, W).
    """
    names = [name for name, _ in net.named_modules() if name]
    outputs, _ = outputs_of(net, X, names)
    stages: dict[str, str] = {}
    blocks = 0
    last, words = "", list[str]()  # of the stage that is open
    for name, module in _parts(net, "", outputs):
        if isinstance(module, FOLLOWERS) and last:
            stages.pop(last)
        else:
            words = []
        blocks += isinstance(module, nn.Sequential)
        words = [*words, f"block {blocks}" if isinstance(module, nn.Sequential) else _kind(module)]
        stages[name] = " + ".join(words)
        last = name
    return stages


def _parts(module: nn.Module, prefix: str, outputs: Mapping[str, Tensor]) -> Iterator[Any]:
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        if name not in outputs or isinstance(child, NO_STAGE):
            continue
        if outputs[name].dim() == 4:
            yield name, child
        elif isinstance(child, nn.Sequential):
            yield from _parts(child, f"{name}.", outputs)


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
        return f"conv {module.kernel_size[0]}×{module.kernel_size[1]}{stride}"
    return KINDS.get(type(module), type(module).__name__)


# ---- maps as text
def encode(maps: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Stages' maps (n, C, H, W) as text of one letter a number, as fine as the budget allows.

    Each: {"size" [h, w], "shown" (channels kept), "shrunk", "levels", "ranges" [[least, most] of
    each image], "text"}; the letters stand by image, channel, column, row (garments are tall).
    """
    kept = [_reduced(stage) for stage in maps]
    for large, small in FINENESS:
        coded = [_encoded(s, large if s[0, 0].numel() > 64 else small) for s in kept]
        if len(zlib.compress(json.dumps(coded).encode(), 6)) <= BUDGET:
            break
    for stage, code in zip(maps, coded, strict=True):
        code["shrunk"] = code["size"] != list(stage.shape[2:])
    return coded


def _reduced(stage: Tensor) -> Tensor:
    """Maps of at most 28×28 numbers, fewer channels where they are large."""
    side = max(stage.shape[2:])
    if side > LARGEST_SIDE:
        stage = F.avg_pool2d(stage, -(-side // LARGEST_SIDE), ceil_mode=True)
    cells = stage.shape[2] * stage.shape[3]
    return stage[:, : 16 if cells <= 144 else 12 if cells <= 400 else 6]


def _encoded(stage: Tensor, levels: int) -> dict[str, Any]:
    n, shown, height, width = stage.shape
    ranges = [
        [significant(float(maps.min())), significant(float(maps.max()))] for maps in stage.double()
    ]
    least, most = torch.tensor(ranges, dtype=torch.float64).T.view(2, n, 1, 1, 1)
    span = torch.where(most > least, most - least, torch.ones_like(most))
    level = ((stage.double() - least) / span * (levels - 1)).round().clamp(0, levels - 1)
    text = "".join(ALPHABET[i] for i in level.long().mT.ravel().tolist())
    return {
        "size": [height, width], "shown": shown, "levels": levels, "ranges": ranges, "text": text,
    }  # fmt: skip


def decode(code: Mapping[str, Any], image: int) -> Tensor:
    """The kept maps (C, h, w) of one image."""
    (height, width), shown = code["size"], code["shown"]
    least, most = code["ranges"][image]
    each = height * width * shown
    letters = code["text"][image * each : (image + 1) * each]
    level = torch.tensor([ALPHABET.index(letter) for letter in letters]).float()
    maps = least + level * (most - least) / (code["levels"] - 1)
    return maps.view(shown, width, height).mT


def significant(value: float, digits: int = SIGNIFICANT) -> float:
    return float(f"{value:.{digits}g}")


def plain(value: float) -> str:
    return f"{0 if abs(value) < 5e-4 else value:.3g}"


def sheet_of(images: Tensor) -> str:
    """uint8 (n, C, H, W) → a PNG of all side by side, as a data URL."""
    n, channels, height, width = images.shape
    pixels = images.permute(2, 0, 3, 1).reshape(height, n * width, channels).numpy()
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(GREYS if channels == 1 else 256).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def viridis() -> str:
    """64 colours from dark to bright, six hexadecimal digits each."""
    colours = matplotlib.colormaps["viridis"].resampled(COLOURS)(range(COLOURS), bytes=True)
    return bytes(colours[:, :3].ravel().tolist()).hex()


class MapWidget(Widget):
    """What both widgets hold: the images, their labels, and which one is shown.

    image: which of the images, from 0; another raises TraitError. index: their numbers in the set.
    """

    _css = Widget._css + (HERE / "maps.css").read_text(encoding="utf-8")

    image = traitlets.Int(0).tag(sync=True)
    sheet = traitlets.Unicode().tag(sync=True)
    picture_size: Any = traitlets.List().tag(sync=True)
    input_shape: Any = traitlets.List().tag(sync=True)
    index: Any = traitlets.List().tag(sync=True)
    labels: Any = traitlets.List().tag(sync=True)
    classes: Any = traitlets.List().tag(sync=True)
    chosen = traitlets.Bool().tag(sync=True)
    ramp = traitlets.Unicode(viridis()).tag(sync=True)

    def __init__(self, samples: Samples, chosen: bool, **state: Any) -> None:
        self.samples = samples
        super().__init__(
            sheet=sheet_of(samples.images), picture_size=list(samples.images.shape[2:]),
            input_shape=list(samples.X.shape[1:]), index=samples.index.tolist(),
            labels=samples.labels.tolist(), classes=list(samples.classes), chosen=chosen, **state,
        )  # fmt: skip

    @traitlets.validate("image")
    def _image_exists(self, proposal: Any) -> int:
        return in_range("image", proposal["value"], len(self.labels))

    def true_class(self) -> str:
        return str(self.classes[self.labels[self.image]])

    def draw_input(self, axes: Axes) -> None:
        picture = self.samples.images[self.image]
        axes.imshow(picture.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray")
        axes.set_title(f"{self.true_class()},\ntest image {self.index[self.image]}", fontsize=8)
        axes.set_axis_off()

    def draw_probabilities(self, axes: Axes, probabilities: Sequence[float]) -> None:
        true = self.labels[self.image]
        names = [f"{c} (true)" if i == true else c for i, c in enumerate(self.classes)]
        colours = [ORANGE if i == true else BLUE for i in range(len(names))]
        bars = axes.barh(range(len(names)), probabilities, color=colours)
        axes.bar_label(bars, [f" {p:.0%}" for p in probabilities], fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlim=(0, 1.25), xticks=[])
        axes.set_title("probability", fontsize=8)
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)


def in_range(name: str, value: int, count: int) -> int:
    if not 0 <= value < count:
        raise traitlets.TraitError(f"{name}={value} must lie between 0 and {count - 1}")
    return value
