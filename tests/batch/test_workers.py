"""Ray's workers without Ray: how many there is room for, and songs at which they die."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from htmdsep.batch.plan import Job, Source
from htmdsep.batch.ray import _capacity
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
