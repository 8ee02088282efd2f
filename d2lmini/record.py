"""What one training run measured, as frozen dataclasses that go to JSON and back."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import reprlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

RECORDS = Path(__file__).parent / "records"
# what reading something else than a record raises; deep nesting and numbers of any length are JSON
UNREADABLE = (ValueError, RecursionError, OverflowError)
Numbers = TypeVar("Numbers", "EpochStats", "Divergence")
ABANDONED = 3600  # seconds without a change; then whoever wrote a draft is gone


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
class Divergence:
    """Where a run went out of bounds. `loss`: of that batch, before its step; NaN if it was not
    finite, or if a weight was not after the step. `lr`: of that step."""

    epoch: int  # from 1
    batch: int  # from 1, in the epoch
    loss: float
    lr: float


@dataclass(frozen=True)
class Record:
    """A training run: its history by epoch, the settings it ran with, and the machine.

    settings: num_epochs, lr, optimizer, seed, precision … of the call to `train_ch6`;
    environment: processor, cores, versions. wall_seconds: from the start of the process to the
    last test figure, where that was measured. diverged: where the run ended, if it did so before
    its time; the history then holds the epochs before.
    """

    history: tuple[EpochStats, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]
    wall_seconds: float | None = None
    diverged: Divergence | None = None

    @property
    def train_loss(self) -> float:
        """In the last epoch; NaN for a run that diverged, as are the two that follow."""
        return self.history[-1].train_loss if self.diverged is None else math.nan

    @property
    def train_acc(self) -> float:
        return self.history[-1].train_acc if self.diverged is None else math.nan

    @property
    def test_acc(self) -> float:
        """After the last epoch; the best of all epochs would be chosen on the test set."""
        return self.history[-1].test_acc if self.diverged is None else math.nan

    @property
    def seconds(self) -> float:
        """Training time, loading included, test passes not."""
        return sum(e.seconds for e in self.history)

    @property
    def examples_per_second(self) -> float:
        """End to end, loading included; NaN for a run that diverged in its first epoch."""
        return sum(e.examples for e in self.history) / self.seconds if self.history else math.nan

    @property
    def compute_examples_per_second(self) -> float:
        """Without the time spent waiting for the loader; NaN as above."""
        waiting = sum(e.load_seconds for e in self.history)
        seconds = self.seconds - waiting
        return sum(e.examples for e in self.history) / seconds if self.history else math.nan

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON; an older file is replaced only once the new one is complete."""
        content = json.loads(self.to_json())
        content["sha256"] = _checksum(content)
        write_atomically(Path(path), (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Record:
        """Read what `save` wrote. Raises ValueError if the file is no record, or was changed."""
        with _reading(path, "a d2lmini record"):
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            _verify(content, content)
            return cls.from_dict(content)

    def to_json(self) -> str:
        """In a line of JSON; a loss that is no number (a run that diverged) becomes null."""
        content = asdict(self)
        losses = [(epoch, "train_loss") for epoch in content["history"]]
        if self.diverged is None:
            del content["diverged"]
        else:
            losses.append((content["diverged"], "loss"))
        for part, name in losses:
            if not math.isfinite(part[name]):
                part[name] = None
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_dict(cls, content: Any) -> Record:
        """The inverse of `to_json`, parsed. Raises ValueError that says what is wrong."""
        history = _part(content, "history", list)
        settings, environment = (_part(content, name, dict) for name in ("settings", "environment"))
        json.dumps([settings, environment], allow_nan=False)  # so that it can be saved again
        wall_seconds = content.get("wall_seconds")
        if wall_seconds is not None:
            _part(content, "wall_seconds", int, float)
        epochs = tuple(_numbers(EpochStats, epoch) for epoch in history)
        diverged = content.get("diverged")
        if diverged is not None:
            diverged = _numbers(Divergence, diverged)
        return cls(epochs, settings, environment, wall_seconds, diverged)


def _numbers(cls: type[Numbers], content: Any) -> Numbers:
    """A dataclass of numbers from parsed JSON."""
    values: dict[str, Any] = {}
    for field in fields(cls):
        kinds: tuple[type, ...] = (int,) if field.type == "int" else (int, float)
        if field.name in ("train_loss", "loss"):
            kinds = (type(None), *kinds)  # null: of a run that diverged
        value = _part(content, field.name, *kinds)
        values[field.name] = math.nan if value is None else value
    return cls(**values)


def _part(content: Any, name: str, *kinds: type) -> Any:
    """content[name]. Raises ValueError if it is not there, of another type, or not finite."""
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"there is no {name!r} in {reprlib.repr(content)}")
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{name}={reprlib.repr(value)} is not of type {kinds[-1].__name__}")
    if isinstance(value, (int, float)) and not math.isfinite(value):
        raise ValueError(f"{name}={value} is not finite")
    return value


def load_records(name: str | os.PathLike[str], variant: str | None = None) -> tuple[Record, ...]:
    """The runs of an experiment: one of `d2lmini/records` by name, or any file's.

    variant: only the runs of the variant of that name. Raises FileNotFoundError naming the
    experiments recorded, ValueError if the file is none, was changed or has no such variant.
    """
    path = Path(name)
    if path.suffix != ".json":
        path = RECORDS / f"{name}.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no record {path}; recorded there: {known}") from None
    with _reading(path, "a file of d2lmini records"):
        content = json.loads(text.decode("utf-8"))
        runs = _part(content, "runs", list)
        _verify(content, runs)
        records = tuple(Record.from_dict(run) for run in runs)
    if variant is None:
        return records
    if chosen := tuple(run for run in records if run.settings.get("variant") == variant):
        return chosen
    known = ", ".join(sorted({repr(run.settings.get("variant")) for run in records}))
    raise ValueError(f"{path} has no variant {variant!r}; it has {known}")


