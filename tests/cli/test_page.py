"""--page and --page-only: written at the end of a batch or for stems that exist, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from tests.batch.songs import RATE, Run, write_songs
from tests.sounds import tone


def test_a_batch_ends_with_its_page(tmp_path: Path, run: Run) -> None:
    music, out = write_songs(tmp_path / "music", 2), tmp_path / "out"
    (music / "bad.wav").write_bytes(b"no audio")
    soundfile.write(music / "loud.wav", 3 * tone(RATE, RATE), RATE, "FLOAT")
    arguments = (music, "-o", out, "--page", "--int16")
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == str(out / "index.html")
    assert (out / "index.html").is_file() and (out / "index_files" / "page.js").is_file()
    text = (out / "index_files" / "songs.js").read_text()
    songs = json.loads(text.removeprefix("const SONGS = ").rstrip(";\n"))
    assert [song["name"] for song in songs] == ["0.wav", "1.wav", "bad.wav", "loud.wav"]
    assert [song["status"] for song in songs] == ["done", "done", "failed", "done"]
    assert songs[2]["error"].startswith("no audio") and "clipped" in songs[3]["notes"][0]
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    shares = {row["input"]: row["result"]["vocals_share"] for row in rows if "result" in row}
    assert songs[3]["share"] == pytest.approx(shares[str(music / "loud.wav")], abs=1e-3)
    details = (out / "index_files" / f"{songs[0]['id']}.js").read_text()
    assert '"mixture": "../music/0.wav"' in details


def test_of_one_song_the_original_is_known_too(tmp_path: Path, run: Run) -> None:
    song = write_songs(tmp_path / "music", 1) / "0.wav"
    assert run(song, "-o", tmp_path / "out", "--page").exit_code == 0
    (details,) = (tmp_path / "out" / "index_files").glob(16 * "?" + ".js")
    assert '"mixture": "../music/0.wav"' in details.read_text()


def test_stems_that_exist_get_a_page(tmp_path: Path, run: Run) -> None:
    song = write_songs(tmp_path / "music", 1) / "0.wav"
    run(song, "-o", tmp_path / "out")  # keeps no manifest
    result = run("--page-only", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'out' / 'index.html'}\n")
    (tmp_path / "out" / "0" / "vocals.wav").write_bytes(b"torn")
    result = run("--page-only", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert result.output.startswith("htmdsep: 0: ") and result.output.count("\n") == 1


def test_a_stem_file_is_not_taken_for_two_stems(tmp_path: Path, run: Run) -> None:
    """Whose first stream, the mixture, is all that browsers would play."""
    song, out = write_songs(tmp_path / "music", 1) / "0.wav", tmp_path / "out"
    arguments = (song, "-o", out, "-c", "stem.mp4")
    result = run(*arguments, "--page")
    assert result.exit_code == 2 and "browsers play no stems of a stem.mp4" in result.output
    assert not out.exists()
    assert run(*arguments, "--resume").exit_code == 0
    result = run("--page-only", out, "-q")
    assert result.exit_code == 1
    assert result.output.startswith("htmdsep: 0.wav: its stems are in one file")


def test_where_no_page_can_stand(tmp_path: Path, run: Run) -> None:
    song = write_songs(tmp_path / "music", 1) / "0.wav"
    for out in ("-", "s3://bucket/out"):
        result = run(song, "--stems", "vocals", "-o", out, "--page")
        assert result.exit_code == 2 and "a page stands in a folder" in result.output
    result = run("--page-only", tmp_path / "none")
    assert result.exit_code == 1 and "there is no folder" in result.output
    (tmp_path / "index.html").write_text("mine")
    result = run(song, "-o", tmp_path, "--page")
    assert result.exit_code == 1 and "was not made by htmdsep" in result.output
    assert not (tmp_path / "0").exists()  # known before any work
