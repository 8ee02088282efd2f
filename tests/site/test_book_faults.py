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

# Each trait of each figure of a page in turn with markup in all its texts, drawn again and again
POISON = r"""
async ({ state, texts }) => {
  const whole = (text) => (Array.isArray(text) ? text.map((i) => texts[i]).join("") : text);
  const poison = (value, name) =>
    typeof value === "string"
      ? `${value}"'><img src="data:," onerror="ran('${name}')"><svg onload="ran('${name}')">`
      : Array.isArray(value)
        ? value.map((v) => poison(v, name))
        : value && typeof value === "object" && !(value instanceof DataView)
          ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, poison(v, name)]))
          : value;
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  let drawn = 0;
  for (const { state: saved, buffers } of Object.values(state)) {
    if (!saved._esm) continue;
    const traits = { ...saved };
    for (const { path, data } of buffers ?? []) traits[path[0]] = bytes(data);
    const url = URL.createObjectURL(new Blob([whole(saved._esm)], { type: "text/javascript" }));
    const { default: widget } = await import(url);
    for (const name of Object.keys(traits).filter((key) => !key.startsWith("_"))) {
      const bad = { ...traits, [name]: poison(traits[name], `${saved._anywidget_id}.${name}`) };
      const el = document.createElement("div");
      document.body.append(el);
      const model = {
        get: (key) => bad[key], set: (key, value) => { bad[key] = value; },
        on() {}, off() {}, save_changes() {}, send() {},
      };
      try {
        await widget.render({ model, el });
        drawn += 1;
      } catch {} // a value that names nothing may be refused
      for (const input of el.querySelectorAll("input, button, select")) {
        try {
          input.dispatchEvent(new Event("input", { bubbles: true }));
          input.click();
        } catch {}
      }
      await new Promise((done) => setTimeout(done, 20)); // for what loads or draws later
      el.remove();
    }
  }
  return drawn;
}
"""


# ---------------------------------------------------------------------------- builds


def test_a_build_elsewhere_writes_nothing_into_the_checkout(built):
    """An administrator may write where it is read-only: so the files are compared too."""
    before = json.loads((built / "before.json").read_text("utf-8"))
    assert files_in(built / "a checkout") == before


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


def test_no_text_of_a_figures_state_runs_a_script(browser, html, chapter_name):
    context = browser.new_context()
    context.add_init_script(RAN)
    page = context.new_page()
    page.goto((html / f"{chapter_name}.html").as_uri(), wait_until="load")
    states = page.locator('script[type="application/vnd.jupyter.widget-state+json"]')
    if not states.count():
        context.close()
        pytest.skip("no figure is on this page")
    state = states.inner_text()
    drawn = page.evaluate(POISON, json.loads(state))
    names = page.evaluate("[...new Set(names)]")
    context.close()
    assert drawn
    assert names == []


def test_no_page_holds_a_script_of_its_own(html):
    for path in html.rglob("*.html"):
        assert INLINE.findall(path.read_text("utf-8")) == [], path


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


def test_the_buttons_of_a_page_work_without_scripts_of_its_own(opened):
    page = opened("chapters/lenet").page
    page.evaluate("window.print = () => { window.printed = true; }")
    page.locator(".btn-fullscreen-button").first.click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    page.evaluate("document.querySelector('.btn-download-pdf-button').click()")
    assert page.evaluate("window.printed")
