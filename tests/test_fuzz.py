"""Damaged files of every kind: content at its own time, an error, or a note."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from htmdsep import Separator
from htmdsep.options import STEM_NAMES, RunOptions
from tests.fuzz.files import KINDS, RATE, Kind, coded_signal, encode
from tests.fuzz.judge import ALIKE, WRONG
from tests.fuzz.run import fuzz, whole_file
from tests.tiny import scale


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.ending}-{kind.codec}")
def test_a_whole_file_is_read_whole_and_without_a_note(tmp_path: Path, kind: Kind) -> None:
    samples = whole_file(kind, tmp_path)[1]
    signal = coded_signal()
    assert abs(len(samples) - len(signal)) < 0.1 * RATE
    length = min(len(samples), len(signal))
    if kind.codec in ("mp2", "ac3", "eac3", "wmav2", "aac") or kind.ending in ("avi", "flv"):
        return  # which do not tell the encoder's delay, so that all is late by it
    assert np.corrcoef(samples[:length], signal[:length])[0, 1] > ALIKE


@pytest.mark.parametrize("within", [None, 1_500])
def test_nothing_is_silently_wrong(tmp_path: Path, within: int | None) -> None:
    found = fuzz(300, 2_022, tmp_path, within=within)
    wrong = [one for one in found if one.outcome in WRONG]
    assert not wrong, wrong


def independently_decoded(path: Path) -> np.ndarray:
    """Return the first channel of all that FFmpeg's decoder gives, (frames,), without any rule."""
    to_float = av.AudioResampler(format="fltp")
    with av.open(str(path)) as container:
        return np.concatenate(
            [
                part.to_ndarray()[0]
                for frame in container.decode(audio=0)
                for part in to_float.resample(frame)
            ]
        )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.ending}-{kind.codec}")
def test_the_stems_add_up_to_what_another_decoder_finds(tmp_path: Path, kind: Kind) -> None:
    """Status 0 means that nothing is missing: not in the reader, nor between it and the files."""
    path = tmp_path / f"song.{kind.ending}"
    path.write_bytes(encode(kind, coded_signal()))
    expected = independently_decoded(path)
    targets = {stem: tmp_path / f"{stem}.wav" for stem in STEM_NAMES}
    options = RunOptions(subtype="FLOAT")
    Separator(scale(0.3)).separate_file(path, targets, options=options)
    stems = [
        soundfile.read(target, dtype="float32", always_2d=True)[0] for target in targets.values()
    ]
    total = np.sum(stems, axis=0)[:, 0]
    length = min(len(total), len(expected))
    assert abs(len(total) - len(expected)) < 0.1 * RATE
    np.testing.assert_allclose(total[:length], expected[:length], atol=2e-3)
