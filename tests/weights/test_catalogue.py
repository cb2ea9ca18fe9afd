"""Weights are found by name; published ones arrive whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from htmdsep.cli.command import command
from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.weights import catalogue
from htmdsep.weights.catalogue import (
    PUBLISHED,
    PublishedWeights,
    cache_folder,
    download_published,
    find_weights,
    list_weights,
    record_hash,
)
from htmdsep.weights.file import read_info


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty package and an empty cache in place of the real ones."""
    bundled, cache = tmp_path / "bundled", tmp_path / "cache"
    bundled.mkdir()
    monkeypatch.setattr(catalogue, "bundled_folder", lambda: bundled)
    monkeypatch.setattr(catalogue, "cache_folder", lambda: cache)
    return bundled, cache


def put(weights: Path, folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.safetensors"
    shutil.copy(weights, path)
    record_hash(path, sha256(path))
    return path


def test_bundled_comes_before_cached(folders: tuple[Path, Path], tiny_weights: Path) -> None:
    bundled, cache = folders
    for name in (DEFAULT_WEIGHTS, "mine"):
        put(tiny_weights, cache, name)
    default = put(tiny_weights, bundled, DEFAULT_WEIGHTS)
    assert find_weights(None).path == find_weights(DEFAULT_WEIGHTS).path == default
    assert find_weights("mine").path.parent == cache
    assert find_weights("mine").sha256 == sha256(tiny_weights)
    names = [path.stem for path in list_weights()]
    assert names == [DEFAULT_WEIGHTS, *sorted([DEFAULT_WEIGHTS, "mine"])]


@pytest.mark.usefixtures("folders")
def test_a_path_is_taken_as_it_is(tiny_weights: Path) -> None:
    for given in (tiny_weights, str(tiny_weights)):
        located = find_weights(given)
        assert (located.path, located.sha256) == (tiny_weights, None)
        assert located.hash() == sha256(tiny_weights)
    plain = tiny_weights.rename(tiny_weights.with_name("plain"))
    assert find_weights(str(plain)).path == plain
    checkpoint = plain.rename(plain.with_name("last.pt"))
    checkpoint.write_bytes(b"PK" + bytes(100))
    with pytest.raises(HtmdsepError, match="of a checkpoint with htmdsep-train export"):
        read_info(find_weights(str(checkpoint)).path)
    with pytest.raises(HtmdsepError, match="there is no weights file"):
        find_weights(tiny_weights.with_name("absent.safetensors"))


def test_two_first_uses_of_published_weights_do_not_meet(
    folders: tuple[Path, Path], tiny_network: HTMDNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_fetched = threading.Barrier(2, timeout=20)

    def convert(path: Path) -> HTMDNet:
        both_fetched.wait()
        assert path.read_bytes() == b"published"
        return tiny_network

    monkeypatch.setattr(
        "htmdsep.weights.catalogue.download_published",
        lambda _: b"published",
    )
    monkeypatch.setattr("htmdsep.weights.keras.convert_keras", convert)
    name = PUBLISHED[0].name
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(find_weights, [name, name])
    assert first == second == find_weights(name)
    assert first.sha256 == sha256(first.path)
    left = [path.name for path in sorted(folders[1].iterdir())]
    assert left == [first.path.name, f"{first.path.name}.sha256"]


def test_unknown_names_are_told_the_known_ones(
    folders: tuple[Path, Path], tiny_weights: Path
) -> None:
    put(tiny_weights, folders[0], "htmdnet")
    with pytest.raises(
        HtmdsepError, match=r"no weights named 'spleeter'; known: htmdnet, htmdnet-"
    ):
        find_weights("spleeter")


def test_the_recorded_hash_is_what_sha256sum_reads(
    folders: tuple[Path, Path], tiny_weights: Path
) -> None:
    path = put(tiny_weights, folders[0], "htmdnet")
    line = path.with_name("htmdnet.safetensors.sha256").read_text()
    assert line == f"{sha256(path)}  htmdnet.safetensors\n"


def test_what_is_amiss_in_the_cache_is_noted_and_hides_nothing_else(
    folders: tuple[Path, Path], tiny_weights: Path
) -> None:
    bundled, cache = folders
    put(tiny_weights, bundled, DEFAULT_WEIGHTS)
    put(tiny_weights, cache, "bare").with_name("bare.safetensors.sha256").unlink()
    put(tiny_weights, cache, "cut").write_bytes(tiny_weights.read_bytes()[:100])
    put(tiny_weights, cache, "mine")
    names, notes = listed()
    assert names == [DEFAULT_WEIGHTS, "mine", *(weights.name for weights in PUBLISHED)]
    assert "bare.safetensors has no recorded SHA-256" in notes[0]
    assert "cannot read the weights" in notes[1] and len(notes) == 2
    assert find_weights("mine").path.parent == cache
    with pytest.raises(HtmdsepError, match="has no recorded SHA-256"):
        find_weights("bare")
    shutil.rmtree(cache)
    cache.write_text("not a folder")
    names, (note,) = listed()
    assert names[0] == DEFAULT_WEIGHTS and f"{cache}: Not a directory" in note


def test_the_cache_is_looked_for_only_when_needed(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose user has no home and no name."""

    def nowhere(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("HTMDSEP_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", nowhere)
    assert find_weights(None).name == DEFAULT_WEIGHTS
    names, (note,) = listed()
    assert DEFAULT_WEIGHTS in names and "name a folder with HTMDSEP_CACHE" in note
    with pytest.raises(HtmdsepError, match="name a folder with HTMDSEP_CACHE"):
        find_weights("mine")
    monkeypatch.setenv("HTMDSEP_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "weights"
    put(tiny_weights, cache_folder(), "mine")
    assert find_weights("mine").sha256 == sha256(tiny_weights)


def listed() -> tuple[list[str], list[str]]:
    """Return the names that --list-models shows, and its notes."""
    result = CliRunner().invoke(command, ["--list-models", "--json"])
    assert result.exit_code == 0
    names = [json.loads(line)["name"] for line in result.stdout.splitlines()]
    return names, result.stderr.splitlines()


CONTENTS = bytes(range(256)) * 1000
GIT_BLOB = hashlib.sha1(b"blob 256000\0" + CONTENTS).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serve the contents, and at other paths the ways in which a transfer fails."""

    released = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/late":
            self.released.wait()
        elif self.path == "/nonsense":
            self.wfile.write(b"no HTTP\r\n\r\n")
        else:
            self.send_response(200)
            if self.path != "/unannounced":
                announced = 300_000 if self.path == "/cut" else len(CONTENTS)
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(CONTENTS)

    def log_message(self, *_: object) -> None:
        """Keep standard error clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        Handler.released.set()
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/whole", "/unannounced"])
def test_a_verified_file_arrives(path: str, server: str) -> None:
    published = PublishedWeights("some-weights", server + path, GIT_BLOB)
    assert download_published(published) == CONTENTS


@pytest.mark.parametrize(
    ("path", "git_blob", "cause"),
    [
        ("/missing", GIT_BLOB, "404: Not Found"),
        ("/late", GIT_BLOB, "timed out"),
        ("/nonsense", GIT_BLOB, "no HTTP"),
        ("/cut", hashlib.sha1(b"").hexdigest(), f"another file (git blob {GIT_BLOB})"),
        ("/whole", "0" * 40, f"another file (git blob {GIT_BLOB})"),
        ("closed", GIT_BLOB, "Connection refused"),
    ],
)
def test_a_transfer_that_fails_is_told_in_a_line(
    path: str, git_blob: str, cause: str, server: str
) -> None:
    if path == "closed":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server, path = f"http://127.0.0.1:{taken.getsockname()[1]}", "/"
    weights = PublishedWeights("some-weights", server + path, git_blob)
    with pytest.raises(HtmdsepError) as caught:
        download_published(weights, timeout_seconds=0.2 if path == "/late" else 30)
    message = str(caught.value)
    assert cause in message and "\n" not in message
    assert f"download {weights.url} by hand" in message and "--import-weights FILE.h5" in message
