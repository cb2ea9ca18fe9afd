"""Score one song's estimates: a table with a row for every source and frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.options import Procedure, Setting
from htmdsep.evaluation.signals import Signals
from htmdsep.metrics.bss_eval import bss_eval, frame_starts
from htmdsep.metrics.ratios import si_sdr
from htmdsep.metrics.silence import energy_at_silence, level_at_inactivity, voice_activity
from htmdsep.options import STEM_NAMES
from htmdsep.separation.arrays import Stems

FRAME_SECONDS = 1.0
GROUPS = ("setting", "procedure", "target")  # what a frame of numbers belongs to
RATIOS = ("sdr", "isr", "sir", "sar")
# Levels of the voice in dB, and detector frames; NaN where they are not defined. pes: where the
# true voice is inactive (authors); pes_zeros, eps: where the true, or the estimated, voice is all
# zeros (Schulze-Forster et al.); vad_equal: detector frames that both voices agree in.
OF_VOICE = ("pes", "pes_zeros", "eps", "vad_equal", "vad_frames")
NUMBERS = ("start_seconds", "duration_seconds", *RATIOS, "si_sdr", *OF_VOICE)


def score_v4(signals: Signals, stems: Stems, setting: Setting) -> pd.DataFrame:
    """Score by BSS Eval v4 (filters of the whole song, frames of 1 s), and by SI-SDR per frame."""
    references, estimates = _paired(signals, stems)
    frames, rate = references.shape[1], signals.sample_rate
    length = min(round(FRAME_SECONDS * rate), frames)
    ratios = bss_eval(references, estimates, window_length=length)
    starts = np.array(frame_starts(frames, length))
    truth, estimate = (
        sources[:, : len(starts) * length].reshape(len(STEM_NAMES), len(starts), -1)
        for sources in (references, estimates)
    )
    columns = {**vars(ratios), "si_sdr": si_sdr(truth, estimate)}
    return _table(setting, "v4", starts / rate, length / rate, columns)


def score_segments(signals: Signals, stems: Stems, segment_seconds: float) -> pd.DataFrame:
    """Score a mono song as the authors' scripts do; a segment that ends with it is left out."""
    references, estimates = _paired(signals, stems)
    length = round(segment_seconds * signals.sample_rate)
    count = max(0, -(-(references.shape[1] - length) // length))
    columns: dict[str, np.ndarray] = {}
    if count:
        whole = [signal[:, : count * length] for signal in (references, estimates)]
        columns |= vars(bss_eval(*whole, window_length=length, filters="window"))
        truth, estimate = (signal[0].reshape(count, length) for signal in whole)
        for name, row in _silence(truth, estimate, signals.sample_rate).items():
            columns[name] = np.stack([row, np.full(count, np.nan)])
    starts = np.arange(count) * segment_seconds
    return _table("mono", "segments", starts, segment_seconds, columns)


def _table(
    setting: Setting,
    procedure: Procedure,
    starts: np.ndarray,
    duration: float,
    columns: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Lay (sources, frames) columns out, the frames of one source after those of the other."""
    count = len(starts)
    numbers = {
        "start_seconds": np.tile(starts, len(STEM_NAMES)),
        "duration_seconds": duration,
        **{name: np.asarray(values, float).ravel() for name, values in columns.items()},
    }
    groups = {"setting": setting, "procedure": procedure, "target": np.repeat(STEM_NAMES, count)}
    return pd.DataFrame(groups | numbers).reindex(columns=[*GROUPS, *NUMBERS])


def _paired(signals: Signals, stems: Stems) -> tuple[np.ndarray, np.ndarray]:
    """Return references and estimates as (sources, frames, channels), vocals first."""
    if stems.vocals.shape != signals.vocals.shape:
        raise HtmdsepError(
            f"estimates of shape {stems.vocals.shape} do not fit signals of {signals.vocals.shape}"
        )
    return np.stack([*signals]), np.stack([*stems])


def _silence(truth: np.ndarray, estimate: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Return what (segments, samples) of the voice say of silence, a value a segment each."""
    active, heard = voice_activity(truth, sample_rate), voice_activity(estimate, sample_rate)
    return {
        "pes": level_at_inactivity(active.mean(axis=1), estimate),
        "pes_zeros": energy_at_silence(truth, estimate),
        "eps": energy_at_silence(estimate, truth),
        "vad_equal": (active == heard).sum(axis=1),
        "vad_frames": np.full(len(active), active.shape[1]),
    }
