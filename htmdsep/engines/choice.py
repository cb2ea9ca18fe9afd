"""Why this device, precision, engine and number of threads."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from htmdsep.errors import ArgumentError, HtmdsepError
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.options import EngineName, Precision, RunOptions

AMD_DRIVER = Path("/dev/kfd")
PRECISIONS_OF: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "bf16", "fp16"),
}
PROCESSOR = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Microseconds of processor time, and of the time in which they may be spent: of the two versions of
# control groups, as they look from within a container.
CONTROL_GROUP = Path("/sys/fs/cgroup")
QUOTA_FILES = [("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")]


def choices(options: RunOptions, config: NetworkConfig) -> list[RunOptions]:
    """Return all that "auto" may stand for, for a network: what needs no measurement is first.

    Raises HtmdsepError for what is absent, or does not go together.
    """
    device, engine, precision = pick_device(options.device), options.engine, options.precision
    kind = device.partition(":")[0]
    precisions = PRECISIONS_OF.get(kind, ("fp32",))
    if precision not in ("auto", *precisions):
        raise HtmdsepError(
            f"precision on {kind} must be auto, {' or '.join(precisions)}, not {precision!r}"
        )
    if device != "cpu" and engine not in ("auto", "torch"):
        raise HtmdsepError(f"engine {engine} computes on the CPU only: use --device cpu")
    if engine == "openvino" and not find_spec("openvino"):
        raise HtmdsepError("engine openvino needs pip install 'htmdsep[openvino]'")
    if engine == "openvino" and _has_linear_lstm(config):
        raise HtmdsepError("engine openvino has no linear LSTM: use --engine onnx or torch")
    if engine == "auto":
        engines = _engines_for(config) if device == "cpu" else ("torch",)
    else:
        engines = (engine,)
    ways = [(one, kind) for one in engines for kind in _precisions_with(one, precision)]
    if not ways and engine == "onnx":
        raise HtmdsepError(f"engine onnx has no {precision}: use --engine openvino or torch")
    return [
        replace(options, device=device, engine=one, precision=kind)
        for one, kind in ways or [("torch", precision)]
    ]


def _engines_for(config: NetworkConfig) -> tuple[EngineName, ...]:
    """Return what computes a network on the CPU: first ONNX Runtime, which starts at once."""
    if isinstance(config, SpectralConfig) and config.denoiser_levels:
        return ("torch",)
    if find_spec("openvino") and not _has_linear_lstm(config):
        return ("onnx", "openvino")
    return ("onnx",)


def _precisions_with(engine: EngineName, precision: Precision) -> tuple[Precision, ...]:
    """Return the precisions that a setting may stand for; none where an engine does not have it."""
    if precision == "auto":
        return ("fp32", "bf16") if engine == "openvino" and has_bf16() else ("fp32",)
    return (precision,) if engine != "onnx" or precision == "fp32" else ()


def _has_linear_lstm(config: NetworkConfig) -> bool:
    """Tell whether a network has the authors' LSTM, whose function OpenVINO does not know."""
    return getattr(config, "activation", "tanh") == "linear"


def pick_device(name: str) -> str:
    """Return the device a name stands for; "auto" is CUDA where there is one, else the CPU.

    Raises HtmdsepError for an unknown name and for a device this machine lacks.
    """
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArgumentError(
            f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    if device.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    else:
        present = {"cpu": 1, "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if not 0 <= (device.index or 0) < present:  # PyTorch takes 128 for -128
        raise HtmdsepError(f"this machine has no device {name!r}; use --device cpu")
    return "cpu" if device.type == "cpu" else str(device)


def _may_have_gpu() -> bool:
    """Tell whether a driver knows a GPU that PyTorch may call "cuda": NVIDIA's, or AMD's.

    It spares those without one the two seconds of PyTorch's import.
    """
    if AMD_DRIVER.exists():
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return found and count.value > 0


def has_bf16() -> bool:
    """Tell whether the processor multiplies bf16 matrices itself; known on Linux only."""
    return not BF16_FLAGS.isdisjoint(processor_facts().get("flags", "").split())


def processor_facts() -> dict[str, str]:
    """Return what Linux says of the first processor, as "model name" and "flags"; else nothing."""
    facts: dict[str, str] = {}
    with suppress(OSError), PROCESSOR.open(encoding="ascii", errors="replace") as file:
        for line in takewhile(str.strip, file):  # of hundreds of processors the first will do
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    return facts


def thread_count() -> int:
    """Return OMP_NUM_THREADS, or the number of cores that this process may use.

    A container's quota counts: beyond it, threads would only take turns at being halted.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else min(_cores(), _quota())


def _cores() -> int:
    """Return the number of cores, whose arithmetic their two hardware threads would share."""
    usable = set(range(os.cpu_count() or 1))
    if sys.platform == "linux":
        usable = os.sched_getaffinity(0)
    cores = set()
    for processor in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology")
        try:
            names = [(topology / name).read_text() for name in ("physical_package_id", "core_id")]
        except OSError:
            names = [str(processor)]
        cores.add(tuple(names))
    return len(cores)


def _quota() -> int:
    """Return how many processors' time Linux lets the process's container have, rounded up."""
    for names in QUOTA_FILES:
        try:
            words = " ".join((CONTROL_GROUP / name).read_text() for name in names).split()
        except OSError:
            continue
        if len(words) == 2 and all(word.isdecimal() for word in words):  # else "max", or -1
            quota, period = map(int, words)
            return max(1, -(-quota // max(1, period)))
    return sys.maxsize
