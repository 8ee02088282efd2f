"""How a run shows itself while it trains: curves in a notebook, a progress bar in a terminal.

matplotlib, IPython and tqdm are imported only by the reporter that uses them.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any, Protocol

from d2lmini.record import Record


class Reporter(Protocol):
    """What `train_ch6` tells: each batch, each epoch, and the end, however it comes."""

    def batch(self, epoch: int, batch: int, num_batches: int | None) -> None: ...

    def epoch(self, record: Record) -> None: ...

    def close(self) -> None: ...


def make_reporter(plot: bool | None, num_epochs: int) -> Reporter:
    """plot: True for curves, False for silence, None for what suits the place."""
    if plot or (plot is None and in_notebook()):
        return LiveCurves(num_epochs)
    if plot is None and sys.stderr is not None and sys.stderr.isatty():
        return ProgressBar(num_epochs)
    return Silence()


def in_notebook() -> bool:
    """Whether this runs in a Jupyter or Colab kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class Silence:
    """Shows nothing."""

    def batch(self, epoch: int, batch: int, num_batches: int | None) -> None:
        pass

    def epoch(self, record: Record) -> None:
        pass

    def close(self) -> None:
        pass


class ProgressBar:
    """A bar over all batches with the time left, on stderr."""

    def __init__(self, num_epochs: int) -> None:
        from tqdm import tqdm

        self.num_epochs = num_epochs
        self.bar: Any = tqdm(unit="batch", dynamic_ncols=True, leave=False)

    def batch(self, epoch: int, batch: int, num_batches: int | None) -> None:
        if num_batches is not None and self.bar.total is None:
            self.bar.total = num_batches * self.num_epochs
            self.bar.n = num_batches * (epoch - 1)  # a resumed run starts part of the way
        self.bar.update()

    def epoch(self, record: Record) -> None:
        last = record.history[-1]
        self.bar.set_postfix_str(
            f"epoch {last.epoch}: loss {last.train_loss:.3f}, test acc {last.test_acc:.3f}"
        )

    def close(self) -> None:
        self.bar.close()


class LiveCurves:
    """The record's curves, redrawn after each epoch in place; between, how far the run is."""

    seconds_between_notes = 1.0

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self.start = self.noted = perf_counter()
        self.batches = 0
        # plain Python cannot display: it would print the objects' names
        self.handle: Any = None
        if in_notebook():
            from IPython.display import Markdown, display

            self.handle = display(Markdown("training starts …"), display_id=True)

    def batch(self, epoch: int, batch: int, num_batches: int | None) -> None:
        self.batches += 1
        now = perf_counter()
        if epoch > 1 or self.handle is None or now - self.noted < self.seconds_between_notes:
            return
        from IPython.display import Markdown

        # before the first curve there is room for a line: the first batches tell the pace
        self.noted = now
        note = f"epoch 1 of {self.num_epochs}"
        if num_batches is not None:
            left = (now - self.start) * (num_batches * self.num_epochs / self.batches - 1)
            note += f", batch {batch + 1} of {num_batches}, about {left:.0f} s to go"
        self.handle.update(Markdown(note))

    def epoch(self, record: Record) -> None:
        from matplotlib import pyplot as plt

        from d2lmini.plot import curves

        with plt.ioff():  # the inline backend keeps each interactive figure until the cell ends
            figure = curves(record, num_epochs=self.num_epochs)
        if self.handle is not None:
            self.handle.update(figure)
        plt.close(figure)

    def close(self) -> None:
        pass
