"""Lists in every form that programs write them, and what a folder holds besides songs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.batch.plan import Source
from htmdsep.batch.sources import find_sources, read_list
from htmdsep.batch.storage import settled
from htmdsep.errors import PlanError

# Of paths, which hold no zero byte, and are the bytes of a file name
PATHS = st.lists(
    st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"), min_size=1)
    .filter(lambda name: name.strip() and not name.startswith(("{", "\ufeff")))
    .map(str)
)


@given(PATHS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n"]))
def test_lists_are_read_in_every_encoding(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str, end: str
) -> None:
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_bytes("".join(name + end for name in names).encode(encoding))
    assert [source.name for source in read_list(str(path))] == names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{Ep. 5} Intro.wav", ["{Ep. 5} Intro.wav"]),
        (json.dumps({"id": "0" * 16, "input": "/a.wav"}), ["/a.wav"]),
        ('{"id": "0011", "time": "2026', []),  # what a crash left of a row
        ("  ", []),
    ],
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_is_a_path_or_a_row(
    tmp_path: Path, line: str, expected: list[str], end: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"b.wav\n{line}{end}")
    assert [source.name for source in read_list(str(path))] == ["b.wav", *expected]


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=2)))
def test_lists_of_names_that_zero_bytes_end(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    """As find -print0 writes them: a name may hold line breaks."""
    names = [name for name in names if name.strip() and not name.startswith(("{", "\ufeff"))]
    path = tmp_path_factory.mktemp("list") / "list"
    path.write_bytes(b"".join(name.encode() + b"\0" for name in names))
    assert [source.name for source in read_list(str(path))] == names


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_no_list_of_one_letter_names(
    tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "list.txt").write_bytes("a.wav\nb.wav\n".encode(encoding))
    with pytest.raises(PlanError, match="holds a zero byte; save the list in UTF-8"):
        list(read_list(str(tmp_path / "list.txt")))


def test_a_manifest_with_the_zeros_of_a_crash_is_no_list_of_names(tmp_path: Path) -> None:
    row = json.dumps({"id": "0" * 16, "input": "/a.wav"}).encode()
    (tmp_path / "manifest.jsonl").write_bytes(row + b"\n" + bytes(512) + b"\n")
    with pytest.raises(PlanError, match="line 2: holds a zero byte"):
        list(read_list(str(tmp_path / "manifest.jsonl")))


@pytest.mark.parametrize("track", ["01 Title", ["01 Title", 0.0], ["01", 0.0, None, [1]], 7])
def test_a_track_that_is_none_is_told(tmp_path: Path, track: object) -> None:
    row = json.dumps({"id": "0" * 16, "input": "/a.wav", "track": track})
    (tmp_path / "manifest.jsonl").write_text(f"{row}\n")
    with pytest.raises(PlanError, match=r"manifest.jsonl: .+; check the file"):
        list(read_list(str(tmp_path / "manifest.jsonl")))


def test_an_object_without_an_input_is_neither(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text('a.wav\n{"no": "input"}\n')
    with pytest.raises(PlanError, match="line 2: neither a path nor a row"):
        list(read_list(str(tmp_path / "list.txt")))


def found(folder: Path, out: Path, *, recursive: bool = True) -> list[Source]:
    return list(find_sources([str(folder)], str(out), recursive=recursive))


@pytest.mark.parametrize("ending", ["m2ts", "weba", "3GA", "ogv", "vob", "m4r", "dsf", "thd"])
def test_what_cameras_and_telephones_write_is_found(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"song.{ending}").touch()
    assert len(found(tmp_path, tmp_path / "out")) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_of_a_folder_files_are_taken_and_links_to_files(tmp_path: Path) -> None:
    for name in ("song.wav", "album.wav/deep.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "to_pipe.wav").symlink_to("pipe.wav")
    (tmp_path / "to_folder.wav").symlink_to("album.wav")
    (tmp_path / "to_song.wav").symlink_to("song.wav")
    (tmp_path / "to_nothing.wav").symlink_to("absent.wav")  # its failure is worth telling
    names = {Path(source.name).name for source in found(tmp_path, tmp_path / "out")}
    assert names == {"song.wav", "deep.wav", "to_song.wav", "to_nothing.wav"}
    (named,) = found(tmp_path / "pipe.wav", tmp_path / "out")
    assert named.problem is None


@pytest.mark.parametrize("pattern", ["", "**/*.wav"])
def test_stems_behind_a_link_are_no_songs(tmp_path: Path, pattern: str) -> None:
    for name in ("music/a.wav", "music/stems/a/vocals.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("music/stems")
    (source,) = found(tmp_path / "music" / pattern, tmp_path / "link")
    assert Path(source.name).name == "a.wav"


def test_a_store_is_no_place_for_stems_among_songs() -> None:
    pytest.importorskip("fsspec").filesystem("memory").pipe("/both/song.wav", b"")
    with pytest.raises(PlanError, match="is the output folder, too"):
        list(find_sources(["memory://both"], "memory://both", recursive=True))


@pytest.mark.parametrize("named", ["~/a.wav", "~", "~/*.wav"])
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_tilde_that_the_shell_left_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, is_listed: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.wav").touch()
    inputs, listed = ((), (named,)) if is_listed else ((named,), ())
    (source,) = find_sources(inputs, "out", recursive=False, listed=map(Source, listed))
    assert source.name == str(tmp_path / "a.wav")
    assert settled("~/x") == str(tmp_path / "x")


def test_a_file_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    Path("~/a.wav").touch()
    (source,) = find_sources(["~/a.wav"], "out", recursive=False)
    assert source.name == "~/a.wav"


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b#1.wav").touch()
    uri = (tmp_path / "a b#1.wav").as_uri()
    (source,) = find_sources([uri], str(tmp_path / "out"), recursive=False)
    assert source.name == str(tmp_path / "a b#1.wav")


def test_an_empty_name_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    song, empty = find_sources([str(tmp_path / "a.wav"), ""], str(tmp_path), recursive=False)
    assert song.problem is None and empty.problem is not None and "empty name" in empty.problem
