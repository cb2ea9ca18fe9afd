"""Batches on Ray: the same stems as without, and faults. Each test starts a Ray of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from htmdsep.files import is_in_work
from htmdsep.options import STEM_NAMES
from tests.batch.songs import (
    Begin,
    Run,
    counts,
    done_inputs,
    is_whole,
    partial_files,
    rows_of,
    wait_for,
    write_songs,
)

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
SONGS = 5
TRACKS = [str(number) for number in range(SONGS)]


def wait_until_working(process: subprocess.Popen[str], out: Path, done: int) -> None:
    """Wait until so many songs are done, and others have temporary files."""

    def is_working() -> bool:
        begun = (out / "manifest.jsonl").exists() and len(done_inputs(out)) >= done
        return begun and partial_files(out) > 0

    wait_for(process, is_working)


def working_pids(driver: int) -> list[int]:
    """Return the processes below a driver's Ray that separate a song."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])

    def below(pid: int) -> bool:
        return pid == driver or (pid in parents and below(parents[pid]))

    return [pid for pid, name in names.items() if b"Worker.separate" in name and below(pid)]


def test_a_worker_that_is_killed_costs_a_retry(run: Run, begin: Begin) -> None:
    music, out = write_songs(Path("music"), SONGS, seconds=10.0), Path("out")
    process = begin(music, "-o", out, "--on", "ray", "-j", "2")
    wait_until_working(process, out, done=1)
    pids = working_pids(process.pid)
    assert pids
    os.kill(pids[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr.splitlines()[-1]) == (0, "5 done, 0 skipped, 0 failed")
    assert sorted(done_inputs(out)) == [f"{track}.wav" for track in TRACKS]
    assert is_whole(out, TRACKS)
    attempts = Counter(row["attempt"] for row in rows_of(out) if row["status"] == "done")
    assert attempts == {1: 4, 2: 1}
    assert run(music, "-o", "local").exit_code == 0
    for path in Path("local").rglob("*.wav"):
        assert path.stat().st_size == (out / path.relative_to("local")).stat().st_size
    assert counts(run(music, "-o", out, "--resume")) == "0 done, 5 skipped, 0 failed"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_ends_early_is_gone_on_with(
    number: signal.Signals, run: Run, begin: Begin
) -> None:
    music, out = write_songs(Path("music"), SONGS, seconds=10.0), Path("out")
    process = begin(music, "-o", out, "--on", "ray", "-j", "2")
    wait_until_working(process, out, done=1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "Traceback" not in stderr
        assert not list(out.rglob("*.part"))
        statuses = Counter(row["status"] for row in rows_of(out))
        assert statuses["started"] == statuses["done"] + statuses["interrupted"]
    else:
        stems = [out / track / f"{stem}.wav" for track in TRACKS for stem in STEM_NAMES]
        deadline = time.monotonic() + 60  # its workers end by themselves
        while is_in_work(stems) and time.monotonic() < deadline:
            time.sleep(0.2)
    assert run(music, "-o", out, "--resume").exit_code == 0
    assert is_whole(out, TRACKS)
    assert sorted(done_inputs(out)) == [f"{track}.wav" for track in TRACKS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "htmdsep: a Ray worker failed: "),
        (("--ray-address", "nonsense://127.0.0.1:1"), "htmdsep: no Ray at nonsense://"),
    ],
)
def test_a_ray_that_does_not_work_is_one_line(
    tiny_weights: Path, begin: Begin, arguments: tuple[str, ...], message: str
) -> None:
    """As its workers cannot load the weights, and before that as it is not there."""
    tiny_weights.write_bytes(tiny_weights.read_bytes()[:-8])
    process = begin(write_songs(Path("music"), 1), "--on", "ray", *arguments)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith(message)


def test_a_ray_that_starts_too_slowly_is_started_again_and_then_one_line(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Ray raises Exception itself where its own processes take longer than 30 s."""
    import ray

    tries = []

    def init(**_: object) -> None:
        tries.append(1)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    result = run(write_songs(Path("music"), 1), "--on", "ray")
    assert (result.exit_code, len(tries)) == (1, 2)
    assert "htmdsep: no Ray at local: The current node timed out" in result.stderr
