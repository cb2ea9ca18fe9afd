from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch import Tensor

from htmdsep.networks.htmdnet import NetworkOutput
from htmdsep.training.cache import CachedStem
from htmdsep.training.cli import command
from htmdsep.training.leak import score_leak
from htmdsep.training.places import Place

RATE = 1_000
SECONDS = 10


def places(levels: list[int]) -> list[Place]:
    rng = np.random.default_rng(0)
    return [
        Place(CachedStem(f"{i}", rng.integers(-s, s + 1, (SECONDS * RATE, 2), np.int16)), 0)
        for i, s in enumerate(levels)
    ]


@pytest.mark.parametrize("decibels", [-60.0, -21.0, -19.0])
def test_the_leak_is_the_level_of_the_vocals_under_the_music(decibels: float) -> None:
    def estimator(music: Tensor, vocals: Tensor) -> NetworkOutput:
        assert music.shape == (1, 2, SECONDS * RATE) and not vocals.any()
        return NetworkOutput(music * 10 ** (decibels / 20))

    found = score_leak(estimator, places([3000, 0, 9000]), RATE)
    assert found["windows"] == 2  # the silent one does not count
    assert found["leak"] == found["leak_upper"] == pytest.approx(decibels, abs=0.01)
    assert found["loud_leaks"] == (decibels > -20)


def test_some_windows_leak_more_than_others() -> None:
    factors = iter([0.0, *[10 ** (-level / 20) for level in range(11, 61, 5)]])

    def estimator(music: Tensor, _vocals: Tensor) -> NetworkOutput:
        return NetworkOutput(music * next(factors))

    found = score_leak(estimator, places([3000] * 11), RATE)
    assert found["leak"] == pytest.approx((-100 - sum(range(11, 61, 5))) / 11, abs=0.01)
    assert found["leak_upper"] == pytest.approx(-16, abs=0.01)
    assert found["loud_leaks"] == pytest.approx(2 / 11, abs=0.001)


def test_score_tells_the_leak_of_music_that_is_held_out(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    held = tmp_path / "held.json"
    held.write_text(
        json.dumps({"new": {"voices": [["solo_0*"]], "accompaniment": ["solo_1*"], "windows": 2}})
    )
    words = ["score", "mixture", str(corpus), "--cache", str(cache), "--held-out", str(held)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    assert [row["set"] for row in rows] == ["new", "leak"]
    assert rows[1] == {"set": "leak", "windows": 1, "leak": 0, "leak_upper": 0, "loud_leaks": 1}
