"""The self-check: answered by keys alone, told why, escaped, printed, read without scripts."""

import gzip
import json
import math
import random

import pytest
import test_every_widget as every
from axe_playwright_python.sync_playwright import Axe
from ipywidgets.embed import dependency_state
from samples import self_check

from d2lmini.widgets import ConvArithmetic, ConvStack, SelfCheck, ShapeWalk, choose, number, order

FURTHER_BYTES = 1000  # of the saved state, gzipped, for each self-check of a page after the first


def verdicts(page) -> list[str]:
    """What is said beside each question, "" where nothing is."""
    return [
        each.inner_text() if each.is_visible() else ""
        for each in page.locator(".check-verdict").all()
    ]


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focused(page) -> str:
    return page.evaluate("document.activeElement.textContent || document.activeElement.value || ''")


# ---- by keys alone ----------------------------------------------------------------------------


def test_a_choice_by_keys(mount):
    page = mount(SelfCheck(self_check().questions[0]))
    press(page, "Tab", "Tab", "Enter")
    assert verdicts(page) == ["Choose one first."]
    assert not page.get_by_text("Show the answer").is_visible()
    press(page, "Shift+Tab", "ArrowDown", "Tab")
    assert focused(page) == "Check"
    press(page, "Enter")
    assert verdicts(page) == ["✗ Not right. Each output channel has a kernel of its own."]
    assert focused(page) == "Check"
    press(page, "Tab", "Enter")
    assert page.locator("details p").inner_text().split("\n") == [
        "156", "Six kernels of 25 weights, and six biases.",
    ]  # fmt: skip
    press(page, "Shift+Tab", "Shift+Tab", "ArrowDown")
    assert verdicts(page) == [""]  # it was about another choice
    press(page, "Enter")
    assert verdicts(page) == ["✓ Right. Six kernels of 25 weights, and six biases."]


def test_a_number_by_keys(mount):
    page = mount(
        SelfCheck(
            number("Weights?", 61_706, "All layers.", hints={60_000: "The images?"}),
            number("Share?", 0.62, "Measured.", tolerance=0.01),
        )
    )
    press(page, "Tab")
    for text, verdict in {
        "many": "Write a number in digits, such as 1,234 or 0.5.",
        "60 000": "✗ Not right. The images?",
        "61,707": "✗ Not right. 61,707 is too large.",
        "6": "✗ Not right. 6 is too small.",
        "61,706": "✓ Right. All layers.",
    }.items():
        press(page, "ControlOrMeta+a")
        page.keyboard.type(text)
        assert verdicts(page)[0] == ""
        press(page, "Enter")
        assert verdicts(page) == [verdict, ""]
        assert focused(page) == text
    press(page, "Tab", "Tab")  # over "Check"; a right answer needs no showing
    for text, right in {"0.60": False, "0.61": True, "0.63": True, "0.64": False}.items():
        press(page, "ControlOrMeta+a")
        page.keyboard.type(text)
        press(page, "Enter")
        assert verdicts(page)[1].startswith("✓ Right." if right else "✗ Not right."), text


def test_numbers_are_read_as_people_write_them(module):
    written = {
        "1234": 1234, "1,234": 1234, "1 234": 1234, "1\u202f234": 1234, " 24 ": 24, "0.5": 0.5,
        ".5": 0.5, "24.": 24, "1,234,567.5": 1234567.5, "−3": -3, "+3": 3, "138 357 544": 138357544,
    }  # fmt: skip
    read = module(self_check(), "data.map(m.numberOf)", list(written))
    assert dict(zip(written, read, strict=True)) == written
    not_numbers = ["", " ", "12,34", "0,625", ",123", "1e3", "24 px", "six", "1.2.3", "-", "."]
    assert all(map(math.isnan, module(self_check(), "data.map(m.numberOf)", not_numbers)))


