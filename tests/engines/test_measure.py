"""Of several engines the fastest is taken, by a measurement that is made once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htmdsep.engines.measure import MeasuredSeconds, Timed, fastest, time_choices
from htmdsep.engines.spectral import Run
from htmdsep.engines.timing import time_loads
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import SpectralConfig
from htmdsep.options import RunOptions
from htmdsep.weights.catalogue import find_weights

CONFIG = SpectralConfig()
ONNX = RunOptions(device="cpu", engine="onnx", precision="fp32", threads=2)
OPENVINO = replace(ONNX, engine="openvino")
BF16 = replace(OPENVINO, precision="bf16")
CHOICES = [ONNX, OPENVINO, BF16]
Seconds = tuple[float, float] | None  # until a network is ready, and for each segment; None: fails


class Machine:
    """Takes as many seconds as it is told."""

    def __init__(self) -> None:
        self.seconds: list[Seconds] = []
        self.timed = 0

    def fastest(self, *seconds: Seconds, threads: int = 2) -> RunOptions:
        """Return the fastest choice where each takes so many seconds."""
        self.seconds = [*seconds]
        choices = [replace(one, threads=threads) for one in CHOICES[: len(seconds)]]
        return replace(fastest(choices, CONFIG, self.measure), threads=2)

    def measure(self, choices: Sequence[RunOptions]) -> Timed:
        self.timed += 1
        pairs = zip(choices, self.seconds, strict=True)
        return {f"{a.engine} {a.precision}": MeasuredSeconds(*b) for a, b in pairs if b}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache."""
    monkeypatch.setenv("HTMDSEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize(
    ("seconds", "threads", "expected"),
    [
        ([(0.2, 0.10), (0.9, 0.11), (0.8, 0.04)], 2, BF16),
        ([(0.2, 0.10), (0.9, 0.07), (0.8, 0.14)], 2, OPENVINO),
        ([(0.2, 0.10), (0.9, 0.11), (0.8, 0.12)], 2, ONNX),
        ([(0.2, 0.10), (0.9, 0.096), (0.8, 0.11)], 2, ONNX),  # too little to make up for
        ([(0.2, 0.10), (0.9, 0.07), (0.8, 0.068)], 2, OPENVINO),
        ([(0.2, 0.10), (0.9, 0.11), (0.8, 0.04)], 64, ONNX),  # the start is longer than the hour
        ([(0.2, 0.10), (0.9, 0.07)], 2, OPENVINO),
        ([(0.2, 0.10), None, None], 2, ONNX),
        ([(0.2, 0.10), None, (0.8, 0.04)], 2, BF16),
        ([None, (0.9, 0.11), (0.8, 0.04)], 2, BF16),
    ],
)
def test_the_fastest_for_an_hour_is_taken(
    machine: Machine, seconds: list[Seconds], threads: int, expected: RunOptions
) -> None:
    assert machine.fastest(*seconds, threads=threads) == expected


def test_where_all_fail_the_first_may_tell_why(machine: Machine, cache: Path) -> None:
    assert machine.fastest(None, None, None) == ONNX
    assert not cache.exists()


QUICK, SLOW = [(0.2, 0.1), (0.9, 0.11), (0.8, 0.04)], [(0.2, 0.1), (0.9, 0.11), (0.8, 0.4)]


def test_it_is_measured_once(
    machine: Machine, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.fastest(*QUICK) == BF16
    assert machine.fastest(*SLOW) == BF16 and machine.timed == 1
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["choice"] == "openvino bf16"
    # Another number of threads, other choices, another processor, another version
    assert machine.fastest(*SLOW, threads=3) == ONNX and machine.timed == 2
    assert machine.fastest(*SLOW[:2]) == ONNX and machine.timed == 3
    (tmp_path / "cpuinfo").write_text("model name : another\n")
    with monkeypatch.context() as patch:
        patch.setattr("htmdsep.engines.choice.PROCESSOR", tmp_path / "cpuinfo")
        assert machine.fastest(*SLOW) == ONNX and machine.timed == 4
    monkeypatch.setattr("htmdsep.engines.measure._version", lambda _: "99.0")
    assert machine.fastest(*SLOW) == ONNX and machine.timed == 5


def test_another_network_is_measured_anew(machine: Machine) -> None:
    assert machine.fastest(*QUICK) == BF16
    machine.seconds = [*SLOW]
    wider = replace(CONFIG, magnitude_scale=1.0)
    assert fastest(CHOICES, wider, machine.measure) == ONNX


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"choice": "torch fp32"}', b"\xff", b"[" * 9**5]
)
def test_a_damaged_cache_is_replaced(machine: Machine, cache: Path, content: bytes) -> None:
    machine.fastest(*QUICK)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert machine.fastest(*QUICK) == BF16 and machine.timed == 2
    assert [one.read_bytes() for one in cache.iterdir()] == [whole]


def nowhere(_: str) -> Path:
    raise HtmdsepError("there is no place for a cache")


@pytest.mark.parametrize("way", ["a file", "no home"])
def test_without_a_cache_it_is_measured_each_time(
    machine: Machine, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTMDSEP_CACHE", "/dev/null")
    if way == "no home":
        monkeypatch.setattr("htmdsep.engines.measure.cache_folder", nowhere)
    assert machine.fastest(*QUICK) == machine.fastest(*QUICK) == BF16
    assert machine.timed == 2


def test_where_there_is_no_choice_nothing_is_measured_or_kept(
    machine: Machine, cache: Path
) -> None:
    assert machine.fastest((0.2, 0.1)) == ONNX
    assert machine.timed == 0 and not cache.exists()


def test_the_least_of_rounds_counts_and_what_fails_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("htmdsep.engines.timing._clock", lambda: now[0])

    def loader(start: float, *segments: float) -> Callable[[], Run]:
        taken = iter(segments)

        def load() -> Run:
            now[0] += start
            return run

        def run(mixture: np.ndarray) -> np.ndarray:
            assert mixture.shape == (1, 2, CONFIG.segment_length) and mixture.std() > 0
            now[0] += next(taken)
            return mixture[None]

        return load

    def failing() -> Run:
        raise RuntimeError("no such operation")

    def refusing() -> Run:
        raise HtmdsepError("it cannot load the graph")

    loads = {"a": loader(1, 2, 5, 3, 4), "failing": failing, "b": loader(2, 9, 8, 8, 7)}
    loads["refusing"] = refusing
    assert time_loads(loads, CONFIG) == {"a": (3, 3), "b": (11, 7)}


def test_a_process_that_cannot_time_leaves_the_first(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = find_weights(tiny_weights)
    tiny_weights.write_bytes(b"damaged")
    assert time_choices(located, CHOICES) == {}
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert time_choices(located, CHOICES) == {}
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert time_choices(located, CHOICES) == {}


def test_a_known_choice_imports_its_own_runtime_alone(cache: Path) -> None:
    pytest.importorskip("openvino")
    script = (
        "import sys; import numpy as np; from htmdsep import Separator; "
        "s = Separator('htmdnet-fast', device='cpu'); "
        "s.separate(np.ones((9000, 2), np.float32), 44100); "
        "print(s.engine, s.precision, *{'onnxruntime', 'openvino', 'torch'} & set(sys.modules))"
    )

    def run() -> list[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    first, second = run(), run()
    assert first == second == [*first[:2], "onnxruntime" if first[0] == "onnx" else "openvino"]
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["choice"] == " ".join(first[:2])
