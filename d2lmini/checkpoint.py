"""What a run needs to go on after it was stopped: one file, replaced after each epoch.

Reading it runs no code: it is a zip of tensors and plain values, each checked by its CRC-32.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from d2lmini.record import EpochStats, write_atomically

PARTS = ("settings", "identity", "history", "net", "optimizer", "loader", "generators")


def save_checkpoint(
    path: str | os.PathLike[str],
    settings: dict[str, Any],
    identity: dict[str, str],
    history: Sequence[EpochStats],
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: object,
    generators: list[dict[str, Any]],
) -> None:
    """identity: what else must not change between two parts of a run, by name.
    generators: `generator_states` of each process. Raises OSError, the older file intact."""
    content = {
        "settings": settings,
        "identity": identity,
        "history": [asdict(stats) for stats in history],
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loader": loader.state_dict() if hasattr(loader, "state_dict") else None,
        "generators": generators,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(Path(path), buffer.getvalue())


def read_checkpoint(
    path: str | os.PathLike[str], settings: dict[str, Any], identity: dict[str, str]
) -> dict[str, Any]:
    """The file's content. Raises ValueError if it is damaged, or of another run."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        content = {} if damaged else torch.load(path, map_location="cpu", weights_only=True)
        before = {name: content[name] for name in PARTS}["settings"]
        changed = [k for k in {**before, **settings} if before.get(k) != settings.get(k)]
        unlike = [k for k in identity if content["identity"].get(k) != identity[k]]
    except (
        zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, RuntimeError, EOFError, KeyError,
        TypeError, ValueError, AttributeError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} is damaged, or not a checkpoint of train_ch6: {error!r}; "
            "delete it to start anew"
        ) from error
    if changed:
        told = ", ".join(f"{k} {before.get(k)!r} → {settings.get(k)!r}" for k in changed)
        raise ValueError(
            f"checkpoint {path} is of a run with other settings ({told}); "
            "delete it or name another file"
        )
    if unlike:
        raise ValueError(
            f"checkpoint {path} is of a run with other {', '.join(unlike)}; "
            "delete it or name another file"
        )
    return content


def restore(
    content: dict[str, Any],
    path: str | os.PathLike[str],
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: object,
) -> tuple[EpochStats, ...]:
    """Put the state back where it was; returns the epochs done. Raises ValueError."""
    try:
        history = tuple(EpochStats(**stats) for stats in content["history"])
        net.load_state_dict(content["net"])
        optimizer.load_state_dict(content["optimizer"])
        if content["loader"] is not None and hasattr(loader, "load_state_dict"):
            loader.load_state_dict(content["loader"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint {path} is of another net: {error}") from error
    return history


def generator_states(device: torch.device) -> dict[str, Any]:
    """Where this process's generators of random numbers stand: torch's, NumPy's, Python's."""
    kind, keys, *rest = cast(tuple, np.random.get_state())
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, keys.tolist(), *rest],
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_generator_states(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(tuple(states["numpy"]))
    random.setstate(states["python"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    elif "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"])
