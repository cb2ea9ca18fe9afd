"""What a user reads while songs are separated: lines, bars, and JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from htmdsep.batch.run import BatchProgress
from htmdsep.batch.song import Outcome, error_line
from htmdsep.console import end_if_asked, peak_rss_bytes
from htmdsep.errors import PlanError
from htmdsep.files import readable
from htmdsep.separation.report import FileReport, Progress

if TYPE_CHECKING:
    from tqdm import tqdm  # late otherwise: 20 ms, for which scripts need not wait

SONG_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
SONG_BAR_OPEN = "{desc} {n:.0f} s [{elapsed}]"  # where the length is unknown
JSON_PERIOD_SECONDS = 0.2
BYTES_OF = {"input": "input_bytes", "song": "song_bytes"}  # of names, where they are no Unicode


@dataclass(frozen=True)
class Talk:
    """What is told."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    skipped: bool = True  # of songs that were passed over
    names: bool = True  # where the stems are
    progress_as_json: bool = False


class Bars(BatchProgress):
    """Bars on standard error: one over the songs, one for each song in work; or JSON lines."""

    def __init__(self, *, shown: bool, alone: bool, as_json: bool = False) -> None:
        self._shown, self._alone, self._as_json = shown and not as_json, alone, as_json
        self._songs: tqdm[Any] | None = None
        self._started = time.monotonic()
        self._audio_seconds = 0.0

    def planned(self, songs: int) -> None:
        """Take the number of songs; raise PlanError where it is not the one there has to be."""
        if self._alone and songs != 1:
            raise PlanError(f"standard output takes the stem of one input, not of {songs}")
        if self._shown and songs > 1:
            from tqdm import tqdm

            self._songs = tqdm(total=songs, desc="files", unit="file", file=sys.stderr, leave=False)

    @contextmanager
    def song(self, label: str) -> Iterator[Progress]:
        """Show a bar for one song; yields the function to report progress to."""
        with _json_lines(label) if self._as_json else _bar(label, shown=self._shown) as show:

            def report(seconds: float, total_seconds: float | None) -> None:
                end_if_asked()
                show(seconds, total_seconds)

            yield report
            end_if_asked()  # what a lost signal broke off is no failure of the song

    def finish_song(self, audio_seconds: float) -> None:
        """Count a song as dealt with, and show how many times real time all songs make."""
        self._audio_seconds += audio_seconds
        if self._songs is not None:
            if self._audio_seconds:
                rate = self._audio_seconds / (time.monotonic() - self._started)
                self._songs.set_postfix_str(f"{rate:.1f} x real time", refresh=False)
            self._songs.update()

    def close(self) -> None:
        """Take the bars off the screen."""
        if self._songs is not None:
            self._songs.close()


@contextmanager
def _bar(label: str, *, shown: bool) -> Iterator[Progress]:
    if not shown:
        yield lambda _, __: None
        return
    from tqdm import tqdm

    with tqdm(desc=label, bar_format=SONG_BAR_OPEN, file=sys.stderr, leave=False) as bar:

        def show(seconds: float, total_seconds: float | None) -> None:
            if total_seconds is not None:
                bar.total = max(seconds, total_seconds)
                bar.bar_format = SONG_BAR
            bar.update(seconds - bar.n)

        yield show


@contextmanager
def _json_lines(label: str) -> Iterator[Progress]:
    """Yield what prints a line when there is news, five times a second at most, and the last."""
    begun = told = time.monotonic()
    untold: dict[str, Any] = {}

    def show(seconds: float, total_seconds: float | None) -> None:
        nonlocal told
        now = time.monotonic()
        speed = round(seconds / max(now - begun, 1e-3), 2)
        of = None if total_seconds is None else round(total_seconds, 3)
        untold.update(song=label, seconds=round(seconds, 3), of=of, speed=speed)
        if now - told >= JSON_PERIOD_SECONDS:
            told = now
            print_line(json_line(untold))
            untold.clear()

    yield show
    if untold:
        print_line(json_line(untold))


def print_outcome(outcome: Outcome, talk: Talk) -> None:
    """Say how a song ended: on standard error, and as JSON on standard output."""
    label, report = outcome.source.label, outcome.report
    if outcome.error is not None:
        if talk.verbose:
            for line in "".join(traceback.format_exception(outcome.error)).splitlines():
                print_line(line)
        print_line(f"htmdsep: {label}: {error_line(outcome.error)}")
    elif report is None and talk.skipped and not talk.quiet:
        print_line(f"{label}: skipped, {outcome.reason or 'its stems exist'}")
    elif report is not None and not talk.quiet:
        for note in report.notes:
            print_line(f"htmdsep: {label}: {note}")
        if talk.names:
            paths = dict.fromkeys(stem.path for stem in report.stems.values())
            print_line(f"{label}: {', '.join(paths)}")
        if talk.verbose:
            print_line(_speed(report, outcome.wall_seconds))
    if talk.as_json:
        click.echo(json_line(_record(outcome)))


def print_line(line: str) -> None:
    """Print one line on standard error; what a file name holds of control characters, escaped.

    Where it cannot be written, as into a log on a full disk, nothing more is: no song ends by that.
    """
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    try:
        if "tqdm" in sys.modules:  # there may be bars, which are to stay below
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)
        sys.stderr.flush()
    except OSError:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)


def json_line(record: dict[str, Any]) -> str:
    """Return a record as JSON that every parser takes.

    File names that are no Unicode hold U+FFFD where they are not; those of inputs are there a
    second time as "input_bytes" or "song_bytes", in hexadecimal.
    """
    return json.dumps(_plain(record))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _plain(one) for key, one in value.items()}
        for key, bytes_key in BYTES_OF.items():
            if isinstance(name := value.get(key), str) and found[key] != name:
                found[bytes_key] = os.fsencode(name).hex()
        return found
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return readable(value) if isinstance(value, str) else value


def _speed(report: FileReport, wall_seconds: float) -> str:
    place = f"{report.device}, {report.engine}" if report.engine else report.device
    return (
        f"  {report.seconds:.1f} s of {report.channels} x {report.sample_rate} Hz in "
        f"{wall_seconds:.1f} s ({report.seconds / wall_seconds:.1f} times real time), "
        f"{report.subtype}, weights {report.weights}, {report.precision} on {place}"
    )


def _record(outcome: Outcome) -> dict[str, Any]:
    record: dict[str, Any] = {
        "input": outcome.source.name,
        **({"track": outcome.source.track.name} if outcome.source.track else {}),
        "status": outcome.status,
        "wall_seconds": round(outcome.wall_seconds, 3),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    if outcome.error is not None:
        record["error"] = error_line(outcome.error)
    if outcome.report is not None:
        record.update(asdict(outcome.report))
    return record
