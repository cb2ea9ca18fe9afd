from __future__ import annotations

import numpy as np
import pytest

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.scores import RATIOS, score_segments, score_v4
from htmdsep.evaluation.signals import Signals
from htmdsep.metrics.bss_eval import bss_eval
from htmdsep.metrics.ratios import si_sdr
from htmdsep.separation.arrays import Stems
from tests.evaluation.signals import RATE, song


@pytest.mark.parametrize(("seconds", "channels"), [(2.4, 1), (2.4, 2), (0.4, 1)])
def test_a_row_holds_what_the_metrics_say_of_its_frame(
    rng: np.random.Generator, seconds: float, channels: int
) -> None:
    signals = Signals(*song(rng, seconds, channels), RATE)
    estimate = signals.vocals + 0.1 * signals.accompaniment
    stems = Stems(estimate, signals.mixture - estimate, signals.sample_rate)
    scores = score_v4(signals, stems, "native")
    length = min(RATE, len(estimate))
    truth = np.stack([signals.vocals, signals.accompaniment])
    expected = bss_eval(truth, np.stack([*stems]), window_length=length)
    assert scores["target"].tolist() == ["vocals"] * (len(scores) // 2) + ["accompaniment"] * (
        len(scores) // 2
    )
    for ratio in RATIOS:
        np.testing.assert_array_equal(scores[ratio], getattr(expected, ratio).ravel())
    last = scores.iloc[-1]
    part = slice(round(last["start_seconds"] * RATE), None)
    music, guess = (one.accompaniment[part][:length].ravel() for one in (signals, stems))
    assert last["si_sdr"] == pytest.approx(float(si_sdr(music, guess)))
    assert last["duration_seconds"] == length / RATE


def test_segments_that_end_with_the_song_are_left_out(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 2.0), RATE)
    stems = Stems(signals.vocals, signals.accompaniment, signals.sample_rate)
    assert [len(score_segments(signals, stems, s)) for s in (1.0, 2.0, 0.4)] == [2, 0, 2 * 4]


def test_silence_is_a_matter_of_the_voice(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 3.2), RATE)
    signals.vocals[:RATE] = 0
    estimate = signals.vocals + 0.3 * signals.accompaniment
    estimate[RATE : 2 * RATE] = 0
    scores = score_segments(
        signals, Stems(estimate, signals.mixture - estimate, signals.sample_rate), 1.0
    )
    voice, music = (scores[scores["target"] == name] for name in ("vocals", "accompaniment"))
    assert np.isfinite(voice["pes_zeros"]).tolist() == [True, False, False]
    assert np.isfinite(voice["eps"]).tolist() == [False, True, False]
    assert (voice["vad_equal"] <= voice["vad_frames"]).all()
    assert voice["vad_frames"].tolist() == [50, 50, 50]
    assert music[["pes", "pes_zeros", "eps", "vad_equal"]].isna().all(axis=None)
    assert scores["sdr"].isna().tolist() == [True, True, False] * 2


def test_estimates_of_another_shape_are_refused(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 1.2), RATE)
    with pytest.raises(HtmdsepError, match="do not fit"):
        score_v4(signals, Stems(signals.vocals[1:], signals.vocals[1:], 1), "mono")
