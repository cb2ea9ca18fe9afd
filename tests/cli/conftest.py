"""The command, run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.songs import Run, runner


@pytest.fixture(autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test work in an empty folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture
def run(tiny_weights: Path) -> Run:
    """Run the command with tiny weights."""
    return runner(tiny_weights)
