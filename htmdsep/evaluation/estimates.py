"""Estimates that other programs left in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, at_rate, read_audio
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.options import StemName

# What other programs call the stems: Spleeter and museval, Demucs, others.
NAMES: dict[StemName, tuple[str, ...]] = {
    "vocals": ("vocals",),
    "accompaniment": ("accompaniment", "no_vocals", "instrumental", "instrum"),
}
CONVERSION_FRAMES = 1  # by which a change of rates may miss a length


def find_estimate(folder: Path, title: str, stem: StemName, *, needed: bool = True) -> Path | None:
    """Find a song's stem in `<title>/`, `<title>.stem/`, or either below `test/` or `train/`.

    Returns None where there is none. Raises HtmdsepError where there is more than one or, if
    needed, none.
    """
    for place in (folder, folder / "test", folder / "train"):
        for name in (title, f"{title}.stem"):
            found = _stems(place / name, stem)
            if len(found) > 1:
                raise HtmdsepError(f"{place / name} has more than one file for {stem}: keep one")
            if found:
                return found[0]
    if needed:
        raise HtmdsepError(
            f"{folder} has no estimate of {title!r}; it should be {folder / title / stem}.*"
        )
    return None


def _stems(folder: Path, stem: StemName) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.stem in NAMES[stem] and path.suffix.lower() in AUDIO_ENDINGS
    )


def fit_estimate(path: Path | None, signals: Signals) -> np.ndarray:
    """Read an estimate at a song's rate, channels and length, (frames, channels) float32.

    A mono estimate stands for every channel; several channels are averaged for a mono song. Where
    the rates differ it is converted, and a frame at the end may be cut off or zero. Raises
    HtmdsepError for other channels, and for a length that differs in any other way.
    """
    assert path is not None
    samples, rate = read_audio(path)
    frames, channels = signals.vocals.shape
    if rate == signals.sample_rate and len(samples) != frames:
        raise HtmdsepError(
            f"{path} has {len(samples)} frames, the song {frames}; estimates must be aligned to "
            "the sample"
        )
    samples = _with_channels(samples, channels, path)
    if rate == signals.sample_rate:
        return samples
    converted = at_rate(samples, rate, signals.sample_rate)
    if abs(len(converted) - frames) > CONVERSION_FRAMES:
        raise HtmdsepError(
            f"{path} has {len(samples) / rate:.4f} s, the song {frames / signals.sample_rate:.4f} "
            "s; estimates must be aligned to the sample"
        )
    fitted = np.zeros((frames, channels), np.float32)
    fitted[: len(converted)] = converted[:frames]
    return fitted


def _with_channels(samples: np.ndarray, channels: int, path: Path) -> np.ndarray:
    if samples.shape[1] == channels:
        return samples
    if channels == 1:
        return np.asarray(samples.mean(axis=1, keepdims=True))
    if samples.shape[1] == 1:
        return np.repeat(samples, channels, axis=1)
    raise HtmdsepError(f"{path} has {samples.shape[1]} channels, the song {channels}; convert it")
