"""A real browser for the tests: Chromium or Chrome, driven by Playwright."""

import os
import shutil

import pytest

# the headless shell first: the same pages in less processor time
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def browser():
    """Without a browser the tests skip, except where CI is set: there they fail."""
    executable = find_browser()
    if executable is None:
        message = f"no browser on the PATH (looked for {', '.join(BROWSERS)})"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_ARGS)
        yield browser
        browser.close()
