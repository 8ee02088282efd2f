"""Stands in for Colab: runs chapters from their notebook files alone, under Colab's versions.

`make colab`, or `python tests/colab.py lenet vgg` for some. An environment of its own gets
Colab's torch, numpy, IPython and ipywidgets, but not d2lmini; `google.colab` is in `sys.modules`
when a kernel starts; and git is told that the repository's address is this checkout. So a
notebook's first cell installs d2lmini as it does in Colab, from what is committed here.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
from address import configured  # noqa: E402

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
    python = environment()
    before = versions(python)
    failed = []
    for name in names:
        start = time.monotonic()
        done = run(python, ROOT / "chapters" / f"{name}.ipynb")
        seconds = time.monotonic() - start
        print(f"{name}: {'failed' if done else 'ran'}, {seconds:.0f} s", flush=True)
        if done:
            print(done)
            failed.append(name)
    after = versions(python)
    moved = {package for package in VERSIONS if before[package] != after[package]}
    print("versions:", ", ".join(f"{name} {version}" for name, version in after.items()))
    if moved:
        print(f"the setup cell replaced {', '.join(sorted(moved))}")
    return 1 if failed or moved else 0


def environment() -> Path:
    """The environment's Python, made where it is missing, without d2lmini."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "complete").exists():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        pinned = [f"{name}=={version}" for name, version in VERSIONS.items()]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *pinned, *OTHERS], check=True)
        (ENVIRONMENT / "complete").touch()
    subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", "d2lmini"], check=True)
    return python


def versions(python: Path) -> dict[str, str]:
    code = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    done = subprocess.run(
        [str(python), "-c", code, *VERSIONS], check=True, capture_output=True, encoding="utf-8"
    )
    return dict(zip(VERSIONS, done.stdout.split(), strict=True))


def run(python: Path, notebook: Path) -> str:
    """Run it in an empty folder; returns what went wrong, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        startup = Path(folder) / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "colab.py").write_text(STARTUP, encoding="utf-8")
        work = Path(folder) / "content"
        work.mkdir()
        shutil.copy(notebook, work)
        done = subprocess.run(
            [
                *(str(python), "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"),
                *("--ExecutePreprocessor.kernel_name=python3", notebook.name),
            ],
            cwd=work,
            env={
                **os.environ,
                "IPYTHONDIR": str(startup.parents[1]),
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
                "GIT_CONFIG_VALUE_0": configured(ROOT),
            },
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.stderr[-4000:] if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
