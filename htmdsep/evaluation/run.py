"""A whole evaluation: score what lacks scores, then write the tables and the pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from htmdsep.datasets.folders import Song, choose_names, find_test_songs
from htmdsep.engines.choice import pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation import pictures
from htmdsep.evaluation.options import PICTURES, EvaluationOptions, Excerpt
from htmdsep.evaluation.results import ResultsFolder, read_results, write_json
from htmdsep.evaluation.runtime import ROUNDS, measure_runtime, runtime_markdown
from htmdsep.evaluation.systems import BOUNDS, System, folder_system, network_systems
from htmdsep.evaluation.tables import SCORED, summary_document, summary_markdown
from htmdsep.evaluation.workers import EvaluationTask, run_tasks
from htmdsep.files import write_text
from htmdsep.options import DEFAULT_WEIGHTS


def run_evaluation(options: EvaluationOptions) -> list[str]:
    """Score what lacks scores, write tables and pictures, and return a line for every failure."""
    songs = choose_songs(find_test_songs(options.folder, options.subset), options.patterns)
    wanted = choose_pictures(options, songs)
    systems, folder = choose_systems(options), ResultsFolder(options.out)
    for system in systems:
        description = {
            "fingerprint": system.fingerprint,
            "settings": list(options.settings),
            "segment_seconds": options.segment_seconds,
        }
        folder.describe(system.label, description | system.network)
    tasks = []
    for song in songs:
        if lacks := [one for one in systems if not folder.has(one.label, song.title)]:
            tasks.append(EvaluationTask(song, tuple(lacks), options))
    failures = _score(tasks, options.jobs)
    if options.runtime and not (options.out / "runtime.md").exists():
        write_runtime(options.out, [options.device])
    write_tables(options.out)
    for name, song, excerpt in wanted:
        scored = [system for system in systems if folder.has(system.label, song.title)]
        drawn = [system for system in scored if system not in BOUNDS]
        try:
            signals = pictures.read_excerpt(song, excerpt, drawn)
            pictures.draw_waveforms(signals, options.out / f"results-{name}.png")
            pictures.draw_spectrograms(signals, options.out / f"spectrograms-{name}.png")
        except HtmdsepError as error:
            failures.append(f"results-{name}.png: {error}")
    return failures


def choose_songs(songs: Sequence[Song], patterns: Sequence[str]) -> list[Song]:
    """Return the songs that patterns name, or all; raise HtmdsepError where one fits none."""
    chosen, missing = choose_names((song.title for song in songs), patterns)
    if missing:
        known = ", ".join(song.title for song in songs[:5])
        raise HtmdsepError(f"no song matches {missing[0]}; there are {known}, ...")
    return [song for song in songs if not patterns or song.title in chosen]


def choose_systems(options: EvaluationOptions) -> list[System]:
    """Return what is evaluated, in the order of the tables; raise HtmdsepError for equal labels."""
    weights = options.weights or (() if options.estimates else (DEFAULT_WEIGHTS,))
    systems: list[System] = []
    for one in weights:
        systems += network_systems(one, device=options.device, with_masked=options.masked)
    systems += [folder_system(estimates) for estimates in options.estimates]
    systems += BOUNDS if options.bounds else ()
    labels = [system.label for system in systems]
    if doubled := {label for label in labels if labels.count(label) > 1}:
        raise HtmdsepError(f"two systems are called {doubled.pop()!r}; give LABEL=... to one")
    return systems


def _score(tasks: Sequence[EvaluationTask], jobs: int) -> list[str]:
    """Work through the songs beside a bar; return a line for every failure."""
    failures = []
    with tqdm(total=len(tasks), desc="songs", unit="song", disable=not tasks or None) as bar:
        for title, lines in run_tasks(tasks, jobs):
            for failure in lines:
                failures.append(f"{title}: {failure}")
                bar.write(failures[-1], file=sys.stderr)
            bar.update()
    return failures


def choose_pictures(
    options: EvaluationOptions, songs: Sequence[Song]
) -> list[tuple[str, Song, Excerpt | None]]:
    """Return each picture's name, song and excerpt, if one is asked for.

    A song has one picture unless two are asked for. Raises HtmdsepError for unknown titles.
    """
    wanted: list[tuple[Song, Excerpt | None]] = []
    for excerpt in options.places():
        song, *_ = choose_songs(songs, [excerpt.title])
        wanted.append((song, excerpt._replace(title=song.title)))
    wanted += [(song, None) for song in songs[len(wanted) : len(PICTURES)]]
    return [(name, *one) for name, one in zip(PICTURES, wanted, strict=False)]


def write_tables(out: Path) -> None:
    """Write summary.md, summary.json and boxplots; raise HtmdsepError where there are no scores."""
    results = read_results(ResultsFolder(out))
    if results.scores.empty:
        raise HtmdsepError(f"there are no scores in {out}; make some with htmdsep-evaluate run")
    runtime = out / "runtime.md"
    text = runtime.read_text(encoding="utf-8") if runtime.exists() else None
    write_text(out / "summary.md", summary_markdown(results, text))
    write_json(out / "summary.json", summary_document(results))
    for setting, procedure in SCORED:
        if not results.select(setting, procedure).empty:
            picture = out / f"boxplots-{procedure}-{setting}.png"
            pictures.draw_boxplots(results, picture, setting, procedure)


def write_runtime(out: Path, devices: Sequence[str], rounds: int | None = None) -> str:
    """Write runtime.json and runtime.md, whose text is returned; "auto": the CPU and any GPU."""
    named = ["cpu", *devices] if "auto" in devices else devices
    costs = measure_runtime([*dict.fromkeys(map(pick_device, named))], rounds or ROUNDS)
    write_json(out / "runtime.json", [asdict(cost) for cost in costs])
    text = runtime_markdown(costs)
    write_text(out / "runtime.md", text)
    return text
