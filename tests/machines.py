"""Makes another machine: an environment with another Python or other versions, and what runs there.

    python tests/machines.py                        the newest releases that pip finds
    python tests/machines.py --oldest               the oldest that pyproject.toml admits
    python tests/machines.py --python python3.13    with another interpreter
    python tests/machines.py --only tests/test_data.py …    in the place of all unit tests

`make machines` is the oldest. The environment holds what `pip install ".[grade,release]"` brings a
reader, and what tests need besides; neither requirements.txt nor its pins. In it run the unit tests
and, from its notebook file alone, a chapter.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ["beautifulsoup4", "hypothesis", "nbconvert", "nbval", "pytest>=8", "pytest-xdist"]
TOOLS += ["pyyaml", "setuptools>=77", "sphinx"]
# what old libraries and new ones say of each other is neither's fault nor ours
TOLERANT = ["-W", "default::DeprecationWarning", "-W", "default::FutureWarning"]
NO_BROWSER = ["--ignore", "tests/site", "--ignore", "tests/widgets"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter; default: this")
    parser.add_argument("--oldest", action="store_true", help="pyproject.toml's floors")
    parser.add_argument("--chapter", default="lenet", help='"" for none; default: lenet')
    parser.add_argument("--only", nargs="+", default=["tests"], help="test files; default: all")
    parser.add_argument("--keep", type=Path, help="a folder for the environment, found or made")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="d2lmini-", ignore_cleanup_errors=True) as scratch:
        requirements = ["--editable", f"{ROOT}[grade,release]", *TOOLS]
        requirements += floors() if chosen.oldest else []
        python = make_environment(chosen.keep or Path(scratch, "venv"), requirements, chosen.python)
        subprocess.run([str(python), "-m", "pip", "check"], check=True)
        shown = ["torch", "torchvision", "numpy", "matplotlib", "anywidget", "ipywidgets"]
        found = versions(python, shown)
        print("versions:", ", ".join(f"{name} {v}" for name, v in found.items()), flush=True)
        tests = [*TOLERANT, *NO_BROWSER, "-n", "auto", "--dist", "loadfile", *chosen.only]
        done = subprocess.run([str(python), "-m", "pytest", "-q", *tests], cwd=ROOT, check=False)
        failed = done.returncode != 0
        if chosen.chapter:
            failed |= not report(python, ROOT / "chapters" / f"{chosen.chapter}.ipynb", {})
    return int(failed)


def floors(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """The oldest version of everything that the package asks for, extras too, as pins."""
    try:
        import tomllib
    except ImportError:  # Python 3.10 has none; its pip does
        from pip._vendor import tomli as tomllib
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(line for extra in extras for line in extra)]
    if unbounded := [line for line in asked if ">=" not in line]:
        raise ValueError(f"{pyproject} gives no oldest version of {', '.join(unbounded)}")
    return [line.replace(">=", "==") for line in asked]


def make_environment(
    folder: Path, requirements: Iterable[str], python: str = sys.executable
) -> Path:
    """The environment's Python. One made before is taken as it is."""
    made = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        command = [str(made), "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return made


def versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    code = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    names = list(packages)
    done = subprocess.run(
        [str(python), "-c", code, *names], check=True, capture_output=True, encoding="utf-8"
    )
    return dict(zip(names, done.stdout.split(), strict=True))


def report(python: Path, notebook: Path, environment: Mapping[str, str]) -> bool:
    """Run a notebook and print how it went; returns whether it ran to its end."""
    start = time.monotonic()
    trouble = run_notebook(python, notebook, environment)
    seconds = time.monotonic() - start
    print(f"{notebook.stem}: {'failed' if trouble else 'ran'}, {seconds:.0f} s", flush=True)
    if trouble:
        print(trouble)
    return not trouble


def run_notebook(python: Path, notebook: Path, environment: Mapping[str, str]) -> str:
    """Run it in an empty folder; returns what went wrong, or ""."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shutil.copy(notebook, folder)
        done = subprocess.run(
            [
                *(str(python), "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"),
                *("--ExecutePreprocessor.kernel_name=python3", notebook.name),
            ],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    return done.stderr[-4000:] if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
