"""Which device trains, how runs are seeded, and what this machine is and can do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

# glibc's mallopt parameters (malloc.h), and its values for them when nobody sets any
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
MMAP_MAX = 65_536  # blocks
LARGEST_DYNAMIC_THRESHOLD = 32 * 2**20  # bytes; what glibc itself arrives at with large blocks


@dataclass(frozen=True)
class Environment:
    """The machine and the versions behind a measurement. `cores`: usable CPU cores."""

    device: str
    processor: str
    cores: int
    threads: int
    system: str
    python: str
    torch: str
    fast_bf16: bool


def try_gpu(i: int = 0) -> torch.device:
    """CUDA device `i` if there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available() and torch.cuda.device_count() > i:
        return torch.device(f"cuda:{i}")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given; on the CPU nothing is to be done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 products run in hardware there; emulated they are many times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool({"avx512_bf16", "amx_bf16"} & _cpu_flags())
    return False


def affordable_epochs(num_epochs: int, device: torch.device | str | None = None) -> int:
    """`num_epochs`, or half of them, rounded up, on a CPU without fast bfloat16 products.

    There an epoch takes several times as long. device: None is `try_gpu()`.
    """
    device = torch.device(device) if device is not None else try_gpu()
    slow = device.type == "cpu" and not has_fast_bf16(device)
    return (num_epochs + 1) // 2 if slow else num_epochs


@contextlib.contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Within it, memory freed on the CPU stays with the process and is given out again.

    A step frees as much as it asks for: hundreds of MB at 224 pixels. glibc gives such blocks
    back to the system, which then clears every page of the next one. Elsewhere than on glibc's
    CPU it does nothing. On leaving, all is given back.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, MMAP_MAX)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_DYNAMIC_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_DYNAMIC_THRESHOLD)
        libc.malloc_trim(0)


def describe_environment(device: torch.device) -> Environment:
    """This machine as a record keeps it."""
    return Environment(
        device=str(device),
        processor=processor_name(device),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        fast_bf16=has_fast_bf16(device),
    )


def processor_name(device: torch.device) -> str:
    """The name the device gives itself, such as the CPU's model name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_info("model name") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """CPU cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def _cpu_info(field: str) -> str:
    """A field of Linux's /proc/cpuinfo, or "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")
