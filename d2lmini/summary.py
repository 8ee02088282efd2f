"""What each layer of a network gives and costs: shapes, parameters, MACs, memory, receptive field.

One MAC is one multiplication and one addition. Convolutions and linear layers are counted;
biases, activations, norms and pools are not, as usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

BYTES_PER_NUMBER = 4  # float32


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

    depth: None gives a row for every module without children; 1 for the net's own children,
    2 for theirs, and so on, each row holding all that is below it.
    The net's parameters, buffers and mode are left as they were.
    """
    modules = dict(_rows_of(net, depth))
    counter = _Counter()
    rows: list[LayerRow] = []
    started: dict[nn.Module, int] = {}
    handles = []

    def before(module: nn.Module, args: Any) -> None:
        started[module] = counter.macs

    def after(module: nn.Module, args: Any, output: Tensor) -> None:
        rows.append(
            LayerRow(
                name=modules[module],
                kind=type(module).__name__,
                output_shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in module.parameters()),
                macs=counter.macs - started[module],
                memory_bytes=output.numel() * BYTES_PER_NUMBER,
                receptive_field=counter.receptive_field_of(output),
            )
        )

    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    X = torch.zeros(1, *input_shape, device=device)
    try:
        for module in modules:
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
        with evaluation_mode(net), counter:
            net(X)
    finally:
        for handle in handles:
            handle.remove()
    return Summary(rows, tuple(input_shape))


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
    if not children or depth == 0:
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
        if isinstance(output, Tensor):
            name = getattr(func, "__name__", "")
            self._count(name, args, output)
            self.fields[id(output)] = self._field(name, args, kwargs or {})
            self.alive.append(output)
        return output

    def _count(self, name: str, args: Any, output: Tensor) -> None:
        if name == "conv2d":
            weight = args[1]  # (C_out, C_in / groups, k, k)
            self.macs += output.numel() * weight[0].numel()
        elif name == "linear":
            self.macs += output.numel() * args[1].shape[1]

    def _field(self, name: str, args: Any, kwargs: Any) -> tuple[int, int, int]:
        inputs = args[0] if isinstance(args[0], (tuple, list)) else args
        known = [self.fields[id(x)] for x in inputs if id(x) in self.fields]
        side, jump, whole = (max(values) for values in zip((1, 1, 1), *known, strict=True))
        if name == "linear":
            return whole, jump, whole
        if name == "conv2d":
            # F.conv2d(input, weight, bias, stride, padding, dilation, groups)
            stride = args[3] if len(args) > 3 else kwargs.get("stride", 1)
            dilation = _last(args[5] if len(args) > 5 else kwargs.get("dilation", 1))
            side, jump = _slide(side, jump, dilation * (args[1].shape[-1] - 1) + 1, stride)
        elif name in ("max_pool2d", "avg_pool2d"):
            kernel = args[1] if len(args) > 1 else kwargs["kernel_size"]
            stride = args[2] if len(args) > 2 else kwargs.get("stride")
            side, jump = _slide(side, jump, kernel, stride or kernel)
        elif name in ("adaptive_avg_pool2d", "mean"):
            side, jump = _slide(side, jump, args[0].shape[-1], 1)
        if name in ("flatten", "view", "reshape") and args[0].dim() == 4:
            return side, jump, _slide(side, jump, args[0].shape[-1], 1)[0]
        return side, jump, max(whole, side)


def _slide(side: int, jump: int, kernel: Any, stride: Any) -> tuple[int, int]:
    return side + (_last(kernel) - 1) * jump, jump * _last(stride)


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
