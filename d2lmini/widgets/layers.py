"""A network's layers as data that a widget's script can walk."""

from __future__ import annotations

from typing import Any

from torch import nn

from d2lmini.models import GoogLeNetWithAuxiliary, Inception

Layer = dict[str, Any]


def layers_of(net: nn.Module) -> list[Layer]:
    """The layers of one of the book's networks, in the order in which they run.

    A layer is {"name", "kind"} and what sets its shape: out, kernel, stride, padding, ceil. An
    Inception block is {"name", "kind", "branches"}. Raises ValueError for a module that is none
    of the book's.
    """
    return list(_walk(net, ""))


def _walk(module: nn.Module, name: str) -> Any:
    if isinstance(module, nn.Sequential):
        for child_name, child in module.named_children():
            yield from _walk(child, f"{name}.{child_name}" if name else child_name)
    elif isinstance(module, GoogLeNetWithAuxiliary):
        yield from _walk(module.net, "net")
    elif isinstance(module, Inception):
        # four paths side by side; the ReLUs between have no row in a summary either
        names = (("b1",), ("b2_1", "b2_2"), ("b3_1", "b3_2"), ("b4_1", "b4_2"))
        branches = [
            [_layer(getattr(module, part), f"{name}.{part}") for part in branch] for branch in names
        ]
        yield {"name": name, "kind": "Inception", "branches": branches}
    else:
        yield _layer(module, name)


def _layer(module: nn.Module, name: str) -> Layer:
    layer: Layer = {"name": name, "kind": type(module).__name__}
    if isinstance(module, nn.Conv2d):
        layer |= {"out": module.out_channels, **_window(module)}
    elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        layer |= _window(module)
    elif isinstance(module, nn.Linear):
        layer["out"] = module.out_features
    elif any(True for _ in module.children()):
        raise ValueError(f"{name or 'the net'} is a {layer['kind']}, which no widget can walk")
    return layer


def _window(module: Any) -> Layer:
    window = {key: _side(getattr(module, f"{key}_size" if key == "kernel" else key))
              for key in ("kernel", "stride", "padding")}  # fmt: skip
    return window | ({"ceil": True} if getattr(module, "ceil_mode", False) else {})


def _side(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
