"""What goes wrong with a batch, for real: killed processes, full disks, inputs that go away."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from htmdsep.batch.manifest_file import merge_manifests, open_manifest
from htmdsep.batch.plan import Job, Source
from htmdsep.batch.run import BatchProgress, run_batch
from htmdsep.batch.song import separate_job
from htmdsep.batch.sources import Shard
from htmdsep.errors import HtmdsepError, PlanError
from htmdsep.files import claimed
from htmdsep.options import BatchOptions
from htmdsep.separation.report import Progress
from htmdsep.separation.separator import Separator
from tests.batch.songs import (
    COMMAND,
    RATE,
    Begin,
    Run,
    counts,
    done_inputs,
    finish,
    is_whole,
    partial_files,
    rows_of,
    wait_for,
    write_songs,
)
from tests.sounds import tone

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")


def wait_for_rows(process: subprocess.Popen[str], path: Path, count: int) -> None:
    """Wait until a manifest has so many rows."""
    wait_for(process, lambda: path.exists() and path.read_bytes().count(b"\n") >= count)


def computed_twice(out: Path, name: str = "manifest.jsonl") -> set[str]:
    return {track for track, times in Counter(done_inputs(out, name)).items() if times > 1}


@pytest.mark.parametrize("shard", [[], ["--shard", "1/1"]])
def test_a_batch_or_shard_that_was_killed_is_completed(
    shard: list[str], run: Run, begin: Begin
) -> None:
    music, out = write_songs(Path("music"), 6, seconds=2.0), Path("out")
    name = "manifest-1-of-1.jsonl" if shard else "manifest.jsonl"
    arguments = [music, "-o", out, "--resume", "-j", "2"]
    process = begin(*arguments, *shard)
    wait_for_rows(process, out / name, 5)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert {row["status"] for row in rows_of(out, name)[-2:]} & {"started"}  # in flight
    result = run(*arguments, *shard)  # the lock went with the process
    assert result.exit_code == 0 and result.stderr.endswith(" 0 failed\n")
    assert is_whole(out, [str(number) for number in range(6)])
    assert not computed_twice(out, name)
    assert sorted(done_inputs(out, name)) == [f"{number}.wav" for number in range(6)]


@pytest.mark.parametrize("how", ["--resume", "--overwrite", "--skip-existing", "alone"])
def test_what_a_killed_run_leaves_is_removed_by_the_next(how: str, run: Run, begin: Begin) -> None:
    music, out = write_songs(Path("music"), 1, seconds=900.0), Path("out")
    song = music / "0.wav" if how == "alone" else music
    arguments = [song, "-o", out]
    process = begin(*arguments)
    wait_for(process, lambda: partial_files(out) >= 2)
    process.send_signal(signal.SIGKILL)
    finish(process)
    write_songs(music, 1)
    more = [] if how == "alone" else [how]
    assert run(*arguments, *more).exit_code == 0
    assert is_whole(out, ["0"])


def test_a_song_in_work_is_left_to_the_run_that_works_on_it(run: Run, begin: Begin) -> None:
    music, out = write_songs(Path("music"), 1, seconds=900.0), Path("out")
    soundfile.write(music / "1.wav", tone(RATE, RATE), RATE)
    arguments = [music, "-o", out, "--resume"]
    process = begin(*arguments)
    try:
        wait_for(process, lambda: partial_files(out) >= 2)
        second = run(*arguments, "-v")
        assert second.stderr.endswith("1 done, 1 skipped, 0 failed\n")
        assert "0.wav: skipped, another run is at it" in second.stderr
        with pytest.raises(PlanError, match="is in use"):
            merge_manifests(out)
    finally:
        process.kill()
        finish(process)


def test_a_song_is_left_to_the_run_that_began_it_a_moment_before(tiny_weights: Path) -> None:
    """Before a stem is begun a song is hashed and opened, which may take seconds."""
    batch = BatchOptions((str(write_songs(Path("music"), 2)),), "out", existing="resume")
    others: list[tuple[str, str]] = []

    class Twice(BatchProgress):
        @contextmanager
        def song(self, label: str) -> Iterator[Progress]:
            if label.endswith("0.wav"):
                outcomes = run_batch(batch, None, tiny_weights)
                others.extend((one.status, one.reason) for one in outcomes)
            yield lambda *_: None

    mine = [one.status for one in run_batch(batch, None, tiny_weights, Twice())]
    assert others == [("skipped", "another run is at it"), ("done", "")]
    assert mine == ["done", "skipped"] and is_whole(Path("out"), ["0", "1"])
    assert not computed_twice(Path("out"))


def test_of_runs_that_decide_at_the_same_time_one_begins_a_song(run: Run) -> None:
    music = write_songs(Path("music"), 1)
    with claimed(Path("out/0/accompaniment.wav")) as is_mine:
        assert is_mine
        second = run(music, "-o", "out", "--resume", "-v")
        assert "0.wav: skipped, another run is at it" in second.stderr
        assert not Path("out/manifest.jsonl").exists()
    assert counts(run(music, "-o", "out", "--resume")).startswith("1 done")


def test_runs_share_a_folder_and_only_merging_wants_it_for_itself(tmp_path: Path) -> None:
    out, one = str(tmp_path / "out"), Shard(1, 2)
    with open_manifest(out, one), open_manifest(out, None) as manifest, open_manifest(out, None):
        assert manifest.last("0" * 16) is None
        with pytest.raises(PlanError, match="is in use"):
            merge_manifests(tmp_path / "out")
    assert not (tmp_path / "out").exists()  # nothing was written


def test_files_of_other_programs_stay_as_they_are(run: Run) -> None:
    """As data sets have manifests, too."""
    song, out = write_songs(Path("music"), 1) / "0.wav", Path("out")
    out.mkdir()
    names = ("manifest.jsonl", "manifest_train.jsonl")
    theirs = b'{"audio_filepath": "a.wav", "duration": 1.0}\n'
    for name in names:
        (out / name).write_bytes(theirs)
    assert run(song, "-o", out).exit_code == 0
    assert counts(run("music", "-o", out, "--resume")) == "1 done, 0 skipped, 0 failed"
    assert counts(run("music", "-o", out, "--resume")) == "0 done, 1 skipped, 0 failed"
    assert run("music", "-o", out, "--resume", "--shard", "1/1").exit_code == 0
    assert run("--merge-manifests", out).exit_code == 0
    assert counts(run("music", "-o", out, "--resume")) == "0 done, 1 skipped, 0 failed"
    assert run("--report", out).stdout.startswith("1 songs: 1 done")
    assert [(out / name).read_bytes() for name in names] == [theirs, theirs]


def test_processes_over_one_folder_lose_no_row(begin: Begin) -> None:
    """As GNU parallel starts them."""
    music, out = write_songs(Path("music"), 8), Path("out")
    songs = sorted(music.iterdir())
    processes = [begin(*songs[first : first + 2], "-o", out) for first in range(0, 8, 2)]
    assert [finish(process)[0] for process in processes] == [0] * 4
    assert sorted(done_inputs(out)) == [f"{number}.wav" for number in range(8)]
    assert is_whole(out, [str(number) for number in range(8)])


@pytest.mark.parametrize("how", ["", "--resume"])
def test_a_process_a_song_by_xargs(tiny_weights: Path, how: str) -> None:
    music, out = write_songs(Path("music"), 8), Path("out")
    each = shlex.join([*COMMAND, "-q", "-o", str(out), "--weights", str(tiny_weights)])
    shell = f"ls {shlex.quote(str(music))}/*.wav | xargs -P4 -n1 {each} {how}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_whole(out, [str(number) for number in range(8)])
    found = sorted(done_inputs(out)) if how else []
    assert found == [f"{number}.wav" for number in range(8)] * bool(how)


def test_of_runs_that_write_one_name_at_the_same_time_one_succeeds(begin: Begin) -> None:
    """As discs of an album have songs of one name; all processes pass the first look at --out."""
    out, discs = Path("out"), [Path(f"disc {number}") for number in range(4)]
    for number, disc in enumerate(discs):
        write_songs(disc, 1, seconds=0.3 + number / 100)
    processes = [begin(disc / "0.wav", "-o", out) for disc in discs]
    found = [finish(process) for process in processes]
    assert sorted(status for status, _ in found) == [0, 1, 1, 1]
    for status, told in found:
        assert status == 0 or "another run has just written" in told or "exists already" in told
    length = round((0.3 + found.index(next(one for one in found if not one[0])) / 100) * RATE)
    assert soundfile.info(out / "0" / "vocals.wav").frames == length
    assert is_whole(out, ["0"])


def test_two_batches_without_a_lock_are_safe(
    monkeypatch: pytest.MonkeyPatch, run: Run, begin: Begin
) -> None:
    """As on a file system that has none: both work, all is whole, and a third has nothing to do."""
    music, out = write_songs(Path("music"), 4, seconds=0.5), Path("out")
    arguments = [music, "-o", out, "--resume"]
    process = begin(*arguments)
    monkeypatch.setattr("htmdsep.batch.manifest_file.lock", lambda *_, **__: None)
    wait_for_rows(process, out / "manifest.jsonl", 1)
    assert run(*arguments).exit_code == 0
    assert finish(process)[0] == 0
    assert is_whole(out, [str(number) for number in range(4)])
    assert counts(run(*arguments)) == "0 done, 4 skipped, 0 failed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_finished_batch_may_lie_where_nothing_can_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_songs(Path("music"), 2)
    assert counts(run("music", "-o", "out")) == "2 done, 0 skipped, 0 failed"
    opened, manifest = os.open, Path("out/manifest.jsonl").read_bytes()

    def read_only(path: str | Path, flags: int, *mode: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and "manifest" in str(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr("os.open", read_only)
    assert counts(run("music", "-o", "out", "--resume")) == "0 done, 2 skipped, 0 failed"
    result = run("music", "-o", "out", "--overwrite")
    assert result.exit_code == 1 and "read-only; give a new --out" in result.stderr
    assert "Read-only file system" in run("music", "-o", "other").stderr
    assert Path("out/manifest.jsonl").read_bytes() == manifest


def test_a_full_disk_fails_songs_and_room_completes_them(small_disk: Path, run: Run) -> None:
    music, out = write_songs(Path("music"), 4, seconds=1.0), small_disk / "out"
    arguments = [music, "-o", out, "--resume"]
    filler = small_disk / "filler"
    filler.write_bytes(bytes(780_000))  # leaves room for two songs of 88 kB
    result = run(*arguments)
    assert result.exit_code == 1
    assert "make room" in result.stderr or "check the space" in result.stderr
    done = done_inputs(out)
    assert 0 < len(done) < 4
    assert is_whole(out, [Path(name).stem for name in done])
    filler.unlink()
    result = run(*arguments)
    assert result.exit_code == 0
    assert is_whole(out, [str(number) for number in range(4)])
    assert not computed_twice(out)


def test_a_disk_too_full_for_a_row_ends_the_batch(small_disk: Path, run: Run) -> None:
    music, out = write_songs(Path("music"), 2), small_disk / "out"
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", 0) as file:
        while True:
            file.write(bytes(4096))
    arguments = [music, "-o", out, "--resume"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1 and "o space left" in result.stderr
    assert "manifest.jsonl" in result.stderr
    filler.unlink()
    assert run(*arguments).exit_code == 0
    assert is_whole(out, ["0", "1"])


def job_of(folder: Path, out: Path) -> Job:
    return Job(
        Source(str(folder / "0.wav")),
        str(out),
        {"vocals": "0/vocals.wav", "accompaniment": "0/accompaniment.wav"},
    )


def test_an_input_that_vanishes_half_way_gives_whole_stems(tiny_weights: Path) -> None:
    music, out = write_songs(Path("music"), 1, seconds=5.0), Path("out")

    def vanish(_: float, __: float | None) -> None:
        (music / "0.wav").unlink(missing_ok=True)

    job = job_of(music, out)
    report = separate_job(Separator(tiny_weights), job, vanish).report
    assert report is not None and "vanished" in report.notes[0]
    assert soundfile.info(out / "0" / "vocals.wav").frames == 5 * RATE
    with pytest.raises(HtmdsepError, match="no such file"):
        separate_job(Separator(tiny_weights), job)


def test_an_input_that_changes_half_way_leaves_nothing(tiny_weights: Path) -> None:
    music, out = write_songs(Path("music"), 1, seconds=5.0), Path("out")

    def change(_: float, __: float | None) -> None:
        os.utime(music / "0.wav", (1, 1))

    with pytest.raises(HtmdsepError, match="changed while it was read"):
        separate_job(Separator(tiny_weights), job_of(music, out), change)
    assert not out.exists()


def test_an_input_cut_off_half_way_is_an_error(tiny_weights: Path) -> None:
    music, out = write_songs(Path("music"), 1, seconds=20.0), Path("out")

    def cut(_: float, __: float | None) -> None:
        os.truncate(music / "0.wav", 1000)

    with pytest.raises(HtmdsepError):
        separate_job(Separator(tiny_weights), job_of(music, out), cut)
    assert not out.exists()
