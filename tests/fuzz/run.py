"""Damaged files one after the other, and the outcome of each."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tests.fuzz.files import DAMAGES, KINDS, Kind, coded_signal, encode
from tests.fuzz.judge import WRONG, read, verdict


@dataclass(frozen=True)
class Result:
    """How one damaged file fared."""

    number: int
    kind: Kind
    damage: str
    outcome: str
    told: str = ""


@cache
def whole_file(kind: Kind, folder: Path) -> tuple[bytes, np.ndarray]:
    """Return a whole file of a kind, and what the reader makes of it."""
    data = encode(kind, coded_signal())
    path = folder / f"whole.{kind.ending}"
    path.write_bytes(data)
    found = read(path)
    assert found.error is None and not found.notes, (kind, found.error, found.notes)
    return data, found.samples


def fuzz(
    files: int, seed: int, folder: Path, *, within: int | None = None, keep: Path | None = None
) -> Iterator[Result]:
    """Yield the outcome of each damaged file; file number n of a seed is always the same.

    `within` is how many bytes of the beginning are damaged, None for any.
    """
    for number in range(files):
        rng = np.random.default_rng((seed, number))
        kind = KINDS[number % len(KINDS)]
        damage = list(DAMAGES)[int(rng.integers(len(DAMAGES)))]
        data, whole = whole_file(kind, folder)
        path = folder / f"{number}.{kind.ending}"
        path.write_bytes(DAMAGES[damage](data[:within], rng) + data[within or len(data) :])
        try:
            found = read(path)
        except Exception:  # whatever it is, it is what this looks for
            outcome, told = "traceback", traceback.format_exc()
        else:
            outcome, told = verdict(kind, found, whole), str(found.error or found.notes)
        if keep is not None and outcome in WRONG:
            keep.mkdir(exist_ok=True)
            (keep / path.name).write_bytes(path.read_bytes())
        path.unlink()
        yield Result(number, kind, damage, outcome, told)
