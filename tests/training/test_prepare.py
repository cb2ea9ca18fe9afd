from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from htmdsep.batch.run import run_batch
from htmdsep.datasets.folders import find_library
from htmdsep.options import BatchOptions, RunOptions
from htmdsep.training.augment.draw import LABEL, PAIR, SONG_VOICE, VOICELESS
from htmdsep.training.batches import RandomMixes
from htmdsep.training.prepare import prepare
from htmdsep.training.processes import World
from htmdsep.training.recipe import PRESETS

RATE = 22_050


def test_what_the_command_separates_are_labels(
    tmp_path: Path, tiny_weights: Path, rng: np.random.Generator
) -> None:
    """`htmdsep SONGS -o DIR/labels --flac` makes pairs whose sum is the song."""
    song = 0.1 * rng.standard_normal((RATE, 2))
    for name in ("songs/one.wav", "mine/voices/a.wav", "mine/accompaniment/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / name, song, RATE)
    batch = BatchOptions((str(tmp_path / "songs"),), out=str(tmp_path / "mine" / "labels"))
    (done,) = run_batch(batch, RunOptions(file_format="flac"), tiny_weights)
    assert done.status == "done"
    (label,) = find_library(tmp_path / "mine").labels
    assert label.title == "one"
    parts = [soundfile.read(one.terms[0].path)[0] for one in (label.vocals, label.accompaniment)]
    np.testing.assert_allclose(sum(parts), song, atol=2 / 32_768)


def test_labels_are_pairs_of_their_own_and_never_held_out(tmp_path: Path) -> None:
    time = np.arange(11 * RATE) / RATE
    for folder in ("songs/a", "songs/b", "labels/a", "labels/silent"):
        (tmp_path / folder).mkdir(parents=True)
        for name, hertz in (("vocals", 300), ("accompaniment", 90)):
            sound = np.sin(2 * np.pi * hertz * time) / 4
            sound *= (folder, name) != ("labels/silent", "vocals")
            stereo = np.stack([sound, -sound / 2], axis=1)
            soundfile.write(tmp_path / folder / f"{name}.wav", stereo, RATE)
    prepared = prepare(tmp_path, tmp_path / "cache", None, RATE, channels=2, progress=False)
    assert [song.title for song in prepared.training.labels] == ["a", "silent"]
    assert [song.title for one in prepared.held_out for song in one.songs] == ["a"]
    preset = replace(PRESETS["ours"], batch_size=200, segment_length=1024)
    batches = prepared.batches(preset, 0, World())
    assert isinstance(batches, RandomMixes)
    kinds = batches.read(0).rows[:, 0]
    assert set(kinds.tolist()) == {PAIR, LABEL, SONG_VOICE, VOICELESS}
    assert [pair[0].name for pair in batches.sources.labels] == ["labels/a/vocals"]
    assert batches.batch(0)[0].shape == (200, 2, 1024)
