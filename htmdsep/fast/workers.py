"""Threads that each run whole waveforms, so that none waits for another within a network."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

# Python itself is busy for about 5 % of a waveform's time, one thread at a time; more threads
# than this would queue for it, so they go into OpenMP instead.
MOST_WORKERS = 8


def make_workers(threads: int) -> tuple[ThreadPoolExecutor, int]:
    """Return a pool that shares `threads` processor threads, and the number of its workers.

    With up to 8, every worker has one. OpenMP's number of threads is a worker's own, but PyTorch
    remembers the last one set, for threads to come: hence it is set again once all have theirs.
    """
    workers = min(threads, MOST_WORKERS)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="htmdsep")
    ready = threading.Barrier(workers + 1)

    def prepare() -> None:
        torch.get_num_threads()  # a thread's first look sets it to what PyTorch remembers
        torch.set_num_threads(threads // workers)
        ready.wait()

    with _settling:
        for _ in range(workers):
            pool.submit(prepare)
        ready.wait()
        torch.set_num_threads(threads)
    return pool, workers


_settling = threading.Lock()
