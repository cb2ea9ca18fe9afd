"""Score one song's estimates: a row for every setting, procedure, source and frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals
from htmdsep.metrics.bss_eval import BSSRatios, bss_eval, frame_starts
from htmdsep.metrics.ratios import si_sdr
from htmdsep.metrics.silence import energy_at_silence, level_at_inactivity, voice_activity
from htmdsep.options import STEM_NAMES, StemName
from htmdsep.separator import Stems

Setting = Literal["mono", "native"]  # 22 050 Hz mono; or the input's own rate and channels
Procedure = Literal["v4", "segments"]  # BSS Eval v4; or the authors', each segment by itself
FRAME_SECONDS = 1.0
NAN = float("nan")


@dataclass(frozen=True)
class Score:
    """A frame of one source. Ratios and levels are in dB; what is not defined there is NaN."""

    setting: Setting
    procedure: Procedure
    target: StemName
    start_seconds: float
    duration_seconds: float
    sdr: float
    isr: float
    sir: float
    sar: float
    si_sdr: float = NAN
    pes: float = NAN  # level where the true voice is inactive (authors)
    pes_zeros: float = NAN  # energy where the true voice is all zeros (Schulze-Forster et al.)
    eps: float = NAN  # energy of the true voice where the estimate is all zeros
    vad_equal: float = NAN  # detector frames that true and estimated voice agree in
    vad_frames: float = NAN


def score_v4(signals: Signals, stems: Stems, setting: Setting) -> Iterator[Score]:
    """Score by BSS Eval v4 (filters of the whole song, frames of 1 s), and by SI-SDR per frame."""
    references, estimates = _paired(signals, stems)
    window = round(FRAME_SECONDS * signals.sample_rate)
    ratios = bss_eval(references, estimates, window_length=window)
    starts = frame_starts(references.shape[1], window, window)
    for source, target in enumerate(STEM_NAMES):
        for frame, start in enumerate(starts):
            truth, estimate = (
                sources[source, start : start + window].ravel()
                for sources in (references, estimates)
            )
            yield Score(
                setting,
                "v4",
                target,
                start / signals.sample_rate,
                len(truth) / references.shape[2] / signals.sample_rate,
                *_values(ratios, source, frame),
                si_sdr=float(si_sdr(truth, estimate)),
            )


def score_segments(signals: Signals, stems: Stems, segment_seconds: float) -> Iterator[Score]:
    """Score as the authors' scripts do: filters of each segment, PES and voice activity.

    Of a mono song at 22 050 Hz. A segment that ends with the song is left out, as theirs do.
    """
    references, estimates = _paired(signals, stems)
    length = round(segment_seconds * signals.sample_rate)
    count = max(0, -(-(references.shape[1] - length) // length))
    if count == 0:
        return
    whole = slice(0, count * length)
    ratios = bss_eval(
        references[:, whole], estimates[:, whole], window_length=length, filters="window"
    )
    silence = _silence(
        references[0, whole].reshape(count, length),
        estimates[0, whole].reshape(count, length),
        signals.sample_rate,
    )
    for source, target in enumerate(STEM_NAMES):
        for segment in range(count):
            of_voice = {name: float(row[segment]) for name, row in silence.items()}
            yield Score(
                "mono",
                "segments",
                target,
                segment * segment_seconds,
                segment_seconds,
                *_values(ratios, source, segment),
                **(of_voice if target == "vocals" else {}),
            )


def _paired(signals: Signals, stems: Stems) -> tuple[np.ndarray, np.ndarray]:
    """Return references and estimates as (sources, frames, channels), vocals first."""
    if stems.vocals.shape != signals.vocals.shape:
        raise HtmdsepError(
            f"estimates of shape {stems.vocals.shape} do not fit signals of {signals.vocals.shape}"
        )
    assert STEM_NAMES == ("vocals", "accompaniment")
    return (
        np.stack([signals.vocals, signals.accompaniment]),
        np.stack([stems.vocals, stems.accompaniment]),
    )


def _values(ratios: BSSRatios, source: int, frame: int) -> tuple[float, float, float, float]:
    at = source, frame
    return (
        float(ratios.sdr[at]),
        float(ratios.isr[at]),
        float(ratios.sir[at]),
        float(ratios.sar[at]),
    )


def _silence(truth: np.ndarray, estimate: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Return what (segments, samples) of the voice say of silence, a row of values each."""
    active, heard = voice_activity(truth, sample_rate), voice_activity(estimate, sample_rate)
    return {
        "pes": level_at_inactivity(active.mean(axis=1), estimate),
        "pes_zeros": energy_at_silence(truth, estimate),
        "eps": energy_at_silence(estimate, truth),
        "vad_equal": (active == heard).sum(axis=1),
        "vad_frames": np.full(len(active), active.shape[1]),
    }
