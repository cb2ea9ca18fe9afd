"""Ray's workers without Ray: how many there is room for, and songs at which they die."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from htmdsep.batch.plan import Job, Source
from htmdsep.batch.ray import _capacity, _connected
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.run import work_on
from htmdsep.batch.song import Outcome
from htmdsep.errors import HtmdsepError
from htmdsep.options import BatchOptions, ClusterOptions


def cluster_of(**resources: float) -> Any:
    return SimpleNamespace(cluster_resources=lambda: {"memory": 1e9, **resources})


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers"),
    [(1, 0, 9), (2, 0, 4), (0.5, 0, 18), (1, 1, 2), (1, 0.25, 8), (4, 0.25, 2)],
)
def test_there_are_as_many_workers_as_the_cluster_has_room_for(
    cpus: float, gpus: float, workers: int
) -> None:
    wanted = ClusterOptions(actor_cpus=cpus, actor_gpus=gpus)
    assert _capacity(cluster_of(CPU=9.0, GPU=2.0), wanted) == workers


@pytest.mark.parametrize(("cpus", "gpus"), [(10, 0), (1, 1)])
def test_a_cluster_without_room_for_one_is_told(cpus: float, gpus: float) -> None:
    told = f"the cluster has 9 CPUs and 0 GPUs, a worker needs {cpus} and {gpus}; lower"
    with pytest.raises(HtmdsepError, match=told):
        _capacity(cluster_of(CPU=9.0), ClusterOptions(actor_cpus=cpus, actor_gpus=gpus))


@pytest.mark.parametrize(("retries", "deaths", "tries"), [(0, 1, 1), (2, 2, 3), (2, 3, 3)])
def test_a_song_at_which_workers_die_is_tried_again_and_then_fails(
    retries: int, deaths: int, tries: int
) -> None:
    taken: list[Job] = []

    def try_once(job: Job) -> Outcome | None:
        taken.append(job)
        return None if len(taken) <= deaths else Outcome(job.source)

    recorder = ManifestRecorder(None, BatchOptions(retries=retries), "", "")
    job = Job(Source("song.wav"), "out", {"vocals": "song.wav"})
    outcome = work_on(try_once, recorder, job)
    assert [one.attempt for one in taken] == [*range(1, tries + 1)]
    if deaths < tries:
        assert outcome.error is None
    else:
        assert str(outcome.error).startswith(f"its worker died {tries} times; see Ray's logs")


def test_a_signal_while_ray_starts_is_acted_on_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray may crash where its start is broken off, and puts a handler of its own in place."""
    done = []

    def init(**_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        done.append("started")

    def leave(*_: object) -> None:
        raise SystemExit(143)

    ray = SimpleNamespace(init=init, shutdown=lambda: done.append("ended"))
    monkeypatch.setitem(sys.modules, "ray", ray)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit, match="143"), _connected(None):
            done.append("connected")
        assert done == ["started", "ended"]
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
