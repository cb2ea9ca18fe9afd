"""Damaged files of every kind: content at its own time, an error, or a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.files import KINDS, RATE, Kind, coded_signal
from tests.fuzz.judge import ALIKE, WRONG
from tests.fuzz.run import fuzz, whole_file


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.ending}-{kind.codec}")
def test_a_whole_file_is_read_whole_and_without_a_note(tmp_path: Path, kind: Kind) -> None:
    samples = whole_file(kind, tmp_path)[1]
    signal = coded_signal()
    assert abs(len(samples) - len(signal)) < 0.1 * RATE
    length = min(len(samples), len(signal))
    if kind.codec in ("mp2", "ac3", "eac3", "wmav2", "aac") or kind.ending in ("avi", "flv"):
        return  # which do not tell the encoder's delay, so that all is late by it
    assert np.corrcoef(samples[:length], signal[:length])[0, 1] > ALIKE


def test_nothing_is_silently_wrong(tmp_path: Path) -> None:
    wrong = [one for one in fuzz(300, 2_022, tmp_path) if one.outcome in WRONG]
    assert not wrong, wrong
