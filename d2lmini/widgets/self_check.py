"""Questions after a section, answered in place: choose, write a number, put into order."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

from d2lmini.widgets.base import HERE, Widget, script

Question = dict[str, Any]  # plain data: "kind", "text", and what the kind wants
MARKS = re.compile(r"`([^`]+)`|\*([^\s*](?:[^*]*[^\s*])?)\*")
KINDS = ("choose", "number", "order")
TITLE = "Check yourself"


def choose(text: str, choices: Mapping[str, str], right: str) -> Question:
    """A question with one right choice among several.

    choices: each choice, and why it is right or wrong; right: the right one. Raises ValueError
    for fewer than two choices, an empty text, or a right one that is not among them.
    """
    texts = [_text(choice, "a choice") for choice in choices]
    if len({" ".join(choice.split()) for choice in texts}) < max(2, len(texts)):
        raise ValueError(f"{text!r} needs two choices or more, all different, not {texts}")
    if right not in choices:
        raise ValueError(f"right={right!r} is none of the choices of {text!r}: {texts}")
    pairs = [[choice, _text(why, f"why of {choice!r}")] for choice, why in choices.items()]
    return _question("choose", text, choices=pairs, right=texts.index(right))


def number(
    text: str,
    right: float,
    why: str,
    *,
    tolerance: float = 0,
    hints: Mapping[float, str] | None = None,
) -> Question:
    """A question whose answer is a number, written as `1234`, `1,234`, `1 234` or `0.5`.

    tolerance: how far off still counts as right; hints: what to say of a known wrong number.
    Raises ValueError for a number that is not finite, a negative tolerance, an empty text, or a
    hint for a number that counts as right.
    """
    hints = hints or {}
    for value in (right, tolerance, *hints):
        if type(value) is bool or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{text!r} needs finite numbers, not {value!r}")
    if tolerance < 0:
        raise ValueError(f"tolerance={tolerance} of {text!r} is negative: use 0 or more")
    for wrong in hints:
        if abs(wrong - right) <= tolerance:
            raise ValueError(f"{text!r} has a hint for {wrong}, which counts as right")
    pairs = [[wrong, _text(hint, f"the hint for {wrong}")] for wrong, hint in hints.items()]
    return _question(
        "number", text, right=right, tolerance=tolerance, why=_text(why, "why"), hints=pairs
    )


def order(text: str, items: Sequence[str], why: str) -> Question:
    """Lines to put into order; `items` is the right one, and the reader starts from another.

    Raises ValueError for fewer than two lines, two that are alike, or an empty text.
    """
    if isinstance(items, str):
        raise ValueError(f"{text!r} needs a sequence of lines, not the text {items!r}")
    lines = [_text(item, "a line") for item in items]
    if len({" ".join(line.split()) for line in lines}) < max(2, len(lines)):
        raise ValueError(f"{text!r} needs two lines or more, all different, not {lines}")
    return _question(
        "order", text, items=lines, start=_shuffled(text, lines), why=_text(why, "why")
    )


def _question(kind: str, text: str, **data: Any) -> Question:
    return {"kind": kind, "text": _text(text, "a question"), **data}


def _text(text: object, what: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} must be a text that is not empty, not {text!r}")
    return text


def _shuffled(text: str, items: Sequence[str]) -> list[int]:
    """Places in `items` that look like chance, but are always the same and never in order."""
    places = list(range(len(items)))
    places.sort(key=lambda i: hashlib.sha256(f"{text}\n{items[i]}".encode()).digest())
    return places if places != sorted(places) else [*places[1:], places[0]]


class SelfCheck(anywidget.AnyWidget):
    """Questions to check oneself with, made by `choose`, `number` and `order`.

    A reader learns at once whether an answer is right, and why; another try is free, and nothing is
    graded or kept. Texts may hold `code` in backticks and *emphasis* in asterisks; all else,
    tags included, is shown as it is written. Raises ValueError for no question, for one that
    none of the three has made, or for the same one twice.
    """

    _esm = script("self_check.js")
    _css = Widget._css + (HERE / "self_check.css").read_text(encoding="utf-8")

    questions = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, *questions: Question, **kwargs: Any) -> None:
        if not questions:
            raise ValueError("SelfCheck needs a question: choose(…), number(…) or order(…)")
        for question in questions:
            if not isinstance(question, dict) or question.get("kind") not in KINDS:
                raise ValueError(f"{question!r} is no question: use choose, number or order")
        texts = [question["text"] for question in questions]
        if len(set(texts)) < len(texts):
            raise ValueError(f"a question is there twice: {texts}")
        # A notebook sorts what it saves by these names. Side by side, the scripts of all of a
        # page's self-checks compress to little more than one; with others between, they do not.
        for_layout, own = ("0" * 8 + kind + uuid4().hex[9:] for kind in "01")
        super().__init__(
            questions=list(questions), layout={"model_id": for_layout}, model_id=own, **kwargs
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**kwargs)  # Colab's has metadata
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        items = "\n".join(map(_html, self.questions))
        still = (
            f'<div class="d2l-widget" data-model="{self.model_id}">\n'
            f"<p><strong>{TITLE}</strong></p>\n<ol>\n{items}\n</ol>\n</div>"
        )
        text = "\n".join([f"SelfCheck: {TITLE}", *_plain(self.questions)])
        return data | {"text/plain": text, "text/html": still}, metadata


def _answer(question: Question) -> tuple[str, str]:
    """The right answer and why."""
    if question["kind"] == "choose":
        answer, why = question["choices"][question["right"]]
        return answer, why
    if question["kind"] == "number":
        return f"{question['right']:,}", question["why"]
    return " → ".join(question["items"]), question["why"]


def _lines(question: Question) -> list[str]:
    """What a reader picks from, in the order in which it is shown."""
    if question["kind"] == "choose":
        return [choice for choice, _ in question["choices"]]
    if question["kind"] == "order":
        return [question["items"][place] for place in question["start"]]
    return []


def _html(question: Question) -> str:
    """The question as an item of a list, its answer folded."""
    lines = "".join(f"<li>{_marked(line)}</li>" for line in _lines(question))
    answer, why = map(_marked, _answer(question))
    return (
        f"<li>{_marked(question['text'])}{f'<ul>{lines}</ul>' if lines else ''}\n<details>"
        f"<summary>Answer</summary><p><strong>{answer}</strong><br>{why}</p></details></li>"
    )


def _plain(questions: Sequence[Question]) -> list[str]:
    """The questions as lines of text, the answers below them all."""
    asked = []
    for i, question in enumerate(questions, 1):
        asked += [f"{i}. {question['text']}", *(f"   - {line}" for line in _lines(question))]
    return [
        *asked,
        "Answers",
        *(f"{i}. {' – '.join(_answer(q))}" for i, q in enumerate(questions, 1)),
    ]


def _marked(text: str) -> str:
    """HTML of a text whose only markup is `code` and *emphasis*."""

    def element(match: re.Match[str]) -> str:
        tag = "code" if match[1] else "em"
        return f"<{tag}>{match[1] or match[2]}</{tag}>"

    return MARKS.sub(element, escape(text))
