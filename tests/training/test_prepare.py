from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from htmdsep.networks.config import SpectralConfig
from htmdsep.training.augment.draw import LABEL, PAIR, SONG_VOICE, VOICELESS
from htmdsep.training.batches import RandomMixes
from htmdsep.training.prepare import prepare
from htmdsep.training.processes import World
from htmdsep.training.recipe import PRESETS

RATE = 22_050


def test_labels_are_pairs_of_their_own_and_never_held_out(tmp_path: Path) -> None:
    time = np.arange(11 * RATE) / RATE
    for folder in ("songs/a", "songs/b", "labels/a", "labels/silent"):
        (tmp_path / folder).mkdir(parents=True)
        for name, hertz in (("vocals", 300), ("accompaniment", 90)):
            sound = np.sin(2 * np.pi * hertz * time) / 4
            sound *= (folder, name) != ("labels/silent", "vocals")
            stereo = np.stack([sound, -sound / 2], axis=1)
            soundfile.write(tmp_path / folder / f"{name}.wav", stereo, RATE)
    prepared = prepare(tmp_path, tmp_path / "cache", None, SpectralConfig())
    assert [song.title for song in prepared.training.labels] == ["a", "silent"]
    assert [song.title for one in prepared.held_out for song in one.songs] == ["a"]
    preset = replace(PRESETS["ours"], batch_size=200, segment_length=1024)
    batches = prepared.batches(preset, 0, World())
    assert isinstance(batches, RandomMixes)
    kinds = batches.read(0).rows[:, 0]
    assert set(kinds.tolist()) == {PAIR, LABEL, SONG_VOICE, VOICELESS}
    assert [pair[0].name for pair in batches.sources.labels] == ["labels/a/vocals"]
    assert batches.batch(0)[0].shape == (200, 2, 1024)
