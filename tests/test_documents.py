"""Every command and every piece of Python in every document is run, beside songs made here.

What a command needs that is not here (hours, other programs, published data) is replaced as SMALLER
says; what needs a network, a cluster or the checkout itself stands in NOT_RUN, with the reason. A
command that a document gains is run, too, and fails where it cannot be.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from htmdsep.evaluation.runtime import measure_runtime
from htmdsep.evaluation.workers import EvaluationTask, evaluate_song
from htmdsep.networks.config import NetworkConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.recipe import Recipe
from htmdsep.weights.file import WeightsInfo, save_weights
from tests.sounds import tone, write_av
from tests.test_onnx import CONFIGS
from tests.tiny import TINY
from tests.training.conftest import RATE, accompaniment, voice
from tests.weights.keras_files import SEGMENT_LENGTH, KerasFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are for a POSIX shell")

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "weights/README.md"]
DOCUMENTS += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PROGRAMS = {
    "htmdsep": "htmdsep.cli.command",
    "htmdsep-train": "htmdsep.training.cli",
    "htmdsep-evaluate": "htmdsep.evaluation.cli",
    "htmdsep-bench": "htmdsep.bench.cli",
    "htmdsep-onnx": "htmdsep.onnx",
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST_WORDS = r"(?:\w+=\S+ )*(?:htmdsep[\w-]*|pip|python|torchrun|split|cat|eval)"
INLINE = re.compile(rf"`({FIRST_WORDS} [^`]+)`")
FOR_A_SHELL = re.compile(r"[|&;<>$*]|^(?!htmdsep)")

NOT_RUN = {  # by what they hold: why not, and who does
    "pip install": "needs the network",
    "--name htmdnet-mse-mae": "needs the network; tests/weights/test_catalogue.py",
    "s3://": "needs a store; tests/batch/test_stores.py",
    "--on ray": "needs an extra; tests/batch/test_ray.py",
    "train sing": "needs an extra; tests/training/test_sing.py",
    "open-corpus": "needs the audio that the weights were tuned on",
    "torchrun": "needs an address to meet at; tests/training/test_processes.py",
    "ruff check": "runs this test",
    ".ci/run": "runs this test",
    "tools/bundle.py": "changes the checkout",
}
SHORT = "--steps 1 --segment-length 8192 --batch-size 1 --validation-stride 9 --workers 0"
SMALLER = {  # what commands hold, and what stands there here
    "| ...": "| cat > vocals.wav",
    "--start 1:02 --duration 30": "--start 0:01 --duration 1",
    "--start 20": "--start 1",
    "--page-only DIR": "--page-only stems",
    "--base . -f ...": "--base . -f '{foldername}/{track}-{stem}.{ext}'",
    "WEIGHTS OUT.onnx": "weights.safetensors out.onnx",
    "--files 10000": "--files 5",
    "--max-minutes 120": SHORT,
    "--max-minutes 30": SHORT,
    "--batch-size 64 --workers 8 --max-minutes 24": SHORT,
    "MUSDB18 --preset paper": f"my-stems --preset paper {SHORT}",
    "average mine.safetensors other.safetensors": "average mine.safetensors mine.safetensors",
    "score oracle": "score oracle my-stems",
    "evaluate run ": "evaluate run --setting native --no-runtime --no-bounds ",
    "evaluate runtime": "evaluate runtime --rounds 1",
    "MUSDB18": "my-songs",
    "--weights htmdnet-mse-mae": "--weights weights.safetensors",
    "htmdsep-bench": "htmdsep-bench --weights weights.safetensors --seconds 1 --runs 1",
    "--runs 5": "--runs 1",
    "other-separator {song} -o {out}": "cp {song} {out}",
    "--weights FILE": "--weights mine.safetensors",
    "start_seconds=62": "start_seconds=1",
    '"htmdnet.onnx"': '"out.onnx"',
    "mixture = ...  # float32 (batch,": "mixture = noise(2, 1, 2048)  # (batch,",
    "mixture = ...  # float32 (2,": "mixture = noise(2, 131072)  # (2,",
    "--songs caesium --songs rubidium": "--songs caesium",
    "--weights htmdnet ": "--weights mine.safetensors ",
    "--start-from htmdnet ": "--start-from mine.safetensors ",
}


def commands(document: str) -> list[str]:
    """Return a document's commands: of its blocks, in order, then those within sentences."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = [
        re.sub(r"(^|\s+)#.*", "", line)
        for language, block in FENCE.findall(text)
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines()
        if language == "sh"
    ]
    inline = [" ".join(one.split()) for one in INLINE.findall(FENCE.sub("", text))]
    return [*dict.fromkeys(filter(None, (line.strip() for line in lines + inline)))]


