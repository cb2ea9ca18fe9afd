from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.files import (
    atomic_path,
    atomic_paths,
    claimed,
    is_in_work,
    make_folder,
    remove_abandoned,
)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    targets = [tmp_path / "deep" / "er" / name for name in ("a", "b")]
    with atomic_paths(targets) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        assert not any(target.exists() for target in targets)
        assert {path.parent for path in temporaries} == {targets[0].parent}
    assert files_below(targets[0].parent) == {"a", "b"}


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_paths([tmp_path / "new" / "a"]) as temporaries:
        temporaries[0].write_text("half")
        raise ZeroDivisionError
    assert files_below(tmp_path) == set()
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "old" / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert files_below(tmp_path) == {"old"}  # which was there before


def test_all_or_none_are_renamed(tmp_path: Path) -> None:
    with (
        pytest.raises(HtmdsepError, match=r"cannot write .*b: Is a directory"),
        atomic_paths([tmp_path / "a", tmp_path / "b"]) as temporaries,
    ):
        for temporary in temporaries:
            temporary.write_text("new")
        (tmp_path / "b").mkdir()  # no file can take its place
    assert files_below(tmp_path) == {"b"}


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("taken", ["a", "b"])
def test_what_another_has_written_meanwhile_stays(
    tmp_path: Path, taken: str, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", fail)
    targets = [tmp_path / "a", tmp_path / "b"]
    with (
        pytest.raises(HtmdsepError, match=rf"another run has just written .*{taken}; give other"),
        atomic_paths(targets, overwrite=False) as temporaries,
    ):
        for temporary in temporaries:
            temporary.write_text("ours")
        with atomic_paths([tmp_path / taken], overwrite=False) as (other,):
            other.write_text("theirs")
    assert files_below(tmp_path) == {taken}
    assert (tmp_path / taken).read_text() == "theirs"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_plain_file_is_refused_and_stays(tmp_path: Path, kind: str, link: bool) -> None:
    target = Path(os.devnull) if kind == "device" else tmp_path / kind
    if kind != "device":
        (os.mkfifo if kind == "pipe" else os.mkdir)(target)
    before = target.stat()
    if link:
        (tmp_path / "link").symlink_to(target)
        target = tmp_path / "link"
    with pytest.raises(DiskError, match=r"cannot write .*; name a file"), atomic_path(target):
        pass
    assert target.stat() == before and target.is_symlink() == link


@pytest.mark.parametrize("is_there", [False, True])
def test_links_are_followed(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "disk").mkdir()
    if is_there:
        (tmp_path / "disk" / "file").write_text("old")
    (tmp_path / "link").symlink_to("disk/file")
    with atomic_path(tmp_path / "link") as temporary:
        assert is_in_work([tmp_path / "link"])
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == "new"
    (tmp_path / "away").symlink_to("not mounted/file")
    with pytest.raises(DiskError, match=r"is a link to .*whose folder is not there"):
        atomic_paths([tmp_path / "away"]).__enter__()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HtmdsepError, match=r"cannot make the folder .*file: .*choose another"),
        atomic_path(tmp_path / "file" / "a"),
    ):
        pass


def test_only_what_nobody_works_on_is_abandoned(tmp_path: Path) -> None:
    target = tmp_path / "vocals.wav"
    left = [tmp_path / f".{name}.0123abcd.part" for name in ("0" * 16, "vocals.wav")]
    other = tmp_path / ".cache.part"  # some other program's
    with atomic_path(target) as temporary:
        for path in (*left, other):
            path.touch()
        assert is_in_work([target]) and not is_in_work([tmp_path / "accompaniment.wav"])
        remove_abandoned(tmp_path)
        assert set(tmp_path.iterdir()) == {temporary, other}
        temporary.write_text("whole")
    assert target.read_text() == "whole" and not is_in_work([target])
    remove_abandoned(tmp_path / "absent")


@pytest.mark.skipif(os.name == "nt", reason="no locks")
def test_one_at_a_time_may_claim_a_file(tmp_path: Path) -> None:
    target = tmp_path / "out" / "song" / "vocals.wav"
    with claimed(target) as first, claimed(target) as second:
        assert first and not second and is_in_work([target])
        (claim,) = target.parent.iterdir()
        remove_abandoned(target.parent)
        assert claim.exists()
    assert not list(tmp_path.iterdir())
    claim.parent.mkdir(parents=True)
    claim.touch()  # as a killed process leaves it
    with claimed(target) as is_mine:
        assert is_mine
    assert not claim.exists()
    (tmp_path / "file").touch()
    with claimed(tmp_path / "file" / "vocals.wav") as is_mine:
        assert is_mine  # the work will tell what is wrong


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "stems").symlink_to(tmp_path / "not mounted")
    with (
        pytest.raises(DiskError, match=r"stems is a link to .*not mounted, which is not there"),
        atomic_path(tmp_path / "stems" / "song" / "vocals.wav"),
    ):
        pass
    with (
        pytest.raises(DiskError, match=r"cannot write .*/a{256}: "),
        atomic_path(tmp_path / ("a" * 256)) as temporary,
    ):
        temporary.touch()
    with pytest.raises(DiskError, match="takes no such name: give --filename"):
        make_folder(tmp_path / ("a" * 256))


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as raised, atomic_path(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert raised.value.filename == str(tmp_path / "x")
    with pytest.raises(OSError, match="reset") as raised, atomic_path(tmp_path / "x"):
        raise OSError(104, "Connection reset by peer")
    assert raised.value.filename is None


@pytest.mark.parametrize("name", ["a" * 255, "歌" * 85, "x.wav"])
def test_temporary_names_are_short_and_known_by_their_target(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("new")
        assert len(os.fsencode(temporary.name)) < 40
        assert is_in_work([tmp_path / name])
    assert files_below(tmp_path) == {name}
