from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from htmdsep.bench.cli import command
from htmdsep.bench.program import time_commands
from htmdsep.errors import HtmdsepError


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


def test_a_command_that_fails_is_an_error() -> None:
    fail = [sys.executable, "-c", "import sys; sys.exit('no luck')"]
    with pytest.raises(HtmdsepError, match="failing ended with status 1: no luck"):
        time_commands({"failing": fail}, 1)


def test_a_command_ends_with_the_benchmark(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"""
from htmdsep.console import prepare_process
from htmdsep.bench.program import time_commands
prepare_process()
time_commands({{"endless": ["sh", "-c", "echo $$ > {pid}; exec sleep 100"]}}, 1)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    status = Path(f"/proc/{pid.read_text().strip()}/stat")
    wait_until(lambda: not status.exists() or status.read_text().split()[2] == "Z")


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_everything_at_once(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_weights.parent)  # the command itself runs elsewhere
    arguments = ["--weights", tiny_weights.name, "--runs", "1", "--seconds", "1"]
    arguments += ["--engine", "onnx", "--engine", "auto", "--engine", "torch"]
    arguments += ["--segment", "0.1", "--segment", "0.10001"]  # one length in samples
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    ours = [f"htmdsep --precision fp32 --engine {engine}" for engine in ("onnx", "torch")]
    assert {timing["engine"] for timing in found["timings"]} == {"eager", "onnx"}
    assert all(timing["times_real_time"] > 0 for timing in found["timings"])
    lengths = [timing["segment_seconds"] for timing in found["timings"]]
    assert len(lengths) == 2 * len(set(lengths))  # every length once by every engine
    assert list(found["programs"]) == ours
    assert found["song"]["seconds"] == pytest.approx(1, abs=0.1)
    assert all(found["song"]["network_seconds"][one] > 0 for one in ours)
    assert all(one["wall_seconds"] > 0 and one["cpu_seconds"] for one in found["programs"].values())


def test_the_memory_is_the_commands_own(tiny_weights: Path) -> None:
    """And not that of the benchmark, which imports PyTorch for the other half."""
    code = "from htmdsep.bench.cli import main; main()"
    options = ["--weights", str(tiny_weights), "--runs", "1", "--seconds", "1", "--segment", "0.1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "--json"], capture_output=True, text=True, check=True
    )
    (own,) = json.loads(done.stdout)["programs"].values()
    run = [
        sys.executable,
        "-c",
        "import torch; from htmdsep.console import peak_rss_bytes as p; print(p())",
    ]
    with_torch = int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert own["peak_bytes"] < with_torch


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--weights", "none"], 1, "there is no weights file none"),
        (["--weights", "none", "--name", "x"], 1, "give one of them"),
        (["--precision", "bf16", "--engine", "onnx"], 1, "onnx has no bf16"),
        (["--segment", "nan"], 2, "not a finite number"),
        (["--segment", "0"], 2, "0"),
        (["."], 2, "is a directory"),
    ],
)
def test_wrong_arguments_are_told_in_a_line_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("htmdsep.networks.cost.time_in_turn", None)
    done = invoke(*arguments)
    assert done.exit_code == status and message in done.stderr
    assert "Traceback" not in done.stderr
    assert status == 2 or len(done.stderr.splitlines()) == 1
