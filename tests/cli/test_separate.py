from __future__ import annotations

import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.batch.songs import Run
from tests.sounds import tone, write_av

RATE = 44_100


def song(path: str | Path, seconds: float = 0.5, channels: int = 2, **written: Any) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.standard_normal((round(seconds * RATE), channels))
    soundfile.write(path, tone(len(noise), RATE, channels) + noise, RATE, **written)
    return Path(path)


def tree() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


def stems_of(folder: str, ending: str = "wav", dtype: str = "int32") -> list[np.ndarray]:
    return [
        soundfile.read(f"{folder}/{stem}.{ending}", dtype=dtype, always_2d=True)[0]
        for stem in ("vocals", "accompaniment")
    ]


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "m4a", "stem.mp4"])
def test_what_is_shorter_than_a_sample_is_told(run: Run, ending: str) -> None:
    song("song.wav", 1 / RATE)
    result = run("song.wav", "-o", "out", "-c", ending, "--sample-rate", "8000")
    assert result.exit_code == 1 and "nothing is left of it at 8000 Hz" in result.stderr
    assert tree() == {"song.wav"}


def test_a_song_becomes_two_stems_that_add_up(run: Run) -> None:
    song("song.wav")
    result = run("song.wav", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.endswith("1 done, 0 skipped, 0 failed\n")
    assert tree() == {"song.wav", "out/song/vocals.wav", "out/song/accompaniment.wav"}
    mixture = soundfile.read("song.wav", dtype="int32")[0]
    vocals, accompaniment = stems_of("out/song")
    assert np.array_equal(vocals.astype(np.int64) + accompaniment, mixture)
    assert vocals.any() and accompaniment.any()


@pytest.mark.parametrize(
    ("flags", "source", "ending", "expected"),
    [
        ([], {"subtype": "PCM_16"}, "wav", "PCM_16"),
        ([], {"subtype": "PCM_24"}, "wav", "PCM_24"),
        ([], {"subtype": "FLOAT"}, "wav", "FLOAT"),
        (["--int16"], {"subtype": "FLOAT"}, "wav", "PCM_16"),
        (["--int24"], {}, "wav", "PCM_24"),
        (["--float32"], {}, "wav", "FLOAT"),
        (["--format", "flac"], {}, "flac", "PCM_16"),
        (["--flac", "--int24"], {}, "flac", "PCM_24"),
        (["-c", "flac"], {"subtype": "FLOAT"}, "flac", "PCM_24"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_depths_and_formats_close(
    run: Run,
    flags: list[str],
    source: dict[str, str],
    ending: str,
    expected: str,
    channels: int,
) -> None:
    song("song.wav", 0.2, channels, **source)
    assert run("song.wav", "-o", "out", *flags).exit_code == 0
    info = soundfile.info(f"out/song/vocals.{ending}")
    assert (info.subtype, info.samplerate, info.channels) == (expected, RATE, channels)
    dtype = "float32" if expected == "FLOAT" else "int32"
    vocals, accompaniment = stems_of("out/song", ending, dtype)
    mixture = soundfile.read("song.wav", dtype="float32", always_2d=True)[0]
    total = vocals + accompaniment
    if expected == "FLOAT":
        assert np.abs(total - mixture).max() <= 2**-24
    else:
        step = 2.0 ** (32 - int(expected[-2:]))
        assert np.array_equal(total, np.rint(mixture * 2.0**31 / step) * step)


def test_json_tells_what_was_done(run: Run) -> None:
    song("song.wav", 1.0)
    result = run("song.wav", "-o", "out", "--json")
    (line,) = result.stdout.splitlines()
    record = json.loads(line)
    assert record["status"] == "done" and record["input"] == "song.wav"
    assert (record["seconds"], record["sample_rate"], record["channels"]) == (1.0, RATE, 2)
    assert record["closure"] is True and record["clipped_samples"] == 0 and record["gain"] == 1
    assert record["weights"] == "tiny" and len(record["weights_sha256"]) == 64
    assert record["wall_seconds"] > 0 and record["peak_rss_bytes"] > 1e7
    assert 0 <= record["vocals_share"] <= 1
    for stem in ("vocals", "accompaniment"):
        found = record["stems"][stem]
        signal = soundfile.read(found["path"])[0]
        assert found["peak"] == pytest.approx(np.abs(signal).max())
        assert found["rms"] == pytest.approx(np.sqrt(np.mean(signal**2)), rel=1e-5)


@pytest.mark.parametrize("typed", ["--shifts 1", "--overlap 0.5", "--segment 0.2"])
def test_what_is_asked_of_the_network_changes_the_stems(run: Run, typed: str) -> None:
    song("song.wav")
    assert run("song.wav", "-o", "plain").exit_code == 0
    assert run("song.wav", "-o", "asked", *typed.split()).exit_code == 0
    for plain, asked in zip(stems_of("plain/song"), stems_of("asked/song"), strict=True):
        assert np.abs(plain.astype(np.int64) - asked).max() > 2**18  # steps of 16 bits: 4


def test_a_folder_with_good_and_bad_files(run: Run) -> None:
    for name in ("music/good.wav", "music/gut.flac", "music/deep/bon.wav"):
        song(name)
    Path("music/text.mp3").write_text("no music\n" * 100)
    Path("music/empty.wav").touch()
    Path("music/cover.jpg").write_bytes(b"\xff\xd8")
    result = run("-r", "music", "absent.wav", "-o", "out", "--json")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[-1] == "3 done, 0 skipped, 3 failed"
    errors = sorted(line for line in lines if line.startswith("htmdsep: "))
    assert [error.split(": ")[1] for error in errors] == [
        "absent.wav",
        "music/empty.wav",
        "music/text.mp3",
    ]
    assert {path for path in tree() if path.startswith("out")} - {"out/manifest.jsonl"} == {
        f"out/{track}/{stem}.wav"
        for track in ("good", "gut", "deep/bon")
        for stem in ("vocals", "accompaniment")
    }
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["status"] for r in records].count("failed") == 3
    assert all("error" in r for r in records if r["status"] == "failed")


def test_existing_stems(run: Run) -> None:
    song("song.wav")
    assert run("song.wav").exit_code == 0
    before = Path("separated/song/vocals.wav").stat().st_mtime_ns
    result = run("song.wav")
    assert result.exit_code == 1 and "use --overwrite or --skip-existing" in result.stderr
    result = run("song.wav", "--skip-existing", "--json")
    assert result.exit_code == 0 and result.stderr.endswith("0 done, 1 skipped, 0 failed\n")
    assert json.loads(result.stdout)["status"] == "skipped"
    assert Path("separated/song/vocals.wav").stat().st_mtime_ns == before
    assert run("song.wav", "--overwrite").exit_code == 0
    assert Path("separated/song/vocals.wav").stat().st_mtime_ns > before


def test_one_stem(run: Run) -> None:
    song("song.wav")
    result = run("song.wav", "--stems", "accompaniment", "--json")
    assert result.exit_code == 0
    assert tree() == {"song.wav", "separated/song/accompaniment.wav"}
    assert json.loads(result.stdout)["closure"] is None


def test_a_stem_alone_that_lost_frames_is_no_success(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    song("song.wav")
    monkeypatch.setattr("htmdsep.separation.stems.frame_count", lambda *_: 1)
    result = run("song.wav", "--stems", "vocals")
    assert result.exit_code == 1 and "lacks frames" in result.stderr
    assert tree() == {"song.wav"}


def test_a_song_is_never_replaced_by_its_own_stem(run: Run) -> None:
    before = song("real/song.wav").read_bytes()
    Path("link").symlink_to("real")
    arguments = ["--filename", "{track}.{ext}", "--stems", "vocals", "--overwrite"]
    result = run("link/song.wav", "-o", "real", *arguments)
    assert result.exit_code == 1 and "is the input itself" in result.stderr
    assert Path("real/song.wav").read_bytes() == before


def test_a_rate_that_flac_cannot_hold(run: Run) -> None:
    song("song.wav", 0.1)
    result = run("song.wav", "-c", "flac", "--sample-rate", "700000")
    assert result.exit_code == 1 and "FLAC holds at most 655350 Hz" in result.stderr


def test_excerpt_and_sample_rate(run: Run) -> None:
    song("song.wav", 2.0)
    options = ["--start", "0.5", "--duration", "1", "--sample-rate", "48000"]
    assert run("song.wav", *options).exit_code == 0
    info = soundfile.info("separated/song/vocals.wav")
    assert (info.frames, info.samplerate) == (48_000, 48_000)
    result = run("song.wav", "--start", "7", "--overwrite")
    assert result.exit_code == 1 and "nothing to read from 7 s on" in result.stderr


def test_zeros_of_either_sign_add_up(run: Run) -> None:
    """A fade-out in floats ends in samples that the output's grid rounds to -0."""
    path = song("song.wav", subtype="FLOAT")
    signal, rate = soundfile.read(path, dtype="float32")
    signal[-5_000:] = -(2.0**-30)
    signal[-100:] = -0.0
    soundfile.write(path, signal, rate, "FLOAT")
    result = run("song.wav", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["closure"] is True


@pytest.fixture
def loud() -> np.ndarray:
    """Write loud.wav, three times beyond full scale, and return it."""
    soundfile.write("loud.wav", 3 * tone(RATE, RATE, 2), RATE, "FLOAT")
    return np.asarray(soundfile.read("loud.wav")[0])


@pytest.mark.parametrize("depth", ["--int16", "--int24"])
def test_clamping_keeps_the_level_and_says_so(run: Run, depth: str, loud: np.ndarray) -> None:
    result = run("loud.wav", depth, "--json")
    record = json.loads(result.stdout)
    assert record["closure"] is True and record["gain"] == 1 and record["clipped_samples"] > 1_000
    assert "beyond full scale" in result.stderr
    total = sum(stems_of("separated/loud", dtype="float64"))
    assert np.abs(total - np.clip(loud, -1, 1)).max() < 1e-4


@pytest.mark.parametrize("depth", ["--int16", "--float32"])
def test_rescaling_takes_one_gain_for_both_stems(run: Run, depth: str, loud: np.ndarray) -> None:
    record = json.loads(run("loud.wav", depth, "--clip-mode", "rescale", "--json").stdout)
    assert record["closure"] is True and record["clipped_samples"] == 0 and record["gain"] < 1
    vocals, accompaniment = stems_of("separated/loud", dtype="float64")
    assert np.abs(vocals + accompaniment - record["gain"] * loud).max() < 1e-4
    loudest = max(np.abs(x).max() for x in (vocals, accompaniment, vocals + accompaniment))
    assert 0.999 < loudest <= 1
    assert tree() == {"loud.wav", "separated/loud/vocals.wav", "separated/loud/accompaniment.wav"}


def test_float_stems_go_beyond_full_scale(run: Run, loud: np.ndarray) -> None:
    assert run("loud.wav").exit_code == 0
    total = sum(stems_of("separated/loud", dtype="float32"))
    assert np.abs(total - loud).max() <= 2**-24


def test_standard_input_and_output(run: Run) -> None:
    data = song("song.wav").read_bytes()
    assert run("song.wav", "-o", "out").exit_code == 0
    result = run("-", "-o", "out", stdin=data)
    assert result.exit_code == 0, result.stderr
    result = run("-", "-o", "-", "--stems", "vocals", stdin=data)
    assert result.exit_code == 0 and result.stderr == "1 done, 0 skipped, 0 failed\n"
    piped = soundfile.read(io.BytesIO(result.stdout_bytes), dtype="int16")[0]
    for path in ("out/song/vocals.wav", "out/stdin/vocals.wav"):
        assert np.array_equal(piped, soundfile.read(path, dtype="int16")[0])
    result = run("-", "-o", "other", stdin=b"not music")
    assert result.exit_code == 1 and "htmdsep: standard input: no audio" in result.stderr


def test_weights_and_devices_that_cannot_be_used(run: Run) -> None:
    song("song.wav")
    Path("bad.safetensors").write_text("not weights")
    for arguments in (
        ["--weights", "bad.safetensors"],
        ["--weights", "absent.safetensors"],
        ["--device", "cuda:99"],
    ):
        result = run("song.wav", *arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("htmdsep: ") and len(result.stderr.splitlines()) == 1
    assert not Path("separated").exists()


def test_errors_are_one_line_and_verbose_adds_the_traceback(run: Run) -> None:
    Path("bad.wav").write_text("text")
    result = run("bad.wav", "--quiet")
    assert len(result.stderr.splitlines()) == 1
    result = run("bad.wav", "--verbose")
    assert "Traceback" in result.stderr and "htmdsep: bad.wav: no audio" in result.stderr
    result = run("bad.wav", "--verbose", "--filename", "{artist}")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr and "htmdsep: --filename" in result.stderr
    song("song.wav")
    result = run("song.wav", "-q")
    assert (result.exit_code, result.output) == (0, "")  # nothing is said of success


def test_verbose_tells_of_the_speed_and_of_what_computed(run: Run) -> None:
    song("song.wav")
    typed = ["song.wav", "--overwrite", "-d", "cpu", "--json"]
    plain, told = run(*typed), run(*typed, "-v")
    assert not set(plain.stderr.splitlines()) - set(told.stderr.splitlines())
    (line,) = set(told.stderr.splitlines()) - set(plain.stderr.splitlines())
    found = re.fullmatch(
        r"  0\.5 s of 2 x 44100 Hz in \d+\.\d s \((\d+\.\d) times real time\), PCM_16, "
        "weights tiny, fp32 on cpu, onnx",
        line,
    )
    wall_seconds = json.loads(told.stdout)["wall_seconds"]
    assert found and float(found[1]) == pytest.approx(0.5 / wall_seconds, rel=0.2)


@pytest.mark.parametrize(
    "name",
    [
        "Chœur d'été, 10 %.wav",
        "日本語.wav",
        " space .wav",
        "{stem}.wav",
        "line\nbreak.wav",
        os.fsdecode(b"latin\xe9.wav"),
    ],
)
def test_odd_names(run: Run, name: str) -> None:
    shutil.copy(song("plain.wav"), name)
    result = run(f"./{name}", "--json")
    assert result.exit_code == 0, result.stderr
    assert Path("separated", Path(name).stem, "vocals.wav").exists()
    assert len(result.stderr.splitlines()) == 2
    record = json.loads(result.stdout)
    if name.isprintable() or "\n" in name:
        assert record["input"] == name and "input_bytes" not in record
    else:  # no Unicode, which not every parser takes
        assert record["input"] == "latin\ufffd.wav"
        assert os.fsdecode(bytes.fromhex(record["input_bytes"])) == name


def test_tags_are_copied(run: Run) -> None:
    write_av(Path("song.m4a"), tone(RATE, RATE, 2), RATE, "aac", title="Übung", artist="Chœur")
    assert run("song.m4a", "--flac").exit_code == 0
    with soundfile.SoundFile("separated/song/vocals.flac") as sound:
        found = sound.copy_metadata()
    assert (found["title"], found["artist"]) == ("Übung", "Chœur")


def test_several_files_at_once_give_the_same_bytes(run: Run) -> None:
    for number in range(5):
        song(f"music/{number}.wav", 0.3 + number / 10)
    Path("music/bad.wav").write_text("text")
    assert run("music", "-o", "one").exit_code == 1
    result = run("music", "-o", "many", "-j", "3")
    assert result.exit_code == 1 and result.stderr.endswith("5 done, 0 skipped, 1 failed\n")
    for single in Path("one").rglob("*.wav"):
        assert Path("many", single.relative_to("one")).read_bytes() == single.read_bytes()
    assert len(list(Path("one").rglob("*.wav"))) == len(list(Path("many").rglob("*.wav"))) == 10
    assert not [path for path in tree() if path.endswith(".part")]


def test_a_folder_that_cannot_be_written_fails_before_any_work(run: Run) -> None:
    song("song.wav")
    Path("taken").write_text("a file")
    result = run("song.wav", "-o", "taken/out")
    assert result.exit_code == 1
    assert "cannot make the folder" in result.stderr and "choose another place" in result.stderr


def test_too_little_space_fails_before_any_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    song("song.wav")
    usage = shutil.disk_usage(".")._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    result = run("song.wav")
    assert result.exit_code == 1 and "make room or choose another --out" in result.stderr
    assert tree() == {"song.wav"} and not Path("separated").exists()
