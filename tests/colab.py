"""Stands in for Colab: runs chapters from their notebook files alone, under Colab's versions.

`make colab`, or `python tests/colab.py lenet vgg` for some. An environment of its own gets
Colab's torch, numpy, IPython and ipywidgets, but not d2lmini; `google.colab` is in `sys.modules`
when a kernel starts; and git is told that the repository's address is this checkout. So a
notebook's first cell installs d2lmini as it does in Colab, from what is committed here.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from machines import ROOT, make_environment, report, versions

sys.path.insert(0, str(ROOT / "book"))
from address import configured

ENVIRONMENT = ROOT / "tests" / ".colab"
# Colab, August 2026; it has Python 3.13, and the nearest on hand must do
VERSIONS = {"torch": "2.11.0", "numpy": "2.1.3", "ipython": "7.34.0", "ipywidgets": "7.7.1"}
OTHERS = ["torchvision==0.26.0", "ipykernel==6.17.1", "matplotlib", "pip", "nbconvert", "nbclient"]
STARTUP = """
import sys, types

sys.modules["google"] = types.ModuleType("google")
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""


def main() -> int:
    chapters = sorted((ROOT / "chapters").glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="chapters; default: all")
    names = parser.parse_args().names or [path.stem for path in chapters]
    pinned = [f"{name}=={version}" for name, version in VERSIONS.items()]
    python = make_environment(ENVIRONMENT, [*pinned, *OTHERS])
    subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", "d2lmini"], check=True)
    before = versions(python, VERSIONS)
    failed = [name for name in names if not run(python, ROOT / "chapters" / f"{name}.ipynb")]
    after = versions(python, VERSIONS)
    moved = {package for package in VERSIONS if before[package] != after[package]}
    print("versions:", ", ".join(f"{name} {version}" for name, version in after.items()))
    if moved:
        print(f"the setup cell replaced {', '.join(sorted(moved))}")
    return 1 if failed or moved else 0


def run(python: Path, notebook: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        startup = Path(folder) / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "colab.py").write_text(STARTUP, encoding="utf-8")
        environment = {
            "IPYTHONDIR": folder,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": configured(ROOT),
        }
        return report(python, notebook, environment)


if __name__ == "__main__":
    sys.exit(main())
