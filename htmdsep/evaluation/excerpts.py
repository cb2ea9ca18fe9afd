"""Excerpts to draw: chosen by hand, or where singing and silence alternate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import System, estimate_excerpt
from htmdsep.folders import Song

DURATION_SECONDS = 20.0
CONTEXT_SECONDS = 5.0  # separated before and after, so that the borders are as in the whole song
FRAME_SECONDS = 0.1
SILENCE_RMS = 1e-3  # -60 dBFS; quieter frames of the true vocals count as silent
LEAST_SILENT_SECONDS = 0.5
_EXCERPT = re.compile(r"(?P<title>.+)@(?P<start>[\d.]+)\+(?P<duration>[\d.]+)")


@dataclass(frozen=True)
class Excerpt:
    """A place in a song, in seconds."""

    title: str
    start: float
    duration: float


@dataclass(frozen=True)
class Drawn:
    """What is drawn of an excerpt: (frames,) signals by name, and where there is no singing."""

    excerpt: Excerpt
    sample_rate: int
    signals: dict[str, np.ndarray]  # mixture, true vocals, then each system's vocals
    silent: list[tuple[float, float]]  # stretches of the song without vocals, in seconds


def parse_excerpt(text: str) -> Excerpt:
    """Read `TITLE@START+DURATION`, in seconds; raise HtmdsepError for anything else."""
    found = _EXCERPT.fullmatch(text)
    try:
        if found:
            excerpt = Excerpt(found["title"], float(found["start"]), float(found["duration"]))
            if excerpt.duration > 0:
                return excerpt
    except ValueError:
        pass
    raise HtmdsepError(f"an excerpt is TITLE@START+DURATION in seconds, not {text!r}")


def song_of(excerpt: Excerpt, songs: Sequence[Song]) -> Song:
    """Return the song of an excerpt; raise HtmdsepError where there is none."""
    for song in songs:
        if song.title == excerpt.title:
            return song
    raise HtmdsepError(f"there is no song {excerpt.title!r} to take an excerpt of")


def draw_from(
    song: Song, excerpt: Excerpt | None, systems: Sequence[System], *, rank: int = 0
) -> Drawn:
    """Run the systems over an excerpt of a song; without one, over a good one (`choose_excerpt`).

    Raises HtmdsepError for an excerpt beyond the song's end.
    """
    mono = read_song(song).mono()
    excerpt = excerpt or choose_excerpt(song.title, mono, rank)
    first = max(0.0, excerpt.start - CONTEXT_SECONDS)
    around = mono.excerpt(first, excerpt.start - first + excerpt.duration + CONTEXT_SECONDS)
    inner = _Inside(excerpt.start - first, excerpt.duration, mono.sample_rate)
    signals = {"mixture": inner.cut(around.mixture), "true vocals": inner.cut(around.vocals)}
    if not len(signals["mixture"]):
        raise HtmdsepError(f"{song.title} ends before {excerpt.start:g} s")
    for system in systems:
        estimate = estimate_excerpt(system, around, song.title, mono, first)
        signals[system.label] = inner.cut(estimate)
    silent = silent_stretches(signals["true vocals"], mono.sample_rate, excerpt.start)
    return Drawn(excerpt, mono.sample_rate, signals, silent)


@dataclass(frozen=True)
class _Inside:
    start: float
    duration: float
    sample_rate: int

    def cut(self, samples: np.ndarray) -> np.ndarray:
        """Return the excerpt without its context, (frames,)."""
        first = round(self.start * self.sample_rate)
        return np.asarray(samples[first : first + round(self.duration * self.sample_rate), 0])


def choose_excerpt(title: str, signals: Signals, rank: int = 0) -> Excerpt:
    """Return the 20 s in which the shares of singing and of silence are most alike.

    Of equals the earliest; `rank` counts from the best, among stretches that do not overlap.
    """
    sung = ~_silent(signals.vocals[:, 0], signals.sample_rate)
    width = round(DURATION_SECONDS / FRAME_SECONDS)
    count = max(1, len(sung) // width)
    shares = [sung[index * width : (index + 1) * width].mean() for index in range(count)]
    order = sorted(range(count), key=lambda index: abs(shares[index] - 0.5))
    return Excerpt(title, order[rank % count] * DURATION_SECONDS, DURATION_SECONDS)


def silent_stretches(
    vocals: np.ndarray, sample_rate: int, start: float
) -> list[tuple[float, float]]:
    """Return where (frames,) vocals are below -60 dBFS for half a second or longer."""
    silent = np.concatenate([[False], _silent(vocals, sample_rate), [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1]) * FRAME_SECONDS + start
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [
        (float(one), float(other)) for one, other in pairs if other - one >= LEAST_SILENT_SECONDS
    ]


def _silent(vocals: np.ndarray, sample_rate: int) -> np.ndarray:
    length = round(FRAME_SECONDS * sample_rate)
    whole = vocals[: len(vocals) // length * length].reshape(-1, length)
    return np.asarray(np.sqrt(np.mean(whole.astype(np.float64) ** 2, axis=1)) < SILENCE_RMS)
