from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from htmdsep.bench.cli import command
from htmdsep.bench.network import flops
from htmdsep.bench.program import time_commands
from htmdsep.errors import HtmdsepError
from htmdsep.model import HTMDNet, HTMDNetConfig


def test_operations_are_those_of_the_convolutions() -> None:
    """About 12 GFLOP for a second of audio with the published encoder."""
    network = HTMDNet(HTMDNetConfig()).eval()
    per_second = flops(network, 4_096) / 4_096 * 22_050
    assert 11.5e9 < per_second < 12.5e9


def test_commands_are_measured_by_themselves(tmp_path: Path) -> None:
    """The memory is the command's own, not this process's, which holds PyTorch."""
    wait = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    fill = [sys.executable, "-c", "b'x' * 200_000_000"]
    found = time_commands({"wait": wait, "fill": fill}, 1, tmp_path)
    assert found["wait"].wall_seconds >= 0.3
    if sys.platform == "linux":
        assert (found["wait"].peak_bytes or 0) < 100e6 < 200e6 < (found["fill"].peak_bytes or 0)


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    fail = [sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"]
    with pytest.raises(HtmdsepError, match="failing ended with status 3: no luck"):
        time_commands({"failing": fail}, 1, tmp_path)


def test_everything_at_once(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_weights.parent)  # the command itself runs elsewhere
    rival = f"{sys.executable} -c \"open(r'{{song}}').close()\""
    arguments = ["--weights", tiny_weights.name, "--runs", "1", "--seconds", "1"]
    arguments += ["--engine", "onnx", "--engine", "auto", "--engine", "torch"]
    arguments += ["--segment", "0.1", "--segment", "0.10001"]  # one length in samples
    done = CliRunner().invoke(
        command, [*arguments, "--vs", rival, "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    ours = [f"htmdsep --precision fp32 --engine {engine}" for engine in ("onnx", "torch")]
    assert {timing["engine"] for timing in found["timings"]} == {"eager", "onnx", "torch"}
    assert all(timing["times_real_time"] > 0 for timing in found["timings"])
    lengths = [timing["segment_seconds"] for timing in found["timings"]]
    assert len(lengths) == 3 * len(set(lengths))  # every length once by every engine
    assert list(found["programs"]) == [*ours, rival]
    assert found["song"]["seconds"] == pytest.approx(1, abs=0.1)
    assert all(found["song"]["network_seconds"][one] > 0 for one in ours)


def test_weights_that_are_missing_are_told_in_a_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--weights", str(tmp_path / "none"), "--only", "program"])
    assert done.exit_code == 1
    assert done.stderr.startswith("htmdsep-bench: ")
    assert len(done.stderr.splitlines()) == 1


def test_what_no_engine_can_do_is_wrong_usage(tmp_path: Path) -> None:
    nothing = CliRunner().invoke(command, ["--precision", "bf16", "--engine", "onnx"])
    assert nothing.exit_code == 2 and "onnx has no bf16" in nothing.output
    folder = CliRunner().invoke(command, [str(tmp_path)])
    assert folder.exit_code == 2 and "is a directory" in folder.output
