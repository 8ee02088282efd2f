"""A widget in JupyterLab itself: a key on its slider and its button reach Python."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "for-this-test-alone"
STARTS_WITHIN = 60  # seconds, on a machine busy with other work
TRAINS_WITHIN = 300  # seconds; without fast bf16 most of a minute, longer beside another test
PRESS = 2000  # ms in which a click arrives, unless something lies over its place
NOTEBOOK = """
from functools import partial
from pathlib import Path
from d2lmini.widgets import vgg_width

few = partial(vgg_width.load_data_fashion_mnist, subset=256, validation=256)
vgg_width.load_data_fashion_mnist = few  # the button's training in seconds
widget = vgg_width.VGGWidth(ratio=4)
widget.observe(lambda change: Path("seen").write_text(str(change.new)), names="ratio")
widget.observe(lambda change: Path("trained").write_text(change.new), names="progress")
widget
"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab over a folder with one notebook, and the folder."""
    if importlib.util.find_spec("jupyterlab") is None:
        message = "no jupyterlab: pip install -r requirements.txt"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.strip())])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "widget.ipynb")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
           "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")  # fmt: skip
    environment = {name: str(tmp_path / name.lower()) for name in own}
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(server, f"{address}/api/status?token={TOKEN}", log)
        yield address, folder
    finally:
        server.terminate()  # which ends its kernels too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(server: subprocess.Popen, url: str, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text('utf-8')[-2000:]}")


def test_a_slider_fires_observe_and_the_button_trains(browser, lab):
    address, folder = lab
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(STARTS_WITHIN * 1000)
    own = "http://127.0.0.1:"
    context.route(
        "**/*",
        lambda route: (
            route.continue_() if route.request.url.startswith((own, "data:", "blob:"))
            else route.abort()
        ),
    )  # fmt: skip
    page = context.new_page()
    page.goto(f"{address}/doc/tree/widget.ipynb?token={TOKEN}")
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    run_first_cell(page)
    slider = page.locator(".jp-OutputArea .d2l input[type=range]").first
    slider.wait_for()
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before
    assert eventually(folder / "seen") == "8"
    page.keyboard.press("ArrowLeft")
    assert eventually(folder / "seen", other_than="8") == "4"
    page.get_by_role("button", name="Train this one").click()
    trained = page.get_by_text(re.compile(r"test accuracy 0\.\d+ after \d+ s"))
    trained.wait_for(timeout=TRAINS_WITHIN * 1000)
    assert "test accuracy" in (folder / "trained").read_text("utf-8")
    context.close()


def run_first_cell(page) -> None:
    """Press until it runs: while JupyterLab is still putting the notebook up, keys get lost.

    On a busy machine it may ask for a kernel before it has found the notebook's own; its
    dialogs' answers are the ready ones.
    """
    from playwright.sync_api import TimeoutError  # as in browser.py: not every install has it

    cell, dialog = page.locator(".jp-Notebook .jp-Cell").first, page.locator(".jp-Dialog").first
    until, asked = time.monotonic() + STARTS_WITHIN, []
    while time.monotonic() < until:
        with suppress(TimeoutError):  # a dialog came up meanwhile
            if dialog.is_visible():
                asked.append(dialog.inner_text(timeout=PRESS))
                dialog.locator(".jp-mod-accept").click(timeout=PRESS)
            cell.locator(".cm-content").click(timeout=PRESS)
            page.keyboard.press("Control+Enter")
            page.wait_for_timeout(500)
            if cell.locator(".jp-InputPrompt").inner_text() != "[ ]:":
                return
    pytest.fail(f"the cell did not run; JupyterLab asked {asked}")


def eventually(file: Path, other_than: str = "") -> str:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        text = file.read_text("utf-8") if file.is_file() else ""
        if text not in ("", other_than):
            return text
        time.sleep(0.05)
    return "nothing"
