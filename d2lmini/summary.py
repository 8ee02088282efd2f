"""What each layer of a network gives and costs: shapes, parameters, MACs, memory, receptive field.

One MAC is one multiplication and one addition. Convolutions and linear layers are counted;
biases, activations, norms and pools are not, as usual.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

BYTES_PER_NUMBER = 4  # float32
MOST_INPUTS = 2**30  # numbers of an image


@dataclass(frozen=True)
class LayerRow:
    """One layer, for one image. receptive_field: side in input pixels of what one output sees."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch: (C, H, W) or (units,)
    parameters: int
    macs: int
    memory_bytes: int  # of the output, float32
    receptive_field: int


class Summary(Sequence[LayerRow]):
    """The rows of a network in the order in which they ran, with totals; a table when shown."""

    def __init__(self, rows: Sequence[LayerRow], input_shape: tuple[int, ...]) -> None:
        self.rows = tuple(rows)
        self.input_shape = input_shape

    @overload
    def __getitem__(self, index: int) -> LayerRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerRow]: ...
    def __getitem__(self, index: int | slice) -> LayerRow | Sequence[LayerRow]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def memory_bytes(self) -> int:
        return sum(row.memory_bytes for row in self.rows)

    def __str__(self) -> str:
        table = list(_cells(self))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for row in table:
            left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        names, *others = _cells(self)
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
        *body, total = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in others)
        rows = "\n".join(f"<tr>{row}</tr>" for row in body)
        return (
            '<div class="table-scroll"><table class="layer-walk">\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
            f"<tfoot><tr>{total}</tr></tfoot>\n</table></div>"
        )


def summarize(net: nn.Module, input_shape: Sequence[int], *, depth: int | None = None) -> Summary:
    """Run one image of `input_shape` (C, H, W) through the net and count what each layer does.

    depth: None gives a row for every module without children, or with parameters of its own; 1
    for the net's own children, 2 for theirs, and so on, each row holding all that is below it.
    A module that runs twice has two rows; its parameters are counted in the first.
    The net's parameters, buffers and mode are left as they were.
    Raises TypeError or ValueError for a net, shape or depth that cannot be used; ValueError names
    the layer if an image of that shape does not go through the net.
    """
    shape = _input_shape(input_shape)
    _check_net(net, depth)
    modules: dict[nn.Module, str] = {}
    for module, name in _rows_of(net, depth):
        modules.setdefault(module, name)
    counter = _Counter()
    rows: list[LayerRow] = []
    started: dict[nn.Module, int] = {}
    running = ["its start"]
    counted: set[nn.Parameter] = set()
    handles = []

    def before(module: nn.Module, args: Any) -> None:
        started[module] = counter.macs
        running[:] = [f"{modules[module]} ({type(module).__name__})"]

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"it gives a {type(output).__name__}, not one tensor")
        new = set(module.parameters()) - counted
        counted.update(new)
        rows.append(
            LayerRow(
                name=modules[module],
                kind=type(module).__name__,
                output_shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in new),
                macs=counter.macs - started[module],
                memory_bytes=output.numel() * BYTES_PER_NUMBER,
                receptive_field=counter.receptive_field_of(output),
            )
        )

    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    X = torch.zeros(1, *shape, device=like.device, dtype=like.dtype)
    try:
        for module in modules:
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
        with evaluation_mode(net), counter:
            net(X)
    except (RuntimeError, ValueError, IndexError) as error:  # torch's, of shapes that do not fit
        reason = str(error).partition("\n")[0]
        image = " × ".join(map(str, shape))
        raise ValueError(
            f"an image of {image} (input_shape) does not go through the net, at {running[0]}: "
            f"{reason}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return Summary(rows, shape)


def _input_shape(sides: Any) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(side) for side in sides)
    except TypeError:
        raise TypeError(f"input_shape={sides!r} must be whole numbers, (C, H, W)") from None
    if not shape or min(shape) < 1 or math.prod(shape) > MOST_INPUTS:
        raise ValueError(
            f"input_shape={shape} must be (C, H, W), each 1 or more, up to {MOST_INPUTS:,} in all"
        )
    return shape


def _check_net(net: Any, depth: Any) -> None:
    if not isinstance(net, nn.Module):
        raise TypeError(f"{net!r} is a {type(net).__name__}; summarize wants a built nn.Module")
    if depth is not None and (not isinstance(depth, int) or depth < 0):
        raise ValueError(f"depth={depth!r} must be None or a whole number of 0 or more")
    if any(is_lazy(parameter) for parameter in net.parameters()):
        raise ValueError("the net has lazy layers, whose sizes are unknown; run a batch first")


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Within it the net predicts and keeps no gradients; then each module's mode is as before."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _rows_of(module: nn.Module, depth: int | None, name: str = "") -> Iterator[Any]:
    """(module, dotted name) of each module that gets a row."""
    children = list(module.named_children())
    own = next(module.parameters(recurse=False), None)
    if not children or own is not None or depth == 0:
        yield module, name
        return
    for child_name, child in children:
        path = f"{name}.{child_name}" if name else child_name
        yield from _rows_of(child, None if depth is None else depth - 1, path)


