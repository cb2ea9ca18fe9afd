"""A batch that is gone on with: what is proven stays, what changed is done again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from htmdsep.cli.command import command
from tests.batch.songs import RATE, done_inputs, is_whole, rows_of, write_songs
from tests.sounds import tone

Run = Callable[..., Result]
OUT = Path("out")


@pytest.fixture
def run(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a batch over music/ into out/ with tiny weights, with three songs in the folder."""
    monkeypatch.chdir(tmp_path)
    write_songs(Path("music"), 3)

    def call(*arguments: str, stdin: str | None = None, weights: Path = tiny_weights) -> Result:
        given = arguments if "--from" in arguments else ("music", *arguments)
        return CliRunner().invoke(
            command, [*given, "-o", "out", "--weights", str(weights)], input=stdin
        )

    return call


def counts(result: Result) -> str:
    return result.stderr.splitlines()[-1]


def test_rows_hold_what_proves_a_song(run: Run) -> None:
    assert run().exit_code == 0
    rows = rows_of(OUT)
    assert [row["status"] for row in rows] == ["started", "done"] * 3
    row = rows[1]
    assert row["input"] == str(Path("music/0.wav").absolute())
    assert row["input_sha256"] == sha256("music/0.wav")
    assert len(row["options_sha256"]) == len(row["weights_sha256"]) == 64
    for stem in ("vocals", "accompaniment"):
        output = row["outputs"][stem]
        assert output["path"] == f"0/{stem}.wav"
        assert output["sha256"] == sha256(f"out/0/{stem}.wav")
    assert row["audio_seconds"] == pytest.approx(0.3, abs=1e-3) and row["seconds"] > 0
    assert row["attempt"] == 1 and "error" not in row


def sha256(path: str) -> str:
    import hashlib

    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_what_is_done_stays(run: Run) -> None:
    assert run().exit_code == 0
    before = (OUT / "manifest.jsonl").read_bytes()
    result = run("--resume")
    assert (result.exit_code, counts(result)) == (0, "0 done, 3 skipped, 0 failed")
    assert run().exit_code == 1  # stems are in the way
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
def test_a_song_that_changed_is_done_again(run: Run, change: Callable[[], None]) -> None:
    assert run().exit_code == 0
    change()
    result = run("--resume")
    assert (result.exit_code, counts(result)) == (0, "1 done, 2 skipped, 0 failed")
    assert done_inputs(OUT)[3:] == ["1.wav"]
    assert is_whole(OUT, ["0", "1", "2"])
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"


def test_other_times_of_the_same_bytes_are_noted_once(run: Run) -> None:
    assert run().exit_code == 0
    for path in (Path("music/1.wav"), OUT / "1" / "vocals.wav"):
        os.utime(path, (1, 1))
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"
    rows = rows_of(OUT)
    assert len(rows) == 7 and rows[-1]["input_stamp"].endswith(":1000000000")
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"
    assert len(rows_of(OUT)) == 7


def test_verify_finds_what_sizes_and_times_hide(run: Run) -> None:
    assert run().exit_code == 0
    path = OUT / "1" / "vocals.wav"
    times = path.stat()
    change_byte()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"
    assert counts(run("--resume", "--verify")) == "1 done, 2 skipped, 0 failed"


@pytest.mark.parametrize(
    "options", [["--overlap", "0.5"], ["--float32"], ["--shifts", "1"], ["--duration", "0.2"]]
)
def test_other_options_do_all_again(run: Run, options: list[str]) -> None:
    assert run().exit_code == 0
    assert counts(run("--resume", *options)) == "3 done, 0 skipped, 0 failed"
    assert counts(run("--resume", *options)) == "0 done, 3 skipped, 0 failed"


def test_other_weights_do_all_again(run: Run, tiny_weights: Path) -> None:
    assert run().exit_code == 0
    import torch

    from htmdsep.weights.file import load_weights, save_weights

    network, info = load_weights(tiny_weights)
    other = tiny_weights.with_name("other.safetensors")
    with torch.no_grad():
        next(network.parameters()).mul_(0.9)
    save_weights(other, network, info, torch.float32)
    assert counts(run("--resume", weights=other)) == "3 done, 0 skipped, 0 failed"


