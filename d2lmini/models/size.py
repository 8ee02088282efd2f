"""The map size that a stack of layers leaves, read from the layers themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

Window = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d


def output_size(features: nn.Sequential, image_size: int, net: str) -> int:
    """Height (= width) of the map that `features` makes of an image_size × image_size input.

    Only nn.Conv2d and pools change the size; what is nested in an nn.Sequential is walked, and any
    other module (an Inception block) keeps it.
    Raises ValueError if a layer's window does not fit, naming it and the least size that works, or
    if a window is not square.
    """
    failure = _failing_layer(features, image_size)
    if failure is not None:
        least = max(image_size, 0) + 1
        while _failing_layer(features, least) is not None:
            least += 1
        layer, size = failure
        raise ValueError(
            f"image_size={image_size} is too small for {net}: {_describe(layer)} meets a map of "
            f"{size}×{size}; use {least} or more"
        )
    for layer in _windows(features):
        image_size = _slide(layer, image_size)
    return image_size


def _failing_layer(features: nn.Sequential, size: int) -> tuple[Window, int] | None:
    for layer in _windows(features):
        if (out := _slide(layer, size)) < 1:
            return layer, size
        size = out
    return None


def _windows(features: nn.Sequential) -> Iterator[Window]:
    for layer in features:
        if isinstance(layer, nn.Sequential):
            yield from _windows(layer)
        elif isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            yield layer


def _slide(layer: Window, size: int) -> int:
    kernel, stride = _side(layer.kernel_size), _side(layer.stride)
    kernel = _side(getattr(layer, "dilation", 1)) * (kernel - 1) + 1
    if isinstance(layer.padding, str):  # "same", of stride 1, or "valid"
        return size if layer.padding == "same" else (size - kernel) // stride + 1
    padding = _side(layer.padding)
    if not getattr(layer, "ceil_mode", False):
        return (size + 2 * padding - kernel) // stride + 1
    out = math.ceil((size + 2 * padding - kernel) / stride) + 1
    # a last window must start inside the image or its left padding, not in the right padding
    return out - 1 if (out - 1) * stride >= size + padding else out


def _side(value: Any) -> int:
    sides = value if isinstance(value, tuple) else (value,)
    if len({*sides}) != 1:
        raise ValueError(f"a window of {sides} is not square")
    return int(sides[0])


def _describe(layer: Window) -> str:
    kernel, stride = _side(layer.kernel_size), _side(layer.stride)
    kind = "convolution" if isinstance(layer, nn.Conv2d) else "pooling"
    channels = f" to {layer.out_channels} channels" if isinstance(layer, nn.Conv2d) else ""
    return f"the {kernel}×{kernel}/{stride} {kind}{channels}"
