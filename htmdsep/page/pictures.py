"""Waveforms and mel spectrograms of streams of any length, in columns; and the picture of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import numpy as np
from PIL import Image
from scipy.sparse import csr_array

COLUMN_SECONDS = 1024 / 44_100  # of the finest columns
MOST_COLUMNS = 2048  # more are joined in pairs
BANDS = 64  # mel, up to
HIGHEST = 16_000.0  # Hz
RANGE_DB = 75.0  # from the loudest column of all down to what is transparent
SHADES = 24  # levels in a picture, of which the first is transparent
# Red, green, blue of each signal: half-way between what page.css has for it in dark and in light
COLOURS = {
    "mixture": (124, 134, 156),
    "vocals": (222, 108, 74),
    "accompaniment": (38, 150, 150),
}


class Columns:
    """Columns of any number of rows, in flat memory: where they are too many, pairs are joined."""

    def __init__(self, rows: int, join: Callable[..., np.ndarray]) -> None:
        """`join` is a NumPy function that takes an axis, such as np.max."""
        self.joined = 1  # how many of those that came in make one
        self._join = join
        self._whole = self._pending = np.zeros((rows, 0), np.float32)

    def add(self, fresh: np.ndarray) -> None:
        """Take in (rows, columns)."""
        pending = np.concatenate([self._pending, fresh], axis=1)
        count = pending.shape[1] // self.joined * self.joined
        whole = self._in_groups(pending[:, :count], self.joined)
        self._whole = np.concatenate([self._whole, whole], axis=1)
        self._pending = pending[:, count:]
        while (count := self._whole.shape[1]) > MOST_COLUMNS:
            # An odd one waits for its other half; as often as it stands for, it counts the same.
            odd = np.repeat(self._whole[:, count - count % 2 :], self.joined, axis=1)
            self._pending = np.concatenate([odd, self._pending], axis=1)
            self._whole = self._in_groups(self._whole[:, : count - count % 2], 2)
            self.joined *= 2

    def all(self) -> np.ndarray:
        """Return the columns, (rows, at most MOST_COLUMNS + 1); the last may stand for fewer."""
        if not self._pending.shape[1]:
            return self._whole
        last = self._join(self._pending, axis=1)[:, None]
        return np.concatenate([self._whole, last], axis=1)

    def _in_groups(self, columns: np.ndarray, size: int) -> np.ndarray:
        return self._join(columns.reshape(len(columns), -1, size), axis=2)


class Drawing:
    """The columns of one signal: mel powers and mean squares, and peaks."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._hop = max(1, round(COLUMN_SECONDS * sample_rate))
        self._window, self._before = 2 * self._hop, self._hop // 2
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Empty filters")  # at low rates bands lie close
            filters = librosa.filters.mel(
                sr=sample_rate,
                n_fft=self._window,
                n_mels=BANDS,
                fmax=min(HIGHEST, sample_rate / 2),
            )
        # Mostly zeros; and products this small cost NumPy's waiting threads more than they save
        self._filters = csr_array(filters)
        self._held = np.zeros((channels, self._before), np.float32)  # from a frame's start on
        self._powers, self._peaks = Columns(BANDS + 1, np.mean), Columns(1, np.max)
        self._rate = sample_rate

    def add(self, block: np.ndarray) -> None:
        """Take in a (frames, channels) block, full scale at 1."""
        self._held = np.concatenate([self._held, block.T], axis=1)
        count = 1 + (self._held.shape[1] - self._window) // self._hop
        if count < 1:
            return
        spectra = librosa.stft(self._held, n_fft=self._window, hop_length=self._hop, center=False)
        mel = self._filters @ np.square(np.abs(spectra)).mean(axis=0)
        samples = self._held[:, self._before :][:, : count * self._hop]
        samples = samples.reshape(len(samples), count, self._hop)
        squares = np.square(samples).mean(axis=(0, 2))
        self._powers.add(np.concatenate([mel, squares[None]]))
        self._peaks.add(np.abs(samples).max(axis=(0, 2))[None])
        self._held = self._held[:, count * self._hop :]

    def end(self) -> None:
        """Take in silence until the signal's last column is whole; call it once, at the end."""
        rest = self._held.shape[1] - self._before
        columns = -(-rest // self._hop)
        length = (columns - 1) * self._hop + self._window - self._held.shape[1]
        if columns > 0:
            self.add(np.zeros((max(0, length), len(self._held)), np.float32))

    @property
    def column_seconds(self) -> float:
        """The time that a column stands for."""
        return self._powers.joined * self._hop / self._rate

    def powers(self) -> np.ndarray:
        """Return mel powers, (BANDS, columns)."""
        return self._powers.all()[:BANDS]

    def wave(self) -> np.ndarray:
        """Return peaks and RMS, (2, columns), full scale at 1."""
        return np.concatenate([self._peaks.all(), np.sqrt(self._powers.all()[BANDS:])])


def draw_picture(path: Path, powers: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write the named signals' mel powers, (BANDS, columns), below each other as one PNG file.

    They share a scale. What is loud has the signal's colour, and what is not is transparent.
    """
    top = max(float(one.max(initial=0)) for _, one in powers) or 1.0
    palette, alphas, panels = bytearray(), bytearray(), []
    for number, (name, one) in enumerate(powers):
        levels = librosa.power_to_db(one, ref=top, amin=1e-12 * top, top_db=None)
        shades = np.clip(1 + levels / RANGE_DB, 0, 1) * (SHADES - 1)
        panels.append(np.rint(shades[::-1]).astype(np.uint8) + number * SHADES)
        palette += bytes(COLOURS[name]) * SHADES
        alphas += bytes(round(255 * shade / (SHADES - 1)) for shade in range(SHADES))
    image = Image.fromarray(np.concatenate(panels))
    image.putpalette(bytes(palette))
    image.save(path, "PNG", optimize=True, transparency=bytes(alphas))
