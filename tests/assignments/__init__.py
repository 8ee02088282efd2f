"""Wrong answers to the assignments' questions, as students write them, and what each must score."""

from typing import NamedTuple


class Wrong(NamedTuple):
    """points: of the question's test cells, in order. code: the answer cell below its marker."""

    name: str
    points: tuple[int, ...]
    code: str
