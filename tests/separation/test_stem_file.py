"""A stem file is what DJ software takes: five aligned stereo streams, one box, tags and cover."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from htmdsep.audio.reader import open_audio
from htmdsep.cli.command import command
from htmdsep.datasets.folders import find_test_songs
from htmdsep.datasets.streams import stem_blocks
from htmdsep.errors import ArgumentError
from htmdsep.options import RunOptions
from htmdsep.separation.separator import Separator, separate_file
from tests.audio.test_encoders import music, sdr_db

RATE = 44_100
Run = Callable[..., Result]
Box = tuple[str, bytes]


@pytest.fixture
def run(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with tiny weights, beside a song of two seconds and a bit."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", music(2 * RATE + 345, RATE, 2), RATE, "PCM_24")

    def call(*arguments: str) -> Result:
        typed = ["--weights", str(tiny_weights), "-c", "stem.mp4", *arguments]
        return CliRunner().invoke(command, typed)

    return call


def streams(path: Path | str) -> list[np.ndarray]:
    found = []
    for number in range(5):
        with open_audio(Path(path), stream=number) as reader:
            found.append(np.concatenate(list(reader.blocks())))
            assert not reader.notes and reader.header.sample_rate == RATE
    return found


def boxes(content: bytes) -> Iterator[Box]:
    while content:
        size, kind = struct.unpack_from(">I4s", content)
        yield kind.decode("latin-1"), content[8:size]
        content = content[size:]


def within(content: bytes, *place: str) -> list[bytes]:
    if not place:
        return [content]
    inner = (inside for kind, inside in boxes(content) if kind == place[0])
    return [one for inside in inner for one in within(inside, *place[1:])]


def test_five_streams_that_are_aligned_and_add_up(run: Run) -> None:
    result = run("song.wav", "-o", "out", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert {stem["path"] for stem in record["stems"].values()} == {"out/song.stem.mp4"}
    assert {path.name for path in Path("out").iterdir()} == {"song.stem.mp4"}
    mixture, silent, empty, accompaniment, vocals = streams("out/song.stem.mp4")
    source, _ = soundfile.read("song.wav", dtype="float32")
    assert mixture.shape == vocals.shape == accompaniment.shape == silent.shape == source.shape
    assert not silent.any() and not empty.any() and vocals.any() and accompaniment.any()
    assert sdr_db(source, mixture) > 26 and sdr_db(source, vocals + accompaniment) > 26
    for found in (mixture, vocals + accompaniment):  # of all shifts, none fits best
        spectra = np.fft.rfft(source[:, 0]), np.fft.rfft(found[:, 0])
        assert np.argmax(np.fft.irfft(spectra[1] * spectra[0].conj(), len(source))) == 0


def test_the_stems_are_those_of_other_formats(run: Run, tiny_weights: Path) -> None:
    assert run("song.wav", "-o", "out").exit_code == 0
    Separator(tiny_weights).separate_file(
        "song.wav", {"vocals": "vocals.wav", "accompaniment": "accompaniment.wav"}
    )
    _, _, _, accompaniment, vocals = streams("out/song.stem.mp4")
    # What an untrained network makes is broad noise, of which AAC keeps less
    assert sdr_db(soundfile.read("vocals.wav", dtype="float32")[0], vocals) > 15
    assert sdr_db(soundfile.read("accompaniment.wav", dtype="float32")[0], accompaniment) > 26


def test_what_dj_software_looks_for(run: Run) -> None:
    assert run("song.wav", "-o", "out").exit_code == 0
    content = Path("out/song.stem.mp4").read_bytes()
    (found,) = within(content, "moov", "udta", "stem")
    manifest = json.loads(found)
    assert manifest["version"] == 1 and len(manifest["stems"]) == 4
    assert [stem["name"] for stem in manifest["stems"]][2:] == ["Accompaniment", "Vocals"]
    assert all(stem["color"].startswith("#") for stem in manifest["stems"])
    assert not any(part["enabled"] for part in manifest["mastering_dsp"].values())
    enabled = [head[3] & 1 for head in within(content, "moov", "trak", "tkhd")]
    assert enabled == [1, 0, 0, 0, 0]  # so that players play the mixture
    with av.open("out/song.stem.mp4") as container:
        assert [one.codec_context.name for one in container.streams.audio] == 5 * ["aac"]
        assert {one.codec_context.layout.name for one in container.streams.audio} == {"stereo"}


def test_mono_is_two_equal_channels(run: Run) -> None:
    soundfile.write("song.wav", music(RATE, RATE, 1), RATE)
    result = run("song.wav", "-o", "out", "--json")
    assert json.loads(result.stdout)["channels"] == 1
    mixture, _, _, accompaniment, vocals = streams("out/song.stem.mp4")
    for found in (mixture, accompaniment, vocals):
        assert found.shape == (RATE, 2) and sdr_db(found[:, 0], found[:, 1]) > 30


def test_training_and_evaluation_read_it_as_musdb18(run: Run) -> None:
    assert run("song.wav", "-o", "data/train").exit_code == 0
    (song,) = find_test_songs(Path("data"), "train")
    with stem_blocks(song.vocals) as (rate, blocks):
        assert rate == RATE
        found = np.concatenate(list(blocks))
    assert np.array_equal(found, streams("data/train/song.stem.mp4")[4])


def test_the_same_song_gives_the_same_bytes_and_is_resumed(run: Run) -> None:
    Path("music").mkdir()
    for name in ("a", "b"):
        Path("song.wav").rename("music/x.wav") if name == "a" else None
        assert run("music", "-o", name, "--resume").exit_code == 0
    assert Path("a/x.stem.mp4").read_bytes() == Path("b/x.stem.mp4").read_bytes()
    written = Path("a/x.stem.mp4").stat().st_mtime_ns
    assert "1 skipped" in run("music", "-o", "a", "--resume").stderr
    assert "1 skipped" in run("music", "-o", "a", "--skip-existing").stderr
    assert "exists already" in run("music", "-o", "a").stderr
    assert Path("a/x.stem.mp4").stat().st_mtime_ns == written
    assert run("music", "-o", "a", "--overwrite").exit_code == 0
    assert Path("a/x.stem.mp4").stat().st_mtime_ns > written


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{track}/{stem}.{ext}", "out/song.stem.mp4"),
        ("{track} ({stem}).{ext}", "out/song (stems).stem.mp4"),
        ("x/{track}.stem.mp4", "out/x/song.stem.mp4"),
    ],
)
def test_its_name(run: Run, template: str, path: str) -> None:
    assert run("song.wav", "-o", "out", "-f", template).exit_code == 0
    assert Path(path).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stems", "vocals"], "a stem.mp4 holds both stems"),
        (["-f", "{track}.wav"], "and the stems' format is stem.mp4"),
        (["--int16"], "stem.mp4 has no bit depth"),
        (["-o", "-"], "standard output takes one stem"),
    ],
)
def test_what_makes_no_sense(run: Run, arguments: list[str], message: str) -> None:
    result = run("song.wav", *arguments)
    assert result.exit_code == 2 and message in result.output


def test_two_songs_into_one_file_are_refused(run: Run) -> None:
    Path("song.wav").with_suffix(".aif").write_bytes(Path("song.wav").read_bytes())
    result = run("song.wav", "song.aif")
    assert result.exit_code == 2 and "would both be written to" in result.output


@pytest.mark.usefixtures("run")
def test_from_python(tiny_weights: Path) -> None:
    report = separate_file("song.wav", "out", weights=tiny_weights, file_format="stem.mp4")
    assert report.stems["vocals"].path == str(Path("out/song.stem.mp4"))
    separator = Separator(tiny_weights)
    separator.separate_file("song.wav", {"vocals": "a.stem.mp4", "accompaniment": "a.stem.mp4"})
    assert Path("a.stem.mp4").read_bytes() == Path("out/song.stem.mp4").read_bytes()
    with pytest.raises(ArgumentError, match="holds both stems"):
        separator.separate_file("song.wav", {"vocals": "a.stem.mp4"})
    with pytest.raises(ArgumentError, match="holds both stems"):
        separator.separate_file("song.wav", {"vocals": "a.stem.mp4", "accompaniment": "b.stem.mp4"})
    stems = separator.separate(soundfile.read("song.wav")[0], RATE)
    stems.write("b", RunOptions(file_format="stem.mp4"))
    assert [len(one) for one in streams("b.stem.mp4")] == 5 * [2 * RATE + 345]


def test_into_a_store(run: Run) -> None:
    fsspec = pytest.importorskip("fsspec")
    assert run("song.wav", "-o", "memory://out").exit_code == 0
    system = fsspec.filesystem("memory")
    assert system.find("/out") == ["/out/song.stem.mp4"]
    system.rm("/", recursive=True)
