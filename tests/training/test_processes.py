from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from htmdsep.training.processes import World
from htmdsep.training.state import read_checkpoint
from tests.training import ddp_worker


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_processes_equal_one(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    common = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", ddp_worker.__file__, str(tmp_path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors.decode()
    first, second = (read_checkpoint(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    alone = ddp_worker.run(tmp_path / "alone", World())
    for name, value in alone.network.state_dict().items():
        torch.testing.assert_close(first["network"][name], value, atol=2e-6, rtol=1e-4)
        assert torch.equal(first["network"][name], second["network"][name])
    assert first["audio_seconds"] == pytest.approx(alone.audio_seconds)
    before, after = ddp_worker.initial_network().state_dict(), alone.network.state_dict()
    for name in ("masking.encoder.weight", "denoising.output.weight"):
        assert (after[name] - before[name]).abs().max() > 1e-4