def test_an_order_by_keys(mount):
    items = ["one", "two", "three", "four"]
    page = mount(SelfCheck(order("Count.", items, "By one.")))
    lines = page.get_by_role("option")
    assert lines.all_inner_texts() != items
    press(page, "Tab")
    for place, item in enumerate(items):  # bring each item to its place from below
        at = lines.all_inner_texts().index(item)
        press(page, *["ArrowUp"] * 4, *["ArrowDown"] * at)
        assert focused(page) == item
        press(page, *["Alt+ArrowUp"] * (at - place))
        assert focused(page) == item
    press(page, "Alt+ArrowDown")  # nothing is below
    assert lines.all_inner_texts() == items
    press(page, "Tab", "Enter", "Tab", "Tab", "Enter")  # "Move up", then "Check"
    assert lines.all_inner_texts() == ["one", "two", "four", "three"]
    assert verdicts(page) == ["✗ Not right. Right as far as two; what comes next is not four."]
    assert focused(page) == "Check"
    press(page, "Shift+Tab", "Enter")
    assert focused(page) == "Move down"
    page.wait_for_selector("[aria-live=polite]:text('four: 4 of 4')", state="attached")
    press(page, "Tab", "Enter")
    assert verdicts(page) == ["✓ Right. By one."]


def test_an_order_by_pointer(mount):
    page = mount(SelfCheck(order("Count.", ["one", "two"], "By one.")))
    page.get_by_role("option", name="one").click()
    page.get_by_role("button", name="Move up").click()
    page.get_by_role("button", name="Check").click()
    assert verdicts(page) == ["✓ Right. By one."]


def test_the_first_order_is_never_the_right_one():
    rng = random.Random(0)
    for trial in range(200):
        items = [f"line {rng.random()}" for _ in range(rng.randint(2, 5))]
        start = order(f"Order {trial}", items, "So it is.")["start"]
        assert sorted(start) == list(range(len(items)))
        assert start != sorted(start)


# ---- for everyone -----------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_keeps_the_rules_of_all_widgets(mount, theme):
    seen = every.viewed(mount(self_check()))
    every.test_every_control_has_a_name_and_is_large_enough(seen)
    every.test_it_fits_a_small_phone_and_its_letters_can_be_read(seen, theme)
    every.test_its_script_asks_nobody(self_check())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_answered_it_is_spoken_and_axe_finds_nothing(mount, theme):
    page = mount(self_check(), theme=theme, width=every.SMALL_PHONE)
    page.get_by_label("31").check()
    page.get_by_label("Your answer").fill("24")
    for check in page.get_by_role("button", name="Check").all():
        check.click()
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
            assert summary.bounding_box()["height"] >= 24
    assert [text[:7] for text in verdicts(page)] == ["✗ Not r", "✓ Right", "✗ Not r"]
    page.wait_for_selector(
        "[aria-live=polite]:text('Not right. The first is not')", state="attached"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= every.SMALL_PHONE
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(rule["id"], node["html"]) for rule in found for node in rule["nodes"]] == []


def test_jupyterlab_takes_no_key_from_what_can_be_focused(mount):
    page = mount(self_check())
    bare = page.eval_on_selector_all(
        ".d2l :is(input, button, summary, [tabindex])",
        "all => all.filter((e) => e.dataset.lmSuppressShortcuts !== 'true').length",
    )
    assert bare == 0


def test_print_shows_the_answers_and_no_controls(mount):
    page = mount(self_check())
    page.emulate_media(media="print")
    text = page.locator(".d2l").inner_text()
    assert all(answer in text for answer in ("28 − 5 + 1", "Six kernels", "halves the map"))
    assert "31" in text  # a choice, though its button is gone
    assert not page.locator(".d2l :is(input, button):visible").count()


