"""Builds the book once, serves it on this machine, and drives it with Chromium.

Both are made as hard as a reader or a host may make them: the book is built from a read-only
checkout whose path has spaces and letters beyond ASCII into another folder, and served from deep
below the host's root under a policy that lets a page load nothing from elsewhere and run nothing
that stands in it.

Needs jupyter-book, playwright and a Chromium or Chrome on the PATH; downloads nothing.
Without a browser the tests skip, except where CI is set: there they fail.
"""

import json
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from made import REPOSITORY, build_book, files_in, read_only, served


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
def built(tmp_path_factory, worker_id) -> Path:
    """The folder of the one build: the checkout that it was made from, and what was made."""
    if worker_id == "master":
        return build_from_hard_place(tmp_path_factory.mktemp("Bücher 本"))
    folder = tmp_path_factory.getbasetemp().parent / "Bücher 本"
    with FileLock(f"{folder}.lock"):  # the first of the workers that comes here builds for all
        if not (folder / "complete").exists():
            build_from_hard_place(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def html(built) -> Path:
    """The folder of the built pages."""
    return built / "a book" / "_build" / "html"


def build_from_hard_place(folder: Path) -> Path:
    checkout = folder / "a checkout"
    ours = shutil.ignore_patterns(
        ".*", "_build", "build", "dist", "__pycache__", "*.egg-info", "*.gz"
    )
    shutil.copytree(REPOSITORY, checkout, ignore=ours)
    (folder / "before.json").write_text(json.dumps(files_in(checkout)), encoding="utf-8")
    with read_only(checkout):
        build_book(folder / "a book", checkout)
    return folder


@pytest.fixture(scope="session")
def address(html):
    """http://127.0.0.1:port/… of the served book."""
    with served(html) as where:
        yield where


@dataclass
class Visit:
    """One page in the browser, with everything that it asked for and complained about."""

    page: object
    fetched: list[str] = field(default_factory=list)
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
                seen.fetched.append(route.request.url)
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
