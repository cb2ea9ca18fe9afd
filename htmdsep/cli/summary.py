"""A batch's summary as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from htmdsep.batch.manifest_file import merge_manifests, read_index
from htmdsep.batch.storage import settled
from htmdsep.batch.summary import summarise
from htmdsep.cli.output import json_line


def print_summary(out: str, *, as_json: bool) -> int:
    """Print the summary of a folder's manifests; return 1 where songs failed, else 0."""
    with read_index(settled(out)) as index:
        summary = summarise(index)
    if as_json:
        click.echo(json_line(summary))
    else:
        encoding = sys.stdout.encoding if sys.stdout else "ascii"  # closed: nobody will read it
        for line in summary_lines(summary):  # whose names need not be of the screen's letters
            click.echo(line.encode(encoding, "backslashreplace").decode(encoding))
    return 1 if summary["failed"] else 0


def merge(folder: str) -> int:
    """Merge the manifests of a folder; return the exit status."""
    songs = merge_manifests(Path(settled(folder)))
    click.echo(f"{folder}: one manifest of {songs} songs", err=True)
    return 0


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a summary as a table for people."""
    yield "{songs} songs: {done} done, {failed} failed, {unfinished} unfinished".format(**summary)
    if summary["gone"]:
        yield f"{summary['gone']} that failed are no longer there"
    if summary["times_real_time"] is not None:
        yield (
            "{audio_hours:.2f} hours of music in {work_hours:.2f} hours of work, "
            "{times_real_time:.2f} times real time a worker"
        ).format(**summary)
    for cause in summary["causes"]:
        yield f"failed {cause['songs']:>6}  {cause['error']}"
        yield f"               such as {cause['example']}"
    if summary["other_causes_songs"]:
        yield f"failed {summary['other_causes_songs']:>6}  other causes"
    yield from _table("slowest", summary["slowest"], "{:.2f} s of work a second")
    title = f"{summary['voiceless_songs']} without audible vocals"
    yield from _table(title, summary["voiceless"], "{:.1%} of the time")
    title = f"{summary['silent_accompaniment_songs']} with silent accompaniment"
    yield from _table(title, summary["silent_accompaniment"], "{:.0f} dBFS")
    odd = summary["balance"]
    usual = f"usual: vocals {odd['usual_db'] or 0:+.1f} dB"
    title = f"{odd['songs']} with an odd balance ({usual})"
    yield from _table(title, odd["named"], "{:+.1f} dB")
    odd = summary["level"]
    title = f"{odd['songs']} with an odd level (usual: {odd['usual_db'] or 0:.1f} dBFS)"
    yield from _table(title, odd["named"], "{:.1f} dBFS")
    yield "{clipped_songs} with clipped samples, {noted_songs} with notes".format(**summary)


def _table(title: str, songs: list[dict[str, Any]], form: str) -> Iterator[str]:
    if songs:
        yield f"{title}:"
        for song in songs:
            yield f"  {form.format(song['value']):>24}  {song['input']}"
