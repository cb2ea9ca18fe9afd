"""Stems for the tests of the page, written without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 22_050


def write_pair(folder: Path, seconds: float = 4.0, *, ending: str = "wav") -> Path:
    """Write vocals, which sing from a quarter to a half of the time, and an accompaniment."""
    folder.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * RATE)) / RATE
    sung = (times >= seconds / 4) & (times < seconds / 2)
    signals = {
        "vocals": 0.5 * np.sin(2 * np.pi * 880 * times) * sung,
        "accompaniment": 0.25 * np.sin(2 * np.pi * 220 * times),
    }
    for name, signal in signals.items():
        with (folder / f"{name}.{ending}").open("wb") as file:  # its name may be no text
            soundfile.write(file, signal[:, None].repeat(2, axis=1), RATE, format=ending)
    return folder


def write_sum(stems: Path, path: Path, gain: float = 1.0) -> Path:
    """Write the mixture of a pair, as the file that was separated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    one, other = (
        soundfile.read(stems / f"{name}.wav", always_2d=True)[0]
        for name in ("vocals", "accompaniment")
    )
    soundfile.write(path, gain * (one + other), RATE)
    return path
