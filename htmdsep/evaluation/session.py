"""A whole evaluation: score what lacks scores, then write the tables and the pictures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation import slides
from htmdsep.evaluation.collected import SCORED, Results, read_results, summary_document
from htmdsep.evaluation.excerpts import Excerpt, draw_from, song_of
from htmdsep.evaluation.results import Folder
from htmdsep.evaluation.running import Task, run_tasks
from htmdsep.evaluation.scores import Setting
from htmdsep.evaluation.systems import (
    BOUNDS,
    MASKED,
    NetworkSystem,
    System,
    folder_system,
    network_systems,
)
from htmdsep.evaluation.tables import summary_markdown
from htmdsep.files import ANY_BYTES, atomic_path
from htmdsep.folders import Song, find_test_songs

PICTURES = ("4", "5")  # the slides' Results IV and V


@dataclass(frozen=True)
class Plan:
    """The arguments of `htmdsep-evaluate run`."""

    folder: Path
    out: Path
    weights: tuple[str, ...]
    estimates: tuple[str, ...]
    patterns: tuple[str, ...]
    subset: Literal["test", "train"]
    settings: tuple[Setting, ...]
    masked: bool
    bounds: bool
    device: str
    segment_seconds: float
    jobs: int
    excerpts: tuple[Excerpt, ...]
    runtime: bool

    def songs(self) -> list[Song]:
        """Return the songs to evaluate on; raise HtmdsepError where none fits."""
        songs = find_test_songs(self.folder, self.subset)
        if not self.patterns:
            return songs
        chosen = [
            song for song in songs if any(fnmatchcase(song.title, name) for name in self.patterns)
        ]
        if not chosen:
            known = ", ".join(song.title for song in songs[:5])
            raise HtmdsepError(f"no song matches {' '.join(self.patterns)}; there are {known}, ...")
        return chosen

    def systems(self) -> list[System]:
        """Return what is evaluated, in the order of the tables; labels are unique."""
        systems: list[System] = []
        for weights in self.weights:
            systems += network_systems(weights, device=self.device, with_masked=self.masked)
        systems += [folder_system(estimates) for estimates in self.estimates]
        systems += BOUNDS if self.bounds else ()
        labels = [system.label for system in systems]
        if doubled := {label for label in labels if labels.count(label) > 1}:
            raise HtmdsepError(f"two systems are called {doubled.pop()!r}; give LABEL=... to one")
        if not systems:
            raise HtmdsepError("nothing to evaluate; give --weights, --estimates or --bounds")
        return systems


def run_evaluation(plan: Plan) -> list[str]:
    """Score what lacks scores, write tables and pictures, and return a line for every failure."""
    songs, systems, folder = plan.songs(), plan.systems(), Folder(plan.out)
    for system in systems:
        folder.describe(system.label, _description(system, plan))
    tasks = [task for song in songs if (task := _task(plan, folder, song, systems)).systems]
    failures = _score(tasks, plan.jobs)
    if plan.runtime and not (plan.out / "runtime.md").exists():
        write_runtime(plan.out, [plan.device])
    results = write_tables(plan.out)
    drawn = [system for system in systems if system not in BOUNDS]
    for place in range(len(PICTURES)):
        try:
            _draw_excerpt(plan, results, songs, drawn, place)
        except HtmdsepError as error:
            failures.append(f"results-{PICTURES[place]}.png: {error}")
    return failures


def _task(plan: Plan, folder: Folder, song: Song, systems: Sequence[System]) -> Task:
    lacking = tuple(system for system in systems if not folder.has(system.label, song.title))
    threads = max(1, (os.cpu_count() or 1) // plan.jobs) if plan.jobs > 1 else None
    return Task(song, lacking, plan.settings, plan.segment_seconds, folder, threads)


def _score(tasks: Sequence[Task], jobs: int) -> list[str]:
    failures = []
    with tqdm(total=len(tasks), desc="songs", unit="song", disable=not tasks) as bar:
        for outcome in run_tasks(tasks, jobs):
            for failure in outcome.failures:
                failures.append(f"{outcome.title}: {failure}")
                bar.write(failures[-1], file=sys.stderr)
            bar.update()
    return failures


def _description(system: System, plan: Plan) -> dict[str, Any]:
    description: dict[str, Any] = {
        "fingerprint": system.fingerprint(),
        "settings": list(plan.settings),
        "segment_seconds": plan.segment_seconds,
        "architecture": None,
        "masked": False,
    }
    if isinstance(system, NetworkSystem):
        name = f"{system.label} {system.info.name} {Path(system.weights).stem}"
        description |= {
            "architecture": system.info.config.architecture,
            "losses": slides.losses_of(name, system.info.provenance),
            "masked": system.masked,
            "final": system.label.removesuffix(MASKED),
        }
    return description


def write_tables(out: Path) -> Results:
    """Write summary.md, summary.json and the boxplots from the scores of a folder.

    Raises HtmdsepError where there are none.
    """
    from htmdsep.evaluation.pictures import draw_boxplots

    results = read_results(Folder(out))
    if not results.titles:
        raise HtmdsepError(f"there are no scores in {out}; make some with htmdsep-evaluate run")
    runtime = out / "runtime.md"
    text = runtime.read_text(encoding="utf-8") if runtime.exists() else None
    _write(out / "summary.md", summary_markdown(results, text))
    _write(out / "summary.json", json.dumps(summary_document(results), indent=1))
    for setting, procedure in SCORED:
        if results.has(setting, procedure):
            draw_boxplots(results, out / f"boxplots-{procedure}-{setting}.png", setting, procedure)
    return results


def _draw_excerpt(
    plan: Plan, results: Results, songs: Sequence[Song], systems: Sequence[System], place: int
) -> None:
    """Draw the systems that have scored a song, on the excerpt asked for or a good one of it."""
    from htmdsep.evaluation.pictures import draw_spectrograms, draw_waveforms

    excerpt = plan.excerpts[place] if place < len(plan.excerpts) else None
    song = song_of(excerpt, songs) if excerpt else songs[place % len(songs)]
    shown = [system for system in systems if song.title in results.tables[system.label]]
    # A second visit to a lone song draws another part of it.
    drawn = draw_from(song, excerpt, shown, rank=place // len(songs))
    draw_waveforms(drawn, plan.out / f"results-{PICTURES[place]}.png")
    draw_spectrograms(drawn, plan.out / f"spectrograms-{PICTURES[place]}.png")


def write_runtime(out: Path, devices: Sequence[str], rounds: int | None = None) -> str:
    """Measure and write runtime.json and runtime.md; return the latter.

    "auto" stands for the CPU and, where there is one, the GPU.
    """
    import torch

    from htmdsep.choice import pick_device
    from htmdsep.evaluation.runtime import ROUNDS, measure_runtime, runtime_markdown

    picked = dict.fromkeys(["cpu"] if "auto" in devices else [])
    picked |= dict.fromkeys(pick_device(device) for device in devices)
    costs = measure_runtime(list(picked), rounds or ROUNDS)
    text = runtime_markdown(costs, torch.get_num_threads())
    _write(out / "runtime.json", json.dumps([asdict(cost) for cost in costs], indent=1))
    _write(out / "runtime.md", text)
    return text


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ANY_BYTES)