def test_without_scripts_questions_stand_as_a_list_with_answers_folded(mount):
    widget = self_check()
    page = mount(widget, java_script_enabled=False)
    asked = page.locator(".d2l-widget > ol > li")
    assert asked.count() == 3
    assert asked.nth(0).locator("ul > li").all_inner_texts() == ["6", "31", "156"]
    assert asked.nth(0).locator("code").inner_text() == "nn.Conv2d(1, 6, 5)"
    assert asked.nth(0).locator("em").inner_text() == "included"
    start = asked.nth(2).locator("ul > li").all_inner_texts()
    assert start != ["3×3 convolution", "ReLU", "2×2 max-pool"]
    answer = asked.nth(1).locator("details p")
    assert not answer.is_visible()
    asked.nth(1).locator("summary").click()
    assert answer.inner_text() == "24\n28 − 5 + 1 = 24."
    assert (
        "156 – Six kernels" in widget._repr_mimebundle_()[0]["text/plain"].partition("Answers")[2]
    )


@pytest.mark.parametrize("scripts", [True, False])
def test_tags_in_a_text_are_text(mount, scripts):
    bad = '<script>document.title = "bad"</script><img src=x onerror="document.title = 1">'
    widget = SelfCheck(
        choose(f"Q {bad}", {f"{bad} `<b>code</b>`": bad, "other": f"*{bad}*"}, right="other"),
        number(f"N {bad}", 1, bad, hints={2: bad}),
        order(f"O {bad}", [f"one {bad}", f"two {bad}"], bad),
    )
    page = mount(widget, java_script_enabled=scripts)
    if scripts:
        page.get_by_role("radio").first.check()
        page.get_by_label("Your answer").fill("2")
        for check in page.get_by_role("button", name="Check").all():
            check.click()
    assert page.locator(":is(.d2l, .d2l-widget) :is(script, img, b)").count() == 0
    assert page.locator(".d2l-widget code").first.inner_text() == "<b>code</b>"
    text = page.locator(".d2l-widget").text_content()
    assert all(f"{letter} {bad}" in text for letter in "QNO")
    assert page.title() == "widget"


# ---- in Python --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choose("Q", {"a": "so", "b": "so"}, right="c"), "right='c' is none of"),
        (lambda: choose("Q", {"a": "so"}, right="a"), "two choices or more"),
        (lambda: choose("Q", {"a": "so", "a ": "so"}, right="a"), "all different"),
        (lambda: choose("Q", {"a": "so", "b": ""}, right="a"), "why of 'b'"),
        (lambda: choose(" ", {"a": "so", "b": "so"}, right="a"), "a question must be"),
        (lambda: number("Q", math.nan, "so"), "finite numbers, not nan"),
        (lambda: number("Q", "24", "so"), "finite numbers, not '24'"),
        (lambda: number("Q", 24, ""), "why must be"),
        (lambda: number("Q", 24, "so", tolerance=-1), "negative"),
        (lambda: number("Q", 24, "so", tolerance=1, hints={25: "no"}), "counts as right"),
        (lambda: order("Q", ["a"], "so"), "two lines or more"),
        (lambda: order("Q", ["a", "b", "a"], "so"), "all different"),
        (lambda: order("Q", "abc", "so"), "a sequence of lines"),
        (lambda: SelfCheck(), "needs a question"),
        (lambda: SelfCheck("Q"), "'Q' is no question"),
        (lambda: SelfCheck(*[number("Q", 1, "so")] * 2), "twice"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_value_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_further_self_check_adds_little_to_a_page_with_other_widgets():
    """A notebook saves widgets sorted by their names, and each with its script."""
    others = [ConvArithmetic(), ConvStack(), ShapeWalk()]

    def saved(*checks):
        state = dependency_state([*others, *checks], drop_defaults=False)
        return len(gzip.compress(json.dumps(state, sort_keys=True).encode()))

    first, *further = [
        SelfCheck(number(f"How many is {n} × {n}?", n * n, f"{n} rows of {n}.")) for n in range(8)
    ]
    assert saved(first, *further) - saved(first) <= FURTHER_BYTES * len(further)
