"""A song's true signals in memory, as its files hold them and as the network hears them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htmdsep.datasets.folders import LENGTH_TOLERANCE_SECONDS, Song, Stem, Term
from htmdsep.datasets.streams import stem_blocks
from htmdsep.dsp.blocks import resample_blocks
from htmdsep.errors import HtmdsepError

MONO_RATE = 22_050  # Hz, at which the slides evaluate
BLOCK_LENGTH = 65_536  # frames handed on at once


@dataclass(frozen=True)
class Signals:
    """Vocals and accompaniment, (frames, channels) float32; the mixture is their sum."""

    vocals: np.ndarray
    accompaniment: np.ndarray
    sample_rate: int  # Hz

    @property
    def mixture(self) -> np.ndarray:
        return np.asarray(self.vocals + self.accompaniment)

    def mono(self) -> Signals:
        """Return the means over the channels at 22 050 Hz."""
        vocals = to_mono(self.vocals, self.sample_rate)
        return Signals(vocals, to_mono(self.accompaniment, self.sample_rate), MONO_RATE)

    def excerpt(self, start_seconds: float, duration_seconds: float) -> Signals:
        """Return a part; what lies beyond the end is left out."""
        part = slice(
            round(start_seconds * self.sample_rate),
            round((start_seconds + duration_seconds) * self.sample_rate),
        )
        return Signals(self.vocals[part], self.accompaniment[part], self.sample_rate)


def read_song(song: Song) -> Signals:
    """Decode a song's stems at their own rate and channels.

    Raises HtmdsepError where they cannot be decoded, where rates or channels differ, and where
    lengths differ by more than 0.1 s; less is taken for an encoder's padding and cut off.
    """
    vocals, rate = _read_stem(song.vocals)
    accompaniment, other_rate = _read_stem(song.accompaniment)
    _check_alike(song.title, (vocals, rate), (accompaniment, other_rate))
    frames = min(len(vocals), len(accompaniment))
    if frames == 0:
        raise HtmdsepError(f"{song.title} holds no audio; remove it")
    return Signals(vocals[:frames], accompaniment[:frames], rate)


def read_audio(path: Path, stream: int = 0) -> tuple[np.ndarray, int]:
    """Decode one stream of a file into (frames, channels) float32; return it and its rate in Hz."""
    return _read_stem(Stem(path.name, (Term(path, stream),)))


def in_blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in blocks, as a file would come."""
    for first in range(0, len(samples), BLOCK_LENGTH):
        yield samples[first : first + BLOCK_LENGTH]


def at_rate(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Convert (frames, channels) from one rate to another, in Hz."""
    channels = samples.shape[1]
    blocks = resample_blocks(in_blocks(samples), channels, from_rate, to_rate)
    return np.concatenate([np.zeros((0, channels), np.float32), *blocks])


def to_mono(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the mean of the channels at 22 050 Hz, (frames, 1)."""
    return at_rate(samples.mean(axis=1, keepdims=True), sample_rate, MONO_RATE)


def _read_stem(stem: Stem) -> tuple[np.ndarray, int]:
    with stem_blocks(stem) as (rate, blocks):
        return np.concatenate(list(blocks)), rate


def _check_alike(name: str, first: tuple[np.ndarray, int], second: tuple[np.ndarray, int]) -> None:
    (one, rate), (other, other_rate) = first, second
    if rate != other_rate or one.shape[1] != other.shape[1]:
        raise HtmdsepError(
            f"{name}: its signals have {rate} Hz, {one.shape[1]} channels and {other_rate} Hz, "
            f"{other.shape[1]} channels; convert them to the same"
        )
    if abs(len(one) - len(other)) > LENGTH_TOLERANCE_SECONDS * rate:
        raise HtmdsepError(
            f"{name}: signals of different length ({len(one)} and {len(other)} frames); align them"
        )
