"""A network made for speed from an eager one, which stays the definition of its results."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

import numpy as np

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig
from htmdsep.fast.denoising import DenoisingBuffers, FastDenoising
from htmdsep.fast.masking import FastMasking, MaskingBuffers
from htmdsep.fast.ops import Ops, make_ops
from htmdsep.fast.tensors import Tensors
from htmdsep.options import Library, Precision


class FastNetwork:
    """An HTMD-Net or Conv-TasNet* in evaluation mode, with its weights folded, on the CPU.

    `tensors` are the eager network's, by name; HtmdsepError is raised, with `origin` for what they
    are, where they do not fit the config. Safe to call from several threads at once: each has
    buffers of its own, for waveforms of the length it was last called with. `precision` is that
    of weights and features, "fp32" or, with PyTorch for a `library`, "bf16"; the waveforms are
    float32.
    """

    def __init__(
        self,
        config: HTMDNetConfig | ConvTasNetConfig,
        tensors: Mapping[str, np.ndarray],
        precision: Precision = "fp32",
        library: Library = "numpy",
        origin: str = "the tensors",
    ) -> None:
        self._make_ops = partial(make_ops, precision, library)
        left, ops = Tensors(tensors, origin), self._make_ops()
        self._masking = FastMasking(config, left, ops)
        self._denoising = None
        if isinstance(config, HTMDNetConfig):
            self._denoising = FastDenoising(config, left, ops)
        left.finish()
        self._local = threading.local()

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Map a mixture (time,) to the estimate of its vocals, of the same shape."""
        ops, masking, denoising = self._buffers(len(waveform))
        estimate = masking.run(ops.taken(waveform))
        if denoising is not None:
            estimate = denoising.run(estimate)
        return ops.given(estimate)

    def _buffers(self, time: int) -> tuple[Ops, MaskingBuffers, DenoisingBuffers | None]:
        if getattr(self._local, "time", None) != time:
            # Those of another length go before new ones come, for which memory may not suffice
            self._local.time = self._local.buffers = None
            ops = self._make_ops()
            denoising = self._denoising and DenoisingBuffers(self._denoising, time, ops)
            self._local.buffers = (ops, MaskingBuffers(self._masking, time, ops), denoising)
            self._local.time = time
        found: tuple[Ops, MaskingBuffers, DenoisingBuffers | None] = self._local.buffers
        return found
