from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from htmdsep.errors import HtmdsepError
from htmdsep.model import HTMDNet, HTMDNetConfig, NetworkOutput
from htmdsep.separator import Separator
from htmdsep.training.cache import CachedStem
from htmdsep.training.holdout import HeldOut
from htmdsep.training.layouts import Song, Stem
from htmdsep.training.losses import VARIANTS
from htmdsep.training.prepare import prepare
from htmdsep.training.references import mixture_itself, oracle
from htmdsep.training.validation import score, score_estimates, separate_windows
from htmdsep.training.windows import ValidationSet, make_validation_set

RATE = 1000
CPU = torch.device("cpu")


def noise(name: str, seconds: int, silent: slice = slice(0)) -> CachedStem:
    samples = np.random.default_rng(len(name)).integers(-3000, 3000, seconds * RATE)
    samples[silent] = 0
    return CachedStem(name, samples.astype(np.int16))


def held_song(level: float | None, silent: slice = slice(0)) -> ValidationSet:
    song = Song("a", Stem("v", ()), Stem("acc", ()))
    cached = {"v": noise("v", 45, silent), "acc": noise("acc", 45)}
    held = HeldOut("x", (song,), (), (), level, 0, 0)
    return make_validation_set(held, cached, RATE)


class Factor(nn.Module):
    """A stand-in for a network that multiplies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.config = HTMDNetConfig(segment_length=4096, sample_rate=RATE)
        self.factor = factor

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(self.factor * mixture, mixture)


def test_vocals_lie_at_the_level_and_mixtures_within_full_scale() -> None:
    windows = held_song(-5.0)
    assert len(windows.windows) == 4
    for mixtures, vocals in windows.batches():
        music = mixtures - vocals
        ratio = 10 * torch.log10(vocals.square().mean(1) / music.square().mean(1))
        torch.testing.assert_close(ratio, torch.full_like(ratio, -5.0), atol=1e-3, rtol=0)
        assert mixtures.abs().max() <= 0.95 + 1e-6


def test_windows_without_singing_are_taken_only_as_they_are() -> None:
    silent = slice(9 * RATE, 21 * RATE)
    assert len(held_song(-5.0, silent).windows) == 3
    natural = held_song(None, silent)
    assert len(natural.windows) == 4
    (batch,) = natural.batches()
    assert (batch[1][1] == 0).all()


def test_a_set_without_windows_is_an_error() -> None:
    voices, music = ((Stem("a", ()),),), (Stem("m", ()),)
    cached = {name: noise(name, 20) for name in "am"}
    for silent in "am":  # left out of the cache
        left = {name: stem for name, stem in cached.items() if name != silent}
        with pytest.raises(HtmdsepError, match="'x' has no windows"):
            make_validation_set(HeldOut("x", (), voices, music, -5.0, 3, 0), left, RATE)
    with pytest.raises(HtmdsepError, match="'x' has no windows"):
        make_validation_set(HeldOut("x", (), voices, music, -5.0, 0, 0), cached, RATE)


def test_mixed_windows_take_every_group_alike() -> None:
    cached = {name: noise(name, 20) for name in ("a", "bb", "ccc", "m")}
    held = HeldOut(
        "x",
        (),
        ((Stem("a", ()), Stem("bb", ())), (Stem("ccc", ()),)),
        (Stem("m", ()),),
        -5.0,
        12,
        3,
    )
    windows = make_validation_set(held, cached, RATE)
    names = [window.vocals.name for window in windows.windows]
    assert sorted(names) == ["a"] * 3 + ["bb"] * 3 + ["ccc"] * 6
    assert windows == make_validation_set(held, cached, RATE)
    assert [window.vocals.name for window in windows.every(5).windows] == names[::5]


def test_windows_are_separated_in_segments_without_a_seam() -> None:
    mixtures = torch.randn(3, 10_000) / 10
    network = Factor(0.5)
    output = separate_windows(network, CPU, mixtures, mixtures)  # type: ignore[arg-type]
    torch.testing.assert_close(output.estimate, mixtures / 2)
    assert output.masked_estimate is not None
    torch.testing.assert_close(output.masked_estimate, mixtures)


def test_windows_are_separated_as_files_are(tiny_config: HTMDNetConfig) -> None:
    torch.manual_seed(1)
    network = HTMDNet(tiny_config).eval()
    mixtures = torch.randn(2, 10_001) / 10
    found = separate_windows(network, CPU, mixtures, mixtures).estimate
    separator = Separator(network, device="cpu", precision="fp32")
    for mixture, estimate in zip(mixtures, found, strict=True):
        streamed = separator.separate(mixture.numpy(), tiny_config.sample_rate)
        np.testing.assert_allclose(estimate.numpy(), streamed.vocals, atol=1e-5)


def test_scores_of_the_mixture_are_those_of_its_level() -> None:
    scores = score(Factor(1.0), held_song(-5.0), CPU, VARIANTS["mae-mae"])  # type: ignore[arg-type]
    assert scores.sdr == pytest.approx((-5.0, -5.0, -5.0), abs=0.01)
    assert scores.loss == pytest.approx(1.5 * scores.final_loss, rel=1e-4)
    assert math.isnan(scores.pes)
    silence = score(Factor(0.0), held_song(-5.0), CPU, VARIANTS["mae-mae"])  # type: ignore[arg-type]
    assert silence.sdr.median == pytest.approx(0.0, abs=0.01)
    assert silence.accompaniment_sdr.median == pytest.approx(5.0, abs=0.01)


def test_windows_without_vocals_count_for_the_energy_and_not_for_the_ratio() -> None:
    windows = held_song(None, slice(0, 10 * RATE))
    scores = score(Factor(1.0), windows, CPU, VARIANTS["mae-mae"])  # type: ignore[arg-type]
    assert -35 < scores.pes < -15
    assert scores.pes_mean == pytest.approx(scores.silence_level, abs=1e-3)
    assert abs(scores.sdr.median) < 1  # vocals and accompaniment are equally loud


def test_a_folder_is_prepared_whole(corpus: Path, cache: Path) -> None:
    prepared = prepare(corpus, cache, None, 22_050, progress=False)
    assert [song.title for song in prepared.training.songs] == ["song 1", "song 2"]
    (windows,) = prepared.windows()
    assert len(windows.windows) == 1


def test_the_ideal_mask_is_far_over_the_mixture() -> None:
    windows, loss = held_song(-5.0), VARIANTS["mae-mae"]
    low, high = (
        score_estimates(estimator, windows, RATE, loss) for estimator in (mixture_itself, oracle)
    )
    assert low.sdr.median == pytest.approx(-5.0, abs=0.01)
    assert high.sdr.median > low.sdr.median + 5
    assert high.accompaniment_si_sdr.median > low.accompaniment_si_sdr.median + 1
