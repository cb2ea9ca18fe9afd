"""Batches prepared ahead by worker processes, each batch known by its step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Batch = tuple[Tensor, Tensor]  # mixtures and vocals, both (batch, 1, time)
QUEUED = 6  # batches ahead, a worker


class Batches(Protocol):
    """Anything that makes batch number `step`, always the same one."""

    def batch(self, step: int) -> Batch: ...


class _ByStep(Dataset[Batch]):
    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Batch:
        return self.batches.batch(step)


def load(batches: Batches, first: int, last: int, workers: int, *, pin: bool) -> Iterator[Batch]:
    """Yield batches `first` to `last` - 1 in order; 0 workers make them in this process."""
    loader: DataLoader[Batch] = DataLoader(
        _ByStep(batches),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=QUEUED if workers else None,
        worker_init_fn=_begin_worker,
        pin_memory=pin,
    )
    return iter(loader)


def _begin_worker(_worker: int) -> None:
    """Leave signals to the parent: torchrun sends them to all, and a batch may still be wanted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
