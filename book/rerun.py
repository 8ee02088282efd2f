"""Run notebooks again, in place: python book/rerun.py NOTEBOOK …

Without a name, all of the book's. Where a cell fails, it says which, leaves that notebook and
those after it as they were, and exits with 1.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]


def main(*names: str) -> None:
    import matplotlib.font_manager  # noqa: F401 (looks for fonts now, and not within a cell)

    paths = [Path(name) for name in names]
    for path in paths or sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("chapters/*.ipynb")]):
        print(f"{path} …", flush=True)
        rerun(path)


def rerun(path: Path) -> None:
    """Run the notebook in its folder and write it back. Raises SystemExit where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    begun = [0]
    client = NotebookClient(
        notebook, timeout=None, record_timing=False,
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_start=lambda cell, cell_index: begun.append(cell_index),
    )  # fmt: skip
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError) as error:
        print(error, file=sys.stderr)
        short = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else error
        sys.exit(f"{path}: {place(notebook, begun[-1])} failed. {short}")
    draft = path.with_suffix(".draft")
    nbformat.write(notebook, draft)
    draft.replace(path)


def place(notebook: nbformat.NotebookNode, index: int) -> str:
    """Where a cell stands, as a reader sees it: its number in brackets and the heading above."""
    before = notebook.cells[: index + 1]
    number = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in before)
    texts = [cell.source for cell in before if cell.cell_type == "markdown"]
    headings = [line.strip("# ") for text in texts for line in text.split("\n") if line[:1] == "#"]
    return f"cell [{number}]" + (f', under "{headings[-1]}",' if headings else "")


if __name__ == "__main__":
    main(*sys.argv[1:])