def reason(command: str) -> str | None:
    return next((why for what, why in NOT_RUN.items() if what in command), None)


def smaller(command: str) -> str:
    for what, instead in SMALLER.items():
        command = command.replace(what, instead)
    return command


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files that documents name, small."""
    folder = tmp_path_factory.mktemp("world")
    _write_songs(folder)
    _write_stems(folder)
    for name in ("weights", "mine", "other", "waveunet"):
        torch.manual_seed(len(name))
        info = WeightsInfo(name, TINY, "CC0", {"data": [{"source": "none", "licence": "CC0"}]})
        save_weights(folder / f"{name}.safetensors", HTMDNet(TINY), info, torch.float32)
    rng = np.random.default_rng(3)
    mixture = rng.uniform(-1, 1, (2, SEGMENT_LENGTH, 1)).astype(np.float32)
    KerasFile(mixture, rng).write(folder / "htmdnet_mse-mae.h5")
    (folder / "credits.csv").write_text("source,licence\nsynthesised,CC0\n")
    return folder


def _write_songs(folder: Path) -> None:
    song = tone(2 * 44_100, 44_100, 2)
    write_av(folder / "song.mp3", song, 44_100, "libmp3lame")
    write_av(folder / "clip.mp4", song, 44_100, "aac")
    (folder / "music" / "album").mkdir(parents=True)
    for name in ("song.wav", "song.flac", "take.flac", "music/one.flac", "music/album/two.flac"):
        soundfile.write(folder / name, song[:22_050], 44_100)
    shutil.copytree(folder / "music", folder / "songs-without-stems")
    for album in ("a", "b"):
        (folder / album).mkdir()
        shutil.copy(folder / "song.mp3", folder / album)
    (folder / "list.m3u").write_text("song.mp3\n")
    (folder / "album.cue").write_text(
        'FILE "take.flac" WAVE\n  TRACK 01 AUDIO\n    TITLE "One"\n    INDEX 01 00:00:00\n'
    )


def _write_stems(folder: Path) -> None:
    """Songs with stems: those of the description in docs/training.md, and those to evaluate."""
    (description,) = (
        block
        for language, block in FENCE.findall((ROOT / "docs/training.md").read_text("utf-8"))
        if language == "json"
    )
    held_out = json.loads(description)
    held_out["mixed"]["windows"] = 3
    (folder / "my-stems.json").write_text(json.dumps(held_out))
    rng = np.random.default_rng(7)

    def write(path: str, signal: np.ndarray) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, signal, RATE)

    for title in ("Title one", "Title two", "live there", "other"):
        write(f"my-stems/songs/{title}/vocals.wav", voice(rng, 11))
        write(f"my-stems/songs/{title}/accompaniment.wav", accompaniment(rng, 11))
    for name in ("anna-1", "bert", "carla", "dora"):
        write(f"my-stems/voices/{name}.wav", voice(rng, 11))
    for name in ("organ", "piano"):
        write(f"my-stems/accompaniment/{name}.wav", accompaniment(rng, 11))
    shutil.copytree(folder / "my-stems", folder / "stems")
    for library, titles in (("my-songs", ["one"]), ("corpus", ["caesium", "rubidium"])):
        for title in titles:
            write(f"{library}/songs/{title}/vocals.wav", voice(rng, 2.5))
            write(f"{library}/songs/{title}/accompaniment.wav", accompaniment(rng, 2.5))
            for estimates in ("separated/htdemucs", "estimates"):
                write(f"{estimates}/{title}/vocals.wav", voice(rng, 2.5))


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the world to work in, its programs on the path, one thread as networks are tiny."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder)
    (tmp_path / "bin").mkdir()
    for name, module in {**PROGRAMS, "python": ""}.items():
        script = f'-c "from {module} import main; main()"' if module else ""
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {script} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HTMDSEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["example.py", "song.mp3", "--overwrite"])
    monkeypatch.setattr("htmdsep.training.run.network_config", tiny_config)
    monkeypatch.setattr("htmdsep.evaluation.run.run_tasks", evaluate_here)
    monkeypatch.setattr(measure_runtime, "__defaults__", (1, CONFIGS[-2:]))
    monkeypatch.setattr("htmdsep.bench.network.MATRIX_SIZE", 64)
    monkeypatch.setattr("htmdsep.bench.network.LEAST_AUDIO_SECONDS", 0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)


def tiny_config(recipe: Recipe, repeats: int | None, _known: NetworkConfig | None) -> NetworkConfig:
    """Return a small network of the recipe's architecture."""
    assert repeats is None
    small = next(one for one in CONFIGS if one.architecture == recipe.architecture)
    return replace(small, segment_length=recipe.segment_length)


