"""Work through the jobs on a Ray cluster, or on this machine's cores with a Ray of our own."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

from htmdsep.batch.plan import Job
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.errors import HtmdsepError
from htmdsep.files import remove_abandoned
from htmdsep.options import ClusterOptions, RunOptions
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import WeightsFile

POLL_SECONDS = 0.5  # between looks for signals while nothing ends
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
    """The actors: which are free, and what the others do."""

    def __init__(
        self, ray: Any, weights: Path, options: RunOptions, cluster: ClusterOptions, count: int
    ) -> None:
        self._ray = ray
        actor = ray.remote(Worker).options(
            num_cpus=cluster.actor_cpus,
            num_gpus=cluster.actor_gpus,
            max_restarts=-1,
            max_concurrency=2,
        )
        # Kept in the object store as long as the reference is kept here
        self._network = ray.put(weights.read_bytes()), weights.name, options
        # Calls in flight: to their actor, and to the job, None where the network is loaded.
        self.calls: dict[Any, tuple[Any, Job | None]] = {}
        self.free: deque[Any] = deque()
        for _ in range(count):
            self._load(actor.remote())

    def _load(self, actor: Any) -> None:
        """Use an actor once it has its network; the call is repeated where it is restarted."""
        loading = actor.load.options(max_task_retries=-1)
        self.calls[loading.remote(*self._network)] = (actor, None)

    def submit(self, job: Job) -> None:
        """Let a free actor work on a job. Each has one, so that a death is that job's."""
        actor = self.free.popleft()
        self.calls[actor.separate.remote(job.portable())] = (actor, job)

    def collect(self, timeout: float) -> Iterator[tuple[Job, Outcome | None]]:
        """Wait for calls to end; yield jobs with their outcome, None after a worker's death."""
        ended, _ = self._ray.wait(list(self.calls), timeout=timeout)
        for reference in ended:
            actor, job = self.calls.pop(reference)
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                if job is None:
                    raise HtmdsepError(f"a Ray worker cannot start: {_last_line(error)}") from error
                self._load(actor)
                yield job, None
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise HtmdsepError(f"a Ray worker failed: {_last_line(error)}") from error
            self.free.append(actor)
            if job is not None:
                yield job, None if outcome is None else replace(outcome, source=job.source)

    def busy(self) -> list[Job]:
        """Return the jobs in work."""
        return [job for _, job in self.calls.values() if job is not None]

    def stop(self, recorder: ManifestRecorder) -> None:
        """Stop what is in work, and note what was stopped; what ended in time counts as done."""
        for actor, job in self.calls.values():
            if job is not None:
                actor.stop.remote()
        deadline = time.monotonic() + STOP_SECONDS
        while self.busy() and time.monotonic() < deadline:
            for job, outcome in self.collect(timeout=1.0):
                if outcome is None:
                    recorder.interrupted(job)
                else:
                    recorder.ended(job, outcome)
        for job in self.busy():
            recorder.interrupted(job)


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
        with _connected(cluster.ray_address) as (ray, check_signals):
            count = min(jobs or _capacity(ray, cluster), songs)
            workers = _Workers(ray, weights.path, options, cluster, count)
            try:
                yield from _work(workers, chain([item], waiting), recorder, check_signals)
            finally:
                workers.stop(recorder)


def _work(
    workers: _Workers,
    items: Iterator[Job | Outcome],
    recorder: ManifestRecorder,
    check_signals: Callable[[], None],
) -> Iterator[Outcome]:
    """Keep the workers busy until all is done."""
    again: deque[Job] = deque()
    while True:
        check_signals()
        while workers.free and (item := again.popleft() if again else next(items, None)):
            if isinstance(item, Outcome):
                yield item
            else:
                recorder.started(item)
                workers.submit(item)
            check_signals()
        if not workers.busy() and workers.free:
            return
        for job, outcome in workers.collect(POLL_SECONDS):
            if outcome is None:
                for folder in job.folders:
                    remove_abandoned(folder)
                if job.attempt <= recorder.batch.retries:
                    again.append(replace(job, attempt=job.attempt + 1))
                    continue
                outcome = _worker_died(job)
            recorder.ended(job, outcome)
            check_signals()
            yield outcome


def _worker_died(job: Job) -> Outcome:
    error = HtmdsepError(
        f"its worker died {job.attempt} times; see Ray's logs (out of memory? fewer --jobs or "
        "more --actor-cpus make room)"
    )
    return Outcome(job.source, error=error)


@contextmanager
def _connected(address: str | None) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Connect to the cluster, or start a Ray of our own that ends with the run.

    Yields Ray, and what acts on signals that came since it was last called.
    """
    # Without these Ray reports its use to its makers, and warns of what its workers see of GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise HtmdsepError("--on ray needs pip install 'htmdsep[ray]'") from error
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    handlers: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    if not _started(ray, address, at_last=address != "local"):
        _started(ray, address, at_last=True)
    try:
        with _signals(handlers) as check_signals:
            yield ray, check_signals
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
