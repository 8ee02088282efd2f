"""The widgets where Colab runs them: under ipywidgets 7 and IPython 7, installed for this test
alone in front of the ones in use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
IPYWIDGETS, IPYTHON = "7.7.1", "7.34.0"
# with what these import and the present versions no longer bring
OLD = [f"ipywidgets=={IPYWIDGETS}", f"ipython=={IPYTHON}", "ipython-genutils==0.2.0",
       "decorator==5.2.1", "pickleshare==0.7.5", "backcall==0.2.0"]  # fmt: skip

# Displays every sample and questions as a cell does; the answer: sample → its MIME types twice
DISPLAY = """
import json, sys
import IPython, ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from IPython.utils.capture import capture_output
from samples import SAMPLES, self_check

InteractiveShell.instance()
answer = {"versions": [ipywidgets.__version__, IPython.__version__], "samples": {}}
for name, make in {**SAMPLES, "self_check": self_check}.items():
    widget = make()
    with capture_output() as captured:
        display(widget)
    (shown,) = captured.outputs
    bundle, _ = widget._repr_mimebundle_()
    answer["samples"][name] = [sorted(shown.data), sorted(bundle)]
json.dump(answer, sys.stdout)
"""


@pytest.fixture(scope="module")
def old_versions(pytestconfig) -> Path:
    """A folder that holds them, kept between runs."""
    folder = pytestconfig.cache.mkdir(f"ipywidgets-{IPYWIDGETS}-ipython-{IPYTHON}")
    complete = folder / "complete"
    if not complete.is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade",
               "--retries", "1", "--timeout", "10", "--target", str(folder), *OLD]  # fmt: skip
        done = subprocess.run(pip, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            message = f"pip cannot install ipywidgets {IPYWIDGETS}: {done.stderr.strip()[-300:]}"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        complete.touch()
    return folder


def test_every_widget_shows_itself_in_colab(old_versions):
    path = os.pathsep.join(map(str, (old_versions, REPOSITORY, HERE)))
    done = subprocess.run(
        [sys.executable, "-c", DISPLAY], capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    assert answer["versions"] == [IPYWIDGETS, IPYTHON]
    assert "self_check" in answer["samples"]
    for name, (shown, bundle) in answer["samples"].items():
        assert "application/vnd.jupyter.widget-view+json" in shown, name
        stand_in = {"text/html"} if name == "self_check" else {"text/html", "image/png"}
        assert stand_in <= set(bundle), name
