"""What only a process of its own can show: signals, pipes, standard output's bytes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.batch.songs import COMMAND, finish, partial_files, start, wait_for, write_songs
from tests.sounds import tone

RATE = 44_100

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour, far more than is separated before the signal comes."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 2) as sound:
        minute = tone(60 * RATE, RATE, 2)
        for _ in range(30):
            sound.write(minute)
    return path


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("name", "status"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)]
)
def test_signals_leave_no_files(
    tmp_path: Path, tiny_weights: Path, long_song: Path, jobs: str, name: str, status: int
) -> None:
    (tmp_path / "music").mkdir()
    for song in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / "music" / song).symlink_to(long_song)
    out = tmp_path / "out"
    process = start(tmp_path / "music", "-o", out, "--weights", tiny_weights, "-j", jobs)
    wait_for(process, lambda: partial_files(out) >= 2 * int(jobs))
    process.send_signal(getattr(signal, name))
    found, stderr = finish(process)
    assert found == status
    assert "Traceback" not in stderr
    assert [path.name for path in out.iterdir()] == ["manifest.jsonl"]


def test_an_ignored_interrupt_stays_ignored(
    tmp_path: Path, tiny_weights: Path, long_song: Path
) -> None:
    """As for what a shell script goes on beside."""
    process = subprocess.Popen(
        [*COMMAND, str(long_song), "--weights", str(tiny_weights)],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    wait_for(process, lambda: partial_files(tmp_path) > 0)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.terminate()
    try:
        assert process.wait(60) == 143
    finally:
        process.kill()


def test_nothing_is_kept_of_a_run_for_anybody_to_collect(
    tmp_path: Path, tiny_weights: Path
) -> None:
    """ONNX Runtime 1.32 makes an identity and a log of its use in the home folder, and sends it."""
    soundfile.write(tmp_path / "song.wav", tone(RATE, RATE, 2), RATE)
    (tmp_path / "home").mkdir()
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(tmp_path / "home"))
    kept = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [*COMMAND, "song.wav", "--weights", str(tiny_weights)]
    subprocess.run(command, cwd=tmp_path, env={**kept, **places}, check=True)
    assert not list((tmp_path / "home").iterdir())


def test_a_pipe_goes_in_and_a_wav_comes_out(tmp_path: Path, tiny_weights: Path) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, tone(RATE, RATE, 2), RATE)
    arguments = ["-", "-o", "-", "--stems", "vocals", "--weights", str(tiny_weights), "-q"]
    with song.open("rb") as file:
        feeder = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = subprocess.run(
            [*COMMAND, *arguments], stdin=feeder.stdout, capture_output=True, check=True
        )
        assert feeder.stdout is not None
        feeder.stdout.close()
        feeder.wait()
    assert done.stderr == b""
    subprocess.run([*COMMAND, str(song), *arguments[3:]], cwd=tmp_path, check=True)
    named = tmp_path / "separated" / "song" / "vocals.wav"
    assert done.stdout == named.read_bytes()  # the same input, the same bytes
    vocals, rate = soundfile.read(named)
    assert (vocals.shape, rate) == ((RATE, 2), RATE)
    assert np.abs(vocals).max() > 0


def test_a_named_pipe_is_a_file_like_any_other(tmp_path: Path, tiny_weights: Path) -> None:
    soundfile.write(tmp_path / "song.wav", tone(RATE, RATE, 2), RATE)
    os.mkfifo(tmp_path / "pipe.wav")
    with subprocess.Popen("cat song.wav > pipe.wav", shell=True, cwd=tmp_path):
        subprocess.run(
            [*COMMAND, "pipe.wav", "-q", "--weights", str(tiny_weights)], cwd=tmp_path, check=True
        )
    assert soundfile.info(tmp_path / "separated" / "pipe" / "vocals.wav").frames == RATE


def on_a_terminal(words: list[str], folder: Path) -> str:
    """Run a command whose standard error is a terminal, and return what it shows there."""
    import pty

    ours, terminal = pty.openpty()
    with subprocess.Popen(["stty", "rows", "24", "cols", "80"], stdin=terminal) as size:
        assert size.wait() == 0
    shown = b""
    with subprocess.Popen(words, cwd=folder, stderr=terminal) as process, suppress(OSError):
        os.close(terminal)
        while part := os.read(ours, 1024):  # Linux ends it with an error
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def test_bars_are_for_terminals_and_a_single_file_has_one(
    tmp_path: Path, tiny_weights: Path
) -> None:
    write_songs(tmp_path, 2)
    command = [*COMMAND, "--weights", str(tiny_weights)]
    shown = on_a_terminal([*command, "0.wav"], tmp_path)
    assert shown.startswith("\r0.wav") and "files:" not in shown
    assert shown.count("\n") == 2  # its own line, and the count
    assert "files:" in on_a_terminal([*command, "0.wav", "1.wav", "--overwrite"], tmp_path)
    assert "0.wav" not in on_a_terminal([*command, "0.wav", "--overwrite", "-q"], tmp_path)
    piped = [*command, "0.wav", "1.wav", "--overwrite"]
    done = subprocess.run(piped, cwd=tmp_path, capture_output=True, check=True)
    assert len(done.stderr.splitlines()) == 3 and b"\r" not in done.stderr


@pytest.mark.parametrize("arguments", [["--json"], ["-o", "-", "--stems", "vocals"]])
def test_a_broken_pipe_is_quiet(tmp_path: Path, tiny_weights: Path, arguments: list[str]) -> None:
    soundfile.write(tmp_path / "song.wav", tone(5 * RATE, RATE, 2), RATE)
    process = subprocess.Popen(
        [*COMMAND, "song.wav", "--weights", str(tiny_weights), *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() != 0
    assert "Traceback" not in stderr and "Error" not in stderr


@pytest.mark.parametrize(
    "arguments", [["--json"], ["-o", "-", "--stems", "vocals"], ["--help"], ["--version"]]
)
def test_a_full_disk_behind_standard_output_is_one_line(
    tmp_path: Path, tiny_weights: Path, arguments: list[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    soundfile.write(tmp_path / "song.wav", tone(RATE, RATE, 2), RATE)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "song.wav", "-q", "--weights", str(tiny_weights), *arguments],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "htmdsep: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "arguments", "status", "message"),
    [("2>&-", "", 0, ""), (">&-", "--stems vocals -o -", 2, "standard output is closed")],
)
def test_closed_streams(
    tmp_path: Path, tiny_weights: Path, closed: str, arguments: str, status: int, message: str
) -> None:
    soundfile.write(tmp_path / "song.wav", tone(RATE, RATE, 2), RATE)
    command = [*COMMAND, "song.wav", "--weights", str(tiny_weights)]
    shell = f"{shlex.join(command)} {arguments} {closed}"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status
    assert message in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "separated").exists() == (status == 0)


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_summary_for_nobody_tells_by_its_status(tmp_path: Path, form: str) -> None:
    row = {
        **{"id": "0" * 16, "time": "", "status": "failed", "input": "a.wav", "outputs": {}},
        **{"options_sha256": "", "weights_sha256": "", "attempt": 1},
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    shell = f"{shlex.join([*COMMAND, '--report', '.'])} {form} >&-"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    "program",
    ["evaluation.cli run .", "bench.cli absent.wav", "training.cli run . --out out"],
)
def test_errors_never_go_to_standard_output(tmp_path: Path, program: str) -> None:
    """As `print` has them do where standard error is closed."""
    module, _, arguments = program.partition(" ")
    code = f"from htmdsep.{module} import main; main()"
    shell = f"{sys.executable} -c '{code}' {arguments} 2>&-"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode > 0, done.stdout) == (True, b"")


@pytest.mark.parametrize("stream", ["/dev/full", "closed pipe"])
def test_messages_that_cannot_be_written_end_no_batch(
    tmp_path: Path, tiny_weights: Path, stream: str
) -> None:
    if stream == "/dev/full" and not Path(stream).exists():
        pytest.skip("this system has no /dev/full")
    write_songs(tmp_path / "music", 3)
    command = shlex.join([*COMMAND, "music", "--weights", str(tiny_weights)])
    shell = f"{command} 2> /dev/full" if stream == "/dev/full" else f"{command} 2>&1 | true"
    subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], cwd=tmp_path, check=True)
    assert len(list((tmp_path / "separated").rglob("vocals.wav"))) == 3


def test_who_asks_may_stop_reading(tmp_path: Path) -> None:
    shell = f"{shlex.join([*COMMAND, '--list-models'])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("shell", "status", "message"),
    [
        ("{command} - <&-", 1, "there is no standard input here"),
        (
            "mkdir gone; cd gone; rmdir ../gone; {command} ../song.wav",
            2,
            "working folder, which is gone",
        ),
    ],
)
def test_what_a_process_may_lack_is_named(
    tmp_path: Path, tiny_weights: Path, shell: str, status: int, message: str
) -> None:
    command = shlex.join([*COMMAND, "--weights", str(tiny_weights)])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", shell.format(command=command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == status
    assert message in done.stderr and "Traceback" not in done.stderr


INTERRUPTED = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

wanted = sys.argv.pop(1)
sys.modules.pop("typing", None)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
runpy.run_module("htmdsep", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module",
    ["typing", "htmdsep.options", "click", "htmdsep.batch.run", "numpy", "av", "onnxruntime"],
)
def test_an_interrupt_while_modules_are_imported_is_quiet(tmp_path: Path, module: str) -> None:
    write_songs(tmp_path, 1)
    script = [sys.executable, "-c", INTERRUPTED, module, "0.wav", "--engine", "onnx"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["0.wav"]
