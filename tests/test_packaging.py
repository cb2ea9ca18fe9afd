"""The package as a user installs it: its metadata, and its weights from every kind of install."""

from __future__ import annotations

import email.message
import email.parser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from htmdsep.catalogue import available, bundled_folder
from htmdsep.files import sha256
from htmdsep.options import DEFAULT_WEIGHTS

ROOT = Path(__file__).parent.parent
DEFAULT_FILE = f"{DEFAULT_WEIGHTS}.safetensors"
LOCATE = "from htmdsep.catalogue import locate; print(locate(None).path)"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("htmdsep", "weights"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
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
    assert metadata["License-Expression"] or metadata["License"] == "MIT"
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    names = {text.split(">")[0] for text in required}
    assert {"torch", "soundfile", "soxr", "av", "safetensors", "click", "tqdm"} <= names
    assert not any("==" in text for text in required)  # ranges: the pins are constraints.txt's


def test_files_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "htmdsep = htmdsep.cli:main" in archive.read(scripts).decode()
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "htmdsep").rglob("*.py")}
    assert here <= names
    assert {"htmdsep/py.typed", f"htmdsep/bundled/{DEFAULT_FILE}"} <= names
    assert not any(name.startswith(("tests/", "weights/")) for name in names)


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
    bundled = [located for located in available() if located.path.parent == bundled_folder()]
    assert DEFAULT_WEIGHTS in [located.name for located in bundled]
    for located in bundled:
        assert sha256(located.path) == located.sha256
        assert located.path.stat().st_size < 10 * 2**20
