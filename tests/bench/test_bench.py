from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result

from htmdsep.bench.cli import command
from htmdsep.bench.program import time_commands
from htmdsep.errors import HtmdsepError
from tests.programs import invoke_program


def invoke(*arguments: object) -> Result:
    return invoke_program(command, "htmdsep-bench", *arguments)


def test_commands_are_measured_by_themselves(tmp_path: Path) -> None:
    """The memory is the command's own, not this process's, which holds PyTorch."""
    wait = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    fill = [sys.executable, "-c", "b'x' * 200_000_000"]
    found = time_commands({"wait": wait, "fill": fill}, {}, 1, tmp_path)
    assert found["wait"].wall_seconds >= 0.3
    if sys.platform == "linux":
        assert (found["wait"].peak_bytes or 0) < 100e6 < 200e6 < (found["fill"].peak_bytes or 0)


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    fail = [sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"]
    with pytest.raises(HtmdsepError, match="failing ended with status 3: no luck"):
        time_commands({"failing": fail}, {}, 1, tmp_path)


def test_a_command_ends_with_the_benchmark(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from htmdsep.console import prepare_process
from htmdsep.bench.program import time_commands
prepare_process()
endless = ["sh", "-c", "echo $$ > pid; sleep 100"]
time_commands({{"endless": endless}}, {{}}, 1, Path({str(tmp_path)!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    pid = tmp_path / "pid"
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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rival = shlex.join([sys.executable, "-c", "import sys; open(sys.argv[1])", "{song}"])
    arguments = ["--weights", tiny_weights.name, "--runs", "1", "--seconds", "1"]
    arguments += ["--engine", "onnx", "--engine", "auto", "--engine", "torch"]
    arguments += ["--segment", "0.1", "--segment", "0.10001"]  # one length in samples
    done = invoke(*arguments, "--vs", rival, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    ours = [f"htmdsep --precision fp32 --engine {engine}" for engine in ("onnx", "torch")]
    assert {timing["engine"] for timing in found["timings"]} == {"eager", "onnx"}
    assert all(timing["times_real_time"] > 0 for timing in found["timings"])
    lengths = [timing["segment_seconds"] for timing in found["timings"]]
    assert len(lengths) == 2 * len(set(lengths))  # every length once by every engine
    assert list(found["programs"]) == [*ours, rival]
    assert found["song"]["seconds"] == pytest.approx(1, abs=0.1)
    assert all(found["song"]["network_seconds"][one] > 0 for one in ours)
    assert found["peaks"]["fp32"] > 0 and ", 1 thread, " in found["machine"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--weights", "none"], 1, "there is no weights file none"),
        (["--weights", "none", "--name", "x"], 1, "give one of them"),
        (["--precision", "bf16", "--engine", "onnx"], 1, "onnx has no bf16"),
        (["--vs", "echo {song} Bob's"], 1, "--vs echo {song} Bob's: No closing quotation"),
        (["--vs", "no-such-command {song}"], 1, "there is no such command"),
        (["--vs", ""], 1, "there is no such command"),
        (["--segment", "nan"], 2, "not a finite number"),
        (["--segment", "0"], 2, "0"),
        (["."], 2, "is a directory"),
        (["text.mp3"], 1, "no audio that can be decoded"),
    ],
)
def test_wrong_arguments_are_told_in_a_line_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp3").write_text("no audio")
    monkeypatch.setattr("htmdsep.bench.network.time_in_turn", None)
    done = invoke(*arguments)
    assert done.exit_code == status and message in done.stderr
    assert "Traceback" not in done.stderr
    assert status == 2 or len(done.stderr.splitlines()) == 1
