"""The book where its reader, its host or its data is not what its authors have."""

import json
import re
import subprocess

import pytest
from hostile import ENDS, PAGE, SHOWN, WARNED, hostile, tame, write_book
from made import JUPYTER_BOOK, STRICT, files_in, run_build, served

# What ran that should not have: markup calls ran(name), which is there before all else
RAN = "window.names = []; window.ran = (name) => { window.names.push(name); };"
INLINE = re.compile(r"<script(?![^>]*\s(?:src|type)=)[^>]*>|<[a-z][^<>]*\son[a-z]+\s*=", re.I)
OTHER = "book/other"

STATE = re.compile(
    r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', re.S
)

# Texts that name something: where they name nothing, a figure refuses to be drawn
NAMES_SOMETHING = {
    "ConvArithmetic image", "FiveNetworks axis", "FiveNetworks networks.*.name",
    "SelfCheck questions.*.kind", "ShapeWalk net", "VGGWidth config", "VGGWidth head",
}  # fmt: skip

# A figure drawn and touched again and again, each time with markup in all texts of one place of
# its state, such as questions.*.why; returns the places where it refused to be drawn
POISON = r"""
async ({ module, name, traits, buffers, places }) => {
  const poison = (value, at, place) => {
    if (typeof value === "string" && at === place) {
      const ran = `ran('${name} ${place}')`;
      return `${value}"'><img src="data:," onerror="${ran}"><svg onload="${ran}">`;
    }
    if (Array.isArray(value)) return value.map((v) => poison(v, `${at}.*`, place));
    if (!value || typeof value !== "object" || value instanceof DataView) return value;
    const inside = ([k, v]) => [k, poison(v, at ? `${at}.${k}` : k, place)];
    return Object.fromEntries(Object.entries(value).map(inside));
  };
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  for (const { path, data } of buffers) traits[path[0]] = bytes(data);
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const refused = [];
  for (const place of places) {
    const bad = poison(traits, "", place);
    const el = document.createElement("div");
    document.body.append(el);
    const model = {
      get: (key) => bad[key], set: (key, value) => { bad[key] = value; },
      on() {}, off() {}, save_changes() {}, send() {},
    };
    try {
      await widget.render({ model, el });
    } catch {
      refused.push(place);
    }
    for (const input of el.querySelectorAll("input, button, select")) {
      try {
        input.dispatchEvent(new Event("input", { bubbles: true }));
        input.click();
      } catch {}
    }
    await new Promise((done) => setTimeout(done, 20)); // for what loads or draws later
    el.remove();
  }
  return refused;
}
"""


# ---------------------------------------------------------------------------- builds


def test_a_second_build_leaves_unchanged_pages_as_they_are(tmp_path):
    source = write_book(tmp_path / "source", tame(), {OTHER: "# Other\n\nBefore.\n"})
    assert run_build(tmp_path, source).returncode == 0
    page, other = (tmp_path / "_build" / "html" / f"{name}.html" for name in (PAGE, OTHER))
    first = page.read_text("utf-8")
    assert "export default {}" in first
    (source / f"{OTHER}.md").write_text("# Other\n\nAfter.\n", encoding="utf-8")
    assert run_build(tmp_path, source).returncode == 0
    assert page.read_text("utf-8") == first
    assert "After." in other.read_text("utf-8")


@pytest.mark.soak
def test_two_builds_at_once_into_one_folder(tmp_path):
    pages = {f"book/page{i}": f"# Page {i}\n\nText.\n" for i in range(40)}
    source = write_book(tmp_path / "source", tame(), pages)
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert run_build(alone, source).returncode == 0
    command = [*JUPYTER_BOOK, "build", str(source), "--path-output", str(shared), *STRICT]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    logs = [build.communicate()[0] for build in both]
    assert [build.returncode for build in both] == [0, 0], "\n\n".join(logs)
    for page in (alone / "_build" / "html").rglob("*.html"):
        twin = shared / page.relative_to(alone)
        assert twin.read_text("utf-8") == page.read_text("utf-8"), twin


# ---------------------------------------------------------------------------- data


@pytest.fixture(scope="module")
def hostile_book(tmp_path_factory):
    """What the strict build said, and the page that it made all the same."""
    folder = tmp_path_factory.mktemp("hostile book")
    done = run_build(folder, write_book(folder / "source", hostile(), {}))
    return done, folder / "_build" / "html"


