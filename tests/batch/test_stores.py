"""Inputs and outputs in object stores: fsspec's memory, and a real S3 interface on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner, Result

from htmdsep.batch import storage
from htmdsep.cli.command import command
from htmdsep.errors import HtmdsepError
from tests.batch.songs import write_songs

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    threaded = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()
    yield f"http://{host}:{port}"
    threaded.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, to which environment variables show the way, as they do to a user."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": server,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("music", exist_ok=True)
    return "s3://music"


def run(weights: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--weights", str(weights), *arguments])


def check_batch(weights: Path, songs: Path, base: str) -> None:
    """Separate a folder at a URL into another, stop at nothing, and change a thing."""
    for path in songs.iterdir():
        storage.store(path, f"{base}/in/album/{path.name}")
    storage.store(Path(__file__), f"{base}/in/cover.jpg")
    arguments = [f"{base}/in", "-r", "-o", f"{base}/out"]
    result = run(weights, *arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.endswith("3 done, 0 skipped, 0 failed\n")
    found = [name for name, _ in storage.listing(f"{base}/out", recursive=True)]
    stems = [name for name in found if name.endswith(".wav")]
    assert stems == [
        f"{base}/out/album/{track}/{stem}.wav"
        for track in (0, 1, 2)
        for stem in ("accompaniment", "vocals")
    ]
    assert len(found) == len(stems) + 1  # and a manifest
    assert run(weights, *arguments, "--resume").stderr.endswith("0 done, 3 skipped, 0 failed\n")
    storage.remove(stems[0])
    storage.store(songs / "0.wav", f"{base}/in/album/1.wav")
    assert run(weights, *arguments, "--resume").stderr.endswith("2 done, 1 skipped, 0 failed\n")
    assert run(weights, *arguments, "--resume").stderr.endswith("0 done, 3 skipped, 0 failed\n")
    report = json.loads(run(weights, "--report", f"{base}/out", "--json").stdout)
    assert (report["songs"], report["done"]) == (3, 3)
    result = run(weights, f"{base}/in/album/*.wav", f"{base}/in/absent.wav", "-o", f"{base}/more")
    assert result.stderr.splitlines()[-1] == "3 done, 0 skipped, 1 failed"
    assert "absent.wav: no such file; check the address" in result.stderr


def test_a_batch_in_memory(tmp_path: Path, tiny_weights: Path, memory: Any) -> None:  # noqa: ARG001
    check_batch(tiny_weights, write_songs(tmp_path / "music", 3), "memory://base")


def test_a_batch_in_s3(tmp_path: Path, tiny_weights: Path, bucket: str) -> None:
    check_batch(tiny_weights, write_songs(tmp_path / "music", 3), f"{bucket}/base")


def test_stems_that_come_from_a_store_are_those_of_the_file(
    tmp_path: Path, tiny_weights: Path, bucket: str
) -> None:
    songs = write_songs(tmp_path / "music", 1)
    storage.store(songs / "0.wav", f"{bucket}/0.wav")
    run(tiny_weights, f"{bucket}/0.wav", "-o", str(tmp_path / "a"))
    run(tiny_weights, str(songs / "0.wav"), "-o", f"{bucket}/b")
    storage.fetch(f"{bucket}/b/0/vocals.wav", tmp_path / "fetched.wav")
    local, fetched = tmp_path / "a" / "0" / "vocals.wav", tmp_path / "fetched.wav"
    assert soundfile.read(local)[0].tolist() == soundfile.read(fetched)[0].tolist()


def test_nothing_is_uploaded_unless_both_stems_are(
    tmp_path: Path, tiny_weights: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = write_songs(tmp_path / "music", 1)
    whole = storage.store

    def store(path: Path, name: str) -> None:
        if name.endswith("accompaniment.wav"):
            raise HtmdsepError("the store is full")
        whole(path, name)

    monkeypatch.setattr(storage, "store", store)
    result = run(tiny_weights, str(songs / "0.wav"), "-o", "memory://out")
    assert result.exit_code == 1 and "the store is full" in result.stderr
    assert not [name for name in memory.find("/out") if name.endswith(".wav")]


def test_a_store_that_cannot_be_reached_is_one_line(
    tmp_path: Path, tiny_weights: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    result = run(tiny_weights, f"{bucket}/0.wav", "-o", str(tmp_path / "out"))
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("htmdsep: ")]
    assert len(errors) == 1 and "127.0.0.1:1" in errors[0]


def test_an_unknown_kind_of_address_is_one_line(tmp_path: Path, tiny_weights: Path) -> None:
    result = run(tiny_weights, "nowhere://a/b.wav", "-o", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "nowhere" in result.stderr and "Traceback" not in result.stderr
