"""The command, run in this process or begun in one of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.batch.songs import Begin, Run, runner, start


@pytest.fixture(autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test work in an empty folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture
def run(tiny_weights: Path) -> Run:
    """Run the command with tiny weights."""
    return runner(tiny_weights)


@pytest.fixture
def begin(tiny_weights: Path) -> Begin:
    """Start the command with tiny weights in a process of its own."""
    return partial(start, "--weights", tiny_weights)
