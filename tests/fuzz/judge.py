"""Judge what the reader makes of a damaged file, by what it makes of the whole one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htmdsep.audio.reader import open_audio
from htmdsep.errors import HtmdsepError
from tests.fuzz.files import RATE, Kind

WINDOW = RATE // 20  # frames
ALIKE = 0.7  # correlation of a window with its own place
GARBLED_SECONDS = 1.0  # of sound that is wrong in its place: no container can tell
LOST_SECONDS = 0.15  # of silence or length that may go untold: codecs' delay and padding
WRONG = ("silently wrong", "traceback")


@dataclass(frozen=True)
class Found:
    """What the reader made of a file."""

    samples: np.ndarray  # (frames,)
    notes: tuple[str, ...] = ()
    error: str | None = None


def read(path: Path) -> Found:
    """Read a file through the one reader."""
    try:
        with open_audio(path) as reader:
            blocks = [block.mean(axis=1) for block in reader.blocks()]
            return Found(np.concatenate(blocks), tuple(reader.notes))
    except HtmdsepError as error:
        return Found(np.zeros(0, np.float32), error=str(error))


def verdict(kind: Kind, found: Found, whole: np.ndarray) -> str:
    """Name the outcome, one of `WRONG` or not."""
    if found.error is not None:
        return "refused"
    if found.notes:
        return "noted"
    missing = len(whole) - len(found.samples)
    if not kind.announces and missing:
        return _compare_ends(found.samples, whole)
    if abs(missing) > LOST_SECONDS * RATE:
        return "silently wrong"
    return _compare(kind, found.samples, whole)


def _compare_ends(samples: np.ndarray, whole: np.ndarray) -> str:
    """Compare where nothing says how long a file is, nor numbers its packets.

    Whole packets may be missing or come twice: every moment must be right seen from the beginning
    or from the end.
    """
    frames = len(samples) // WINDOW * WINDOW
    rows = samples[:frames].reshape(-1, WINDOW)
    bad = np.ones(len(rows), bool)
    for shift in (0, len(whole) - len(samples)):
        places = np.arange(frames) + shift
        inside = (places >= 0) & (places < len(whole))
        expected = np.where(inside, whole[np.clip(places, 0, len(whole) - 1)], 0)
        bad &= ~_alike(rows, expected.reshape(-1, WINDOW))
    wrong = np.count_nonzero(bad) * WINDOW / RATE > GARBLED_SECONDS
    return "silently wrong" if wrong else "cut or repeated, which nothing tells"


def _alike(rows: np.ndarray, expected: np.ndarray) -> np.ndarray:
    powers = np.sum(rows**2, axis=1) * np.sum(expected**2, axis=1)
    return np.asarray(np.sum(rows * expected, axis=1) >= ALIKE * np.sqrt(powers) + 1e-9)


def _compare(kind: Kind, samples: np.ndarray, whole: np.ndarray) -> str:
    """Compare a signal with what it should be, window by window."""
    frames = min(len(samples), len(whole)) // WINDOW * WINDOW
    rows, expected = samples[:frames].reshape(-1, WINDOW), whole[:frames].reshape(-1, WINDOW)
    powers, wanted = np.sum(rows**2, axis=1), np.sum(expected**2, axis=1)
    bad = ~_alike(rows, expected)
    if not bad.any():
        return "right"
    seconds = WINDOW / RATE
    moved = sum(_is_elsewhere(row, whole) for row in rows[bad])
    silent = float(np.count_nonzero(bad & (powers < 1e-4 * wanted))) * seconds
    if kind.codec.startswith("pcm"):
        silent = 0.0  # other bytes are other samples
        allowed = frames / RATE
    else:
        allowed = GARBLED_SECONDS
    if moved > 2 or silent > LOST_SECONDS or np.count_nonzero(bad) * seconds > allowed:
        return "silently wrong"
    return "garbled in its place"


def _is_elsewhere(row: np.ndarray, whole: np.ndarray) -> bool:
    """Tell whether a window is found at another time."""
    size = len(whole) + len(row)
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(row, size))
    correlation = np.fft.irfft(spectrum, size)[: len(whole) - len(row)]
    energies = np.cumsum(np.concatenate([[0.0], whole.astype(np.float64) ** 2]))
    local = energies[len(row) : len(whole)] - energies[: len(whole) - len(row)]
    power = np.sqrt(local * np.sum(row.astype(np.float64) ** 2)) + 1e-9
    return bool((correlation / power).max() > ALIKE)
