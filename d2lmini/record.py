"""What one training run measured, as frozen dataclasses that go to JSON and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"


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
    environment: processor, cores, versions. wall_seconds: from the start of the process to the
    last test figure, where that was measured.
    """

    history: tuple[EpochStats, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]
    wall_seconds: float | None = None

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
        write_atomically(Path(path), (self.to_json(indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Record:
        """Read what `save` wrote. Raises ValueError if the file is no record."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls.from_dict(content)
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a d2lmini record: {error!r}") from error

    def to_json(self, indent: int | None = None) -> str:
        """As JSON; a loss that is no number (a run that diverged) becomes null."""
        content = asdict(self)
        for epoch in content["history"]:
            if not math.isfinite(epoch["train_loss"]):
                epoch["train_loss"] = None
        return json.dumps(content, indent=indent, allow_nan=False)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Record:
        """The inverse of `to_json`, parsed."""
        names = [field.name for field in fields(EpochStats)]
        epochs = [{name: epoch[name] for name in names} for epoch in content["history"]]
        for epoch in epochs:
            if epoch["train_loss"] is None:
                epoch["train_loss"] = math.nan
        return cls(
            tuple(EpochStats(**epoch) for epoch in epochs),
            dict(content["settings"]),
            dict(content["environment"]),
            content.get("wall_seconds"),
        )


def load_records(name: str | os.PathLike[str]) -> tuple[Record, ...]:
    """The runs of an experiment: one of `d2lmini/records` by name, or any file's.

    Raises FileNotFoundError naming the experiments recorded, ValueError if the file is none.
    """
    path = Path(name)
    if path.suffix != ".json":
        path = RECORDS / f"{name}.json"
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return tuple(Record.from_dict(run) for run in runs)
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no record {path}; recorded there: {known}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of d2lmini records: {error!r}") from error


def save_records(records: Iterable[Record], path: str | os.PathLike[str]) -> None:
    """What `load_records` reads: JSON, one run a line, put in place once complete."""
    runs = ",\n".join(record.to_json() for record in records)
    write_atomically(Path(path), f'{{"runs": [\n{runs}\n]}}\n'.encode())


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
