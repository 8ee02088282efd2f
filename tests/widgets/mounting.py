"""Mounts one widget as a built page does: its saved state, its still picture and
`book/assets/widgets.js`, in a page on disk, without a kernel."""

import json
from contextlib import contextmanager
from pathlib import Path

from ipywidgets.embed import dependency_state

ASSETS = Path(__file__).resolve().parents[2] / "book" / "assets"
PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}">
<head><meta charset="utf-8"><title>widget</title>
<style>
html {{ --pst-color-background: #fff; --pst-color-text-base: #222832;
  --pst-color-text-muted: #48566b; --pst-color-border: #d1d5da; --pst-color-surface: #f3f4f5;
  --book-accent: #1f5f9e; }}
html[data-theme="dark"] {{ --pst-color-background: #14181e; --pst-color-text-base: #ced6dd;
  --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d;
  --book-accent: #8fbdf0; }}
body {{ margin: 8px; background: var(--pst-color-background); color: var(--pst-color-text-base);
  font-family: sans-serif; max-width: 760px; }}
</style></head>
<body><main><h1>widget</h1>{still}</main>
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
<script src="{script}"></script></body></html>
"""


STILLS: dict[str, str] = {}  # by state: to draw a picture takes longer than to open its page


def page_html(widget, theme: str = "light") -> str:
    state = json.dumps({"state": dependency_state([widget], drop_defaults=False)})
    if state not in STILLS:
        STILLS[state] = widget._repr_mimebundle_()[0]["text/html"]
    return PAGE.format(
        theme=theme, still=STILLS[state], state=state.replace("</", "<\\/"),
        script=(ASSETS / "widgets.js").as_uri(),
    )  # fmt: skip


@contextmanager
def mounting(browser, folder: Path):
    """A function: widget → the page that shows it, once drawn. Complaints are an error at the end.

    browser: Playwright's; folder: where the pages are written.
    """
    contexts, complaints = [], []

    def mounted(widget, *, theme="light", width=800, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("request", lambda r: r.url.startswith("http") and complaints.append(r.url))
        file = folder / f"{len(contexts)}.html"
        file.write_text(page_html(widget, theme), encoding="utf-8")
        page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector(".d2l-widget .d2l", timeout=5000)
        return page

    yield mounted
    for context in contexts:
        context.close()
    assert complaints == []
