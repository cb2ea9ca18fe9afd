from __future__ import annotations

import numpy as np
import pytest
import torch

from htmdsep.training.augment.damage import (
    Damage,
    draw_clipping,
    draw_coding,
    drop_weak_bins,
    soft_clip,
)
from htmdsep.training.augment.frames import FRAME, signal_of, spectra
from htmdsep.training.augment.gaps import draw_gaps, silence
from htmdsep.training.augment.leads import HIGHEST_NOTE, LOWEST_NOTE, draw_leads, solo_leads
from htmdsep.training.augment.rooms import (
    draw_lowpasses,
    draw_placing,
    draw_rooms,
    lowpass_curves,
    place,
    room_responses,
)
from htmdsep.training.augment.timbre import draw_equalisers, equaliser_curves, shift_formants
from htmdsep.training.augment.warp import (
    MelodyRange,
    draw_melodies,
    fine_curves,
    resample_along,
)

RATE = 22_050
LENGTH = 16_384


def tones(*hertz: float, length: int = LENGTH) -> torch.Tensor:
    time = torch.arange(length) / RATE
    waves = [torch.sin(2 * torch.pi * value * time) / 4 for value in hertz]
    stacked: torch.Tensor = torch.stack(waves)
    return stacked


def loudest_hertz(signal: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(signal.shape[-1])
    spectrum = torch.fft.rfft(signal * window).abs()
    loudest: torch.Tensor = spectrum.argmax(dim=-1) * RATE / signal.shape[-1]
    return loudest


def curves(seed: int, *melodic: bool, ranges: MelodyRange | None = None) -> torch.Tensor:
    points = draw_melodies(
        np.random.default_rng(seed),
        LENGTH,
        RATE,
        melodic=np.array(melodic),
        ranges=ranges or MelodyRange(),
    )
    return fine_curves(points, LENGTH)


def test_a_flat_curve_leaves_the_signal_as_it_is() -> None:
    signal = torch.randn(2, LENGTH)
    same = resample_along(signal, torch.zeros(2, LENGTH - 100))
    torch.testing.assert_close(same, signal[:, : LENGTH - 100])


@pytest.mark.parametrize("semitones", [-7.0, 5.0, 9.0])
def test_a_curve_moves_the_pitch_by_its_semitones(semitones: float) -> None:
    source = tones(400.0, 700.0, length=2 * LENGTH)
    shifted = resample_along(source, torch.full((2, LENGTH), semitones))
    wanted = torch.tensor([400.0, 700.0]) * 2 ** (semitones / 12)
    torch.testing.assert_close(loudest_hertz(shifted), wanted, rtol=0.005, atol=1.0)


def test_past_the_source_there_is_silence() -> None:
    out = resample_along(torch.ones(1, 1000), torch.full((1, 2000), 12.0))
    assert (out[:, 10:490] == 1).all()
    assert (out[:, 510:] == 0).all()


def test_curves_are_seeded_and_stay_within_their_limit() -> None:
    ranges = MelodyRange(intervals=20.0, limit=9.0)
    first = curves(1, True, True, False, ranges=ranges)
    assert first.shape == (3, LENGTH)
    assert first.abs().max() <= 9.0
    torch.testing.assert_close(first, curves(1, True, True, False, ranges=ranges))
    assert not torch.equal(first, curves(2, True, True, False, ranges=ranges))


def test_only_melodic_rows_have_several_notes() -> None:
    still = MelodyRange(vibrato_depth=0.0, drift=0.0)
    melodic, steady = curves(3, True, False, ranges=still)
    assert melodic.max() - melodic.min() > 2
    assert steady.max() - steady.min() < 1e-5


def test_vibrato_has_its_rate_and_depth() -> None:
    ranges = MelodyRange(drift=0.0, vibrato_depth=1.0, vibrato_hertz=(5.0, 5.0))
    curve = curves(4, *[False] * 20, ranges=ranges)
    wavering = curve - curve.mean(dim=1, keepdim=True)
    assert 0.2 < float(wavering.abs().max()) <= 1.6
    strongest = wavering[wavering.abs().amax(dim=1).argmax()]
    assert float(loudest_hertz(strongest)) == pytest.approx(5.0, abs=1.5)


def test_a_source_of_the_stated_length_is_never_exhausted() -> None:
    ranges = MelodyRange(intervals=50.0)
    source = torch.ones(8, ranges.source_length(LENGTH))
    assert (resample_along(source, curves(5, *[True] * 8, ranges=ranges)) > 0.99).all()


def formant_tone() -> torch.Tensor:
    """Return pulses at 150 Hz through a resonance at 1 200 Hz."""
    pulses = torch.zeros(1, LENGTH)
    pulses[:, :: RATE // 150] = 1
    time = torch.arange(600) / RATE
    ringing = torch.exp(-time * 500) * torch.sin(2 * torch.pi * 1200 * time)
    return torch.nn.functional.conv1d(
        torch.nn.functional.pad(pulses, (599, 0))[None], ringing.flip(0)[None, None]
    )[0]


def spectral_peak(signal: torch.Tensor) -> float:
    """Return the frequency of the strongest 450 Hz wide band."""
    power = torch.fft.rfft(signal * torch.hann_window(LENGTH)).abs().square()[0]
    width = int(450 * LENGTH / RATE)
    smooth = torch.nn.functional.avg_pool1d(power[None, None], width, 1, width // 2)[0, 0]
    return float(smooth.argmax()) * RATE / LENGTH


@pytest.mark.parametrize("ratio", [0.8, 1.3])
def test_formants_move_and_the_pitch_stays(ratio: float) -> None:
    voice = formant_tone()
    shifted = shift_formants(voice, torch.tensor([[ratio]]))
    assert shifted.shape == voice.shape
    assert spectral_peak(shifted) == pytest.approx(1200 * ratio, rel=0.12)
    harmonics = torch.fft.rfft(shifted[0] * torch.hann_window(LENGTH)).abs()
    spacing = torch.fft.irfft(harmonics.square())[20:400].argmax() + 20
    assert RATE / float(spacing) == pytest.approx(150, rel=0.03)


def test_a_formant_ratio_of_one_changes_nothing() -> None:
    voice = formant_tone()
    torch.testing.assert_close(shift_formants(voice, torch.ones(1, 1)), voice, atol=1e-4, rtol=0)


def test_equalisers_stay_within_their_decibels() -> None:
    points = draw_equalisers(np.random.default_rng(0), 50, decibels=4.0, tilt=6.0)
    gains = equaliser_curves(points, 1000)
    assert (20 * gains.log10()).abs().max() <= 7.0 + 1e-4
    assert (gains.std(dim=1) > 0).all()


def test_lowpasses_keep_the_lows_and_only_a_share_is_chosen() -> None:
    cutoffs = draw_lowpasses(np.random.default_rng(0), 200, RATE, share=0.5)
    gains = lowpass_curves(cutoffs, 1000, RATE)
    assert (gains[:, :200] > 0.9).all()
    closed = (gains[:, -1] < 0.5).float().mean()
    assert 0.35 < float(closed) < 0.65
    nowhere = draw_lowpasses(np.random.default_rng(0), 9, RATE, share=0.0)
    assert (lowpass_curves(nowhere, 1000, RATE) == 1).all()


def test_rooms_begin_with_the_direct_sound_and_decay() -> None:
    rooms = draw_rooms(np.random.default_rng(1), 40, share=1.0)
    responses = room_responses(rooms, RATE, RATE)
    assert (responses[:, 0] == 1).all()
    early = responses[:, 1 : RATE // 2].square().sum(dim=1)
    late = responses[:, RATE // 2 :].square().sum(dim=1)
    assert (late < early).all()
    assert len(draw_rooms(np.random.default_rng(1), 4, share=0.0).rows) == 0


def test_echoes_after_the_end_are_not_heard() -> None:
    rooms = draw_rooms(np.random.default_rng(1), 40, share=1.0)
    silent = rooms._replace(levels=torch.zeros_like(rooms.levels))
    longer, shorter = (room_responses(silent, length, RATE) for length in (2 * RATE, LENGTH))
    torch.testing.assert_close(shorter, longer[:, :LENGTH])
    assert (longer[:, LENGTH:] > 0).any()


def test_only_rows_with_rooms_are_reverberated() -> None:
    clicks = torch.zeros(60, LENGTH)
    clicks[:, 0] = 1
    placing = draw_placing(
        np.random.default_rng(1),
        60,
        RATE,
        reverb_share=0.4,
        equaliser=(0.0, 0.0),
        lowpass_share=0.0,
    )
    placed = place(clicks, placing, RATE)
    dry = torch.ones(60, dtype=torch.bool)
    dry[placing.rooms.rows] = False
    assert 20 < dry.sum() < 45
    torch.testing.assert_close(placed[dry], clicks[dry], atol=1e-5, rtol=0)
    rooms = room_responses(placing.rooms, LENGTH, RATE)
    torch.testing.assert_close(placed[~dry], rooms, atol=1e-5, rtol=0)


def test_equalisers_ring_into_nothing_that_wraps_around() -> None:
    steep = torch.tensor([[-14.0, 14.0] * 3])
    whole = torch.fft.irfft(equaliser_curves(steep, RATE + 1))[0]
    far = whole[int(0.1 * RATE) : -int(0.1 * RATE)].abs().max() / whole.abs().max()
    assert 20 * torch.log10(far) < -90


def test_a_room_without_anything_returns_the_signal() -> None:
    signal = tones(300.0, 900.0)
    nothing = draw_placing(
        np.random.default_rng(0),
        2,
        RATE,
        reverb_share=0.0,
        equaliser=(0.0, 0.0),
        lowpass_share=0.0,
    )
    same = place(signal, nothing, RATE)
    torch.testing.assert_close(same, signal, atol=1e-5, rtol=0)


def test_gaps_are_silent_in_their_share_of_rows() -> None:
    gaps = draw_gaps(np.random.default_rng(2), 300, LENGTH / RATE, share=0.4)
    gains = silence(torch.ones(300, LENGTH), gaps, RATE)
    assert gains.min() >= 0
    assert gains.max() <= 1
    holed = (gains.amin(dim=1) == 0).float().mean()
    assert 0.3 < float(holed) < 0.6
    assert gains.diff(dim=1).abs().max() < 0.01  # faded


def test_leads_are_loud_and_within_their_notes() -> None:
    leads = solo_leads(draw_leads(np.random.default_rng(3), 6, 2 * LENGTH, RATE), 2 * LENGTH, RATE)
    torch.testing.assert_close(leads.square().mean(dim=1), torch.ones(6), atol=1e-3, rtol=0)
    limits = 440 * 2 ** ((np.array([LOWEST_NOTE - 10, HIGHEST_NOTE + 10]) - 69) / 12)
    assert (loudest_hertz(leads) > limits[0]).all()
    assert (loudest_hertz(leads) < limits[1] * 3).all()  # a partial may be the loudest


def test_clipping_keeps_the_vocals_share_of_the_mixture() -> None:
    vocals, music = tones(300.0), tones(90.0)
    mixture = vocals + music
    every = draw_clipping(np.random.default_rng(4), 1, share=1.0)
    clipped, part = soft_clip(mixture, vocals, every)
    inside = mixture.abs() > 1e-3
    torch.testing.assert_close(
        (part / clipped)[inside], (vocals / mixture)[inside], atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(clipped / clipped.max(), mixture / mixture.max(), atol=1e-3)
    none = draw_clipping(np.random.default_rng(4), 1, share=0.0)
    untouched, _ = soft_clip(mixture, vocals, none)
    torch.testing.assert_close(untouched, mixture)


def test_coding_drops_bins_of_both_alike() -> None:
    vocals, music = tones(300.0), torch.randn(1, LENGTH) / 50
    coding = draw_coding(np.random.default_rng(5), 1, share=1.0)
    coded, part = drop_weak_bins(vocals + music, vocals, coding)
    rest, _ = drop_weak_bins(vocals + music, music, coding)
    assert coded.shape == vocals.shape
    assert (coded - vocals - music).square().mean() > 1e-6
    inside = slice(1024, -1024)
    torch.testing.assert_close(
        part[:, inside], vocals[:, inside], atol=0.02, rtol=0
    )  # it is strong
    assert coded.square().mean() < (vocals + music).square().mean()
    torch.testing.assert_close(rest, coded)


def test_codecs_keep_their_share_of_bins_row_by_row() -> None:
    noise = torch.randn(3, 8 * LENGTH, generator=torch.Generator().manual_seed(1))
    shares = torch.tensor([[0.05], [0.3]])
    coded, _ = drop_weak_bins(noise, noise, Damage(torch.tensor([0, 2]), shares))
    torch.testing.assert_close(coded[1], noise[1])
    left = coded.square().mean(dim=1) / noise.square().mean(dim=1)
    assert 0.1 < left[0] < 0.25 < 0.5 < left[2] < 0.9  # the strongest hold more than their share


@pytest.mark.parametrize("hop", [256, 512])
@pytest.mark.parametrize("length", [FRAME // 2, LENGTH - 77, LENGTH])
def test_spectra_give_their_signal_back(hop: int, length: int) -> None:
    signal = torch.randn(2, length, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        signal_of(spectra(signal, hop), hop, length), signal, atol=1e-5, rtol=0
    )
