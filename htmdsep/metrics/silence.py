"""What an estimate holds where there should be nothing, and what is missing where it has nothing.

Two definitions of the predicted energy at silence (PES) are published. HTMD-Net's authors take
segments in which their voice detector hears little; K. Schulze-Forster et al. ("Weakly informed
audio source separation", WASPAA 2019) take frames of exact zeros, and add the energy at predicted
silence (EPS). Validation takes frames in which nobody would hear the vocals.
"""

from __future__ import annotations

import numpy as np

from htmdsep.dsp.blocks import resample_blocks
from htmdsep.dsp.levels import INAUDIBLE_DBFS, power_of
from htmdsep.metrics.ratios import FLOOR

POWER_FLOOR = 1e-12  # added to an energy (Schulze-Forster et al.)
LEAST_LOG_RMS = -100.0  # floor of log10 RMS: -2000 dB (HTMD-Net's evaluation script)
DETECTOR_RATE = 16_000  # Hz
FRAME_SECONDS = 0.02
FRAME_LENGTH = 320  # samples at the detector's rate
MODE = 3  # the detector's most aggressive in leaving out
FULL_SCALE = 32_768


def energy_at_silence(silent: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return 10 log10 (energy + 1e-12) of `measured` frames where `silent` is all zeros, else NaN.

    Both are (frames, samples). With the true source first this is PES, the estimate first EPS.
    """
    energies = np.sum(np.asarray(measured, np.float64) ** 2, axis=1)
    levels = 10 * np.log10(energies + POWER_FLOOR)
    return np.where(np.any(silent, axis=1), np.nan, levels)


def level_at_inactivity(active_share: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return levels in dB of (segments, samples), NaN where over half of a segment is active."""
    rms = np.sqrt(np.mean(np.asarray(estimate, np.float64) ** 2, axis=1))
    with np.errstate(divide="ignore"):
        levels = 20 * np.maximum(np.log10(rms), LEAST_LOG_RMS)
    return np.where(active_share > 0.5, np.nan, levels)


def levels_at_silence(target: np.ndarray, signals: np.ndarray, frame: int) -> np.ndarray:
    """Return (n, silent frames) of levels in dBFS, -100 at least, where nobody hears the target.

    The target is (..., time), the signals (n, ..., time).
    """
    silent = frame_powers(target, frame) < power_of(INAUDIBLE_DBFS)
    return np.asarray(10 * np.log10(frame_powers(signals, frame)[:, silent] + FLOOR))


def frame_powers(signals: np.ndarray, frame: int) -> np.ndarray:
    """Return the mean squares of the whole frames of (..., time), as (..., frames) float64."""
    count = signals.shape[-1] // frame
    whole = signals[..., : count * frame].reshape(*signals.shape[:-1], count, frame)
    return np.asarray(np.square(whole, dtype=np.float64).mean(axis=-1))


def voice_activity(segments: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return (segments, detector frames) booleans for (segments, samples) at a rate in Hz.

    As HTMD-Net's script: a fresh WebRTC detector a segment; a frame is active if it or a neighbour
    is; a frame of zeros ends the segment; what is beyond full scale is turned down to 0.99.
    """
    return np.array([_activity(segment, sample_rate) for segment in segments], bool)


def _activity(segment: np.ndarray, sample_rate: int) -> np.ndarray:
    import webrtcvad

    blocks = resample_blocks([segment.astype(np.float32)[:, None]], sample_rate, DETECTOR_RATE)
    signal = np.concatenate([block[:, 0] for block in blocks])
    peak = float(np.abs(signal).max(initial=0.0))
    if peak > 1:
        signal *= 0.99 / peak
    frames = round(len(segment) / sample_rate / FRAME_SECONDS)
    samples = np.zeros((frames + 1) * FRAME_LENGTH, np.int16)
    kept = signal[: frames * FRAME_LENGTH]
    samples[: len(kept)] = np.clip(kept * FULL_SCALE, -FULL_SCALE, FULL_SCALE - 1)
    detector = webrtcvad.Vad(MODE)
    heard = [
        detector.is_speech(frame.tobytes(), DETECTOR_RATE)
        for frame in samples.reshape(-1, FRAME_LENGTH)
    ]
    return np.convolve(heard, np.ones(3), mode="same")[:frames] > 0.5
