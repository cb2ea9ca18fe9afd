"""Inputs and outputs in object stores: fsspec's memory, and a real S3 interface on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from htmdsep.batch import storage
from htmdsep.errors import HtmdsepError
from tests.batch.songs import Run, counts, write_songs

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


def check_batch(run: Run, songs: Path, base: str) -> None:
    """Separate a folder at a URL into another, stop at nothing, and change a thing."""
    for path in songs.iterdir():
        storage.store(path, f"{base}/in/album/{path.name}")
    storage.store(Path(__file__), f"{base}/in/cover.jpg")
    arguments = [f"{base}/in", "-r", "-o", f"{base}/out"]
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert counts(result) == "3 done, 0 skipped, 0 failed"
    found = [name for name, _ in storage.listing(f"{base}/out", recursive=True)]
    stems = [name for name in found if name.endswith(".wav")]
    assert stems == [
        f"{base}/out/album/{track}/{stem}.wav"
        for track in (0, 1, 2)
        for stem in ("accompaniment", "vocals")
    ]
    assert len(found) == len(stems) + 1  # and a manifest
    assert counts(run(*arguments, "--resume")) == "0 done, 3 skipped, 0 failed"
    storage.remove(stems[0])
    storage.store(songs / "0.wav", f"{base}/in/album/1.wav")
    assert counts(run(*arguments, "--resume")) == "2 done, 1 skipped, 0 failed"
    assert counts(run(*arguments, "--resume")) == "0 done, 3 skipped, 0 failed"
    report = json.loads(run("--report", f"{base}/out", "--json").stdout)
    assert (report["songs"], report["done"]) == (3, 3)
    result = run(f"{base}/in/album/*.wav", f"{base}/in/absent.wav", "-o", f"{base}/more")
    assert counts(result) == "3 done, 0 skipped, 1 failed"
    assert "absent.wav: no such file; check the address" in result.stderr


def test_a_batch_in_memory(run: Run, memory: Any) -> None:  # noqa: ARG001
    check_batch(run, write_songs(Path("music"), 3), "memory://base")


def test_a_batch_in_s3(run: Run, bucket: str) -> None:
    check_batch(run, write_songs(Path("music"), 3), f"{bucket}/base")


def test_stems_that_come_from_a_store_are_those_of_the_file(run: Run, bucket: str) -> None:
    songs = write_songs(Path("music"), 1)
    storage.store(songs / "0.wav", f"{bucket}/0.wav")
    run(f"{bucket}/0.wav", "-o", "a")
    run(songs / "0.wav", "-o", f"{bucket}/b")
    storage.fetch(f"{bucket}/b/0/vocals.wav", Path("fetched.wav"))
    local, fetched = Path("a/0/vocals.wav"), Path("fetched.wav")
    assert soundfile.read(local)[0].tolist() == soundfile.read(fetched)[0].tolist()


def test_nothing_is_uploaded_unless_both_stems_are(
    run: Run, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = write_songs(Path("music"), 1)
    whole = storage.store

    def store(path: Path, name: str) -> None:
        if name.endswith("accompaniment.wav"):
            raise HtmdsepError("the store is full")
        whole(path, name)

    monkeypatch.setattr(storage, "store", store)
    result = run(songs / "0.wav", "-o", "memory://out")
    assert result.exit_code == 1 and "the store is full" in result.stderr
    assert not [name for name in memory.find("/out") if name.endswith(".wav")]


def test_a_store_that_cannot_be_reached_is_one_line(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    result = run(f"{bucket}/0.wav", "-o", "out")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("htmdsep: ")]
    assert len(errors) == 1 and "127.0.0.1:1" in errors[0]


def test_an_unknown_kind_of_address_is_one_line(run: Run) -> None:
    result = run("nowhere://a/b.wav", "-o", "out")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr and "Traceback" not in result.stderr
