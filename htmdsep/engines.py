"""Where the network runs: in this process, or in the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from htmdsep.catalogue import find_weights
from htmdsep.fleet.outcome import Outcome, Task
from htmdsep.fleet.ray_cluster import Pool
from htmdsep.fleet.ray_pool import run_on_ray
from htmdsep.fleet.ray_worker import Setup
from htmdsep.fleet.scribe import Scribe
from htmdsep.fleet.work import Manner
from htmdsep.options import FileOptions
from htmdsep.progress import Bars
from htmdsep.runner import Runner

if TYPE_CHECKING:
    from htmdsep.settings import Settings


class Engine(Protocol):
    """What works through the jobs."""

    @property
    def weights_sha256(self) -> str: ...

    def run(
        self, tasks: Iterable[Task], scribe: Scribe, bars: Bars, jobs: int, /
    ) -> Iterator[Outcome]:
        """Yield the outcome of every task, as it ends."""


class _Local:
    """The network in this process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        manner = _manner(settings, settings.device)
        self._separator = manner.separator(settings.weights or settings.name)
        self.weights_sha256 = self._separator.weights_sha256 or ""

    def run(
        self, tasks: Iterable[Task], scribe: Scribe, bars: Bars, jobs: int, /
    ) -> Iterator[Outcome]:
        runner = Runner(self._separator, file_options(self._settings), scribe, bars)
        yield from runner.run(tasks, min(self._settings.jobs or 1, max(1, jobs)))


class _OnRay:
    """Networks in the workers of a Ray cluster."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._located = find_weights(settings.weights or settings.name)
        self.weights_sha256 = self._located.hash()

    def run(
        self,
        tasks: Iterable[Task],
        scribe: Scribe,
        _: Bars,
        jobs: int,
        /,
    ) -> Iterator[Outcome]:
        settings = self._settings
        device = settings.device
        if device == "auto":
            device = "cuda" if settings.actor_gpus else "cpu"
        setup = Setup(
            weights_name=self._located.name,
            manner=_manner(settings, device),
            options=file_options(settings),
            threads=max(1, int(settings.actor_cpus)),
        )
        pool = Pool(
            address=settings.ray_address,
            workers=settings.jobs,
            most=max(1, jobs),
            cpus=settings.actor_cpus,
            gpus=settings.actor_gpus,
            retries=settings.retries,
        )
        yield from run_on_ray(tasks, self._located.path, setup, pool, scribe)


def pick_engine(settings: Settings) -> Engine:
    """Return the engine that the settings name; raise HtmdsepError for unusable weights."""
    return _Local(settings) if settings.run_on == "local" else _OnRay(settings)


def _manner(settings: Settings, device: str) -> Manner:
    return Manner(
        device=device,
        segment_seconds=settings.segment_seconds,
        overlap=settings.overlap,
        batch_size=settings.batch_size,
        precision=settings.precision,
        engine=settings.engine,
        shifts=settings.shifts,
    )


def file_options(settings: Settings) -> FileOptions:
    """Return how the settings want stems to be written."""
    return FileOptions(
        file_format=settings.file_format,
        subtype=settings.subtype,
        sample_rate=settings.sample_rate,
        start_seconds=settings.start_seconds,
        duration_seconds=settings.duration_seconds,
        clip_mode=settings.clip_mode,
    )
