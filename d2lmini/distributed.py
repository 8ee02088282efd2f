"""Several processes that train one net: each takes its images of every batch.

    torchrun --nproc-per-node=N -m d2lmini train …

starts N of them. Every process reads the same batches and trains on every N-th image of each, and
PyTorch's DistributedDataParallel averages the gradients: a step is the step of one process on the
whole batch, up to rounding, unless there is batch norm, which sees each process's own images. The
first process alone shows, prints and writes.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from d2lmini.device import try_gpu

# what gloo's plain RuntimeErrors say; NCCL's are DistErrors
LOST_CONNECTION = ("connection closed", "connection reset", "broken pipe", "timed out", "by peer")


@dataclass(frozen=True)
class Team:
    """The processes that train together, seen from the one numbered `rank`, from 0."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """A net of the first process's weights whose gradients are averaged over all."""
        if self.size == 1:
            return net
        device = next(net.parameters()).device
        return nn.parallel.DistributedDataParallel(
            net, device_ids=[device.index] if device.type == "cuda" else None
        )

    def share(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor, int]:
        """This process's images and labels, and how many of them count: if there are too few
        for all, the last processes get one that counts nothing, and keep step."""
        if self.size == 1:
            return X, y, len(y)
        if self.rank >= len(y):
            return X[:1], y[:1], 0
        X, y = X[self.rank :: self.size], y[self.rank :: self.size]
        return X.contiguous(), y.contiguous(), len(y)

    def weight(self, count: int, whole: int) -> float:
        """Of the mean over `count` images of a batch in the mean over processes of such means."""
        return 1.0 if self.size == 1 else count * self.size / whole

    def check_same(self, y: Tensor) -> None:
        """Raises ValueError if the processes read different batches."""
        if self.size == 1:
            return
        found = self.from_all(zlib.crc32(y.cpu().numpy().tobytes()))
        if len(set(found)) > 1:
            raise ValueError(
                "the processes read different batches; give the loaders the same seed in each"
            )

    def add_up(self, *totals: Tensor) -> None:
        """Replace each by its sum over all processes."""
        if self.size > 1:
            for total in totals:
                distributed.all_reduce(total)

    def share_buffers(self, net: nn.Module) -> None:
        """The first process's buffers for all, such as batch norm's running means."""
        if self.size > 1:
            for buffer in net.buffers():
                distributed.broadcast(buffer, 0)

    def from_all(self, value: Any) -> list[Any]:
        """What each process gives, in their order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_leader(self, make: Callable[[], Any]) -> Any:
        """What `make` gives in the first process, which alone calls it."""
        values = [make() if self.leads else None]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]


def current_team() -> Team:
    """The processes that have joined in torch's process group, or this one alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Team()
    return Team(distributed.get_rank(), distributed.get_world_size())


def launched() -> int:
    """The number of processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1


@contextlib.contextmanager
def joined(checkpoint: str | None = None) -> Iterator[torch.device]:
    """Within it, the processes that torchrun started work together; gives this one's device.

    Raises ValueError if there are more of them than GPUs, ConnectionError, which names the
    checkpoint, if one of the others has ended.
    """
    if launched() == 1:
        yield try_gpu()
        return
    device = _own_device(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        resume = f"the same command goes on from the last epoch in {checkpoint}"
        raise ConnectionError(
            f"process {os.environ['RANK']} stopped, since another one of the "
            f"{launched()} that train together has ended ({str(error).splitlines()[0]}); "
            + (resume if checkpoint else "with --checkpoint FILE a run can go on where it stopped")
        ) from error
    distributed.destroy_process_group()


def _own_device(rank: int, processes: int) -> torch.device:
    """rank, processes: of this machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if processes > (gpus := torch.cuda.device_count()):
        raise ValueError(f"--nproc-per-node={processes} is more than the {gpus} GPUs here")
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def _is_lost_connection(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or any(
        words in str(error).lower() for words in LOST_CONNECTION
    )
