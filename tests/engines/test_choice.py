"""What "auto" may stand for, and what a machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from htmdsep.engines import choice
from htmdsep.engines.choice import choices, has_bf16, pick_device, thread_count
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import HTMDNetConfig, NetworkConfig, SpectralConfig
from htmdsep.options import RunOptions

LINEAR = HTMDNetConfig(activation="linear")
DENOISED = SpectralConfig(denoiser_levels=11)


@pytest.fixture
def lacking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Make a machine with OpenVINO and a processor made for bf16, less what is lacking."""
    lacking: str = getattr(request, "param", "")
    flags = "fpu avx2" if lacking == "bf16" else "fpu amx_bf16"
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr("htmdsep.engines.choice.PROCESSOR", tmp_path / "cpuinfo")
    found = None if lacking == "openvino" else True
    monkeypatch.setattr("htmdsep.engines.choice.find_spec", lambda _: found)
    return lacking


@pytest.mark.parametrize(
    ("asked", "config", "lacking", "expected"),
    [
        ("auto auto", SpectralConfig(), "", ["onnx fp32", "openvino fp32", "openvino bf16"]),
        ("auto auto", HTMDNetConfig(), "bf16", ["onnx fp32", "openvino fp32"]),
        ("auto auto", SpectralConfig(), "openvino", ["onnx fp32"]),
        ("auto auto", LINEAR, "", ["onnx fp32"]),
        ("auto auto", DENOISED, "", ["torch fp32"]),
        ("auto fp32", SpectralConfig(), "", ["onnx fp32", "openvino fp32"]),
        ("auto bf16", HTMDNetConfig(), "bf16", ["openvino bf16"]),
        ("auto bf16", SpectralConfig(), "openvino", ["torch bf16"]),
        ("auto bf16", LINEAR, "", ["torch bf16"]),
        ("auto bf16", DENOISED, "", ["torch bf16"]),
        ("openvino auto", SpectralConfig(), "", ["openvino fp32", "openvino bf16"]),
        ("openvino auto", SpectralConfig(), "bf16", ["openvino fp32"]),
        ("onnx auto", SpectralConfig(), "", ["onnx fp32"]),
        ("torch auto", SpectralConfig(), "", ["torch fp32"]),
        ("torch bf16", SpectralConfig(), "", ["torch bf16"]),
    ],
    indirect=["lacking"],
)
@pytest.mark.usefixtures("lacking")
def test_what_auto_may_stand_for(asked: str, config: NetworkConfig, expected: list[str]) -> None:
    found = choices(options_of(asked), config)
    assert [f"{one.engine} {one.precision}" for one in found] == expected
    assert {one.device for one in found} == {"cpu"}


def options_of(asked: str) -> RunOptions:
    engine, precision = asked.split()
    return RunOptions(device="cpu", engine=engine, precision=precision)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "config", "lacking", "message"),
    [
        ("auto fp16", LINEAR, "", "precision on cpu must be auto, fp32 or bf16, not 'fp16'"),
        ("onnx bf16", LINEAR, "", "engine onnx has no bf16: use --engine openvino or torch"),
        ("openvino fp32", DENOISED, "openvino", r"needs pip install 'htmdsep\[openvino\]'"),
        ("openvino auto", LINEAR, "", "engine openvino has no linear LSTM"),
    ],
    indirect=["lacking"],
)
@pytest.mark.usefixtures("lacking")
def test_what_does_not_go_together(asked: str, config: NetworkConfig, message: str) -> None:
    with pytest.raises(HtmdsepError, match=message):
        choices(options_of(asked), config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name : x\nflags\t: fpu avx512_bf16 avx2\nflags\t: fpu\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : fp asimd bf16\n", False),
    ],
)
def test_the_processors_flags_tell_of_bf16(
    text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htmdsep.engines.choice.PROCESSOR", tmp_path / "cpuinfo")
    assert not has_bf16()  # no such file
    (tmp_path / "cpuinfo").write_text(text)
    assert has_bf16() == expected


@pytest.mark.parametrize(
    ("files", "wanted", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, "", 2),
        ({"cpu.max": "max 100000\n"}, "", 64),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "none", 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "0", 64),
        ({"cpu.max": "100000 100000\n"}, "5", 5),
        ({}, "", 64),
    ],
)
def test_threads_are_cores_within_a_quota_unless_they_are_given(
    files: dict[str, str],
    wanted: str,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("htmdsep.engines.choice.CONTROL_GROUP", tmp_path)
    monkeypatch.setattr("htmdsep.engines.choice._cores", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert thread_count() == expected


def test_cores_are_no_more_than_processors() -> None:
    assert 1 <= choice._cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abacus", "unknown device 'abacus'"),
        ("cuda:99", "no device 'cuda:99'"),
        ("cuda:128", "no device 'cuda:128'"),
        ("meta", "no device"),
    ],
)
def test_devices_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(HtmdsepError, match=message):
        pick_device(name)


class Driver:
    """A stand-in for NVIDIA's driver, with some GPUs or an error."""

    def __init__(self, gpus: int, error: int = 0) -> None:
        self.gpus, self.error = gpus, error

    def cuInit(self, _: int) -> int:  # noqa: N802 (the driver's name)
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.gpus
        return 0


@pytest.mark.parametrize(
    ("driver", "expected"),
    [(Driver(2), True), (Driver(0), False), (Driver(1, error=100), False), (None, False)],
)
def test_pytorch_is_asked_where_a_driver_knows_a_gpu(
    driver: Driver | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: str) -> Driver:
        if driver is None:
            raise OSError("no such library")
        return driver

    monkeypatch.setattr("htmdsep.engines.choice.ctypes.CDLL", load)
    monkeypatch.setattr("htmdsep.engines.choice.AMD_DRIVER", Path("/nowhere"))
    assert choice._may_have_gpu() is expected
