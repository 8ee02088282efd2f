"""A widget's page and a widget's script, each for one test."""

import pytest
from mounting import mounting


@pytest.fixture
def mount(browser, tmp_path):
    """`mounting` for one test."""
    with mounting(browser, tmp_path) as mounted:
        yield mounted


@pytest.fixture
def module(browser):
    """A function: widget, JavaScript → what the expression gives, with the names that the
    widget's script exports at hand as properties of `m` and `data` as given."""
    page = browser.new_page()

    def evaluate(widget, expression, data=None):
        return page.evaluate(
            f"""async ([source, data]) => {{
                const url = URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }}));
                const m = await import(url);
                return ({expression});
            }}""",
            [str(widget._esm), data],
        )

    yield evaluate
    page.close()
