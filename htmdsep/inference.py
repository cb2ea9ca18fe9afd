"""Run a network over segments on a device, ahead of whoever takes the estimates."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.fast.network import FastNetwork
from htmdsep.fast.workers import make_workers
from htmdsep.model import ConvTasNet, HTMDNet, Network, NetworkOutput
from htmdsep.options import Precision
from htmdsep.precision import DTYPES

# Segments a batch. On CPU a larger one only costs memory (measured); a GPU wants to be filled.
CPU_BATCH_SIZE = 1
GPU_BATCH_SIZE = 16

BATCHES_AHEAD = 2  # one in work, one waiting
ROWS_AHEAD = 2  # per worker, besides those of the segment that is waited for


def pick_device(name: str) -> torch.device:
    """Return the device a name stands for; "auto" is CUDA where there is one, else the CPU.

    Raises HtmdsepError for an unknown name and for a device this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HtmdsepError(
            f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    if device.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    else:
        present = {"cpu": 1, "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if (device.index or 0) >= present:
        raise HtmdsepError(f"this machine has no device {name!r}; use --device cpu")
    return device


class Estimator(Protocol):
    """Anything that estimates the vocals of segments; threads may share one."""

    notes: list[str]  # what a user should know, one line each

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Map (segment_length, channels) float32 mixtures to vocals, channel by channel, in order.

        Segments are taken ahead of the estimates: work goes on while those are used. Raises
        HtmdsepError where an estimate is not finite, and where memory does not suffice.
        """
        ...


def make_estimator(
    network: Network, device: torch.device, batch_size: int | None, precision: Precision
) -> Estimator:
    """Return the fastest estimator for a network on a device, in a precision other than "auto"."""
    if device.type == "cpu" and isinstance(network, (HTMDNet, ConvTasNet)):
        return RowEstimator(FastNetwork(network, DTYPES[precision]), batch_size)
    return BatchEstimator(network, device, batch_size, precision)


class RowEstimator:
    """Estimate on the CPU, every channel of a segment by itself, as many at once as it has cores.

    The results do not depend on how many run at once. `batch_size` is the number of segments taken
    at most before the first one's estimate is handed out; by default it follows from the cores.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], batch_size: int | None = None) -> None:
        self.notes: list[str] = []
        self._network = network
        self._batch_size = batch_size
        self._pool, self._workers = make_workers(torch.get_num_threads())

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        pending: deque[list[Future[Tensor]]] = deque()
        try:
            for segment in segments:
                rows = torch.from_numpy(np.ascontiguousarray(segment.T))  # (channels, time)
                pending.append([self._pool.submit(self._network, row) for row in rows])
                ahead = -(-ROWS_AHEAD * self._workers // len(rows))
                if len(pending) >= (self._batch_size or 1 + ahead):
                    yield _gathered(pending.popleft())
            while pending:
                yield _gathered(pending.popleft())
        finally:
            for future in (future for futures in pending for future in futures):
                future.cancel()


def _gathered(futures: list[Future[Tensor]]) -> np.ndarray:
    rows = torch.stack([future.result() for future in futures])  # (channels, time)
    _check_finite(rows, torch.device("cpu"))
    return rows.numpy().T


class BatchEstimator:
    """Estimate in batches of segments; where a GPU's memory is short, in smaller ones."""

    def __init__(
        self,
        network: Network,
        device: torch.device,
        batch_size: int | None,
        precision: Precision = "fp32",
    ) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.batch_size = batch_size or (CPU_BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE)
        self.notes: list[str] = []
        self._autocast = torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="htmdsep")

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        pending: deque[Future[np.ndarray]] = deque()
        remaining = iter(segments)
        try:
            while group := list(islice(remaining, self.batch_size)):
                pending.append(self._pool.submit(self, np.stack(group)))
                if len(pending) >= BATCHES_AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    @torch.inference_mode()
    def __call__(self, segments: np.ndarray) -> np.ndarray:
        """Map (segments, segment_length, channels) mixtures to their vocals, in this thread."""
        count, length, channels = segments.shape
        rows = torch.from_numpy(np.ascontiguousarray(segments.transpose(0, 2, 1)))
        rows = rows.reshape(count * channels, 1, length)  # (batch, 1, time)
        estimate = self._estimate(rows, self.batch_size * channels)
        _check_finite(estimate, self.device)
        return estimate.reshape(count, channels, length).numpy().transpose(0, 2, 1)

    def _estimate(self, rows: Tensor, most: int) -> Tensor:
        parts: list[Tensor] = []
        while (done := sum(map(len, parts))) < len(rows):
            part = rows[done : done + most]
            try:
                parts.append(self._run(part))
            except torch.cuda.OutOfMemoryError as error:
                if len(part) == 1:
                    raise HtmdsepError(
                        f"one segment of {part.shape[-1]} samples is too large for the memory of "
                        f"{self.device}; use a shorter --segment or --device cpu"
                    ) from error
                most = self._retreat(len(part))
        return torch.cat(parts)

    def _run(self, rows: Tensor) -> Tensor:
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        with self._autocast:
            output: NetworkOutput = self.network(rows.to(self.device, non_blocking=True))
        return output.estimate.float().cpu()

    def _retreat(self, failed: int) -> int:
        """Halve the batch that failed, for good, and say so."""
        most = failed // 2
        self.batch_size = most
        self.notes.append(
            f"out of memory on {self.device}: went on with batches of {most}; "
            f"--batch-size {most} avoids the attempt"
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return most


def _check_finite(estimate: Tensor, device: torch.device) -> None:
    if not estimate.isfinite().all():
        raise HtmdsepError(
            f"the network's output on {device} is not finite; use --device cpu, or other weights"
        )