def test_a_strict_build_refuses_an_output_with_a_script_and_names_its_cell(hostile_book):
    done, _ = hostile_book
    assert done.returncode != 0
    warned = r"notebook\.ipynb:\d+: WARNING: cell (\d+), .* holds (.*), which"
    said = {what: int(number) for number, what in re.findall(warned, done.stdout)}
    cells = hostile().cells
    places = {
        what: 1 + next(i for i, cell in enumerate(cells) if given in (cell.source, shown(cell)))
        for what, given in WARNED.items()
    }
    assert said == places


def shown(cell):
    return cell.outputs[0].get("data") if cell.get("outputs") else None


def test_no_data_runs_a_script(browser, hostile_book):
    """From disk, where no policy guards the page."""
    _, html = hostile_book
    context = browser.new_context()
    context.add_init_script(RAN)
    page = context.new_page()
    page.goto((html / f"{PAGE}.html").as_uri(), wait_until="load")
    article = page.locator("article").inner_text()
    page.evaluate("for (const e of document.querySelectorAll('article a, article b')) e.click()")
    page.wait_for_timeout(300)
    names = page.evaluate("names")
    context.close()
    assert names == []
    assert [name for name in SHOWN if ENDS.format(name) not in article] == []
    assert "ran('html')" in article  # what was refused is shown as text


def test_the_host_of_these_tests_lets_no_script_of_a_page_run(browser, hostile_book):
    """Else the tests under its policy would show nothing."""
    _, html = hostile_book
    page = html / f"{PAGE}.html"
    (html / "slipped.html").write_text(
        page.read_text("utf-8").replace("<article", "<script>ran('slipped')</script><article"),
        encoding="utf-8",
    )
    with served(html) as address:
        context = browser.new_context()
        context.add_init_script(RAN)
        seen = context.new_page()
        seen.goto(f"{address}/slipped.html", wait_until="load")
        names = seen.evaluate("names")
        context.close()
    assert names == []


# ---------------------------------------------------------------------------- the book itself
# last here: another worker may be building it


def test_a_build_elsewhere_writes_nothing_into_the_checkout(built):
    """An administrator may write where it is read-only: so the files are compared too."""
    before = json.loads((built / "before.json").read_text("utf-8"))
    assert files_in(built / "a checkout") == before


def test_no_text_of_a_figures_state_runs_a_script(browser, html):
    context = browser.new_context()
    context.add_init_script(RAN)
    page = context.new_page()
    page.goto("about:blank")
    refused = set()
    for figure in figures(html):
        refused |= {f"{figure['name']} {place}" for place in page.evaluate(POISON, figure)}
    names = page.evaluate("[...new Set(names)]")
    context.close()
    assert names == []
    assert refused == NAMES_SOMETHING


def figures(html):
    """Of the chapters: each kind of figure once for each set of places where it has texts."""
    found = {}
    for path in sorted((html / "chapters").glob("*.html")):
        for saved in STATE.findall(path.read_text("utf-8")):
            page = json.loads(saved)
            for model in page["state"].values():
                state = model["state"]
                if "_esm" not in state:
                    continue
                module, name = state["_esm"], state["_anywidget_id"].rpartition(".")[2]
                if isinstance(module, list):
                    module = "".join(page["texts"][i] for i in module)
                traits = {key: value for key, value in state.items() if key[0] != "_"}
                places = sorted(set(texts_of(traits)))
                found[(name, *places)] = {
                    "module": module, "name": name, "traits": traits, "places": places,
                    "buffers": model.get("buffers", []),
                }  # fmt: skip
    assert len({name for name, *_ in found}) >= 10
    return found.values()


def texts_of(value, place=""):
    """Where a state holds texts; a list's elements are one place."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each, f"{place}.*")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_of(each, f"{place}.{key}" if place else key)


def test_no_page_holds_a_script_of_its_own(html):
    for path in html.rglob("*.html"):
        assert INLINE.findall(path.read_text("utf-8")) == [], path


def test_the_buttons_of_a_page_work_without_scripts_of_its_own(opened):
    page = opened("chapters/lenet").page
    page.evaluate("window.print = () => { window.printed = true; }")
    page.locator(".btn-fullscreen-button").first.click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    page.evaluate("document.querySelector('.btn-download-pdf-button').click()")
    assert page.evaluate("window.printed")
