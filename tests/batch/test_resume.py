"""A batch that is gone on with: what is proven stays, what changed is done again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from click.testing import Result

from htmdsep.files import sha256
from htmdsep.weights.file import load_weights, save_weights
from tests.batch.songs import RATE, Run, counts, done_inputs, is_whole, rows_of, write_songs
from tests.sounds import tone

OUT = Path("out")


@pytest.fixture
def batch(run: Run) -> Run:
    """Separate a folder of three songs, or what a list names, with more arguments."""
    write_songs(Path("music"), 3)

    def call(*arguments: str, stdin: str | None = None) -> Result:
        given = arguments if "--from" in arguments else ("music", *arguments)
        return run(*given, "-o", "out", stdin=stdin)

    return call


def test_rows_hold_what_proves_a_song(batch: Run) -> None:
    assert batch().exit_code == 0
    rows = rows_of(OUT)
    assert [row["status"] for row in rows] == ["started", "done"] * 3
    row = rows[1]
    assert row["input"] == str(Path("music/0.wav").absolute())
    assert row["input_sha256"] == sha256(Path("music/0.wav"))
    assert len(row["options_sha256"]) == len(row["weights_sha256"]) == 64
    for stem in ("vocals", "accompaniment"):
        output = row["outputs"][stem]
        assert output["path"] == f"0/{stem}.wav"
        assert output["sha256"] == sha256(OUT / f"0/{stem}.wav")
    assert row["audio_seconds"] == pytest.approx(0.3, abs=1e-3) and row["seconds"] > 0
    assert row["attempt"] == 1 and "error" not in row


def test_what_is_done_stays(batch: Run) -> None:
    assert batch().exit_code == 0
    before = (OUT / "manifest.jsonl").read_bytes()
    result = batch("--resume")
    assert (result.exit_code, counts(result)) == (0, "0 done, 3 skipped, 0 failed")
    assert batch().exit_code == 1  # stems are in the way
    assert (OUT / "manifest.jsonl").read_bytes() == before


def change_input() -> None:
    soundfile.write("music/1.wav", tone(RATE, RATE, 1, 300.0), RATE)


def change_byte() -> None:
    path = OUT / "1" / "vocals.wav"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def cut_output() -> None:
    os.truncate(OUT / "1" / "accompaniment.wav", 100)


def remove_output() -> None:
    (OUT / "1" / "vocals.wav").unlink()


@pytest.mark.parametrize("change", [change_input, change_byte, cut_output, remove_output])
def test_a_song_that_changed_is_done_again(batch: Run, change: Callable[[], None]) -> None:
    assert batch().exit_code == 0
    change()
    result = batch("--resume")
    assert (result.exit_code, counts(result)) == (0, "1 done, 2 skipped, 0 failed")
    assert done_inputs(OUT)[3:] == ["1.wav"]
    assert is_whole(OUT, ["0", "1", "2"])
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"


def test_other_times_of_the_same_bytes_are_noted_once(batch: Run) -> None:
    assert batch().exit_code == 0
    for path in (Path("music/1.wav"), OUT / "1" / "vocals.wav"):
        os.utime(path, (1, 1))
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"
    rows = rows_of(OUT)
    assert len(rows) == 7 and rows[-1]["input_stamp"].endswith(":1000000000")
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"
    assert len(rows_of(OUT)) == 7


def test_verify_finds_what_sizes_and_times_hide(batch: Run) -> None:
    assert batch().exit_code == 0
    path = OUT / "1" / "vocals.wav"
    times = path.stat()
    change_byte()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"
    assert counts(batch("--resume", "--verify")) == "1 done, 2 skipped, 0 failed"


@pytest.mark.parametrize(
    "options", [["--overlap", "0.5"], ["--float32"], ["--shifts", "1"], ["--duration", "0.2"]]
)
def test_other_options_do_all_again(batch: Run, options: list[str]) -> None:
    assert batch().exit_code == 0
    assert counts(batch("--resume", *options)) == "3 done, 0 skipped, 0 failed"
    assert counts(batch("--resume", *options)) == "0 done, 3 skipped, 0 failed"


def test_other_weights_do_all_again(batch: Run, tiny_weights: Path) -> None:
    assert batch().exit_code == 0
    network, info = load_weights(tiny_weights)
    with torch.no_grad():
        next(network.parameters()).mul_(0.9)
    save_weights(tiny_weights, network, info, torch.float32)
    assert counts(batch("--resume")) == "3 done, 0 skipped, 0 failed"


def test_failures_are_tried_again_so_often_and_no_more(batch: Run) -> None:
    Path("music/bad.wav").write_text("no music")
    assert counts(batch()) == "3 done, 0 skipped, 1 failed"
    for _ in range(2):
        result = batch("--resume")
        assert (result.exit_code, counts(result)) == (1, "0 done, 3 skipped, 1 failed")
    rows = [row for row in rows_of(OUT) if row["status"] == "failed"]
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    result = batch("--resume")
    assert "tried 3 times, see --retries: no audio that can be decoded" in result.stderr
    assert result.exit_code == 1
    assert len(rows_of(OUT)) == 3 * 2 + 3 * 2  # nothing was tried
    assert "no audio" in batch("--resume", "--retries", "3").stderr
    assert [row["attempt"] for row in rows_of(OUT) if row["status"] == "failed"][-1] == 4


def test_a_bad_song_that_was_mended_is_tried_afresh(batch: Run) -> None:
    Path("music/bad.wav").write_text("no music")
    for _ in range(3):
        batch("--resume")
    soundfile.write("music/bad.wav", tone(RATE, RATE), RATE)
    assert counts(batch("--resume")) == "1 done, 3 skipped, 0 failed"


def test_a_song_that_kills_the_process_does_so_only_so_often(batch: Run) -> None:
    """What a killed process leaves is a row that says started, and temporary files."""
    assert batch().exit_code == 0
    rows = rows_of(OUT)
    leaving = OUT / "1" / ".vocals.wav.0123abcd.part"
    for attempt in (1, 2, 3):
        row = {**rows[2], "attempt": attempt}  # of 1.wav, as begun
        with (OUT / "manifest.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        if attempt < 3:
            leaving.touch()
            assert counts(batch("--resume")) == "1 done, 2 skipped, 0 failed"
            assert not leaving.exists()
    result = batch("--resume")
    assert counts(result) == "0 done, 2 skipped, 1 failed"
    assert "tried 3 times" in result.stderr and "process ended" in result.stderr


@pytest.mark.parametrize(
    "left", [b'{"id": "0123', b'{"id": "0123456789abcdef", "x', b"\x00\xff\n", b"{}\n", b"[]"]
)
def test_what_a_crash_left_of_a_row_is_passed_over(batch: Run, left: bytes) -> None:
    assert batch().exit_code == 0
    with (OUT / "manifest.jsonl").open("ab") as file:
        file.write(left)
    remove_output()
    assert counts(batch("--resume")) == "1 done, 2 skipped, 0 failed"
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"


def test_skip_existing_asks_for_no_proof(batch: Run) -> None:
    assert batch().exit_code == 0
    change_input()
    assert counts(batch("--skip-existing")) == "0 done, 3 skipped, 0 failed"
    remove_output()
    assert counts(batch("--skip-existing")) == "1 done, 2 skipped, 0 failed"


def test_stems_of_another_song_are_told(run: Run, batch: Run) -> None:
    """Also where every song is a call of its own."""
    write_songs(Path("other"), 1)

    def skip(song: str) -> str:
        return run(song, "-o", "out", "--skip-existing").stderr

    assert skip("music/0.wav").endswith("1 done, 0 skipped, 0 failed\n")
    for result in (
        skip("other/0.wav"),
        batch("--from", "-", "--skip-existing", stdin="other/0.wav\n").stderr,
    ):
        assert result.endswith("0 done, 1 skipped, 0 failed\n")
        assert f"taken by those of {Path('music/0.wav').absolute()}" in result
    assert "skipped, its stems exist\n" in skip("music/0.wav")
    Path("out/manifest.jsonl").unlink()
    assert "skipped, its stems exist; no manifest says of which song\n" in skip("other/0.wav")


@pytest.mark.parametrize("form", ["{}", "./{}", "music/../{}", "file://{here}/{}"])
def test_a_named_song_keeps_no_manifest_but_joins_one(run: Run, batch: Run, form: str) -> None:
    """However it is named, as shells complete it, or `find` lists it."""
    batch()
    assert len(rows_of(OUT)) == 6
    song = form.format("music/0.wav", here=Path.cwd())
    for out, kept in (("out", True), ("alone", False)):
        assert run(song, "-o", out, "--overwrite").exit_code == 0
        assert Path(out, "manifest.jsonl").exists() == kept
    assert len(rows_of(OUT)) == 8


def test_lists_and_manifests_as_input(batch: Run) -> None:
    Path("list.txt").write_text("music/0.wav\n\nmusic/2.wav\nmusic/0.wav\n")
    assert counts(batch("--from", "list.txt")) == "2 done, 0 skipped, 0 failed"
    result = batch("--from", "-", "--resume", stdin="music/1.wav\nmusic/2.wav\n")
    assert counts(result) == "1 done, 1 skipped, 0 failed"
    result = batch("--from", "out/manifest.jsonl", "--resume")
    assert counts(result) == "0 done, 3 skipped, 0 failed"
    result = batch("--from", "absent.txt")
    assert result.exit_code == 2 and "No such file" in result.stderr


def test_a_pattern_over_the_output_folder_can_be_resumed(batch: Run) -> None:
    for counted in ("3 done, 0 skipped, 0 failed", "0 done, 3 skipped, 0 failed"):
        assert counts(batch("--from", "-", "--resume", stdin="**/*.wav\n")) == counted


def test_patterns_and_base_mirror_folders(batch: Run) -> None:
    write_songs(Path("many/a/x"), 1)
    write_songs(Path("many/b"), 1)
    result = batch("--from", "-", stdin="many/**/*.wav\n")
    assert counts(result) == "2 done, 0 skipped, 0 failed"
    assert is_whole(OUT, ["a/x/0", "b/0"])
    songs = "many/a/x/0.wav\nmany/b/0.wav\n"
    assert "--base" in batch("--from", "-", stdin=songs).stderr
    result = batch("--from", "-", "--base", str(Path("many").absolute()), "--resume", stdin=songs)
    assert counts(result) == "0 done, 2 skipped, 0 failed"
    assert "no file matches" in batch("--from", "-", stdin="many/*.mp3\n").stderr


def test_a_full_disk_is_not_counted_against_a_song(
    batch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(".")._replace(free=0)
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: full)
            assert counts(batch("--resume")) == "0 done, 0 skipped, 3 failed"
    assert {row["attempt"] for row in rows_of(OUT) if row["status"] == "failed"} == {0}
    assert counts(batch("--resume")) == "3 done, 0 skipped, 0 failed"


def test_names_that_are_no_unicode_are_gone_on_with_and_told(run: Run, batch: Run) -> None:
    name = os.fsdecode(b"Bj\xf6rk.wav")
    Path("music/1.wav").rename(f"music/{name}")
    assert counts(batch("--json")) == "3 done, 0 skipped, 0 failed"
    assert counts(batch("--resume")) == "0 done, 3 skipped, 0 failed"
    report = run("--report", "out", "--json")
    slowest = json.loads(report.stdout.encode("utf-8"))["slowest"]
    (odd,) = (song for song in slowest if "input_bytes" in song)
    assert os.fsdecode(bytes.fromhex(odd["input_bytes"])) == str(Path("music", name).absolute())
    assert odd["input"].endswith("Bj\ufffdrk.wav")
    assert run("--report", "out").exit_code == 0
