"""Which arithmetic a device shall use for weights and features."""

from __future__ import annotations

import torch

from htmdsep.errors import HtmdsepError
from htmdsep.options import Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHOICES: dict[str, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "bf16", "fp16"),
}


def pick_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" stands for on a device, or the precision itself where it can be had.

    Raises HtmdsepError where the device cannot be asked for it.
    """
    if precision == "auto":
        # bf16 costs 0.0024 dB of SDR on the validation songs (docs/speed.md), less than the 0.01
        # that "auto" may cost. On GPUs nothing was measured.
        return "bf16" if device.type == "cpu" and has_bf16() else "fp32"
    choices = CHOICES.get(device.type, ("fp32",))
    if precision not in choices:
        raise HtmdsepError(
            f"precision on {device.type} must be auto, {' or '.join(choices)}, not {precision!r}"
        )
    return precision


def has_bf16() -> bool:
    """Tell whether the processor multiplies bf16 matrices itself, rather than by way of fp32."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)
