"""What a network's factory may be given, checked before torch sees it.

A factory's source stands in its chapter to the letter, and is short; the check stands around it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from numbers import Integral
from typing import Any, TypeVar

Factory = TypeVar("Factory", bound=Callable[..., Any])

MOST = 1_000_000  # of channels, units, pixels: beyond what any network has
# the least of each argument; None: whole, and the factory says itself what is too small
LEAST = {
    "in_channels": 1, "out_channels": 1, "num_classes": 1, "num_convs": 1, "kernel_size": 1,
    "last_kernel": 1, "stride": 1, "padding": 0, "pool_padding": 0, "image_size": None,
    "ratio": 1,
}  # fmt: skip
STEM_ENTRIES = ([(64, 7, 2, 0)],)  # channels, kernel, stride, padding


def checked(*entries: Any) -> Callable[[Factory], Factory]:
    """A decorator: the factory raises TypeError or ValueError that names the argument and what it
    must be. entries: examples of what `conv_arch` holds; [x] stands for a tuple of one or more like
    x, and only where an example has 0 there may be 0."""

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory)

        @wraps(factory)
        def build(*args: Any, **options: Any) -> Any:
            try:
                given = signature.bind(*args, **options).arguments
            except TypeError:  # too many, too few: Python's own message is best
                given = {}
            for name, value in given.items():
                if name in LEAST:
                    _check_whole(f"{name}={value!r}", value, LEAST[name])
                elif name == "dropout":
                    _check_share(f"{name}={value!r}", value)
                elif name == "hidden":
                    _check_numbers(f"{name}={value!r}", value)
                elif name == "conv_arch":
                    _check_table(name, value, entries)
                elif name == "stem":
                    _check_table(name, value, STEM_ENTRIES)
            if given.get("aux") and "conv_arch" in given:
                _check_auxiliary(given["conv_arch"])
            return factory(*args, **options)

        return build  # type: ignore[return-value]

    return decorate


def _check_whole(shown: str, value: Any, least: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{shown} is a {type(value).__name__}; it must be an int")
    if int(value) > MOST or (least is not None and int(value) < least):
        raise ValueError(f"{shown} must lie between {least or 0} and {MOST:,}")


def _check_share(shown: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{shown} must be a number from 0 to 1")


def _check_numbers(shown: str, value: Any) -> None:
    if not _is_row(value):
        raise TypeError(f"{shown} must be a tuple of ints, () for none")
    for number in value:
        _check_whole(f"{number!r} in {shown}", number, 1)


def _check_table(name: str, table: Any, examples: Sequence[Any]) -> None:
    if not _is_row(table) or not table:
        raise TypeError(f"{name}={table!r} must be a tuple of at least one entry")
    for entry in table:
        example = next((each for each in examples if _has_form(entry, each)), None)
        if example is None:
            like = " or ".join(map(_shown, examples))
            raise ValueError(f"{name} has the entry {entry!r}; it must be like {like}")
        _check_entry(f"the entry {entry!r} of {name}", entry, example)


def _has_form(value: Any, example: Any) -> bool:
    """Whether there are tuples in it where the example has some, and as long."""
    if isinstance(example, str):
        return isinstance(value, str) and value == example
    if isinstance(example, int):
        return not _is_row(value)
    if not _is_row(value) or not value:
        return False
    examples = _as_long(example, value)
    return len(examples) == len(value) and all(map(_has_form, value, examples))


def _check_entry(shown: str, value: Any, example: Any) -> None:
    if isinstance(example, int):
        _check_whole(f"{value!r} in {shown}", value, min(example, 1))
    elif not isinstance(example, str):
        for part, like in zip(value, _as_long(example, value), strict=True):
            _check_entry(shown, part, like)


def _as_long(example: Sequence[Any], value: Sequence[Any]) -> Sequence[Any]:
    return example * len(value) if isinstance(example, list) else example


def _shown(example: Any) -> str:
    if not _is_row(example):
        return repr(example)
    return f"({', '.join([*map(_shown, example), *(['…'] if isinstance(example, list) else [])])})"


def _check_auxiliary(conv_arch: Sequence[Any]) -> None:
    """The two heads follow the first and the fourth block of the second stage of three."""
    if len(conv_arch) != 3 or len(conv_arch[1]) < 4:
        blocks = " and ".join(str(len(stage)) for stage in conv_arch)
        raise ValueError(
            "aux=True wants a conv_arch of three stages, the second of four blocks or more; "
            f"this one has stages of {blocks}"
        )


def _is_row(value: Any) -> bool:
    return isinstance(value, (tuple, list))
