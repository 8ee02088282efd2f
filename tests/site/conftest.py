"""Builds the book once, serves it on this machine, and drives it with Chromium.

Needs jupyter-book, playwright and a Chromium or Chrome on the PATH; downloads nothing.
Without a browser the tests skip, except where CI is set: there they fail.
"""

import functools
import http.server
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[2]


def toc_pages() -> list[str]:
    """Document names in the order of _toc.yml, such as "chapters/lenet"."""

    def walk(node):
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections"):
                yield from walk(node.get(key, []))
        for child in node if isinstance(node, list) else []:
            yield from walk(child)

    return list(walk(yaml.safe_load((REPOSITORY / "_toc.yml").read_text(encoding="utf-8"))))


PAGES = [*toc_pages(), "search"]


@pytest.fixture(scope="session")
def html(tmp_path_factory, worker_id) -> Path:
    """The folder of the built pages. The path has a space, as many users' paths do."""
    if worker_id == "master":
        return build_book(tmp_path_factory.mktemp("built book"))
    output = tmp_path_factory.getbasetemp().parent / "built book"
    with FileLock(f"{output}.lock"):  # the first of the workers that comes here builds for all
        if not (output / "complete").exists():
            build_book(output)
            (output / "complete").touch()
    return output / "_build" / "html"


def build_book(output: Path) -> Path:
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*jupyter_book, "build", str(REPOSITORY), "--path-output", str(output),
               "-W", "-n", "--keep-going"]  # fmt: skip
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        errors="replace", env={**os.environ, "PYTHONUTF8": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"the strict build failed:\n{done.stdout[-6000:]}"
    return output / "_build" / "html"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def address(html):
    """http://127.0.0.1:port of the served book."""
    handler = functools.partial(QuietHandler, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Visit:
    """One page in the browser, with everything that it asked for and complained about."""

    page: object
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str) -> "Visit":
        self.page.goto(url, wait_until="load")
        self.page.wait_for_timeout(100)  # scripts that start after the load event
        return self


def visit(browser, url: str, **context_options):
    """For a fixture to yield from: a `Visit` of the page, in a context of its own."""
    context = browser.new_context(**context_options)
    try:
        seen = Visit(context.new_page())
        own = ("http://127.0.0.1:", "file://", "data:", "blob:")

        def guard(route):
            if route.request.url.startswith(own):
                route.continue_()
            else:
                seen.foreign.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page = seen.page
        page.on("pageerror", lambda error: seen.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and seen.complaints.append(f"{message.type}: {message.text}")
            ),
        )
        page.on(
            "requestfailed",
            lambda request: seen.complaints.append(f"failed: {request.url} {request.failure}"),
        )
        page.on(
            "response",
            lambda response: (
                response.status >= 400
                and seen.complaints.append(f"{response.status}: {response.url}")
            ),
        )
        yield seen.open(url)
    finally:
        context.close()


@pytest.fixture
def opened(browser, address):
    """A function: a page's name, options of the browser's context → its `Visit`."""
    with ExitStack() as visits:

        def open_page(name: str, **context_options) -> Visit:
            seen = contextmanager(visit)(browser, f"{address}/{name}.html", **context_options)
            return visits.enter_context(seen)

        yield open_page


@pytest.fixture(params=PAGES)
def page_name(request) -> str:
    return request.param


@pytest.fixture(params=[name for name in PAGES if name.startswith("chapters/")])
def chapter_name(request) -> str:
    return request.param


@pytest.fixture(scope="session", params=PAGES)
def over_http(request, browser, address):
    yield from visit(browser, f"{address}/{request.param}.html")


@pytest.fixture(scope="session", params=PAGES)
def from_disk(request, browser, html):
    yield from visit(browser, (html / f"{request.param}.html").as_uri())


@pytest.fixture(scope="session", params=PAGES)
def without_script(request, browser, address):
    yield from visit(browser, f"{address}/{request.param}.html", java_script_enabled=False)