class _Counter(TorchFunctionMode):
    """Sees every torch function that the net calls: counts MACs, follows receptive fields.

    A field is (side, jump, all): the input pixels one number sees along a side, the input pixels
    between neighbours, and what all numbers of a flattened map see together. A layer of kernel k
    and stride s makes side + (k - 1) · jump and jump · s; a linear layer sees all.
    Source: Araujo, Norris and Sim (2019), "Computing receptive fields of convolutional networks".
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.fields: dict[int, tuple[int, int, int]] = {}
        self.alive: list[Tensor] = []  # keeps each id in `fields` from being used again

    def receptive_field_of(self, output: Tensor) -> int:
        return self.fields.get(id(output), (1, 1, 1))[0]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        outputs = output if isinstance(output, (tuple, list)) else [output]
        if tensors := [x for x in outputs if isinstance(x, Tensor)]:
            name = getattr(func, "__name__", "")
            given = _Given(name, args, kwargs or {})
            self._count(name, given, tensors[0])
            field = self._field(name, given, tensors[0])
            self.fields.update((id(x), field) for x in tensors)
            self.alive += tensors
        return output

    def _count(self, name: str, given: _Given, output: Tensor) -> None:
        if name in CONVOLUTIONS:
            self.macs += output.numel() * given["weight"][0].numel()  # (C_in / groups, k, k)
        elif name in TRANSPOSED:  # each input number meets (C_out / groups, k, k) weights
            self.macs += given["input"].numel() * given["weight"][0].numel()
        elif name == "linear":
            self.macs += output.numel() * given["weight"].shape[1]

    def _field(self, name: str, given: _Given, output: Tensor) -> tuple[int, int, int]:
        known = [self.fields[id(x)] for x in given.tensors if id(x) in self.fields]
        side, jump, whole = (max(values) for values in zip((1, 1, 1), *known, strict=True))
        if name == "linear":
            return whole, jump, whole
        width = given.tensors[0].shape[-1] if given.tensors and given.tensors[0].dim() else 1
        if (conv := name in CONVOLUTIONS) or name in ("max_pool2d", "avg_pool2d"):
            kernel = given["weight"].shape[-1] if conv else _last(given["kernel_size"])
            stride = _last(given.get("stride", None) or (1 if conv else kernel))
            kernel = _last(given.get("dilation", 1)) * (kernel - 1) + 1
            side, jump = _slide(side, jump, kernel, stride)
        elif name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
            new = output.shape[-1]
            # output i sees the inputs from ⌊i · width / new⌋ to ⌈(i + 1) · width / new⌉
            kernel = max(-(-(i + 1) * width // new) - i * width // new for i in range(new))
            side, jump = _slide(side, jump, kernel, max(1, width // new))
        elif name == "mean":
            side, jump = _slide(side, jump, width, 1)
        if name in ("flatten", "view", "reshape") and given.tensors[0].dim() == 4:
            return side, jump, _slide(side, jump, width, 1)[0]
        return side, jump, max(whole, side)


CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
ARGUMENTS = {
    **dict.fromkeys(CONVOLUTIONS, ("input", "weight", "bias", "stride", "padding", "dilation")),
    **dict.fromkeys(TRANSPOSED, ("input", "weight")),
    "linear": ("input", "weight"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool2d": ("input", "kernel_size", "stride"),
}  # of the functions in torch.nn.functional, in their order


class _Given:
    """What a torch function was called with, by name, whether in its place or by keyword."""

    def __init__(self, name: str, args: Any, kwargs: Any) -> None:
        self.named = dict(zip(ARGUMENTS.get(name, ()), args, strict=False)) | kwargs
        first, *others = [*args, *kwargs.values()] or [None]
        values = [*(first if isinstance(first, (tuple, list)) else [first]), *others]
        self.tensors = [x for x in values if isinstance(x, Tensor)]

    def __getitem__(self, name: str) -> Any:
        return self.named[name]

    def get(self, name: str, default: Any) -> Any:
        return self.named.get(name, default)


def _slide(side: int, jump: int, kernel: int, stride: int) -> tuple[int, int]:
    return side + (kernel - 1) * jump, jump * stride


def _last(value: Any) -> int:
    return value[-1] if isinstance(value, (tuple, list)) else value


def _cells(summary: Summary) -> Iterator[list[str]]:
    yield ["layer", "kind", "output shape", "parameters", "MACs", "output kB", "receptive field"]
    for row in summary:
        yield [
            row.name,
            row.kind,
            " × ".join(map(str, row.output_shape)),
            f"{row.parameters:,}",
            f"{row.macs:,}",
            f"{row.memory_bytes / 1000:,.1f}",
            f"{row.receptive_field}",
        ]
    total = [f"{summary.parameters:,}", f"{summary.macs:,}", f"{summary.memory_bytes / 1000:,.1f}"]
    yield ["total", "", "", *total, ""]
