"""The command, run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.songs import Run, runner


@pytest.fixture
def run(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with tiny weights, in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return runner(tiny_weights)
