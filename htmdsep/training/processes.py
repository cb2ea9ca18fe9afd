"""Processes: those that train one network together (`torchrun`), and their workers for batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from traceback import clear_frames
from typing import Any, Protocol

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from htmdsep.console import ENDING_SIGNALS
from htmdsep.training.batches import Batch, RandomMixes

QUEUED = 6  # batches ahead, a worker
LOST_WORKER = "DataLoader worker (pid"  # what PyTorch's words for it have in common
MIXED_BY_WORKERS = ("cpu", "mps")  # the second has no float64, which positions in time need
PATIENCE = timedelta(hours=12)  # with the main process, which decodes and validates alone


@dataclass(frozen=True)
class World:
    """This process's rank among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Tell whether this process validates, reports and saves."""
        return self.rank == 0

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network, averaging gradients over the processes in every backward pass."""
        return DistributedDataParallel(network) if self.size > 1 else network

    def broadcast(self, *values: float) -> list[float]:
        """Return the main process's values in every process."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        if dist.get_backend() == "nccl":
            shared = shared.cuda()
        dist.broadcast(shared, 0)
        return [float(value) for value in shared]


@contextmanager
def join_processes(device: torch.device) -> Iterator[World]:
    """Join the processes that `torchrun` started, or be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


class Batches(Protocol):
    """Anything that makes batch number `step`, always the same one."""

    def batch(self, step: int) -> Batch: ...


def load(
    batches: Batches, first: int, last: int, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield batches `first` to `last` - 1 in order, on a device; 0 workers: all in this process.

    For a network on a CPU workers mix, too; for one on a GPU they read. Each tensor from a worker
    holds a file open until it is gone, of which a process may have about a thousand. Raises
    RuntimeError, with LOST_WORKER in it, where a worker is lost.
    """
    by_workers = device.type in MIXED_BY_WORKERS
    staged = batches if not by_workers and isinstance(batches, RandomMixes) else None
    make: Callable[[Any], Any] = staged.read if staged else batches.batch
    loader: DataLoader[Any] = DataLoader(
        range(first, last),  # type: ignore[arg-type]  # a sequence will do
        batch_size=None,
        collate_fn=make,
        num_workers=workers,
        prefetch_factor=QUEUED if workers else None,
        worker_init_fn=_begin_worker,
        pin_memory=device.type == "cuda",
    )
    try:
        for step, made in enumerate(loader, first):
            if staged:
                yield staged.mix(step, made, device)
            else:
                mixture, vocals = (part.to(device, non_blocking=True) for part in made)
                yield mixture, vocals
    except Exception as error:
        # Or its frames would keep the workers, which no signal ends, and the process would wait
        clear_frames(error.__traceback__)
        if isinstance(error, (ConnectionError, EOFError)):  # one was to hand over a batch
            raise RuntimeError(f"{LOST_WORKER}) hung up") from error
        raise


def _begin_worker(_worker: int) -> None:
    """Leave signals to the parent: torchrun sends them to all, and a batch may still be wanted."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
