"""Run a network over segments on the CPU's cores, ahead of whoever takes the estimates."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.fast.workers import ONE_BLAS_THREAD, make_workers, thread_count

ROWS_AHEAD = 2  # per worker, besides those of the segment that is waited for
NOT_FINITE = "the network's output on {device} is not finite; use --device cpu, or other weights"


class Estimator(Protocol):
    """Anything that estimates the vocals of segments; threads may share one."""

    notes: list[str]  # what a user should know, one line each

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Map (segment_length, channels) float32 mixtures to vocals, channel by channel, in order.

        Segments are taken ahead of the estimates: work goes on while those are used. Raises
        HtmdsepError where an estimate is not finite, and where memory does not suffice.
        """
        ...


class RowEstimator:
    """Estimate on the CPU, every channel of a segment by itself, as many at once as it has cores.

    The results do not depend on how many run at once. `batch_size` is the number of segments taken
    at most before the first one's estimate is handed out; by default it follows from the cores.
    """

    def __init__(
        self,
        network: Callable[[np.ndarray], np.ndarray],
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._network = network
        self._batch_size = batch_size
        self._threads = threads or thread_count()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._pool, self._workers = make_workers(self._threads)

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        if self._process != os.getpid():
            self._begin()  # a forked process has none of its parent's threads
        with ONE_BLAS_THREAD:
            yield from self._estimates(segments)

    def _estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        pending: deque[list[Future[np.ndarray]]] = deque()
        try:
            for segment in segments:
                rows = np.ascontiguousarray(segment.T)  # (channels, time)
                pending.append([self._pool.submit(self._network, row) for row in rows])
                ahead = -(-ROWS_AHEAD * self._workers // len(rows))
                if len(pending) >= (self._batch_size or 1 + ahead):
                    yield _gathered(pending.popleft())
            while pending:
                yield _gathered(pending.popleft())
        finally:
            for future in (future for futures in pending for future in futures):
                future.cancel()


def _gathered(futures: list[Future[np.ndarray]]) -> np.ndarray:
    estimate = np.stack([future.result() for future in futures], axis=1)  # (time, channels)
    if not np.isfinite(estimate).all():
        raise HtmdsepError(NOT_FINITE.format(device="cpu"))
    return estimate
