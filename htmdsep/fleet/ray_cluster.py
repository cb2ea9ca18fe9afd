"""Connect to a Ray cluster, or start one on this machine, and keep signals in order meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from htmdsep.errors import HtmdsepError

# Ray asks for 75 MiB at least; the store holds the weights once a machine, and short messages.
STORE_BYTES = 128 * 2**20
_INIT_ERRORS = (ConnectionError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Pool:
    """Where to run, and how many workers of which size."""

    address: str | None  # None: RAY_ADDRESS, or else a Ray of our own on this machine
    workers: int | None  # None: as many as the cluster has room for
    most: int  # but no more than there are jobs
    cpus: float
    gpus: float
    retries: int  # after a worker's death


@contextmanager
def connected(pool: Pool) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Connect to the cluster, or start a Ray of our own that ends with the run.

    Yields Ray, and what acts on signals that came since it was last called.
    """
    # Without these Ray reports its use to its makers, and warns of what its workers see of GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise HtmdsepError("--on ray needs Ray: pip install 'htmdsep[ray]'") from error
    address = pool.address or os.environ.get("RAY_ADDRESS") or "local"
    handlers: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    if not _started(ray, address, at_last=address != "local"):
        _started(ray, address, at_last=True)
    try:
        with _signals(handlers) as heed:
            yield ray, heed
    finally:
        ray.shutdown()


def _started(ray: Any, address: str, *, at_last: bool) -> bool:
    """Tell whether Ray could be started or reached; raise HtmdsepError if not, and `at_last`."""
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            **(own if address == "local" else {}),
        )
    except Exception as error:
        # Ray waits 30 s for its own processes, which a busy machine may take the first time, and
        # then raises Exception itself.
        if type(error) is not Exception and not isinstance(error, _INIT_ERRORS):
            raise
        ray.shutdown()
        if not at_last:
            return False
        raise HtmdsepError(
            f"no Ray at {address}: {last_line(error)}; check --ray-address, or leave it out to "
            "run on this machine"
        ) from error
    return True


@contextmanager
def _signals(handlers: Mapping[int, Any]) -> Iterator[Callable[[], None]]:
    """Put off what the handlers that Ray replaced do, and keep the exit status they ask for.

    A song is in a worker's hands or in the manifest, and must not be lost between the two; so the
    first signal is acted on where the function that this yields is called, a second one at once.
    A call of Ray's makes 1 of any status that a handler raises inside it.
    """
    received: list[int] = []

    def act() -> None:
        if received and callable(handler := handlers[received[0]]):
            handler(received[0], None)

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            act()

    for number in handlers:
        signal.signal(number, note)
    try:
        yield act
    except SystemExit as error:
        raise SystemExit(128 + received[0] if received else error.code) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def room(ray: Any, pool: Pool) -> int:
    """Return how many workers the cluster can hold; raise HtmdsepError where that is none."""
    found = ray.cluster_resources()
    needs = {"CPU": pool.cpus, "GPU": pool.gpus}
    workers = min(int(found.get(kind, 0) / need) for kind, need in needs.items() if need)
    if workers < 1:
        raise HtmdsepError(
            f"the cluster has {found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs, a "
            f"worker needs {pool.cpus:g} and {pool.gpus:g}; lower --actor-cpus or --actor-gpus, "
            "or give --jobs to wait for machines"
        )
    return workers


def last_line(error: BaseException) -> str:
    """Return the last line of what an error of Ray's says, which is its cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
