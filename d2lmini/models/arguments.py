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
    "ratio": None,
}  # fmt: skip


def checked(*lengths: int) -> Callable[[Factory], Factory]:
    """A decorator: the factory raises TypeError or ValueError that names the argument and what it
    must be. lengths: how many numbers an entry of `conv_arch` may have; none given, any."""

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
                elif name in ("conv_arch", "stem"):
                    _check_table(name, value, lengths)
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


def _check_table(name: str, table: Any, lengths: Sequence[int]) -> None:
    if not _is_row(table) or not table:
        raise TypeError(f"{name}={table!r} must be a tuple of at least one entry")
    for entry in table:
        if isinstance(entry, str) and entry == "M" and 4 in lengths:
            continue
        if not _is_row(entry) or not entry or (lengths and len(entry) not in lengths):
            long = f" of {' or '.join(map(str, lengths))} numbers" if lengths else ""
            raise ValueError(f"{name} has the entry {entry!r}; it must be a tuple{long}")
        _check_entry(f"the entry {entry!r} of {name}", entry, name == "stem" or 4 in lengths)


def _check_entry(shown: str, entry: Sequence[Any], with_padding: bool) -> None:
    for i, part in enumerate(entry):
        if _is_row(part):
            _check_entry(shown, part, with_padding)
        else:  # of (channels, kernel, stride, padding) the padding may be 0
            _check_whole(f"{part!r} in {shown}", part, 0 if with_padding and i == 3 else 1)


def _is_row(value: Any) -> bool:
    return isinstance(value, (tuple, list))
