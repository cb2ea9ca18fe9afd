"""Stems in memory, and files in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import htmdsep
from htmdsep import RunOptions, Stems
from htmdsep.audio.reader import open_audio
from tests.sounds import tone
from tests.tiny import scale


def test_stems_are_a_pair_of_a_rate() -> None:
    mixture = tone(8_000, 8_000, 2)
    stems = htmdsep.Separator(scale(0.5)).separate(mixture, 8_000)
    vocals, accompaniment = stems
    assert vocals is stems.vocals and accompaniment is stems.accompaniment
    assert stems.sample_rate == 8_000 and np.array_equal(np.stack([*stems])[0], vocals)


@given(
    frames=st.integers(1, 3_000),
    channels=st.sampled_from([None, 1, 2, 5]),
    subtype=st.sampled_from([None, "PCM_16", "PCM_24", "FLOAT"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_written_stems_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    frames: int,
    channels: int | None,
    subtype: htmdsep.options.Subtype | None,
    seed: int,
) -> None:
    shape = (frames,) if channels is None else (frames, channels)
    rng = np.random.default_rng(seed)
    mixture, vocals = (0.3 * rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    folder = tmp_path_factory.mktemp("stems") / "new"
    report = Stems(vocals, mixture - vocals, 44_100).write(folder, RunOptions(subtype=subtype))
    assert report.closure is True and report.sample_rate == 44_100
    written = [soundfile.read(folder / f"{stem}.wav")[0] for stem in htmdsep.options.STEM_NAMES]
    assert soundfile.info(folder / "vocals.wav").subtype == (subtype or "PCM_24")
    step = 2.0**-15 if subtype == "PCM_16" else 2.0**-22
    limit = np.inf if subtype == "FLOAT" else 1.0
    total = mixture.reshape(written[0].shape)
    assert np.abs(sum(written) - total.clip(-limit, limit)).max() <= step


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_stems_of_nothing_are_not_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stems = htmdsep.Separator(scale()).separate(np.zeros(shape, np.float32), 44_100)
    with pytest.raises(ValueError, match=r"nothing to write: the stems hold no audio \(0 frames\)"):
        stems.write(tmp_path)


def test_arrays_as_a_lossy_file_at_another_rate(tmp_path: Path) -> None:
    vocals = tone(22_050, 22_050, 1)
    report = Stems(vocals, 0.5 * vocals, 22_050).write(tmp_path, RunOptions(file_format="opus"))
    assert report.closure is None and report.sample_rate == 48_000
    for name, level in (("vocals", 1.0), ("accompaniment", 0.5)):
        with open_audio(tmp_path / f"{name}.opus") as reader:
            found = np.concatenate(list(reader.blocks()))
        assert len(found) == 48_000
        assert np.std(found) == pytest.approx(level * np.std(vocals), rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"file_format": "flac"}, {"file_format": "mp3"}])
def test_a_file_in_one_line(
    tmp_path: Path,
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", tone(44_100, 44_100, 2), 44_100)
    told: list[tuple[float, float | None]] = []
    for _ in range(2):  # again: the files are replaced
        report = htmdsep.separate_file(
            "song.wav", weights=tiny_weights, progress=lambda *one: told.append(one), **changes
        )
    ending = changes.get("file_format", "wav")
    assert [Path(stem.path) for stem in report.stems.values()] == [
        Path(f"separated/song/{stem}.{ending}") for stem in ("vocals", "accompaniment")
    ]
    assert all(Path(stem.path).exists() for stem in report.stems.values())
    assert report.closure is (None if ending == "mp3" else True)
    assert told[-1] == (1.0, 1.0)


def test_separate_tells_how_far_it_is(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, float | None]] = []
    separator = htmdsep.Separator(tiny_weights)
    monkeypatch.setattr("htmdsep.separation.separator.Separator", lambda: separator)
    stems = htmdsep.separate(tone(88_200, 44_100), 44_100, lambda *one: told.append(one))
    assert stems.vocals.shape == (88_200, 1)
    assert told == sorted(told) and told[-1] == (2.0, 2.0)
