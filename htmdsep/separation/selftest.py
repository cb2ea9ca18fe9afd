"""Separate a built-in mixture and check the result against recorded numbers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from htmdsep.dsp.quantise import quantise
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import bundled_folder

SAMPLE_RATE = 44_100  # Hz
SECONDS = 10
RECORD = "self-test.json"  # beside the bundled weights
TOLERANCE_DB = 0.05  # machines differ in float32 rounding only, far less than this


def run_self_test(weights: str | Path | None, device: str) -> tuple[dict[str, bool], float]:
    """Separate a built-in mixture; return whether it is as it should be, and the times real time.

    Checked are the length, the stems' sum, and, for bundled weights, the level of both stems to
    within 0.05 dB of the recorded ones.
    """
    separator = Separator(weights, device=device, precision="fp32")  # as recorded
    mixture = synthesised_mixture()
    started = time.monotonic()
    vocals = separator.separate(mixture, SAMPLE_RATE).vocals
    wall_seconds = time.monotonic() - started
    stems = quantise(mixture, vocals, "PCM_16", clamp=True)
    total = stems.vocals + stems.accompaniment
    checks = {
        f"length ({len(vocals)} of {len(mixture)} frames)": len(vocals) == len(mixture),
        "stems add up to the mixture in every sample": np.array_equal(total, stems.mixture),
        **_level_checks(separator.weights_name, levels(mixture, vocals)),
    }
    return checks, SECONDS / wall_seconds


def synthesised_mixture() -> np.ndarray:
    """Return ten stereo seconds of a sung-like glide over chords and noise bursts.

    Shape (frames, 2), float32, peak 0.8; the same on every machine.
    """
    time_axis = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    # A voice: harmonics of a gliding pitch with vibrato, shaped by two formants.
    pitch = 220 * 2 ** (
        np.floor(time_axis * 2) % 5 / 6 + 0.03 * np.sin(2 * np.pi * 5.5 * time_axis)
    )
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = np.zeros_like(time_axis)
    for harmonic in range(1, 20):
        frequency = harmonic * pitch
        formants = sum(np.exp(-(((frequency - f) / 250) ** 2)) for f in (700, 1200, 2600))
        voice += (formants + 0.05) / harmonic**0.5 * np.sin(harmonic * phase)
    voice *= (time_axis % 4 > 1) * 0.2
    chords = sum(np.sign(np.sin(2 * np.pi * f * time_axis)) for f in (110.0, 164.81, 220.0, 277.18))
    noise = np.random.default_rng(0).standard_normal(len(time_axis))
    drums = noise * np.exp(-(time_axis % 0.5) * 25)
    stereo = np.stack([voice + 0.06 * chords + 0.3 * drums, voice + 0.09 * chords + 0.2 * drums], 1)
    scaled: np.ndarray = (0.8 * stereo / np.abs(stereo).max()).astype(np.float32)
    return scaled


def levels(mixture: np.ndarray, vocals: np.ndarray) -> dict[str, float]:
    """Return the RMS of both stems in dBFS."""
    stems = {"vocals": vocals, "accompaniment": mixture - vocals}
    return {
        f"{name}_dbfs": round(10 * float(np.log10(np.mean(np.square(stem, dtype=np.float64)))), 3)
        for name, stem in stems.items()
    }


def _level_checks(name: str | None, found: dict[str, float]) -> dict[str, bool]:
    recorded: dict[str, Any] = json.loads((bundled_folder() / RECORD).read_text(encoding="utf-8"))
    return {
        f"{what}: {found[what]:.2f} (recorded {wanted:.2f})": abs(found[what] - wanted)
        <= TOLERANCE_DB
        for what, wanted in recorded.get(name or "", {}).items()
    }