def spread(records: Iterable[Record]) -> str:
    """Their test accuracies in a line: the lowest, the highest, the mean, and of how many runs.

    One run is its accuracy alone. Runs that diverged have none; their number is told beside.
    """
    records = list(records)
    found = sorted(record.test_acc for record in records if record.diverged is None)
    line = f"n = {len(found)}"
    if len(found) == 1:
        line = f"{found[0]:.4f}, {line}"
    elif found:
        mean = sum(found) / len(found)
        line = f"{found[0]:.4f} to {found[-1]:.4f}, mean {mean:.4f}, {line}"
    lost = len(records) - len(found)
    return f"{line}; {lost} diverged" if lost else line


def save_records(records: Iterable[Record], path: str | os.PathLike[str]) -> None:
    """What `load_records` reads: JSON, one run a line, put in place once complete."""
    lines = [record.to_json() for record in records]
    runs, checksum = ",\n".join(lines), _checksum([json.loads(line) for line in lines])
    write_atomically(Path(path), f'{{"runs": [\n{runs}\n],\n"sha256": "{checksum}"}}\n'.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside `path`, flush it to disk, then put it in `path`'s place.

    Raises OSError that says how much room there was; an older file is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_drafts(path)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        room = shutil.disk_usage(path.parent).free / 1e6
        kept = "the older file is as it was" if path.exists() else "there is no such file"
        raise OSError(
            error.errno or errno.EIO,
            f"{path} could not be written, {kept}: {error.strerror or error} "
            f"(it takes {len(content) / 1e6:.1f} MB, the disk has {room:.1f} MB)",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _remove_abandoned_drafts(path: Path) -> None:
    """What processes killed while they wrote `path` have left."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process may be at the same
            if time.time() - draft.lstat().st_mtime > ABANDONED:
                draft.unlink()


def _checksum(content: Any) -> str:
    """Of parsed JSON, however it was laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _verify(content: Any, checked: Any) -> None:
    """Takes the checksum out of `content` and compares it with that of `checked`, a part of it or
    all. None is there in files written before there were checksums."""
    expected = content.pop("sha256", None) if isinstance(content, dict) else None
    if expected is not None and expected != _checksum(checked):
        raise ValueError(
            "it was changed after it was written, and its checksum does not fit; "
            "take it from a copy, or record it anew"
        )


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Whatever is wrong with the content becomes a ValueError that names the file."""
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(f"{path} is not {what}: {error}") from error
