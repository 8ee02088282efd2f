"""axe-core over every page: light, dark, and on a phone, with all that folds unfolded."""

import pytest
from axe_playwright_python.sync_playwright import Axe

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 320, "height": 800}
COLOURS = ["color-contrast", "link-in-text-block"]
# how a page is shown, and axe's options: the theme changes colours only, the width all else
WAYS = {
    "light": ({"viewport": DESKTOP, "color_scheme": "light"}, {}),
    "dark": ({"viewport": DESKTOP, "color_scheme": "dark"}, {"runOnly": COLOURS}),
    "phone": ({"viewport": PHONE}, {"rules": {rule: {"enabled": False} for rule in COLOURS}}),
}

# three quarters of a chapter's texts are tokens of code: of those that look alike, one is measured
ALIKE = """() => {
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    const clear = backgroundColor === "rgba(0, 0, 0, 0)" && element.parentElement;
    return clear ? behind(element.parentElement) : backgroundColor;
  };
  const look = (token) => {
    const { color, fontSize, fontWeight, opacity } = getComputedStyle(token);
    return String([color, behind(token), fontSize, fontWeight, opacity]);
  };
  const tokens = [...document.querySelectorAll("pre span")].filter((span) => !span.children.length);
  const looks = tokens.map(look);
  const seen = new Set();
  tokens.forEach((token, i) => {
    if (seen.has(looks[i])) token.replaceWith(token.textContent);
    seen.add(looks[i]);
  });
}"""


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def test_axe_finds_nothing_serious(opened, page_name, way):
    shown, options = way
    # without motion, as axe would measure a colour half way through its change
    page = opened(page_name, reduced_motion="reduce", **shown).page
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme == shown.get("color_scheme", "light")
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.evaluate(ALIKE)
    page.wait_for_timeout(100)
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response
    serious = [
        f"{rule['id']} ({rule['help']}): {node['target']} {node['html'][:120]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    assert serious == []
