"""Blocks of mono samples from any audio file, or from one stream of a MUSDB18 stem file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from htmdsep.errors import HtmdsepError

BLOCK_LENGTH = 1 << 18  # frames


def mono_blocks(path: Path, stream: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (sample_rate, mean of the channels) block by block.

    Raises HtmdsepError where the file cannot be decoded.
    """
    assert stream == 0
    try:
        with soundfile.SoundFile(path) as file:
            for block in file.blocks(BLOCK_LENGTH, dtype="float32", always_2d=True):
                yield file.samplerate, block.mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise HtmdsepError(f"cannot decode {path}: {error}") from error
