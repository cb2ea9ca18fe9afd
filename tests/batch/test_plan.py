from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from htmdsep.batch.plan import Job, Source, _ignores_case, plan_jobs
from htmdsep.batch.sources import find_sources
from htmdsep.errors import PlanError
from htmdsep.options import STEM_NAMES, BatchOptions

TEMPLATE = "{track}/{stem}.{ext}"


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def targets(sources: list[Source], template: str = TEMPLATE) -> list[str]:
    jobs = plan_jobs(sources, BatchOptions(out="out", filename=template), "wav")
    return [target.replace(os.sep, "/") for job in jobs for target in job.targets.values()]


def test_a_folder_gives_its_audio_files_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.mp3", "a.WAV", "cover.jpg", ".hidden.mp3", "deep/c.flac", ".trash/d.wav")
    sources = list(find_sources([str(tmp_path)], str(tmp_path / "out"), recursive=False))
    assert [Path(source.name).name for source in sources] == ["a.WAV", "b.mp3"]
    sources = list(find_sources([str(tmp_path)], str(tmp_path / "out"), recursive=True))
    assert [Path(source.name).name for source in sources] == ["a.WAV", "b.mp3", "c.flac"]
    assert targets(sources)[-1] == "out/deep/c/accompaniment.wav"


def test_stems_of_an_earlier_run_are_no_sources(tmp_path: Path) -> None:
    make(tmp_path, "a.mp3", "b/c.mp3", "out/a/vocals.wav", "out/a/accompaniment.wav")
    sources = find_sources([str(tmp_path)], str(tmp_path / "out"), recursive=True)
    assert [Path(source.name).name for source in sources] == ["a.mp3", "c.mp3"]


def test_a_pattern_finds_no_stems_but_what_is_asked_for_below_the_output(tmp_path: Path) -> None:
    make(tmp_path, "a.mp3", "out/b/vocals.wav")
    out = str(tmp_path / "out")
    (source,) = find_sources([str(tmp_path / "**" / "*")], out, recursive=False)
    assert Path(source.name).name == "a.mp3"
    (source,) = find_sources([str(tmp_path / "out" / "**" / "*.wav")], out, recursive=False)
    assert Path(source.name).name == "vocals.wav"


@pytest.mark.parametrize("shut", ["", "b"])
def test_a_folder_that_cannot_be_read_is_a_problem(
    tmp_path: Path, shut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.mp3", "b/c.mp3")
    scan = os.scandir

    def scandir(folder: str) -> Any:
        if Path(folder) == tmp_path / shut:
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    *found, bad = find_sources([str(tmp_path)], str(tmp_path / "out"), recursive=True)
    assert [Path(source.name).name for source in found] == (["a.mp3"] if shut else [])
    assert Path(bad.name) == tmp_path / shut and bad.problem == "cannot be read (Permission denied)"


def test_a_file_is_taken_once_and_whatever_its_ending(tmp_path: Path) -> None:
    make(tmp_path, "song.bin")
    path = str(tmp_path / "song.bin")
    assert len(list(find_sources([path, path], str(tmp_path), recursive=False))) == 1


def test_an_empty_folder_is_a_problem_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "cover.jpg")
    (source,) = find_sources([str(tmp_path)], str(tmp_path / "out"), recursive=False)
    assert source.problem is not None and "no audio file" in source.problem
    assert "--recursive" in source.problem


def test_a_file_may_be_called_as_standard_input_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").touch()
    (stream,) = find_sources(["-"], "out", recursive=False)
    (file,) = find_sources(["./-"], "out", recursive=False)
    assert (stream.label, file.name) == ("standard input", str(tmp_path / "-"))


def test_names() -> None:
    sources = [Source("music/Chœur d'été 100%.mp3")]
    assert targets(sources) == [
        "out/Chœur d'été 100%/vocals.wav",
        "out/Chœur d'été 100%/accompaniment.wav",
    ]
    assert targets(sources, "{stem}/{track}.{trackext}.{ext}")[0].startswith("out/vocals/Chœur")
    foreign = targets(sources, "{foldername}/{filename}_{instrument}.{codec}")
    assert foreign[0] == "out/music/Chœur d'été 100%_vocals.wav"
    assert targets([Source("-")]) == ["out/stdin/vocals.wav", "out/stdin/accompaniment.wav"]
    assert targets([Source("{stem}.mp3")])[0] == "out/{stem}/vocals.wav"  # braces are no fields
    assert targets([Source("...mp3")])[0] == "out/...mp3/vocals.wav"  # and dots no folder above


@pytest.mark.parametrize(
    ("names", "template", "message"),
    [
        (
            ["a/song.mp3", "b/song.wav"],
            TEMPLATE,
            r"a/song.mp3 and b/song.wav would both be written",
        ),
        (["song.mp3"], "{track}.{ext}", r"would both be written to out/song.wav"),
        (["song.mp3"], "{artist}.{ext}", r"'artist'; known fields: {track}"),
        (["song.mp3"], "{track", "expected '}'"),
        (["song.mp3"], "{}", "known fields"),
        (["song.mp3"], "{track}/", "names a folder"),
        (["song.mp3"], "/tmp/{stem}.{ext}", "'/tmp/vocals.wav' for song.mp3, which does not lie"),
        (["/song.mp3"], "{foldername}/{stem}.{ext}", "'/vocals.wav' for /song.mp3, which does not"),
        (["song.mp3", "out/vocals.wav"], "{stem}.{ext}", "out/vocals.wav is an input"),
    ],
)
def test_plans_that_cannot_be(names: list[str], template: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        targets([Source(name) for name in names], template)


def test_a_listed_name_with_an_audio_ending_is_a_file_unless_it_ends_in_a_slash(
    tmp_path: Path,
) -> None:
    make(tmp_path, "album.wav/a.mp3", "b.mp3")
    folder, out = str(tmp_path / "album.wav"), str(tmp_path / "out")
    listed = [folder, f"{folder}/", str(tmp_path / "absent.mp3"), f"{tmp_path}/./b.mp3"]
    sources = find_sources([], out, recursive=False, listed=map(Source, listed))
    assert [source.name for source in sources] == [
        folder,
        f"{folder}/a.mp3",
        str(tmp_path / "absent.mp3"),
        str(tmp_path / "b.mp3"),
    ]


def test_songs_that_differ_in_capitals_need_a_disk_that_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [Source("one/Song.wav"), Source("two/song.wav")]
    assert len(targets(sources)) == 4
    monkeypatch.setattr("htmdsep.batch.plan._ignores_case", lambda _: True)
    with pytest.raises(PlanError, match=r"one/Song.wav and two/song.wav would both be written"):
        targets(sources)
    monkeypatch.undo()
    out = str(tmp_path / "not" / "there" / "yet")
    assert not _ignores_case(out) and not _ignores_case("s3://bucket/out")
    assert not list(tmp_path.iterdir())


def test_a_job_is_the_same_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {stem: f"a/{stem}.wav" for stem in STEM_NAMES}
    monkeypatch.chdir(tmp_path)
    job = Job(Source("a.wav", "below"), "out", names, overwrite=False, attempt=2)
    there = Job(Source(f"{tmp_path}/a.wav", "below"), f"{tmp_path}/out", names, False, 2)
    assert job.portable() == there == there.portable()