def test_failures_are_tried_again_so_often_and_no_more(run: Run) -> None:
    Path("music/bad.wav").write_text("no music")
    assert counts(run()) == "3 done, 0 skipped, 1 failed"
    for _ in range(2):
        result = run("--resume")
        assert (result.exit_code, counts(result)) == (1, "0 done, 3 skipped, 1 failed")
    rows = [row for row in rows_of(OUT) if row["status"] == "failed"]
    assert [row["attempt"] for row in rows] == [1, 2, 3]
    result = run("--resume")
    assert "tried 3 times, see --retries: no audio that can be decoded" in result.stderr
    assert result.exit_code == 1
    assert len(rows_of(OUT)) == 3 * 2 + 3 * 2  # nothing was tried
    assert "no audio" in run("--resume", "--retries", "3").stderr
    assert [row["attempt"] for row in rows_of(OUT) if row["status"] == "failed"][-1] == 4


def test_a_bad_song_that_was_mended_is_tried_afresh(run: Run) -> None:
    Path("music/bad.wav").write_text("no music")
    for _ in range(3):
        run("--resume")
    soundfile.write("music/bad.wav", tone(RATE, RATE), RATE)
    assert counts(run("--resume")) == "1 done, 3 skipped, 0 failed"


def test_a_song_that_kills_the_process_does_so_only_so_often(run: Run) -> None:
    """What a killed process leaves is a row that says started, and temporary files."""
    assert run().exit_code == 0
    rows = rows_of(OUT)
    leaving = OUT / "1" / ".vocals.wav.0123abcd.part"
    for attempt in (1, 2, 3):
        row = {**rows[2], "attempt": attempt}  # of 1.wav, as begun
        with (OUT / "manifest.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        if attempt < 3:
            leaving.touch()
            assert counts(run("--resume")) == "1 done, 2 skipped, 0 failed"
            assert not leaving.exists()
    result = run("--resume")
    assert counts(result) == "0 done, 2 skipped, 1 failed"
    assert "tried 3 times" in result.stderr and "process ended" in result.stderr


@pytest.mark.parametrize(
    "left", [b'{"id": "0123', b'{"id": "0123456789abcdef", "x', b"\x00\xff\n", b"{}\n", b"[]"]
)
def test_what_a_crash_left_of_a_row_is_passed_over(run: Run, left: bytes) -> None:
    assert run().exit_code == 0
    with (OUT / "manifest.jsonl").open("ab") as file:
        file.write(left)
    remove_output()
    assert counts(run("--resume")) == "1 done, 2 skipped, 0 failed"
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"


def test_skip_existing_asks_for_no_proof(run: Run) -> None:
    assert run().exit_code == 0
    change_input()
    assert counts(run("--skip-existing")) == "0 done, 3 skipped, 0 failed"
    remove_output()
    assert counts(run("--skip-existing")) == "1 done, 2 skipped, 0 failed"


def test_stems_of_another_song_are_told(tmp_path: Path, run: Run) -> None:
    """Also where every song is a call of its own."""
    write_songs(Path("other"), 1)
    weights = ["-o", "out", "--weights", str(tmp_path / "weights" / "tiny.safetensors")]

    def skip(song: str) -> str:
        return CliRunner().invoke(command, [song, *weights, "--skip-existing"]).stderr

    assert skip("music/0.wav").endswith("1 done, 0 skipped, 0 failed\n")
    for result in (
        skip("other/0.wav"),
        run("--from", "-", "--skip-existing", stdin="other/0.wav\n").stderr,
    ):
        assert result.endswith("0 done, 1 skipped, 0 failed\n")
        assert f"taken by those of {Path('music/0.wav').absolute()}" in result
    assert "skipped, its stems exist\n" in skip("music/0.wav")
    Path("out/manifest.jsonl").unlink()
    assert "skipped, its stems exist; no manifest says of which song\n" in skip("other/0.wav")


def test_a_named_song_keeps_no_manifest_but_joins_one(tmp_path: Path, run: Run) -> None:
    run()
    assert len(rows_of(OUT)) == 6
    weights = ["--weights", str(tmp_path / "weights" / "tiny.safetensors")]
    for out, kept in (("out", True), ("alone", False)):
        arguments = ["music/0.wav", "-o", out, "--overwrite", *weights]
        assert CliRunner().invoke(command, arguments).exit_code == 0
        assert Path(out, "manifest.jsonl").exists() == kept
    assert len(rows_of(OUT)) == 8


def test_lists_and_manifests_as_input(run: Run) -> None:
    Path("list.txt").write_text("music/0.wav\n\nmusic/2.wav\nmusic/0.wav\n")
    assert counts(run("--from", "list.txt")) == "2 done, 0 skipped, 0 failed"
    result = run("--from", "-", "--resume", stdin="music/1.wav\nmusic/2.wav\n")
    assert counts(result) == "1 done, 1 skipped, 0 failed"
    result = run("--from", "out/manifest.jsonl", "--resume")
    assert counts(result) == "0 done, 3 skipped, 0 failed"
    with Path("out/manifest.jsonl").open("ab") as file:
        file.write(b'{"id": "0123')  # what a crash left of a row
    assert counts(run("--from", "out/manifest.jsonl", "--resume")).startswith("0 done, 3 skipped")
    for bad, message in (("absent.txt", "No such file"), ("bad.txt", "line 1: neither a path")):
        Path("bad.txt").write_text('{"no": "input"}\n')
        result = run("--from", bad)
        assert result.exit_code == 2 and message in result.stderr


def test_what_find_print0_writes_is_a_list(run: Run) -> None:
    result = run("--from", "-", stdin="music/0.wav\0music/1.wav\0")
    assert counts(result) == "2 done, 0 skipped, 0 failed"


def test_a_pattern_over_the_output_folder_can_be_resumed(run: Run) -> None:
    for counted in ("3 done, 0 skipped, 0 failed", "0 done, 3 skipped, 0 failed"):
        assert counts(run("--from", "-", "--resume", stdin="**/*.wav\n")) == counted


def test_patterns_and_base_mirror_folders(run: Run, tmp_path: Path) -> None:
    write_songs(Path("many/a/x"), 1)
    write_songs(Path("many/b"), 1)
    result = run("--from", "-", stdin="many/**/*.wav\n")
    assert counts(result) == "2 done, 0 skipped, 0 failed"
    assert is_whole(OUT, ["a/x/0", "b/0"])
    songs = "many/a/x/0.wav\nmany/b/0.wav\n"
    assert "--base" in run("--from", "-", stdin=songs).stderr
    result = run("--from", "-", "--base", str(tmp_path / "many"), "--resume", stdin=songs)
    assert counts(result) == "0 done, 2 skipped, 0 failed"
    assert "no file matches" in run("--from", "-", stdin="many/*.mp3\n").stderr


def test_a_full_disk_is_not_counted_against_a_song(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(".")._replace(free=0)
    for _ in range(4):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: full)
            assert counts(run("--resume")) == "0 done, 0 skipped, 3 failed"
    assert {row["attempt"] for row in rows_of(OUT) if row["status"] == "failed"} == {0}
    assert counts(run("--resume")) == "3 done, 0 skipped, 0 failed"


def test_names_that_are_no_unicode_are_gone_on_with_and_told(run: Run) -> None:
    name = os.fsdecode(b"Bj\xf6rk.wav")
    Path("music/1.wav").rename(f"music/{name}")
    assert counts(run("--json")) == "3 done, 0 skipped, 0 failed"
    assert counts(run("--resume")) == "0 done, 3 skipped, 0 failed"
    report = CliRunner().invoke(command, ["--report", "out", "--json"])
    slowest = json.loads(report.stdout.encode("utf-8"))["slowest"]
    (odd,) = (song for song in slowest if "input_bytes" in song)
    assert os.fsdecode(bytes.fromhex(odd["input_bytes"])) == str(Path("music", name).absolute())
    assert odd["input"].endswith("Bj\ufffdrk.wav")
    assert CliRunner().invoke(command, ["--report", "out"]).exit_code == 0
