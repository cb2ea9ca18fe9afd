"""Batches prepared ahead by worker processes, each batch known by its step."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from htmdsep.console import ENDING_SIGNALS

Batch = tuple[Tensor, Tensor]  # mixtures and vocals, both (batch, 1, time)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
QUEUED = 6  # batches ahead, a worker
MIXED_BY_WORKERS = ("cpu", "mps")  # the second has no float64, which positions in time need
INLINE_BYTES = 1 << 20  # of tensors that workers send in the message itself


class Batches(Protocol):
    """Anything that makes batch number `step`, always the same one."""

    def batch(self, step: int) -> Batch: ...


@runtime_checkable
class DrawnBatches(Batches, Protocol):
    """Batches in two stages: what workers draw, nested tuples, is mixed on a device."""

    def draw(self, step: int) -> Any: ...

    def mix(self, drawn: Any) -> Batch: ...


def load(
    batches: Batches, first: int, last: int, workers: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield batches `first` to `last` - 1 in order, on a device; 0 workers: all in this process.

    On a GPU, workers only draw and the GPU mixes; for a network on a CPU the workers mix too, so
    that it need not wait.
    """
    by_workers = device.type in MIXED_BY_WORKERS
    staged = batches if not by_workers and isinstance(batches, DrawnBatches) else None
    loader: DataLoader[Any] = DataLoader(
        _ByStep(staged.draw if staged else batches.batch),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=QUEUED if workers else None,
        worker_init_fn=_begin_worker,
        collate_fn=as_message,
        pin_memory=device.type == "cuda",
    )
    for message in loader:
        made = moved(message, device)
        yield staged.mix(made) if staged else made


class _ByStep(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Any:
        return self.make(step)


def as_message(value: Any) -> Any:
    """Return nested tuples with arrays for all but large tensors.

    A tensor from another process holds a file open until it is gone, and a process may not have
    more than perhaps a thousand; arrays travel in the message.
    """
    if isinstance(value, Tensor):
        return value.numpy() if value.nbytes <= INLINE_BYTES else value
    if isinstance(value, tuple):
        return _again(value, [as_message(part) for part in value])
    return value


def moved(value: Any, device: torch.device) -> Any:
    """Return nested tuples with their tensors and arrays as tensors on a device.

    On the way to a GPU they are pinned, so that the copies wait for nothing.
    """
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        copied = device.type == "cuda" and value.numel() > 0
        return (value.pin_memory() if copied else value).to(device, non_blocking=True)
    if isinstance(value, tuple):
        return _again(value, [moved(part, device) for part in value])
    return value


def _again(like: tuple[Any, ...], parts: list[Any]) -> Any:
    """Return a tuple, or a named one of the same kind, of other parts."""
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def _begin_worker(_worker: int) -> None:
    """Leave signals to the parent: torchrun sends them to all, and a batch may still be wanted."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":  # a parent that is killed takes its workers along
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(1)
