from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from htmdsep.training.augment import melody
from htmdsep.training.augment.draw import Draw, MixSettings, rms
from htmdsep.training.augment.master import clip_softly, play_faster_or_slower
from htmdsep.training.augment.melody import (
    draw_melodies,
    fine_curves,
    resample_along,
    solo_leads,
)
from htmdsep.training.augment.produced import (
    brighten,
    compress,
    de_ess,
    echo_once,
    limit,
    produce,
    saturate,
    telephone,
)
from htmdsep.training.augment.rooms import equaliser_curves, place, room_responses
from htmdsep.training.augment.stereo import delayed, seat_voices, spread_music
from htmdsep.training.augment.timbre import FRAME, code_lossily, shift_formants, signal_of, spectra
from htmdsep.training.augment.voice import join_choir, silence
from tests.training.conftest import RATE, loudest_hertz

LENGTH = 16_384


def numbers(seed: int, **settings: float) -> Draw:
    return Draw(np.random.default_rng(seed), replace(MixSettings(), **settings), RATE)  # type: ignore[arg-type]


def tones(*hertz: float, length: int = LENGTH) -> Tensor:
    """Return tones (rows, 1, length)."""
    time = torch.arange(length) / RATE
    return torch.stack([torch.sin(2 * torch.pi * value * time) / 4 for value in hertz])[:, None]


def decibels(ratio: Tensor) -> Tensor:
    return 20 * ratio.log10()


def curves(seed: int, *melodic: bool) -> Tensor:
    points = draw_melodies(numbers(seed), LENGTH, np.array(melodic))
    return fine_curves(torch.from_numpy(points).float(), LENGTH)


def melodies(monkeypatch: pytest.MonkeyPatch, **ranges: Any) -> None:
    for name, value in ranges.items():
        monkeypatch.setattr(melody, name.upper(), value)


def test_a_flat_curve_leaves_the_signal_as_it_is() -> None:
    signal = torch.randn(2, 2, LENGTH)
    same = resample_along(signal, torch.zeros(2, LENGTH - 100))
    torch.testing.assert_close(same, signal[:, :, : LENGTH - 100])


@pytest.mark.parametrize("semitones", [-7.0, 5.0, 9.0])
def test_a_curve_moves_the_pitch_by_its_semitones(semitones: float) -> None:
    source = tones(400.0, 700.0, length=2 * LENGTH)
    shifted = resample_along(source, torch.full((2, LENGTH), semitones))
    wanted = torch.tensor([400.0, 700.0]) * 2 ** (semitones / 12)
    torch.testing.assert_close(loudest_hertz(shifted), wanted, rtol=0.005, atol=1.0)


def test_past_the_source_there_is_silence() -> None:
    out = resample_along(torch.ones(1, 1, 1000), torch.full((1, 2000), 12.0))[0, 0]
    assert (out[10:490] == 1).all()
    assert (out[510:] == 0).all()


def test_curves_are_seeded_and_stay_within_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    melodies(monkeypatch, intervals=20.0)
    first = curves(1, True, True, False)
    assert first.shape == (3, LENGTH)
    assert first.abs().max() <= melody.LIMIT
    assert torch.equal(first, curves(1, True, True, False))
    assert not torch.equal(first, curves(2, True, True, False))
    source = torch.ones(3, 1, melody.source_length(LENGTH))  # is never exhausted
    assert (resample_along(source, first) > 0.99).all()


def test_only_melodic_rows_have_several_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    melodies(monkeypatch, vibrato_depth=0.0, drift=0.0)
    melodic, steady = curves(3, True, False)
    assert melodic.max() - melodic.min() > 2
    assert steady.max() - steady.min() < 1e-5


def test_vibrato_has_its_rate_and_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    melodies(monkeypatch, drift=0.0, vibrato_depth=1.0, vibrato_hertz=(5.0, 5.0))
    curve = curves(4, *[False] * 20)
    wavering = curve - curve.mean(dim=1, keepdim=True)
    assert 0.2 < float(wavering.abs().max()) <= 1.6
    strongest = wavering[wavering.abs().amax(dim=1).argmax()]
    assert float(loudest_hertz(strongest[None, None])) == pytest.approx(5.0, abs=1.5)


