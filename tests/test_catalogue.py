from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from htmdsep import catalogue
from htmdsep.catalogue import available, locate, record_hash
from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.model import HTMDNet
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.published import PUBLISHED
from htmdsep.weightsfile import read_info


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty package and an empty cache in place of the real ones."""
    bundled, cache = tmp_path / "bundled", tmp_path / "cache"
    bundled.mkdir()
    monkeypatch.setattr(catalogue, "bundled_folder", lambda: bundled)
    monkeypatch.setattr(catalogue, "cache_folder", lambda: cache)
    return bundled, cache


def put(weights: Path, folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.safetensors"
    shutil.copy(weights, path)
    record_hash(path, sha256(path))
    return path


def test_bundled_comes_before_cached(folders: tuple[Path, Path], tiny_weights: Path) -> None:
    bundled, cache = folders
    for name in (DEFAULT_WEIGHTS, "mine"):
        put(tiny_weights, cache, name)
    default = put(tiny_weights, bundled, DEFAULT_WEIGHTS)
    assert locate(None).path == locate(DEFAULT_WEIGHTS).path == default
    assert locate("mine").path.parent == cache
    assert locate("mine").sha256 == sha256(tiny_weights)
    names = [DEFAULT_WEIGHTS, DEFAULT_WEIGHTS, "mine"]
    assert [located.name for located in available()] == names


@pytest.mark.usefixtures("folders")
def test_a_path_is_taken_as_it_is(tiny_weights: Path) -> None:
    for given in (tiny_weights, str(tiny_weights)):
        located = locate(given)
        assert (located.path, located.sha256) == (tiny_weights, None)
        assert located.hash() == sha256(tiny_weights)
    plain = tiny_weights.rename(tiny_weights.with_name("plain"))
    assert locate(str(plain)).path == plain
    checkpoint = plain.rename(plain.with_name("last.pt"))
    checkpoint.write_bytes(b"PK" + bytes(100))
    with pytest.raises(HtmdsepError, match="of a checkpoint with htmdsep-train export"):
        read_info(locate(str(checkpoint)).path)
    with pytest.raises(HtmdsepError, match="there is no weights file"):
        locate(tiny_weights.with_name("absent.safetensors"))


def test_two_first_uses_of_published_weights_do_not_meet(
    folders: tuple[Path, Path], tiny_network: HTMDNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_fetched = threading.Barrier(2, timeout=20)

    def convert(path: Path) -> HTMDNet:
        both_fetched.wait()
        assert path.read_bytes() == b"published"
        return tiny_network

    monkeypatch.setattr("htmdsep.published.fetch", lambda _, path: path.write_bytes(b"published"))
    monkeypatch.setattr("htmdsep.keras_import.convert_keras", convert)
    name = PUBLISHED[0].name
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(locate, [name, name])
    assert first == second == locate(name)
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
        locate("spleeter")


def test_the_recorded_hash_is_what_sha256sum_reads(
    folders: tuple[Path, Path], tiny_weights: Path
) -> None:
    path = put(tiny_weights, folders[0], "htmdnet")
    line = path.with_name("htmdnet.safetensors.sha256").read_text()
    assert line == f"{sha256(path)}  htmdnet.safetensors\n"


def test_weights_without_a_recorded_hash_are_refused(
    folders: tuple[Path, Path], tiny_weights: Path
) -> None:
    path = put(tiny_weights, folders[0], "htmdnet")
    path.with_name("htmdnet.safetensors.sha256").unlink()
    with pytest.raises(HtmdsepError, match="has no recorded SHA-256"):
        locate("htmdnet")
