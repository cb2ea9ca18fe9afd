"""Two stems in memory: arrays that can be unpacked, and written so that the files add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htmdsep.dsp.blocks import resample_blocks
from htmdsep.errors import ArgumentError
from htmdsep.options import RunOptions
from htmdsep.separation.pairs import Pair
from htmdsep.separation.report import FileReport
from htmdsep.separation.targets import targets_in


@dataclass(frozen=True, eq=False)
class Stems:
    """Two stems whose sum is the mixture, but for float32 rounding.

    Iterating gives them in turn: `vocals, accompaniment = stems`.
    """

    vocals: np.ndarray  # (frames,) or (frames, channels) float32
    accompaniment: np.ndarray  # of the same shape
    sample_rate: int  # Hz

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield vocals, then accompaniment."""
        yield self.vocals
        yield self.accompaniment

    def write(self, folder: str | Path, options: RunOptions | None = None) -> FileReport:
        """Write vocals.wav and accompaniment.wav, of 24 bits unless `options` say otherwise.

        They are written as those of files are: added up they are the mixture, and are checked. Of
        the options those of the output count. Raises HtmdsepError for what cannot be written.
        """
        from htmdsep.audio.lengths import AudioHeader
        from htmdsep.audio.output import plan_output
        from htmdsep.separation.stems import write_pairs

        options = options or RunOptions()
        frames = len(self.vocals)
        if not frames:
            raise ArgumentError("there is nothing to write: the stems hold no audio (0 frames)")
        vocals, accompaniment = (one.reshape(frames, -1) for one in self)
        channels = vocals.shape[1]
        header = AudioHeader(self.sample_rate, channels, frames, True, "PCM_24", {})
        output = plan_output(header, frames, options)
        both = np.hstack([vocals + accompaniment, vocals]).astype(np.float32)
        blocks = resample_blocks([both], self.sample_rate, output.sample_rate)
        pairs = (Pair(block[:, :channels], block[:, channels:]) for block in blocks)
        return write_pairs(targets_in(Path(folder), options.file_format), pairs, output)