def formant_tone() -> Tensor:
    """Return pulses at 150 Hz through a resonance at 1 200 Hz, (1, 1, time)."""
    pulses = torch.zeros(1, 1, LENGTH)
    pulses[..., :: RATE // 150] = 1
    time = torch.arange(600) / RATE
    ringing = torch.exp(-time * 500) * torch.sin(2 * torch.pi * 1200 * time)
    padded = torch.nn.functional.pad(pulses, (599, 0))
    return torch.nn.functional.conv1d(padded, ringing.flip(0)[None, None])


def spectral_peak(signal: Tensor) -> float:
    """Return the frequency of the strongest 450 Hz wide band."""
    power = torch.fft.rfft(signal[0] * torch.hann_window(LENGTH)).abs().square()
    width = int(450 * LENGTH / RATE)
    smooth = torch.nn.functional.avg_pool1d(power, width, 1, width // 2)[0]
    return float(smooth.argmax()) * RATE / LENGTH


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.3])
def test_formants_move_and_the_pitch_stays(ratio: float) -> None:
    voice = formant_tone()
    shifted = shift_formants(voice, torch.tensor([[[ratio]]]))
    if ratio == 1.0:
        torch.testing.assert_close(shifted, voice, atol=1e-4, rtol=0)
    assert spectral_peak(shifted) == pytest.approx(1200 * ratio, rel=0.12)
    harmonics = torch.fft.rfft(shifted[0, 0] * torch.hann_window(LENGTH)).abs()
    spacing = torch.fft.irfft(harmonics.square())[20:400].argmax() + 20
    assert RATE / float(spacing) == pytest.approx(150, rel=0.03)


def clicks(rows: int, channels: int = 1) -> Tensor:
    signal = torch.zeros(rows, channels, LENGTH)
    signal[:, :, 0] = 1
    return signal


