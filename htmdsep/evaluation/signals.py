"""A song's true signals in memory, as its files hold them and as the network hears them."""

from __future__ import annotations

import numpy as np

from htmdsep.datasets.folders import Song, Stem, check_lengths
from htmdsep.datasets.streams import stem_blocks
from htmdsep.dsp.blocks import resample_blocks
from htmdsep.errors import HtmdsepError
from htmdsep.separation.arrays import Stems

MONO_RATE = 22_050  # Hz, at which the slides evaluate


class Signals(Stems):
    """A song's true stems, (frames, channels) float32; the mixture is their sum."""

    @property
    def mixture(self) -> np.ndarray:
        return np.asarray(self.vocals + self.accompaniment)

    def mono(self) -> Signals:
        """Return the means over the channels at 22 050 Hz."""
        vocals, accompaniment = (
            at_rate(stem.mean(axis=1, keepdims=True), self.sample_rate, MONO_RATE) for stem in self
        )
        return Signals(vocals, accompaniment, MONO_RATE)

    def excerpt(self, start_seconds: float, duration_seconds: float) -> Signals:
        """Return a part; what lies beyond the end is left out."""
        part = slice(
            round(start_seconds * self.sample_rate),
            round((start_seconds + duration_seconds) * self.sample_rate),
        )
        return Signals(self.vocals[part], self.accompaniment[part], self.sample_rate)


def read_song(song: Song) -> Signals:
    """Decode a song's stems at their own rate and channels; raise HtmdsepError where they differ.

    Lengths may differ by 0.1 s, which is taken for an encoder's padding and cut off.
    """
    vocals, rate = decode_stem(song.vocals)
    accompaniment, other_rate = decode_stem(song.accompaniment)
    formats = [
        f"{hertz} Hz, {samples.shape[1]} channels"
        for samples, hertz in ((vocals, rate), (accompaniment, other_rate))
    ]
    if formats[0] != formats[1]:
        raise HtmdsepError(
            f"{song.title}: its signals have {' and '.join(formats)}; convert them to the same"
        )
    lengths = {"vocals": len(vocals), "accompaniment": len(accompaniment)}
    check_lengths(song.title, [(name, frames / rate) for name, frames in lengths.items()])
    shortest = min(lengths.values())
    return Signals(vocals[:shortest], accompaniment[:shortest], rate)


def decode_stem(stem: Stem) -> tuple[np.ndarray, int]:
    """Decode a stem into (frames, channels) float32; return it and its rate in Hz."""
    with stem_blocks(stem) as (rate, blocks):
        return np.concatenate(list(blocks)), rate


def at_rate(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Convert (frames, channels) from one rate to another, in Hz."""
    blocks = resample_blocks([samples], from_rate, to_rate)
    return np.concatenate([samples[:0], *blocks])
