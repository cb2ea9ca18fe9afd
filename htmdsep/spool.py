"""Hold pairs on disk until the gain that keeps them within full scale is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.pair import Pair
from htmdsep.streaming import BLOCK_LENGTH


class Spool(AbstractContextManager["Spool"]):
    """A nameless temporary file of float32 pairs, so that a second pass needs no memory."""

    def __init__(self, folder: Path, channels: int) -> None:
        self._channels = channels
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fill(self, pairs: Iterable[Pair], full_scale: float) -> float:
        """Store pairs; return the gain, at most 1, that brings both stems within full scale."""
        peak = 0.0
        for mixture, vocals in pairs:
            accompaniment = mixture - vocals
            peak = max(peak, *(float(np.abs(x).max()) for x in (mixture, vocals, accompaniment)))
            self._store(np.hstack([mixture, vocals]).astype(np.float32).tobytes())
        return min(1.0, full_scale / peak) if peak else 1.0

    def _store(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise HtmdsepError(
                f"cannot write into {self._folder}: {error.strerror}; --clip-mode rescale needs "
                "room for 32-bit floats there, so make room or choose another --out"
            ) from error

    def scaled(self, gain: float) -> Iterator[Pair]:
        """Yield the stored pairs times the gain."""
        self._file.seek(0)
        row = 2 * self._channels
        while data := self._file.read(BLOCK_LENGTH * row * 4):
            both = np.frombuffer(data, np.float32).reshape(-1, row) * np.float32(gain)
            yield Pair(both[:, : self._channels], both[:, self._channels :])
