"""Stems among their songs: every run works, and takes none of them for a song."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.batch.own_stems import OwnStems
from tests.batch.songs import Run, counts, write_songs

BESIDE = ["-o", ".", "-f", "{track} ({stem}).{ext}"]
STEMS = ("vocals", "accompaniment")


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a folder with 0.wav and album/0.wav."""
    write_songs(Path("music"), 1)
    write_songs(Path("music/album"), 1)
    monkeypatch.chdir("music")
    return run


def files() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*.wav")}


def named() -> list[str]:
    """Return what a shell makes of *.wav."""
    return sorted(path.name for path in Path().glob("*.wav"))


BOTH = {"0.wav", "album/0.wav"} | {
    f"{folder}0 ({stem}).wav" for folder in ("", "album/") for stem in STEMS
}


@pytest.mark.parametrize("again", ["--resume", "--skip-existing", "--overwrite"])
@pytest.mark.parametrize("inputs", [["-r", "."], ["**/*.wav"]])
def test_stems_beside_their_songs_are_no_songs(run: Run, inputs: list[str], again: str) -> None:
    expected = {True: "2 done, 0 skipped, 0 failed", False: "0 done, 2 skipped, 0 failed"}
    for is_to_be_done in (True, again == "--overwrite"):
        result = run(*inputs, *BESIDE, again, "--base", ".")
        assert result.exit_code == 0 and counts(result) == expected[is_to_be_done]
        assert files() == BOTH


@pytest.mark.parametrize("again", ["--resume", "--skip-existing", "--overwrite"])
@pytest.mark.parametrize("first", ["0.wav", "./0.wav", "link.wav"])
def test_nor_where_each_song_is_named(run: Run, again: str, first: str) -> None:
    """By a shell's pattern, which names the stems, too; the first as a call of its own."""
    if first == "link.wav":
        Path("0.wav").rename("../real.wav")
        Path("link.wav").symlink_to("../real.wav")
    assert run(first, *BESIDE).exit_code == 0
    assert len(named()) == 3
    result = run(*named(), *BESIDE, again)
    assert result.exit_code == 0 and len(named()) == 3
    shutil.copy(first, "new.wav")
    assert "1 done, 1 skipped" in counts(run(*named(), *BESIDE, "--skip-existing"))
    assert len(named()) == 6


def test_nor_by_runs_over_other_folders(run: Run) -> None:
    """Every manifest from the stem's folder up tells, whatever is separated into what."""
    assert run("album", "-o", "album", "-f", "{track} ({stem}).{ext}").exit_code == 0
    assert run("-r", ".", *BESIDE, "--overwrite").exit_code == 0
    assert files() == BOTH
    assert counts(run("-r", "album", "-o", "../other")).startswith("1 done, 0 skipped")
    assert run("album", "-o", "album", "-f", "{track} ({stem}).{ext}", "--resume").exit_code == 0
    assert files() == BOTH


@pytest.mark.parametrize("place", ["stems", "../stems"])
@pytest.mark.parametrize("inputs", [["-r", "."], ["**/*.wav"]])
def test_nor_behind_a_link(run: Run, place: str, inputs: list[str]) -> None:
    """With and without it, and by a run with another folder for its stems."""
    Path(place).mkdir()
    Path("link").symlink_to(place)
    base = ["--base", "."]
    for out, done in (("link", 2), ("link", 0), (place, 0), ("other", 2)):
        result = run(*inputs, *base, "-o", out, "--resume")
        assert counts(result) == f"{done} done, {2 - done} skipped, 0 failed"


def test_nor_after_names_have_changed(run: Run) -> None:
    for names in ("vocals,accompaniment", "Vocals,Instrumental", "v,i"):
        result = run("-r", ".", *BESIDE, "--stem-names", names, "--resume")
        assert counts(result) == "2 done, 0 skipped, 0 failed"
    assert len(files()) == 2 + 3 * 4


def test_folders_that_hold_stems_alone_are_no_failure(run: Run) -> None:
    for expected in ("2 done, 0 skipped, 0 failed", "0 done, 2 skipped, 0 failed"):
        inputs = sorted(path.name for path in Path().iterdir() if path.name != "manifest.jsonl")
        result = run("-r", *inputs, "-o", ".", "--base", ".", "--resume")
        assert result.exit_code == 0 and counts(result) == expected


def test_a_stem_is_separated_where_it_is_named_for_another_place(run: Run) -> None:
    assert run("0.wav", *BESIDE).exit_code == 0
    result = run("0 (vocals).wav", *BESIDE)
    assert result.exit_code == 1 and "a stem of an earlier run" in result.stderr
    assert run("0 (vocals).wav", "-o", "other").exit_code == 0
    assert Path("other/0 (vocals)/vocals.wav").exists()


def test_no_name_alone_makes_a_stem(run: Run) -> None:
    """Nor a manifest of another program's."""
    Path("manifest.jsonl").write_text('{"audio_filepath": "1 (vocals).wav"}\nno JSON\n')
    Path("0.wav").rename("1 (vocals).wav")
    assert counts(run("-r", ".", *BESIDE, "--resume")) == "2 done, 0 skipped, 0 failed"
    assert Path("1 (vocals) (accompaniment).wav").exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/."), min_size=1, max_size=20)


@given(st.lists(NAMES, min_size=1, max_size=4), st.data())
def test_every_file_that_a_manifest_names_is_known_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], data: st.DataObject
) -> None:
    depth = data.draw(st.integers(0, len(parts) - 1))
    root = tmp_path_factory.mktemp("root")
    holder = root.joinpath(*(f"{number}" for number in range(depth)))
    holder.mkdir(parents=True, exist_ok=True)
    name = "/".join(parts[depth:])
    row = {
        **{"id": "0" * 16, "time": "t", "status": "failed", "input": "/a", "attempt": 1},
        "outputs": {"vocals": {"path": f"./{name}"}},
        **{"options_sha256": "", "weights_sha256": ""},
    }
    (holder / "manifest-1-of-2.jsonl").write_text(json.dumps(row) + "\n")
    stems = OwnStems()
    assert str(holder / name) in stems
    assert str(holder / f"{name}x") not in stems
    assert str(root.parent / name) not in stems
    assert f"s3://{name}" not in stems
