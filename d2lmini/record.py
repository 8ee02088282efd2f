"""What one training run measured, as frozen dataclasses that go to JSON and back."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EpochStats:
    """One epoch. `seconds`: end to end, loading included, device synchronised, without the test
    pass, which took `test_seconds`; `load_seconds` of them went by waiting for the loader."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch's examples, as the net was when it met them
    train_acc: float
    test_acc: float
    seconds: float
    load_seconds: float
    test_seconds: float
    examples: int
    lr: float  # of the epoch's last step


@dataclass(frozen=True)
class Record:
    """A training run: its history by epoch, the settings it ran with, and the machine.

    settings: num_epochs, lr, optimizer, seed, precision … of the call to `train_ch6`;
    environment: processor, cores, versions.
    """

    history: tuple[EpochStats, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]

    @property
    def train_loss(self) -> float:
        return self.history[-1].train_loss

    @property
    def train_acc(self) -> float:
        return self.history[-1].train_acc

    @property
    def test_acc(self) -> float:
        """After the last epoch; the best of all epochs would be chosen on the test set."""
        return self.history[-1].test_acc

    @property
    def seconds(self) -> float:
        """Training time, loading included, test passes not."""
        return sum(e.seconds for e in self.history)

    @property
    def examples_per_second(self) -> float:
        """End to end, loading included."""
        return sum(e.examples for e in self.history) / self.seconds

    @property
    def compute_examples_per_second(self) -> float:
        """Without the time spent waiting for the loader."""
        waiting = sum(e.load_seconds for e in self.history)
        return sum(e.examples for e in self.history) / (self.seconds - waiting)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON; an older file is replaced only once the new one is complete."""
        write_atomically(Path(path), (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Record:
        """Read what `save` wrote. Raises ValueError if the file is no record."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls.from_dict(content)
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a d2lmini record: {error!r}") from error

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Record:
        """The inverse of `dataclasses.asdict`."""
        names = [field.name for field in fields(EpochStats)]
        history = tuple(EpochStats(**{n: epoch[n] for n in names}) for epoch in content["history"])
        return cls(history, dict(content["settings"]), dict(content["environment"]))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside `path`, flush it to disk, then put it in `path`'s place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
