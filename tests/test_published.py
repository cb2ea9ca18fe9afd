"""A published file arrives whole and verified, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from htmdsep import published
from htmdsep.errors import HtmdsepError
from htmdsep.published import PUBLISHED, PublishedWeights, fetch

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
            announced = {"/cut": 300_000, "/large": published._MOST_BYTES + 1}
            self.send_response(200)
            if self.path != "/unannounced":
                self.send_header("Content-Length", str(announced.get(self.path, len(CONTENTS))))
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


def weights_at(url: str, git_blob: str = GIT_BLOB) -> PublishedWeights:
    return PublishedWeights("some-weights", url, git_blob)


@pytest.mark.parametrize("path", ["/whole", "/unannounced"])
def test_verified_file_arrives(path: str, server: str, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "weights.h5"
    fetch(weights_at(server + path), target)
    assert target.read_bytes() == CONTENTS
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("terminal", "progress", "shown"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_bar_is_shown_on_a_terminal_unless_asked_not_to(
    terminal: bool, progress: bool, shown: bool, server: str, tmp_path: Path
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with contextlib.redirect_stderr(stream):
        fetch(weights_at(f"{server}/whole"), tmp_path / "weights.h5", progress=progress)
    assert ("some-weights" in stream.getvalue()) is shown


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/missing", "the server answers 404 Not Found"),
        ("/cut", "only 256000 of 300000 bytes came"),
        ("/large", "larger than 200 MB"),
        ("/late", "no answer within 0.2 s"),
        ("/nonsense", "the connection broke off"),
    ],
)
def test_failed_transfer_leaves_nothing(path: str, cause: str, server: str, tmp_path: Path) -> None:
    refuse(weights_at(server + path), tmp_path, cause)


def test_other_contents_leave_nothing(server: str, tmp_path: Path) -> None:
    refuse(weights_at(f"{server}/whole", "0" * 40), tmp_path, f"git blob {GIT_BLOB}, expected 000")


def test_no_connection_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refuse(weights_at(f"http://127.0.0.1:{port}/whole"), tmp_path, "there is no connection")


def test_unknown_host_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    refuse(weights_at("http://nowhere.invalid/a.h5"), tmp_path, "Name or service not known")


def refuse(weights: PublishedWeights, folder: Path, cause: str) -> None:
    """Expect an error of one line with cause and remedy, and the older file as it was."""
    target = folder / "weights.h5"
    target.write_bytes(b"older")
    with pytest.raises(HtmdsepError) as caught:
        fetch(weights, target, timeout_seconds=0.2 if weights.url.endswith("/late") else 30)
    message = str(caught.value)
    assert cause in message
    assert f"download {weights.url} by hand" in message
    assert "--import-weights FILE.h5" in message
    assert "\n" not in message
    assert target.read_bytes() == b"older"
    assert list(folder.iterdir()) == [target]


def test_unwritable_target_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HtmdsepError, match="cannot make the folder"):
        fetch(weights_at(f"{server}/whole"), tmp_path / "file" / "weights.h5")


def test_published_files_are_pinned() -> None:
    assert [weights.name for weights in PUBLISHED] == [
        "htmdnet-mae-mae",
        "htmdnet-mse-mae",
        "htmdnet-mse-mse",
    ]
    assert len({weights.git_blob for weights in PUBLISHED}) == 3
    for weights in PUBLISHED:
        assert len(bytes.fromhex(weights.git_blob)) == 20
        losses = weights.name.removeprefix("htmdnet-")
        assert weights.url == (
            "https://raw.githubusercontent.com/cgaroufis/HTMD-Net/"
            f"8f9a2943c951ec990f18112d01e0619b0ee89113/models/htmdnet_{losses}.h5"
        )
        assert weights.licence == "none stated by the authors"
