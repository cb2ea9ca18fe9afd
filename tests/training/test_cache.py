from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from htmdsep.datasets.folders import Song, Stem, Term, find_library
from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import FULL_SCALE, CachedStem, cache_stems
from tests.sounds import write_stem_file

RATE = 22_050
STEP = FULL_SCALE / 32_768


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return np.asarray(
        level * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), np.float32
    )


def cached(folder: Path, *terms: Term, loose: bool = False) -> CachedStem | None:
    stem = Stem("songs/x/vocals", terms, loose)
    return cache_stems([stem], folder / "cache", RATE, 1).get(stem.name)


@pytest.mark.parametrize("source_channels", [1, 2, 3])
def test_a_cache_of_two_channels_keeps_them(tmp_path: Path, source_channels: int) -> None:
    sound = np.stack([tone(200 + 70 * n, RATE) for n in range(source_channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, RATE, "FLOAT")
    stem = Stem("songs/x/vocals", (Term(tmp_path / "a.wav"),))
    found = cache_stems([stem], tmp_path / "cache", RATE, 2)[stem.name]
    wanted = sound if source_channels == 2 else sound.mean(axis=1, keepdims=True).repeat(2, axis=1)
    sent = pickle.dumps(found)
    assert len(sent) < 1_000  # the path, not the samples
    for one in (found, pickle.loads(sent)):
        assert isinstance(one.samples, np.memmap)
        read = one.read(-100, RATE + 200)
        assert (read[:, :100] == 0).all() and (read[:, -100:] == 0).all()  # past either end
        np.testing.assert_allclose(read[:, 100:-100], wanted.T, atol=STEP)
        assert (one.read(2 * RATE, 5) == 0).all()
    mono = cached(tmp_path, *stem.terms)
    assert mono is not None and mono.samples.shape == (RATE, 1)
    np.testing.assert_allclose(mono.read(0, RATE)[0], sound.mean(axis=1), atol=STEP)


def test_a_stem_is_resampled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 48_000), 48_000, "FLOAT")
    stem = cached(tmp_path, Term(tmp_path / "a.wav"))
    assert stem is not None
    assert abs(len(stem.samples) - RATE) <= 1
    middle = slice(2000, RATE - 2000)
    np.testing.assert_allclose(stem.read(0, RATE)[0, middle], tone(440, RATE)[middle], atol=2e-3)


def test_terms_are_summed_with_their_factors(tmp_path: Path) -> None:
    mixture, vocals = tone(200, RATE, 9.0), tone(330, RATE, 9.0, 0.2)
    soundfile.write(tmp_path / "m.wav", mixture, RATE, "FLOAT")
    soundfile.write(tmp_path / "v.wav", vocals, RATE, "FLOAT")
    stem = cached(tmp_path, Term(tmp_path / "m.wav"), Term(tmp_path / "v.wav", factor=-1.0))
    assert stem is not None
    np.testing.assert_allclose(stem.read(0, len(mixture))[0], mixture - vocals, atol=STEP)


def test_what_is_cached_is_not_decoded_again_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(200, RATE), RATE)
    cached(tmp_path, Term(path))
    (entry,) = (tmp_path / "cache").iterdir()
    before = entry.stat().st_mtime_ns
    cached(tmp_path, Term(path))
    assert entry.stat().st_mtime_ns == before
    soundfile.write(path, tone(300, RATE), RATE)
    stem = cached(tmp_path, Term(path))
    assert stem is not None
    assert len(list((tmp_path / "cache").iterdir())) == 2
    np.testing.assert_allclose(stem.read(0, RATE)[0], tone(300, RATE), atol=2 * STEP)


def test_what_a_killed_run_was_decoding_is_removed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(200, RATE), RATE)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".0123456789abcdef.0a1b2c3d.part").touch()
    cached(tmp_path, Term(tmp_path / "a.wav"))
    (entry,) = (tmp_path / "cache").iterdir()
    assert entry.suffix == ".i16"


@pytest.mark.parametrize(
    ("gain", "message"),
    [(np.nan, "a.wav: .* not finite"), (8.0, "a.wav peaks at 4.0"), (0.0, "a.wav is silent")],
)
def test_unusable_samples_are_errors_that_name_the_file(
    tmp_path: Path, gain: float, message: str
) -> None:
    soundfile.write(tmp_path / "a.wav", gain * tone(200, RATE), RATE, "FLOAT")
    with pytest.raises(HtmdsepError, match=message):
        cached(tmp_path, Term(tmp_path / "a.wav"))
    assert not any(entry.stat().st_size for entry in (tmp_path / "cache").iterdir())


def test_a_silent_loose_stem_is_left_out_and_told_and_is_an_error_in_a_song(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    term = Term(tmp_path / "a.wav")
    soundfile.write(term.path, np.zeros(RATE), RATE)
    for _ in ("decoded", "from the cache"):
        assert cached(tmp_path, term, loose=True) is None
        assert "is silent and left out" in capsys.readouterr().err
    with pytest.raises(HtmdsepError, match="is silent; remove it"):
        cached(tmp_path, term)


def test_an_error_ends_decoding_and_what_was_decoded_stays(tmp_path: Path) -> None:
    stems = []
    for number in range(12):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tone(200 + number, RATE), RATE)
        stems.append(Stem(f"voices/{number}", (Term(path),), True))
    stems[6].terms[0].path.write_bytes(b"nothing")
    with pytest.raises(HtmdsepError, match=r"6\.wav"):
        cache_stems(stems, tmp_path / "cache", RATE, 1)
    left = list((tmp_path / "cache").iterdir())
    assert len(left) >= 6
    assert {path.suffix for path in left} == {".i16"}
    soundfile.write(stems[6].terms[0].path, tone(206, RATE), RATE)
    found = cache_stems(stems, tmp_path / "cache", RATE, 1)
    assert list(found) == [stem.name for stem in stems]
    for number, name in enumerate(found):
        np.testing.assert_allclose(
            found[name].read(0, RATE)[0], tone(200 + number, RATE), atol=1e-3
        )


def musdb_song(folder: Path, *hertz: float) -> Song:
    """Write tones of one second as a song of MUSDB18, a tone a stream, and find it."""
    path = folder / "train" / "A - B.stem.mp4"
    write_stem_file(path, np.stack([tone(one, 44_100) for one in hertz]), 44_100)
    (song,) = find_library(folder).songs
    return song


def test_musdb_stem_files_are_read_by_stream(tmp_path: Path) -> None:
    song = musdb_song(tmp_path, 500, 100, 150, 200, 300)
    stems = cache_stems([song.vocals, song.accompaniment], tmp_path / "cache", RATE, 1)
    for stem, wanted in ((song.vocals, {300}), (song.accompaniment, {500, 300})):
        spectrum = np.abs(np.fft.rfft(stems[stem.name].read(2000, RATE // 2)[0]))
        peaks = {2 * int(index) for index in np.flatnonzero(spectrum > spectrum.max() / 4)}
        assert peaks == wanted


def test_a_stem_file_with_too_few_streams_is_an_error(tmp_path: Path) -> None:
    song = musdb_song(tmp_path, 500, 100)
    with pytest.raises(HtmdsepError, match=r"holds 2 audio streams; .* 5: mixture"):
        cache_stems([song.vocals], tmp_path / "cache", RATE, 1)