def evaluate_here(tasks: Sequence[EvaluationTask], _: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Spare every song its process, which would import PyTorch."""
    return ((task.song.title, evaluate_song(task)) for task in tasks)


def run(command: str) -> tuple[int, str]:
    """Run a command, in this process where it needs no shell; return its status and its words."""
    parts = command.split(" && ")
    if any(FOR_A_SHELL.search(part) for part in parts):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    told = ""
    for part in parts:
        program, *words = shlex.split(part)
        result = CliRunner().invoke(import_module(PROGRAMS[program]).command, words)
        told += (
            result.output if result.exception is None else f"{result.output}{result.exception!r}"
        )
        if result.exit_code:
            return result.exit_code, told
    return 0, told


def given_to_python() -> dict[str, Any]:
    """What the examples in Python take as given."""
    mixture = noise(22_050, 2)
    given = {"mixture": mixture, "sample_rate": 22_050, "blocks": [mixture], "noise": noise}
    return {**given, "play": lambda vocals, accompaniment: vocals + accompaniment}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32)


def clear_the_way(command: str) -> None:
    """Take away what an earlier command has written and this one would not replace."""
    named = re.search(r"(?:-o|--out) (\S+)", command)
    out = Path(named[1] if named else "separated")
    if command.startswith("htmdsep-evaluate") or "--resume" in command:
        return
    if out.is_dir() and out not in (Path(), Path("music")):  # where the songs are
        shutil.rmtree(out)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("here")
def test_what_a_document_has_typed_works(document: str) -> None:
    for command in commands(document):
        if reason(command) is None:
            clear_the_way(command)
            status, told = run(smaller(command))
            assert status == 0, f"{command}: {told}"
    for language, block in FENCE.findall((ROOT / document).read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(smaller(block), document, "exec"), given_to_python())


def test_what_is_replaced_or_left_out_is_there() -> None:
    typed = [command for document in DOCUMENTS for command in commands(document)]
    texts = [(ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS]
    typed += [block for text in texts for language, block in FENCE.findall(text) if language]
    for what in (*NOT_RUN, *SMALLER):
        assert any(what in one for one in typed), f"no command has {what!r}"
    for why in NOT_RUN.values():
        assert all((ROOT / name).is_file() for name in re.findall(r"tests/\S+\.py", why)), why


def test_commands_stand_in_blocks_for_a_shell() -> None:
    for document in DOCUMENTS:
        for language, block in FENCE.findall((ROOT / document).read_text(encoding="utf-8")):
            assert language or not re.search(rf"^{FIRST_WORDS}\b", block, re.MULTILINE), document
