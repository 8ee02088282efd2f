"""Write pictures of every page, for maintainers to look at before a release.

    python tests/site/screenshots.py FOLDER [page ...]

builds the book into a temporary folder and writes, for each page of _toc.yml (or those
named, such as chapters/vgg), `<page>-light.png`, `-dark.png`, `-phone.png` (375 pixels
wide) and `-print.pdf` into FOLDER.
"""

import sys
import tempfile
from pathlib import Path

from made import DESKTOP, PHONE, build_book

from conftest import PAGES

sys.path.append(str(Path(__file__).resolve().parents[1]))

from browser import BROWSER_ARGS, find_browser
from playwright.sync_api import sync_playwright

LOOKS = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}


def main(folder: str, *names: str) -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        html = build_book(Path(scratch))
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_ARGS)
        for look, options in LOOKS.items():
            context = browser.new_context(**options)
            page = context.new_page()
            for name in names or PAGES:
                page.goto((html / f"{name}.html").as_uri(), wait_until="load")
                page.wait_for_timeout(300)
                stem = target / name.replace("/", "-")
                page.screenshot(path=f"{stem}-{look}.png", full_page=True)
                if look == "light":
                    page.pdf(path=f"{stem}-print.pdf", format="A4", print_background=False)
            context.close()
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
