"""The notebook of the documents, run as it stands beside a song."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sounds import tone, write_av

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
PLAYED = re.compile(r"data:audio/[\w-]+;base64,([\w+/=]+)")


def text(output: Any) -> str:
    """Return what an output shows without its sound: the last state of a line that is redrawn."""
    if output.output_type == "stream":
        return re.sub(r".*\r", "", output.text)
    return str(output.data["text/plain"])


def test_the_notebook_plays_the_stems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the default weights, in a folder with a song; it prints what is stored of it."""
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    write_av(tmp_path / "song.mp3", tone(3 * 44_100, 44_100, 2), 44_100, "libmp3lame")
    stored, run = (nbformat.read(NOTEBOOK, as_version=4) for _ in range(2))
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, timeout=300, resources=where).execute()

    outputs = [one for cell in run.cells for one in cell.get("outputs", [])]
    players = [one.data["text/html"] for one in outputs if "text/html" in one.get("data", {})]
    sounds = [base64.b64decode(found) for html in players for found in PLAYED.findall(html)]
    names = ["vocals.wav", "accompaniment.wav"]
    files = [(tmp_path / "separated" / "song" / name).read_bytes() for name in names]
    assert sounds[:2] == files
    assert len(sounds) == len(players) == 4 and all(one.startswith(b"RIFF") for one in sounds)
    assert {path.name for path in (tmp_path / "stems").iterdir()} == {*names}

    nbformat.validate(stored)
    kept = [text(one) for cell in stored.cells for one in cell.get("outputs", [])]
    assert kept == [text(one) for one in outputs]
    assert NOTEBOOK.stat().st_size < 10_000
