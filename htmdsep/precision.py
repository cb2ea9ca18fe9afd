"""Which arithmetic a device shall use for weights and features."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from htmdsep.errors import HtmdsepError
from htmdsep.options import EngineName, Precision

CHOICES: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "bf16", "fp16"),
}
PROCESSOR = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def pick_precision(precision: Precision, device: str, engine: EngineName = "auto") -> Precision:
    """Return what "auto" stands for on a device, or the precision itself where it can be had.

    Raises HtmdsepError where the device cannot be asked for it.
    """
    kind = device.partition(":")[0]
    if precision == "auto":
        # bf16 costs 0.002 dB of SDR on the validation windows (docs/speed.md), less than the 0.01
        # that "auto" may cost. On GPUs nothing was measured.
        able = kind == "cpu" and engine != "numpy" and has_bf16()
        able = able and find_spec("torch") is not None
        return "bf16" if able else "fp32"
    choices = CHOICES.get(kind, ("fp32",))
    if precision not in choices:
        raise HtmdsepError(
            f"precision on {kind} must be auto, {' or '.join(choices)}, not {precision!r}"
        )
    return precision


def has_bf16() -> bool:
    """Tell whether the processor multiplies bf16 matrices itself; known on Linux only."""
    try:
        text = PROCESSOR.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not BF16_FLAGS.isdisjoint(flags.split())
