"""Voice activity by WebRTC's detector, the way HTMD-Net's evaluation script has it.

Every segment is judged by a fresh detector, at 16 kHz, in frames of 20 ms, in the most aggressive
mode; a frame is active if it or a neighbour is. A frame of zeros ends the segment, as there.
"""

from __future__ import annotations

import numpy as np
import webrtcvad

from htmdsep.resample import resample_blocks

DETECTOR_RATE = 16_000  # Hz
FRAME_SECONDS = 0.02
FRAME_LENGTH = 320  # samples
MODE = 3  # the most aggressive in leaving out
FULL_SCALE = 32_768


def voice_activity(segments: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return (segments, detector frames) booleans for (segments, samples) at a rate in Hz.

    Segments beyond full scale are turned down to 0.99 first.
    """
    return np.array([_activity(segment, sample_rate) for segment in segments], bool)


def _activity(segment: np.ndarray, sample_rate: int) -> np.ndarray:
    blocks = resample_blocks([segment.astype(np.float32)[:, None]], 1, sample_rate, DETECTOR_RATE)
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
