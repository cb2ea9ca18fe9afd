"""Threads that each run whole waveforms, so that none waits for another within a network."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from threadpoolctl import threadpool_limits

# Python itself is busy for about 5 % of a waveform's time, one thread at a time; more threads
# than this would queue for it.
MOST_WORKERS = 16

# Microseconds of processor time, and of the time in which they may be spent: of the two versions of
# control groups, as they look from within a container.
CONTROL_GROUP = Path("/sys/fs/cgroup")
QUOTA_FILES = [("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")]


def thread_count() -> int:
    """Return OMP_NUM_THREADS, or the number of cores that this process may use.

    A container's quota counts: beyond it, threads would only take turns at being halted.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else min(_cores(), _quota())


def _cores() -> int:
    """Return the number of cores, whose arithmetic their two hardware threads would share."""
    usable = set(range(os.cpu_count() or 1))
    if sys.platform == "linux":
        usable = os.sched_getaffinity(0)
    cores = set()
    for processor in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology")
        try:
            names = [(topology / name).read_text() for name in ("physical_package_id", "core_id")]
        except OSError:
            names = [str(processor)]
        cores.add(tuple(names))
    return len(cores)


def _quota() -> int:
    """Return how many processors' time Linux lets the process's container have, rounded up."""
    for names in QUOTA_FILES:
        try:
            words = " ".join((CONTROL_GROUP / name).read_text() for name in names).split()
        except OSError:
            continue
        if len(words) == 2 and all(word.isdecimal() for word in words):  # else "max", or -1
            quota, period = map(int, words)
            return max(1, -(-quota // max(1, period)))
    return sys.maxsize


def make_workers(threads: int) -> tuple[ThreadPoolExecutor, int]:
    """Return a pool of at most `threads` workers, and their number.

    Where PyTorch is loaded, each has one thread of its. OpenMP's number of threads is a worker's
    own, but PyTorch remembers the last one set, for threads to come: hence it is set again once
    all have theirs.
    """
    workers = min(threads, MOST_WORKERS)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="htmdsep")
    torch = sys.modules.get("torch")
    if torch is None:
        return pool, workers
    ready = threading.Barrier(workers + 1)

    def prepare() -> None:
        torch.get_num_threads()  # a thread's first look sets it to what PyTorch remembers
        torch.set_num_threads(1)
        ready.wait()

    with _settling:
        before = torch.get_num_threads()
        for _ in range(workers):
            pool.submit(prepare)
        ready.wait()
        torch.set_num_threads(before)
    return pool, workers


_settling = threading.Lock()


class _OneBlasThread:
    """A context in which numpy's matrix products use the calling thread only.

    The limit is the process's; where several threads are in the context, the last one out lifts
    it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limits = threadpool_limits(1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._limits is not None:
                self._limits.restore_original_limits()


ONE_BLAS_THREAD = _OneBlasThread()