def test_equalisers_stay_within_their_decibels_and_low_passes_keep_the_lows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Points of 4 dB and a tilt of 4 dB either way make 8 dB; only low-passed highs lose more."""
    for lowpassed in (0.0, 0.5):
        monkeypatch.setattr("htmdsep.training.augment.rooms.LOWPASSED", lowpassed)
        placed = place(clicks(100), numbers(0), reverb=0.0, decibels=4.0)
        gains = decibels(torch.fft.rfft(placed[:, 0]).abs())
        lows, highs = gains[:, : LENGTH // 9], gains[:, -LENGTH // 50 :]
        assert lows.abs().max() <= 8.5
        assert (gains.std(dim=1) > 0.1).all()
        closed = (highs.amin(dim=1) < -8.5).float().mean()
        assert float(closed) == pytest.approx(lowpassed, abs=0.12)


def test_equalisers_ring_into_nothing_that_wraps_around() -> None:
    steep = torch.tensor([[-14.0, 14.0] * 3])
    whole = torch.fft.irfft(equaliser_curves(steep, RATE + 1))[0]
    far = whole[int(0.1 * RATE) : -int(0.1 * RATE)].abs().max() / whole.abs().max()
    assert decibels(far) < -90


@pytest.mark.parametrize("channels", [1, 2])
def test_rooms_begin_with_the_direct_sound_and_decay(channels: int) -> None:
    wanted, like = np.ones((40, 2), bool), torch.zeros(40, channels, 2 * RATE)
    plates = np.arange(40) % 2 == 1
    responses = room_responses(numbers(1), like, wanted, plates)
    assert (responses[:, :, 0] == 1).all()
    halves = responses[:, :, 1:].unfold(2, RATE // 2, RATE // 2).square().sum(dim=3)
    assert (halves[:, :, 1] < halves[:, :, 0]).all()
    assert halves[1::2, :, 2].mean() > 10 * halves[::2, :, 2].mean()  # plates are long
    if channels == 2:
        assert not torch.equal(responses[:, 0], responses[:, 1])
    echoes = room_responses(numbers(1), like[:, :, :LENGTH], wanted & [False, True], plates)
    assert (responses[:, :, 1:].abs() > 0).float().mean() > 0.9
    assert ((echoes != 0).sum(dim=2) <= 4).all()  # those past the end are not heard


def test_only_rows_with_rooms_are_reverberated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htmdsep.training.augment.rooms.LOWPASSED", 0.0)
    signal = clicks(60)
    placed = place(signal, numbers(1), reverb=0.4, decibels=0.0)
    dry = (placed - signal).abs().amax(dim=(1, 2)) < 1e-5
    assert 20 < dry.sum() < 45
    nowhere = place(signal, numbers(1), reverb=0.0, decibels=0.0)
    torch.testing.assert_close(nowhere, signal, atol=1e-5, rtol=0)


def test_gaps_are_silent_in_their_share_of_rows() -> None:
    gains = silence(torch.ones(300, 2, LENGTH), numbers(2), 0.4)
    assert gains.min() >= 0
    assert gains.max() <= 1
    holed = (gains.amin(dim=2) == 0).float().mean()
    assert 0.3 < float(holed) < 0.6
    assert gains.diff(dim=2).abs().max() < 0.01  # faded


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_a_choir_is_of_other_voices(rows: int) -> None:
    voices = torch.eye(rows)[:, None]  # a channel of its own sample each
    joined = join_choir(voices, np.ones(rows, bool), numbers(0, choir=1.0))
    assert ((joined != 0).sum(dim=2) == 1 + (rows > 1)).all()
    assert (joined.diagonal(dim1=0, dim2=2) == 1).all()
    assert torch.equal(join_choir(voices, np.zeros(rows, bool), numbers(0, choir=1.0)), voices)


def test_leads_are_loud_and_within_their_notes() -> None:
    leads = solo_leads(numbers(3), 6, torch.zeros(6, 1, 2 * LENGTH))
    torch.testing.assert_close(rms(leads), torch.ones(6, 1, 1), atol=1e-3, rtol=0)
    limits = 440 * 2 ** ((np.array([melody.LOWEST_NOTE - 10, melody.HIGHEST_NOTE + 10]) - 69) / 12)
    assert (loudest_hertz(leads) > limits[0]).all()
    assert (loudest_hertz(leads) < limits[1] * 3).all()  # a partial may be the loudest


def test_clipping_keeps_the_vocals_share_of_the_mixture() -> None:
    vocals, music = tones(300.0), tones(90.0)
    mixture = vocals + music
    clipped, part = clip_softly(mixture, vocals, numbers(4, clipped=1.0))
    inside = mixture.abs() > 1e-3
    torch.testing.assert_close(
        (part / clipped)[inside], (vocals / mixture)[inside], atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(clipped / clipped.max(), mixture / mixture.max(), atol=1e-3)
    untouched, _ = clip_softly(mixture, vocals, numbers(4, clipped=0.0))
    torch.testing.assert_close(untouched, mixture)


@pytest.mark.parametrize("channels", [1, 2])
def test_coding_drops_bins_of_both_alike(channels: int) -> None:
    noise = torch.randn(20, channels, LENGTH, generator=torch.Generator().manual_seed(1)) / 50
    vocals = tones(300.0).expand(20, channels, -1)
    coded, part = code_lossily(vocals + noise, vocals, numbers(5, coded=0.5))
    _, rest = code_lossily(vocals + noise, noise, numbers(5, coded=0.5))
    torch.testing.assert_close(part + rest, coded, atol=1e-5, rtol=0)
    inside = slice(1024, -1024)
    torch.testing.assert_close(part[..., inside], vocals[..., inside], atol=0.02, rtol=0)
    left = (rest.square().mean(dim=(1, 2)) / noise.square().mean(dim=(1, 2))).sort().values
    assert 0.25 < float((left > 0.99).float().mean()) < 0.75  # these are not coded
    assert left[0] < 0.3  # the strongest bins hold more than their share


@pytest.mark.parametrize("hop", [256, 512])
@pytest.mark.parametrize("length", [FRAME // 2, LENGTH - 77, LENGTH])
def test_spectra_give_their_signal_back(hop: int, length: int) -> None:
    signal = torch.randn(2, 2, length, generator=torch.Generator().manual_seed(0))
    same = signal_of(spectra(signal, hop), hop, length)
    torch.testing.assert_close(same, signal, atol=1e-5, rtol=0)


def test_speeds_keep_sums_and_the_rows_that_stay() -> None:
    signal = tones(*[500.0] * 40, length=2 * LENGTH) + tones(*[90.0] * 40, length=2 * LENGTH)
    both = torch.cat([signal, tones(*[500.0] * 40, length=2 * LENGTH)], dim=1)
    played = play_faster_or_slower(both, numbers(0, speeds=0.5), LENGTH)
    same = (played == both[:, :, :LENGTH]).all(dim=2).all(dim=1)
    assert 10 < same.sum() < 30
    semitones = 12 * torch.log2(loudest_hertz(played[:, 1:]) / 500)
    assert (semitones[~same].abs() <= 3.1).all() and semitones[~same].std() > 1
    apart = play_faster_or_slower(
        tones(*[90.0] * 40, length=2 * LENGTH), numbers(0, speeds=0.5), LENGTH
    )
    torch.testing.assert_close(played[:, :1] - played[:, 1:], apart, atol=1e-4, rtol=0)


def level_of(signal: Tensor, lowest: float, highest: float = RATE / 2) -> Tensor:
    """Return the decibels between two frequencies, a number a row."""
    bins = slice(int(lowest * LENGTH / RATE), int(highest * LENGTH / RATE))
    power: Tensor = torch.fft.rfft(signal[:, 0]).abs().square()[:, bins].sum(dim=1)
    return 10 * power.log10()


def loud_and_quiet() -> Tensor:
    """Return tones (4, 1, time) whose second half is 20 dB quieter."""
    fall = torch.ones(LENGTH)
    fall[LENGTH // 2 :] = 0.1
    return tones(300.0, 400.0, 500.0, 600.0) * fall


def crest(signal: Tensor) -> Tensor:
    """Return peaks over the RMS in dB."""
    return decibels(signal.abs().amax(dim=(1, 2)) / rms(signal)[:, 0, 0])


@pytest.mark.parametrize("effect", [compress, saturate])
def test_the_loud_comes_nearer_to_the_quiet(effect: Callable[[Tensor, Draw], Tensor]) -> None:
    voice = loud_and_quiet()
    treated = effect(voice, numbers(0))
    early, late = slice(2000, 6000), slice(10_000, 14_000)
    quiet = decibels(rms(treated[..., late]) / rms(voice[..., late]))
    loud = decibels(rms(treated[..., early]) / rms(voice[..., early]))
    assert (quiet.abs() < 0.5).all()
    assert (loud < quiet).all() and (loud < -0.5).any()


def test_limiters_hold_peaks_down() -> None:
    voice = tones(300.0, 500.0)
    voice[:, :, 8000:8050] *= 8
    assert (crest(limit(voice, numbers(0))) < crest(voice) - 3).all()


def test_highs_rise_sibilants_fall_and_telephones_have_a_band() -> None:
    noise = torch.randn(8, 1, LENGTH, generator=torch.Generator().manual_seed(3))
    bright = brighten(noise, numbers(1))
    risen = level_of(bright, 9_000) - level_of(noise, 9_000)
    assert (risen > 2.5).all() and (risen < 9.5).all()
    torch.testing.assert_close(level_of(bright, 0, 800), level_of(noise, 0, 800), atol=0.5, rtol=0)
    hissing = noise - torch.roll(noise, 1, 2)
    softer = level_of(de_ess(hissing, numbers(1)), 5_500) - level_of(hissing, 5_500)
    assert (softer < -4).all()
    voice = tones(*[300.0] * 8) + noise / 1000
    torch.testing.assert_close(de_ess(voice, numbers(1)), voice, atol=1e-3, rtol=0)
    called = telephone(noise, numbers(1))
    for edge in ((0, 120), (5_000, RATE / 2)):
        assert (level_of(called, *edge) - level_of(noise, *edge) < -15).all()
    assert (level_of(called, 900, 2_000) - level_of(noise, 900, 2_000)).abs().max() < 1


def test_slap_echoes_come_once() -> None:
    later = echo_once(clicks(30), numbers(0))[:, 0]
    assert ((later != 0).sum(dim=1) == 2).all()
    seconds = (later[:, 1:].argmax(dim=1) + 1) / RATE
    assert 0.059 < float(seconds.min()) < 0.1 < float(seconds.max()) < 0.181


def test_only_raw_voices_are_produced() -> None:
    voices = torch.randn(40, 2, LENGTH, generator=torch.Generator().manual_seed(3)) / 10
    raw = np.arange(40) < 20
    shares = dict.fromkeys(("compressed", "bright", "slap_echo"), 0.5)
    treated = produce(voices, raw, numbers(0, **shares))
    changed = (treated != voices).any(dim=2).any(dim=1)
    assert not changed[20:].any() and 12 < changed[:20].sum() < 20
    assert torch.equal(produce(voices, raw, numbers(0)), voices)


def test_delays_are_those_asked_for_in_each_channel() -> None:
    seconds = np.array([[[0.0], [0.01]], [[0.002], [0.5]]])
    late = delayed(clicks(2, 2), seconds, numbers(0))
    assert late.argmax(dim=2).tolist() == [[0, 220], [44, 11_025]]
    assert (late.sum(dim=2) == 1).all()


def test_one_channel_has_no_places_and_music_keeps_its_mean() -> None:
    mono = np.arange(40) < 30
    signal = torch.randn(40, 1, LENGTH, generator=torch.Generator().manual_seed(3))
    assert torch.equal(seat_voices(signal, mono, numbers(0)), signal)
    assert torch.equal(spread_music(signal, mono, numbers(0)), signal)
    both = signal.expand(-1, 2, -1)
    spread = spread_music(both, mono, numbers(0))
    assert torch.equal(spread[30:], both[30:])
    assert (spread[:30, 0] != spread[:30, 1]).any(dim=1).all()
    widened = (spread.mean(dim=1, keepdim=True) - signal).abs().amax(dim=(1, 2)) < 1e-5
    assert 7 < widened[:30].sum() < 23  # the others are placed
