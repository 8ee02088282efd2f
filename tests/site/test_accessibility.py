"""axe-core over every page: light, dark, and on a phone, with all that folds unfolded."""

from axe_playwright_python.sync_playwright import Axe
from made import DESKTOP, SMALL_PHONE, switch_theme

CONTRAST, LINKS = "color-contrast", "link-in-text-block"
# of minor or moderate impact, and dear
LESSER = ["region"]

# What decides a text's contrast. What is hidden or a single character, axe does not measure: "".
LOOK = """
  const surroundings = new Map([[null, ""]]);  // of an element: all that is painted behind it
  const around = (element) => {
    if (!surroundings.has(element)) {
      const { backgroundColor, backgroundImage, opacity, filter, clip, clipPath } =
        getComputedStyle(element);
      const own = String([backgroundColor, backgroundImage, opacity, filter, clip, clipPath]);
      const clear = own === "rgba(0, 0, 0, 0),none,1,none,auto,none";
      const above = around(element.parentElement);
      surroundings.set(element, clear ? above : `${own} on ${above}`);
    }
    return surroundings.get(element);
  };
  const look = (element) => {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
    const long = texts.map((node) => node.data.trim()).join("").length > 1;
    const field = element.matches("input, select, textarea");
    if (!(long || field) || !element.checkVisibility({ visibilityProperty: true })) return "";
    const { color, fontSize, fontWeight, textShadow, position } = getComputedStyle(element);
    return String([color, fontSize, fontWeight, textShadow, position, around(element)]);
  };
  const seen = new Set();
"""

# Three quarters of a chapter's elements are tokens of code: one of each stays. Those of one class
# are alike in every theme.
ONE_OF_EACH_TOKEN = f"""() => {{
  {LOOK}
  const tokens = [...document.querySelectorAll("pre span")].filter((span) => !span.children.length);
  const looks = tokens.map((token) => look(token) && `${{token.className}} ${{look(token)}}`);
  tokens.forEach((token, i) => {{
    if (!looks[i] || seen.has(looks[i])) token.replaceWith(token.textContent);
    seen.add(looks[i]);
  }});
}}"""

# Of the texts that look alike, the first is measured; the rest, and what holds nothing else, are
# marked.
MARK_ALIKE = f"""() => {{
  {LOOK}
  for (const old of document.querySelectorAll("[data-alike]")) old.removeAttribute("data-alike");
  const visit = (element) => {{  // whether nothing in it is new
    const looks = look(element);
    const alike = !looks || seen.has(looks);
    seen.add(looks);
    const spare = [...element.children].filter(visit);
    if (alike && spare.length === element.childElementCount) return true;
    for (const child of spare) child.dataset.alike = "";
    return false;
  }};
  visit(document.body);
}}"""


def test_axe_finds_nothing_serious(opened, page_name):
    """The theme changes colours only, and the width all else: once over the whole page, then over
    its colours in the dark, then over all but the colours on a phone."""
    # without motion, as axe would measure a colour half way through its change
    page = opened(page_name, reduced_motion="reduce", color_scheme="light", viewport=DESKTOP).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.evaluate(ONE_OF_EACH_TOKEN)
    page.wait_for_timeout(100)
    assert serious(page, {"rules": off([*LESSER, CONTRAST])}) == []
    assert low_contrast(page) == []
    switch_theme(page, "dark")
    assert low_contrast(page) == []
    assert serious(page, {"runOnly": [LINKS]}) == []
    page.set_viewport_size(SMALL_PHONE)
    page.wait_for_timeout(500)  # what scrolls now can be reached by keys once the width has settled
    assert serious(page, {"rules": off([*LESSER, CONTRAST, LINKS])}) == []


def low_contrast(page):
    page.evaluate(MARK_ALIKE)
    return serious(page, {"runOnly": [CONTRAST]}, {"exclude": ["[data-alike]"]})


def off(rules):
    return {rule: {"enabled": False} for rule in rules}


def serious(page, options, context=None):
    options = {"resultTypes": ["violations"], **options}
    found = Axe().run(page, context=context, options=options).response
    return [
        f"{rule['id']} ({rule['help']}): {node['target']} {node['html'][:120]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
