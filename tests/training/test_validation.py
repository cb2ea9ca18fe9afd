from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet, NetworkOutput
from htmdsep.separation.separator import Separator
from htmdsep.training.cache import CachedStem
from htmdsep.training.holdout import ValidationSet
from htmdsep.training.losses import VARIANTS
from htmdsep.training.places import Place
from htmdsep.training.validation import (
    mixture_itself,
    oracle,
    score_estimates,
    score_leak,
    separate_windows,
)
from tests.training.conftest import TINY_SPECTRAL, invoke
from tests.training.test_holdout import RATE, held_song

LOSS = VARIANTS["mae-mae"]


class Factor(nn.Module):
    """A stand-in for a network that multiplies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.config = HTMDNetConfig(segment_length=4096, sample_rate=RATE)
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(self.factor * mixture, mixture)


def score(factor: float, windows: ValidationSet) -> dict[str, float]:
    estimator = partial(separate_windows, Factor(factor))  # type: ignore[arg-type]
    return score_estimates(estimator, windows, RATE, LOSS)


def test_windows_are_separated_in_segments_without_a_seam() -> None:
    mixtures = torch.randn(3, 2, 10_000) / 10
    network = Factor(0.5)
    output = separate_windows(network, mixtures, mixtures)  # type: ignore[arg-type]
    torch.testing.assert_close(output.estimate, mixtures / 2)
    assert output.masked_estimate is not None
    torch.testing.assert_close(output.masked_estimate, mixtures)


@pytest.mark.parametrize("input_channels", [1, 2])
def test_windows_are_separated_as_files_are(input_channels: Literal[1, 2]) -> None:
    torch.manual_seed(1)
    config = replace(TINY_SPECTRAL, input_channels=input_channels, input_level=-20.0)
    network = HTMDNet(config).eval()
    mixtures = torch.randn(3, 2, 10_001) / 10
    found = separate_windows(network, mixtures, mixtures).estimate
    separator = Separator(network, device="cpu", precision="fp32")
    for mixture, estimate in zip(mixtures, found, strict=True):
        streamed = separator.separate(mixture.T.numpy(), config.sample_rate)
        np.testing.assert_allclose(estimate.T.numpy(), streamed.vocals, atol=1e-5)


def test_a_network_of_two_channels_hears_one_twice() -> None:
    torch.manual_seed(1)
    network = HTMDNet(TINY_SPECTRAL).eval()
    mixtures = torch.randn(3, 1, 10_001) / 10
    twice = mixtures.expand(-1, 2, -1)
    found, wanted = (separate_windows(network, x, x).estimate for x in (mixtures, twice))
    torch.testing.assert_close(found, wanted.mean(dim=1, keepdim=True))


def test_scores_of_the_mixture_are_those_of_its_level() -> None:
    scores = score(1.0, held_song(-5.0))
    for suffix in ("", "_lower", "_upper", "_mean"):
        assert scores[f"sdr{suffix}"] == pytest.approx(-5.0, abs=0.01)
    assert scores["loss"] == pytest.approx(1.5 * scores["final_loss"], rel=1e-4)
    assert math.isnan(scores["pes"])
    silence = score(0.0, held_song(-5.0))
    assert silence["sdr"] == pytest.approx(0.0, abs=0.01)
    assert silence["accompaniment_sdr"] == pytest.approx(5.0, abs=0.01)


def test_windows_without_vocals_count_for_the_energy_and_not_for_the_ratio() -> None:
    windows = held_song(None, slice(0, 10 * RATE))
    scores = score(1.0, windows)
    assert -35 < scores["pes"] < -15
    assert scores["pes_mean"] == pytest.approx(scores["silence_level"], abs=1e-3)
    assert abs(scores["sdr"]) < 1  # vocals and accompaniment are equally loud


def test_the_ideal_mask_is_far_over_the_mixture() -> None:
    windows = held_song(-5.0)
    low, high = (
        score_estimates(estimator, windows, RATE, LOSS) for estimator in (mixture_itself, oracle)
    )
    assert low["sdr"] == pytest.approx(-5.0, abs=0.01)
    assert high["sdr"] > low["sdr"] + 5
    assert high["accompaniment_si_sdr"] > low["accompaniment_si_sdr"] + 1


def places(levels: list[int]) -> list[Place]:
    rng = np.random.default_rng(0)
    return [
        Place(CachedStem(f"{i}", rng.integers(-s, s + 1, (10 * RATE, 2), np.int16)), 0)
        for i, s in enumerate(levels)
    ]


@pytest.mark.parametrize("decibels", [-60.0, -21.0, -19.0])
def test_the_leak_is_the_level_of_the_vocals_under_the_music(decibels: float) -> None:
    def estimator(music: Tensor, vocals: Tensor) -> NetworkOutput:
        assert music.shape == (1, 2, 10 * RATE) and not vocals.any()
        return NetworkOutput(music * 10 ** (decibels / 20))

    found = score_leak(estimator, places([3000, 0, 9000]), RATE)
    assert found["windows"] == 2  # the silent one does not count
    assert found["leak"] == found["leak_upper"] == pytest.approx(decibels, abs=0.01)
    assert found["loud_leaks"] == (decibels > -20)


def test_some_windows_leak_more_than_others() -> None:
    factors = iter([0.0, *[10 ** (-level / 20) for level in range(11, 61, 5)]])

    def estimator(music: Tensor, _vocals: Tensor) -> NetworkOutput:
        return NetworkOutput(music * next(factors))

    found = score_leak(estimator, places([3000] * 11), RATE)
    assert found["leak"] == pytest.approx((-100 - sum(range(11, 61, 5))) / 11, abs=0.01)
    assert found["leak_upper"] == pytest.approx(-16, abs=0.01)
    assert found["loud_leaks"] == pytest.approx(2 / 11, abs=0.001)


def test_score_tells_the_leak_of_music_that_is_held_out(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    held = {"voices": [["solo_0*"]], "accompaniment": ["solo_1*"], "windows": 2}
    (tmp_path / "held.json").write_text(json.dumps({"new": held}))
    code, output = invoke(
        "score", "mixture", corpus, "--cache", cache, "--held-out", tmp_path / "held.json"
    )
    assert code == 0, output
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [row["set"] for row in rows] == ["new", "leak"]
    assert rows[1] == {"set": "leak", "windows": 1, "leak": 0, "leak_upper": 0, "loud_leaks": 1}
