from __future__ import annotations

import wave
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
import soundfile

from htmdsep.audio.output import WAV_LIMIT, OutputFormat
from htmdsep.audio.tags import TAGS
from htmdsep.audio.writer import frame_count, open_stem, read_stem
from htmdsep.errors import HtmdsepError
from htmdsep.options import FileFormat, Subtype

TYPES = {"PCM_16": np.int16, "PCM_24": np.int32, "FLOAT": np.float32}


def set_wav_limit(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    for module in ("output", "writer"):
        monkeypatch.setattr(f"htmdsep.audio.{module}.WAV_LIMIT", limit)


def output(**changes: Any) -> OutputFormat:
    options = {
        "file_format": "wav",
        "subtype": "PCM_16",
        "sample_rate": 44_100,
        "channels": 2,
        "frames": 1_000,
        "clip_mode": "clamp",
        "tags": {},
        **changes,
    }
    return OutputFormat(**options)


def integers(rng: np.random.Generator, subtype: Subtype, shape: tuple[int, int]) -> np.ndarray:
    if subtype == "PCM_16":
        return rng.integers(-(2**15), 2**15, shape, np.int16)
    return rng.integers(-(2**23), 2**23, shape, np.int32) << 8


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("frames", [1_000, None])
def test_values_are_written_exactly(
    tmp_path: Path,
    rng: np.random.Generator,
    file_format: FileFormat,
    subtype: Subtype,
    channels: int,
    frames: int | None,
) -> None:
    path = tmp_path / "stem.part"
    if subtype == "FLOAT":
        values = (3 * rng.standard_normal((1_000, channels))).astype(np.float32)
    else:
        values = integers(rng, subtype, (1_000, channels))
    changes = {"file_format": file_format, "subtype": subtype, "channels": channels}
    with open_stem(path, output(**changes, frames=frames)) as writer:
        writer.write(values[:300])
        writer.write(values[300:])
    assert np.array_equal(np.concatenate(list(read_stem(path, subtype, 128))), values)
    assert soundfile.info(path).subtype == subtype


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("subtype", get_args(Subtype))
@pytest.mark.parametrize("limit", [100, WAV_LIMIT])
def test_what_outgrows_a_wav_is_rf64_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, subtype: Subtype, limit: int
) -> None:
    """Where the length is unknown, the header is settled when the file is complete."""
    set_wav_limit(monkeypatch, limit)
    path = tmp_path / "stem"
    values = 256 * np.arange(30 * channels, dtype=TYPES[subtype]).reshape(-1, channels)
    changes: dict[str, Any] = {"channels": channels, "subtype": subtype, "tags": {"title": "a"}}
    with open_stem(path, output(**changes, frames=None)) as writer:
        writer.write(values)
    assert path.read_bytes()[:4] == (b"RF64" if limit == 100 else b"RIFF")
    assert np.array_equal(np.concatenate(list(read_stem(path, subtype, 7))), values)
    if limit > 100 and channels <= 2 and subtype != "FLOAT":
        with wave.open(str(path)) as plain:
            assert (plain.getnchannels(), plain.getnframes()) == (channels, 30)
    with soundfile.SoundFile(path) as sound:
        assert sound.title == "a"


@pytest.mark.parametrize("frames", [1_000, None])
def test_six_channels_are_five_and_one(tmp_path: Path, frames: int | None) -> None:
    path = tmp_path / "stem"
    with open_stem(path, output(channels=6, frames=frames)) as writer:
        writer.write(np.zeros((10, 6), np.int16))
    with av.open(str(path)) as container:
        assert container.streams.audio[0].layout.name == "5.1"


@pytest.mark.parametrize("channels", [2, 3])
def test_a_wav_never_outgrows_its_header(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_wav_limit(monkeypatch, 10_000)
    with (
        pytest.raises(HtmdsepError, match="far longer than announced"),
        open_stem(tmp_path / "stem", output(frames=100, channels=channels)) as writer,
    ):
        writer.write(np.zeros((2_501, channels), np.int16))


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_tags_are_written(tmp_path: Path, file_format: FileFormat) -> None:
    path = tmp_path / "stem"
    tags = {"title": "Übung", "artist": "Chœur", "unknown": "left out"}
    with open_stem(path, output(file_format=file_format, tags=tags)) as writer:
        writer.write(np.zeros((10, 2), np.int16))
    with soundfile.SoundFile(path) as sound:
        found = sound.copy_metadata()
    assert (found["title"], found["artist"]) == ("Übung", "Chœur")


def test_no_tag_ends_a_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sound: soundfile.SoundFile, name: str, value: object) -> None:
        if name == "title":
            raise soundfile.LibsndfileError(22)
        object.__setattr__(sound, name, value)

    monkeypatch.setattr(soundfile.SoundFile, "__setattr__", refuse)
    tags = {"title": "no", "artist": "", "album": "\ud800"}
    with open_stem(tmp_path / "stem", output(tags=tags)) as writer:
        writer.write(np.ones((10, 2), np.int16))
    assert frame_count(tmp_path / "stem", output()) == 10
    with av.open(str(tmp_path / "stem")) as container:  # of the ID3 tag in the same file
        assert container.metadata["title"] == "no"


@pytest.mark.parametrize("frames", [10, None])
def test_a_novel_in_the_tags_leaves_a_wav_readable(tmp_path: Path, frames: int | None) -> None:
    path = tmp_path / "stem"
    tags = dict.fromkeys(TAGS, "ü" * 60_000)
    with open_stem(path, output(tags=tags, frames=frames)) as writer:
        writer.write(np.ones((10, 2), np.int16))
    assert frame_count(path, output()) == 10
    assert sum(map(len, read_stem(path, "PCM_16", 4))) == 10


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("sample_rate", [1_000, 65_537, 655_350])
def test_a_flac_of_any_rate_and_channels(
    tmp_path: Path, rng: np.random.Generator, channels: int, sample_rate: int
) -> None:
    values = integers(rng, "PCM_24", (5_000, channels))
    form = output(file_format="flac", subtype="PCM_24", channels=channels, sample_rate=sample_rate)
    with open_stem(tmp_path / "stem", form) as writer:
        writer.write(values)
    assert np.array_equal(np.concatenate(list(read_stem(tmp_path / "stem", "PCM_24", 999))), values)
    assert soundfile.info(tmp_path / "stem").samplerate == sample_rate


@pytest.mark.parametrize("subtype", get_args(Subtype))
def test_a_full_disk_is_an_error(subtype: Subtype) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(HtmdsepError, match=r"cannot write wav .*check the space"),
        open_stem(full, output(subtype=subtype)) as writer,
    ):
        for _ in range(100):
            writer.write(np.ones((10_000, 2), np.float32 if subtype == "FLOAT" else np.int16))


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_a_float_file_does_not_tell_when_it_was_written(tmp_path: Path, channels: int) -> None:
    """The same input gives the same bytes, at any second."""
    path = tmp_path / "stem.part"
    tags = {"title": "PEAK"}
    with open_stem(path, output(subtype="FLOAT", channels=channels, tags=tags)) as writer:
        writer.write(np.full((1_000, channels), 0.5, np.float32))
    data = path.read_bytes()
    place = data.index(b"PEAK" + (8 + 8 * channels).to_bytes(4, "little"))  # which no title is
    version, written = np.frombuffer(data[place + 8 : place + 16], "<u4")
    assert (version, written) == (1, 0)
    assert soundfile.info(path).frames == 1_000
