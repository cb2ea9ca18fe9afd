"""The processes that train one network together (`torchrun`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

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
