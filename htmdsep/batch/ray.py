"""Work through the tasks on a Ray cluster, or on this machine's cores with a Ray of our own."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from htmdsep.batch import storage
from htmdsep.batch.local import POLL_SECONDS, in_threads
from htmdsep.batch.plan import Job
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.errors import HtmdsepError
from htmdsep.files import remove_abandoned
from htmdsep.options import ClusterOptions, RunOptions
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import WeightsFile

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


class _Workers:
    """The actors of a run. Each has one song at a time, so that a death is that song's."""

    def __init__(
        self, ray: Any, weights: Path, options: RunOptions, cluster: ClusterOptions, count: int
    ) -> None:
        self._errors = ray.exceptions
        actor = ray.remote(Worker).options(
            num_cpus=cluster.actor_cpus,
            num_gpus=cluster.actor_gpus,
            max_restarts=-1,
            max_concurrency=2,
        )
        # Kept in the object store as long as the reference is kept here
        self._network = ray.put(weights.read_bytes()), weights.name, options
        # Each with its last call, which may be the failed one for its network
        self._free: SimpleQueue[tuple[Any, Future[Any]]] = SimpleQueue()
        for _ in range(count):
            self._load(actor.remote())

    def _load(self, actor: Any) -> None:
        """Free an actor once it has its network; the call is repeated where it is restarted."""
        loading = actor.load.options(max_task_retries=-1).remote(*self._network).future()
        loading.add_done_callback(lambda loaded: self._free.put((actor, loaded)))

    def take(self, stop: threading.Event) -> Any:
        """Wait for a free actor; raise HtmdsepError where one has failed to load its network."""
        while not stop.is_set():
            try:
                actor, loaded = self._free.get(timeout=POLL_SECONDS)
                loaded.result()
            except Empty:
                continue
            except self._errors.RayActorError as error:
                raise HtmdsepError(f"a Ray worker cannot start: {_last_line(error)}") from error
            except self._errors.RayTaskError as error:
                raise HtmdsepError(f"a Ray worker failed: {_last_line(error)}") from error
            return actor
        raise StoppedError("interrupted")

    def separate(self, actor: Any, job: Job, stop: threading.Event) -> Outcome | None:
        """Let an actor separate a song, and free it; None where it died, and is started again.

        Raises StoppedError where the song was stopped.
        """
        # Names that mean the same in another process's folder
        moved = job.source._replace(name=storage.absolute(job.source.name))
        portable = replace(job, source=moved, out=storage.absolute(job.out))
        call = actor.separate.remote(portable).future()
        while not wait([call], POLL_SECONDS).done:
            if stop.is_set():
                actor.stop.remote()
                if not wait([call], STOP_SECONDS).done:
                    raise StoppedError("interrupted")
        try:
            outcome: Outcome | None = call.result()
        except self._errors.RayActorError as error:
            if stop.is_set():
                raise StoppedError("interrupted") from error
            self._load(actor)
            return None
        except self._errors.RayTaskError as error:
            raise HtmdsepError(f"a Ray worker failed: {_last_line(error)}") from error
        if outcome is None:
            raise StoppedError("interrupted")
        self._free.put((actor, call))
        return replace(outcome, source=job.source)


def work_on_ray(
    weights: WeightsFile,
    options: RunOptions,
    songs: int,
    items: Iterable[Job | Outcome],
    recorder: ManifestRecorder,
) -> Iterator[Outcome]:
    """Yield the outcome of every job as it ends, and outcomes as they come.

    There are as many workers as the cluster has room for, or as are asked for. Ray, which takes
    seconds to start, does so at the first job. A job whose worker dies is tried again, at most
    `retries` times. Where the run ends early, songs in work are stopped and their files removed.
    Raises HtmdsepError where Ray is not installed or cannot be reached, or its workers cannot
    start.
    """
    jobs, cluster = recorder.batch.jobs, recorder.batch.cluster
    assert cluster is not None
    device = "cuda" if cluster.actor_gpus else "cpu"
    options = replace(
        options,
        device=device if options.device == "auto" else options.device,
        threads=options.threads or max(1, int(cluster.actor_cpus)),
    )
    waiting = iter(items)
    for item in waiting:
        if isinstance(item, Outcome):
            yield item
            continue
        with _connected(cluster.ray_address) as ray:
            count = min(jobs or _capacity(ray, cluster), songs)
            workers, stop = _Workers(ray, weights.path, options, cluster, count), threading.Event()
            # Ray's calls take signals in a way of their own, so the main thread makes none of them.
            work_on = partial(_work_on, workers, recorder, stop)
            yield from in_threads(work_on, count, chain([item], waiting), stop)


def _work_on(
    workers: _Workers, recorder: ManifestRecorder, stop: threading.Event, job: Job
) -> Outcome:
    """Separate a job's song, again where its worker dies; note every try."""
    while True:
        actor = workers.take(stop)
        recorder.started(job)
        try:
            outcome = workers.separate(actor, job, stop)
        except StoppedError:
            recorder.interrupted(job)
            raise
        if outcome is None:
            for folder in job.folders:
                remove_abandoned(folder)
            if job.attempt <= recorder.batch.retries:
                job = replace(job, attempt=job.attempt + 1)
                continue
            outcome = _worker_died(job)
        recorder.ended(job, outcome)
        return outcome


def _worker_died(job: Job) -> Outcome:
    error = HtmdsepError(
        f"its worker died {job.attempt} times; see Ray's logs (out of memory? fewer --jobs or "
        "more --actor-cpus make room)"
    )
    return Outcome(job.source, error=error)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to the cluster, or start a Ray of our own that ends with the run; yield Ray."""
    # Without these Ray reports its use to its makers, and warns of what its workers see of GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise HtmdsepError("--on ray needs pip install 'htmdsep[ray]'") from error
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if not _started(ray, address, at_last=address != "local"):
        _started(ray, address, at_last=True)
    try:
        yield ray
    finally:
        ray.shutdown()


def _started(ray: Any, address: str, *, at_last: bool) -> bool:
    """Tell whether Ray could be started or reached; raise HtmdsepError if not, and `at_last`."""
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    handler = signal.getsignal(signal.SIGTERM)
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
    finally:
        signal.signal(signal.SIGTERM, handler)  # instead of Ray's, which keeps no exit status
    return True


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
