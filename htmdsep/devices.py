"""Where a network may run; PyTorch is only asked where there may be something to find."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

from htmdsep.errors import HtmdsepError

AMD_DRIVER = Path("/dev/kfd")


def pick_device(name: str) -> str:
    """Return the device a name stands for; "auto" is CUDA where there is one, else the CPU.

    Raises HtmdsepError for an unknown name and for a device this machine lacks.
    """
    if name == "cpu" or (name == "auto" and not (find_spec("torch") and _may_have_gpu())):
        return "cpu"
    require_torch(f"device {name!r}", "use --device cpu")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HtmdsepError(
            f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    if device.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    else:
        present = {"cpu": 1, "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if (device.index or 0) >= present:
        raise HtmdsepError(f"this machine has no device {name!r}; use --device cpu")
    return "cpu" if device.type == "cpu" else str(device)


def require_torch(what: str, otherwise: str) -> None:
    """Raise HtmdsepError, with what it is wanted for and a way without, where PyTorch is absent."""
    if find_spec("torch") is None:
        raise HtmdsepError(f"{what} needs PyTorch: pip install torch, or {otherwise}")


def _may_have_gpu() -> bool:
    """Tell whether a driver knows a GPU that PyTorch may call "cuda": NVIDIA's, or AMD's."""
    if AMD_DRIVER.exists():
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return found and count.value > 0
