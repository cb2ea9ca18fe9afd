from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from htmdsep.datasets.folders import find_library
from htmdsep.options import RunOptions
from htmdsep.separation.separator import Separator
from tests.training.conftest import RATE, invoke


def label(songs: Path, out: Path, weights: Path) -> tuple[int, str]:
    return invoke("label", songs, out, "--weights", weights, "--shifts=1")


def test_songs_become_labels_that_add_up_and_stay(
    tmp_path: Path, tiny_weights: Path, rng: np.random.Generator
) -> None:
    mixtures = {}
    for title in ("one", "two"):
        mixtures[title] = 0.1 * rng.standard_normal((RATE, 2))
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / "deep" / f"{title}.wav", mixtures[title], RATE)
    folder = tmp_path / "mine"
    for kind in ("voices", "accompaniment"):
        (folder / kind).mkdir(parents=True)
        soundfile.write(folder / kind / "a.wav", mixtures["one"], RATE)
    code, output = label(tmp_path / "in", folder / "labels", tiny_weights)
    assert code == 0 and output == f"2 songs in {folder / 'labels'}\n"  # bars are for terminals
    songs = find_library(folder).labels
    assert [song.title for song in songs] == ["one", "two"]
    first = folder / "labels" / "one" / "vocals.flac"
    for title, mixture in mixtures.items():
        parts = [
            soundfile.read(first.parents[1] / title / f"{stem}.flac")[0]
            for stem in ("vocals", "accompaniment")
        ]
        assert np.abs(parts[0]).max() > 1e-3
        np.testing.assert_allclose(parts[0] + parts[1], mixture, atol=2 / 32_768)
    made = first.stat().st_mtime_ns
    soundfile.write(tmp_path / "in" / "three.wav", mixtures["one"], RATE)
    _, output = label(tmp_path / "in", folder / "labels", tiny_weights)
    assert output == f"3 songs in {folder / 'labels'}, 2 of them from before\n"
    assert first.stat().st_mtime_ns == made


def test_labels_are_made_as_the_command_line_says(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[RunOptions] = []

    def separator(weights: str, options: RunOptions) -> Separator:
        given.append(options)
        return Separator(weights, options)

    monkeypatch.setattr("htmdsep.training.label.Separator", separator)
    soundfile.write(tmp_path / "song.wav", np.zeros((100, 2)), RATE)
    words = ("label", tmp_path / "song.wav", tmp_path / "out", "--weights", tiny_weights)
    assert invoke(*words, "--shifts=2", "--threads=3", "-d", "cpu")[0] == 0
    assert given == [RunOptions(file_format="flac", shifts=2, threads=3, device="cpu")]
    code, output = invoke(*words, "-d", "nonsense")
    assert code == 1 and "nonsense" in output and len(output.splitlines()) == 1


def test_errors_and_notes_name_their_song(tmp_path: Path, tiny_weights: Path) -> None:
    for name in ("cut.wav", "good.wav"):
        soundfile.write(tmp_path / name, np.zeros((RATE, 2)), RATE)
    cut, junk = tmp_path / "cut.wav", tmp_path / "junk.wav"
    cut.write_bytes(cut.read_bytes()[:-4_000])
    junk.write_bytes(b"no audio")
    code, output = label(tmp_path, tmp_path / "labels", tiny_weights)
    assert code == 1
    assert f"{cut}: truncated: its header announces 22050 frames, it holds 21050" in output
    assert f"htmdsep-train: {junk}: no audio that can be decoded" in output
    assert sorted(one.name for one in (tmp_path / "labels").iterdir()) == ["cut", "good"]


def test_songs_of_one_name_are_refused_before_anything_is_separated(
    tmp_path: Path, tiny_weights: Path
) -> None:
    for name in ("song.wav", "song.flac"):
        soundfile.write(tmp_path / name, np.zeros((100, 2)), RATE)
    code, output = label(tmp_path, tmp_path / "labels", tiny_weights)
    assert code == 1 and "would both become" in output
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize("command_name", ["label", "sing"])
def test_a_folder_without_audio_is_told(tmp_path: Path, command_name: str) -> None:
    code, output = invoke(command_name, tmp_path, tmp_path / "out")
    assert code == 1 and "no audio found" in output
