"""The package as a user installs it: its metadata, and its weights from every kind of install."""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from htmdsep.engines.estimators import load_run
from htmdsep.options import DEFAULT_WEIGHTS, RunOptions
from htmdsep.weights.catalogue import bundled_folder, find_weights, list_weights
from htmdsep.weights.file import read_info

ROOT = Path(__file__).parent.parent
DEFAULT_FILE = f"{DEFAULT_WEIGHTS}.safetensors"
LOCATE = "from htmdsep.weights.catalogue import find_weights; print(find_weights(None).path)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without network from a copy of the tree, in which an older build lies."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("htmdsep", "weights"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for stale in ("build/lib/htmdsep/stale.py", "build/lib/htmdsep/bundled/stale.safetensors"):
        (copy / stale).parent.mkdir(parents=True, exist_ok=True)
        (copy / stale).touch()
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(folder), str(copy)], check=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def test_metadata(metadata: email.message.Message) -> None:
    from htmdsep import __version__

    assert (metadata["Name"], metadata["Version"]) == ("htmdsep", __version__)
    assert metadata["Requires-Python"] == ">=3.10"
    licence = metadata["License-Expression"] or metadata["License"]
    assert licence == "MIT AND CC-BY-SA-4.0"  # the code, the weights
    assert metadata.get_all("License-File") == ["LICENSE", "weights/LICENSE"]
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    names = {text.split(">")[0] for text in required}
    assert {"torch", "soundfile", "soxr", "av", "safetensors", "click", "tqdm"} <= names
    assert not any("==" in text for text in required)  # ranges: the pins are constraints.txt's


def test_extras_are_named_alike(metadata: email.message.Message) -> None:
    texts = [*(ROOT / "htmdsep").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = {
        found
        for text in texts
        for found in re.findall(r"pip install ([^#|\n]*?\[\w+\]'?)", text.read_text("utf-8"))
    }
    extras = {one for one in metadata.get_all("Provides-Extra", []) if not one.startswith("test")}
    developers = "-c constraints.txt -e '.[test]'"
    assert named == {developers, *(f"'htmdsep[{extra}]'" for extra in extras)}


def test_files_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "htmdsep = htmdsep.__main__:main" in archive.read(scripts).decode()
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "htmdsep").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here
    bundled = {f"htmdsep/bundled/{path.name}" for path in (ROOT / "weights").iterdir()}
    assert {name for name in names if name.startswith("htmdsep/bundled/")} == bundled
    page = {f"htmdsep/page/page.{ending}" for ending in ("html", "css", "js")}
    assert {"htmdsep/py.typed", *page} <= names
    texts = {name.partition(".dist-info/")[2] for name in names if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/weights/LICENSE"} <= texts


def test_weights_are_found_in_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    found = _locate(tmp_path)
    assert found == tmp_path / "htmdsep" / "bundled" / DEFAULT_FILE


def test_weights_are_found_in_a_checkout() -> None:
    assert _locate(ROOT) == ROOT / "weights" / DEFAULT_FILE


def test_weights_are_found_as_installed_here() -> None:
    """By the tests' own installation, which is an editable one, from outside the checkout."""
    found = _locate(None)
    assert found.name == DEFAULT_FILE and found.is_file()


def _locate(path: Path | None) -> Path:
    """Ask a process that imports htmdsep from a folder, or as installed, for its weights."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", LOCATE],
        cwd=Path.home().anchor,  # far from any checkout
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def test_bundled_weights_are_sound() -> None:
    bundled = [path.stem for path in list_weights() if path.parent == bundled_folder()]
    assert DEFAULT_WEIGHTS in bundled
    for weights in map(find_weights, bundled):
        assert weights.check() == weights.sha256
        assert weights.path.stat().st_size < 20 * 2**20
        assert weights.path.with_suffix(".onnx").is_file()
        load_run(weights, read_info(weights.path).config, RunOptions(engine="onnx"))
