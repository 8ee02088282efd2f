"""How the tests build the book, the host that serves it to them, and how they look at it."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parents[2]
JUPYTER_BOOK = (sys.executable, "-c", "from jupyter_book.cli.main import main; main()")
STRICT = ("-W", "-n", "--keep-going")
PLACE = "/a class/Übungen/book"  # below the host's root
DESKTOP = {"width": 1280, "height": 900}
PHONE, SMALL_PHONE = {"width": 375, "height": 800}, {"width": 320, "height": 800}
# Nothing from other hosts; no inline script, no eval. Beyond 'self': the widgets' modules are made
# from text (blob:), formulas and figures have styles of their own, and pictures and icons stand
# in pages and style sheets (data:). README.md states it.
POLICY = (
    "default-src 'self'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def files_in(folder: Path) -> dict[str, list[int]]:
    """What tells whether anything was written there: a path's size and time of change."""
    return {
        str(path.relative_to(folder)): [path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


@contextmanager
def read_only(folder: Path):
    """Nobody but an administrator can write there, for as long as it takes."""
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def build_book(output: Path, source: Path = REPOSITORY) -> Path:
    done = run_build(output, source)
    assert done.returncode == 0, f"the strict build failed:\n{done.stdout[-6000:]}"
    return output / "_build" / "html"


def run_build(output: Path, source: Path) -> subprocess.CompletedProcess:
    """What `make book` does, into another folder."""
    return subprocess.run(
        [*JUPYTER_BOOK, "build", str(source), "--path-output", str(output), *STRICT],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
    )  # fmt: skip


class PlainHost(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    place = ""

    def log_message(self, *args):
        pass


class StrictHost(PlainHost):
    """Serves a folder below `PLACE`, and nothing else, under `POLICY`."""

    place = PLACE

    def translate_path(self, path):
        below = path.removeprefix(quote(PLACE))
        return super().translate_path(below) if below != path else "nowhere/"

    def end_headers(self):
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


@contextmanager
def served(folder: Path, host=StrictHost):
    """The address of a folder, on a strict host unless another is given."""
    handler = functools.partial(host, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{quote(host.place)}"
        server.shutdown()


def switch_theme(page, theme: str) -> None:
    """Press the page's own button until the theme is on."""
    for _ in range(3):  # light, dark, as the system
        if page.evaluate("document.documentElement.dataset.mode") == theme:
            break
        page.locator(".theme-switch-button").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
