"""Work through the jobs on a Ray cluster, or on this machine's cores with a Ray of our own."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from htmdsep.batch.plan import Job
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.errors import HtmdsepError, explained
from htmdsep.options import BatchOptions, ClusterOptions, RunOptions
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import WeightsFile

POLL_SECONDS = 0.5  # between looks whether the run ends
STOP_SECONDS = 20.0  # how long songs in work are waited for after an interruption
# Ray asks for 75 MiB at least; the store holds the weights once a machine, and short messages.
STORE_BYTES = 128 * 2**20
_INIT_ERRORS = (ConnectionError, ValueError, RuntimeError)


class Worker:
    """The actor. Its network comes with a call, as arguments to an actor are lost on a restart."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def load(self, weights: bytes, name: str, options: RunOptions) -> None:
        """Build the network from the bytes of a weights file, which the object store holds."""
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            path = Path(folder) / name
            path.write_bytes(weights)
            self._separator = Separator(path, options)

    def stop(self) -> None:
        """Let the song in work end at its next block, with its files removed."""
        self._stop.set()

    def separate(self, job: Job) -> Outcome | None:
        """Separate a song; None where it was stopped."""
        try:
            return try_job(self._separator, job, self._progress)
        except StoppedError:
            return None

    def _progress(self, _: float, __: float | None) -> None:
        if self._stop.is_set():
            raise StoppedError("interrupted")


class _Actor:
    """An actor, whose calls are waited for by a thread of its own.

    A call of Ray's makes 1 of any exit status that a signal's handler raises inside it, so the main
    thread makes none while songs are in work. An actor has one song, so that a death is that one's.
    """

    def __init__(
        self, ray: Any, actor: Any, network: tuple[Any, str, RunOptions], stop: threading.Event
    ) -> None:
        self._ray, self._actor, self._network, self._stop = ray, actor, network, stop
        self._is_loaded = False

    def load(self) -> None:
        """Load the network, if need be; the call is repeated where the actor is restarted."""
        if self._is_loaded:
            return
        loading = self._actor.load.options(max_task_retries=-1)
        try:
            self._result(loading.remote(*self._network), 0.0)
        except self._ray.exceptions.RayActorError as error:
            raise StoppedError(f"a Ray worker cannot start: {_last_line(error)}") from error
        self._is_loaded = True

    def separate(self, job: Job) -> Outcome | None:
        """Separate a song; None where the actor died. Raises StoppedError where it was stopped."""
        self.load()
        call = self._actor.separate.remote(job.portable())
        try:
            outcome: Outcome | None = self._result(call, STOP_SECONDS)
        except self._ray.exceptions.RayActorError as error:
            if self._stop.is_set():
                raise StoppedError("interrupted") from error
            self._is_loaded = False
            return None
        if outcome is None:
            raise StoppedError("interrupted")
        return replace(outcome, source=job.source)

    def _result(self, call: Any, patience: float) -> Any:
        """Wait for a call, once the run ends for so many seconds more; return its result."""
        while not self._ray.wait([call], timeout=POLL_SECONDS)[0]:
            if self._stop.is_set():
                self._actor.stop.remote()
                if not self._ray.wait([call], timeout=patience)[0]:
                    raise StoppedError("interrupted")
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            # Before it has its network, that is no fault of a song's
            kind = HtmdsepError if self._is_loaded else StoppedError
            raise kind(f"a Ray worker failed: {_last_line(error)}") from error


@contextmanager
def ray_workers(
    weights: WeightsFile,
    options: RunOptions,
    batch: BatchOptions,
    songs: int,
    stop: threading.Event,
) -> Iterator[tuple[Callable[[], Callable[[Job], Outcome | None]], int]]:
    """Yield what makes a worker that separates songs, and how many there are to be.

    There are as many workers as the cluster has room for, or as are asked for. Raises HtmdsepError
    where Ray is not installed or cannot be reached, or its workers cannot start.
    """
    jobs, cluster = batch.jobs, batch.cluster
    assert cluster is not None
    device = "cuda" if cluster.actor_gpus else "cpu"
    options = replace(
        options,
        device=device if options.device == "auto" else options.device,
        threads=options.threads or max(1, int(cluster.actor_cpus)),
    )
    with _connected(cluster.ray_address) as ray:
        count = min(jobs or _capacity(ray, cluster), songs)
        actor = ray.remote(Worker).options(
            num_cpus=cluster.actor_cpus,
            num_gpus=cluster.actor_gpus,
            max_restarts=-1,
            max_concurrency=2,
        )
        # Kept in the object store as long as the reference is kept here
        network = ray.put(weights.path.read_bytes()), weights.path.name, options

        def begin() -> Callable[[Job], Outcome | None]:
            worker = _Actor(ray, actor.remote(), network, stop)
            with suppress(StoppedError):  # the thread's first song will meet it again
                worker.load()
            return worker.separate

        yield begin, count


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to the cluster, or start a Ray of our own that ends with the run; yield Ray."""
    # Without these Ray reports its use to its makers, and warns of what its workers see of GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with explained("--on ray needs pip install 'htmdsep[ray]'", of=ImportError):
        import ray
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        with _signals_later():
            if not _started(ray, address, at_last=address != "local"):
                _started(ray, address, at_last=True)
        yield ray
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
            f"no Ray at {address}: {_last_line(error)}; check --ray-address, or leave it out to "
            "run on this machine"
        ) from error
    return True


@contextmanager
def _signals_later() -> Iterator[None]:
    """Act on signals at the end, with the handlers of before.

    Ray may crash where an exception comes up in the midst of its start, and puts a handler of its
    own in place, which keeps no exit status.
    """
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _capacity(ray: Any, cluster: ClusterOptions) -> int:
    """Return how many workers the cluster can hold; raise HtmdsepError where that is none."""
    found = ray.cluster_resources()
    needs = {"CPU": cluster.actor_cpus, "GPU": cluster.actor_gpus}
    workers = min(int(found.get(kind, 0) / need) for kind, need in needs.items() if need)
    if workers < 1:
        raise HtmdsepError(
            f"the cluster has {found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs, a "
            f"worker needs {cluster.actor_cpus:g} and {cluster.actor_gpus:g}; lower --actor-cpus "
            "or --actor-gpus, or give --jobs to wait for machines"
        )
    return workers


def _last_line(error: BaseException) -> str:
    """Return the last line of what an error of Ray's says, which is its cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
