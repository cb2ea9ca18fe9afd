"""Two short songs in a folder, and weights to separate them with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.evaluation.signals import RATE, song


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two stereo songs of 2.6 and 2.3 s."""
    folder = tmp_path_factory.mktemp("library")
    rng = np.random.default_rng(3)
    for title, seconds in (("one", 2.6), ("two", 2.3)):
        place = folder / "songs" / title
        place.mkdir(parents=True)
        vocals, music = song(rng, seconds, 2)
        vocals[: RATE // 2] = 0
        soundfile.write(place / "vocals.wav", vocals, RATE, "PCM_16")
        soundfile.write(place / "accompaniment.wav", music, RATE, "PCM_16")
    return folder
