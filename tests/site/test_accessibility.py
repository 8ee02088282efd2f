"""axe-core over every page: light, dark, and on a phone, with all that folds unfolded."""

from axe_playwright_python.sync_playwright import Axe
from made import DESKTOP, SMALL_PHONE, switch_theme

COLOURS = ["color-contrast", "link-in-text-block"]
# of minor or moderate impact, and dear
LESSER = ["region"]

# three quarters of a chapter's texts are tokens of code: of those that look alike, one is measured.
# Tokens of one class are alike in every theme.
ALIKE = """() => {
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    const clear = backgroundColor === "rgba(0, 0, 0, 0)" && element.parentElement;
    return clear ? behind(element.parentElement) : backgroundColor;
  };
  const look = (token) => {
    const { color, fontSize, fontWeight, opacity } = getComputedStyle(token);
    return String([token.className, color, behind(token), fontSize, fontWeight, opacity]);
  };
  const tokens = [...document.querySelectorAll("pre span")].filter((span) => !span.children.length);
  const looks = tokens.map(look);
  const seen = new Set();
  tokens.forEach((token, i) => {
    if (seen.has(looks[i])) token.replaceWith(token.textContent);
    seen.add(looks[i]);
  });
}"""


def test_axe_finds_nothing_serious(opened, page_name):
    """The theme changes colours only, and the width all else: once over the whole page, then over
    its colours in the dark, then over all but the colours on a phone."""
    # without motion, as axe would measure a colour half way through its change
    page = opened(page_name, reduced_motion="reduce", color_scheme="light", viewport=DESKTOP).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.evaluate(ALIKE)
    page.wait_for_timeout(100)
    assert serious(page, {"rules": off(LESSER)}) == []
    switch_theme(page, "dark")
    assert serious(page, {"runOnly": COLOURS}) == []
    page.set_viewport_size(SMALL_PHONE)
    page.wait_for_timeout(500)  # what scrolls now can be reached by keys once the width has settled
    assert serious(page, {"rules": off([*LESSER, *COLOURS])}) == []


def off(rules):
    return {rule: {"enabled": False} for rule in rules}


def serious(page, options):
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response
    return [
        f"{rule['id']} ({rule['help']}): {node['target']} {node['html'][:120]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
