from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from htmdsep.training.sing import (
    FRAME_SECONDS,
    LONGER,
    SAMPLE_RATE,
    Speech,
    draw_melody,
    lengthen,
    sing,
)
from tests.training.conftest import invoke

RNG = np.random.default_rng


def speech(seconds: float, voiced: float = 0.6) -> np.ndarray:
    """Return pulses of a falling pitch around 120 Hz, in words with pauses, (time,)."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = np.cumsum(120 + 15 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    waves = sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, 20))
    spoken = (1.5 * time) % 1 < voiced
    return 0.05 * waves * spoken + 1e-4 * RNG(0).standard_normal(len(time))


@pytest.mark.parametrize("seed", range(12))
def test_melodies_stay_near_their_centre_and_on_a_scale(seed: int) -> None:
    hertz = draw_melody(RNG(seed), 4000, 220.0)
    semitones = 12 * np.log2(hertz / 440)
    assert len(hertz) == 4000
    assert np.abs(semitones + 12).max() < 14  # a ladder of 18 semitones, scoops and vibrato
    assert np.ptp(semitones) > 3
    steady = np.abs(np.diff(semitones)) < 1e-4
    if steady.mean() > 0.5:  # on the grid
        away = np.abs(semitones[1:][steady] - np.round(semitones[1:][steady]))
        assert np.median(away) < 0.01
    np.testing.assert_array_equal(hertz, draw_melody(RNG(seed), 4000, 220.0))


def test_some_melodies_are_on_the_grid() -> None:
    flat = [
        np.mean(np.abs(np.diff(np.log2(draw_melody(RNG(seed), 2000, 220.0)))) < 1e-5) > 0.5
        for seed in range(60)
    ]
    assert 5 < sum(flat) < 28


def test_voiced_parts_last_longer_and_pauses_do_not() -> None:
    pitch = np.repeat([0.0, 150.0, 0.0], [100, 300, 100])
    spectra = np.tile(np.linspace(1, 2, 500)[:, None], (1, 9))
    longer = lengthen(RNG(3), Speech(pitch, spectra, spectra / 2))
    voiced = longer.pitch > 0
    assert 300 * LONGER[0] < voiced.sum() < 300 * LONGER[1] + 2
    assert abs((~voiced).sum() - 200) <= 2
    assert (np.diff(longer.envelope[:, 0]) >= 0).all()  # read in order, between 1 and 2
    assert longer.envelope[0, 0] == pytest.approx(1) and longer.envelope.max() <= 2 + 1e-9


def pitches(sound: np.ndarray) -> np.ndarray:
    pyworld = pytest.importorskip("pyworld")
    found = pyworld.harvest(sound.astype(np.float64), SAMPLE_RATE, 60.0, 1200.0)[0]
    return np.asarray(found[found > 0])


def test_speech_is_sung_at_a_level_with_another_pitch() -> None:
    pytest.importorskip("pyworld")
    spoken = speech(6.0)
    song, again = (sing(RNG(4), spoken) for _ in range(2))
    assert song is not None and again is not None
    np.testing.assert_array_equal(song, again)
    assert song.dtype == np.float32 and len(song) >= len(spoken) - FRAME_SECONDS * SAMPLE_RATE
    assert np.sqrt(np.mean(song**2)) == pytest.approx(0.1, rel=0.1)
    assert np.abs(song).max() <= 0.97
    before, after = pitches(spoken), pitches(song)
    assert np.ptp(np.percentile(before, [10, 90])) < 40 < np.ptp(np.percentile(after, [10, 90]))
    assert sing(RNG(4), 0.1 * RNG(1).standard_normal(SAMPLE_RATE)) is None
    assert sing(RNG(4), np.zeros(0)) is None


def test_files_that_would_be_sung_into_one_are_refused_before_any_is(tmp_path: Path) -> None:
    for folder, name in (("anna", "b-1.wav"), ("anna-b", "1.wav")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        soundfile.write(tmp_path / "in" / folder / name, speech(2.0), SAMPLE_RATE)
    code, output = invoke("sing", tmp_path / "in", tmp_path / "out")
    assert code == 1 and "would both become" in output and "anna-b-1.wav.flac" in output
    assert not (tmp_path / "out").exists()


def test_the_command_sings_a_folder_and_leaves_out_what_has_no_voice(tmp_path: Path) -> None:
    pytest.importorskip("pyworld")
    (tmp_path / "in" / "anna").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "anna" / "1.wav", speech(2.0), SAMPLE_RATE)
    soundfile.write(tmp_path / "in" / "noise.wav", RNG(0).standard_normal(24_000) / 9, SAMPLE_RATE)
    code, output = invoke("sing", tmp_path / "in", tmp_path / "out")
    assert code == 0 and "noise.wav has hardly any voice" in output
    assert f"1 files in {tmp_path / 'out'}" in output.splitlines()
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "anna-1.wav.flac" and soundfile.info(path).duration > 1.9
    first = path.read_bytes()
    for seed, is_same in ((0, True), (1, False)):
        assert invoke("sing", tmp_path / "in", tmp_path / "out", "--seed", seed)[0] == 0
        assert (path.read_bytes() == first) == is_same


def test_a_full_disk_is_told_with_the_file_that_it_has_no_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyworld")
    resource = pytest.importorskip("resource")
    monkeypatch.setattr("htmdsep.training.sing.sing", lambda *_: RNG(0).uniform(-0.9, 0.9, 99_999))
    soundfile.write(tmp_path / "anna.wav", speech(1.0), SAMPLE_RATE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        code, output = invoke("sing", tmp_path / "anna.wav", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    song = tmp_path / "out" / "anna.wav.flac"
    assert code == 1 and output.splitlines()[-1] == f"htmdsep-train: {song}: File too large"
    assert not song.parent.exists()
