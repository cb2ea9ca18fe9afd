"""A network made for speed from an eager one, which stays the definition of its results."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from htmdsep.fast.denoising import DenoisingBuffers, FastDenoising
from htmdsep.fast.masking import FastMasking, MaskingBuffers
from htmdsep.model import ConvTasNet, HTMDNet


class FastNetwork:
    """An HTMD-Net or Conv-TasNet* in evaluation mode, with its weights folded, on the CPU.

    Safe to call from several threads at once: each has buffers of its own, for waveforms of the
    length it was last called with. `dtype` is that of weights and features; the waveforms are
    float32. A result depends on nothing but the waveform, the weights, and the number of OpenMP
    threads the calling thread may use.
    """

    def __init__(self, network: HTMDNet | ConvTasNet, dtype: torch.dtype = torch.float32) -> None:
        slope = network.config.leaky_slope
        self._masking = FastMasking(network.masking, slope, dtype)
        self._denoising = None
        if isinstance(network, HTMDNet):
            self._denoising = FastDenoising(network.denoising, dtype)
        self._local = threading.local()

    @torch.inference_mode()
    def __call__(self, waveform: Tensor) -> Tensor:
        """Map a mixture (time,) to the estimate of its vocals, of the same shape."""
        masking, denoising = self._buffers(len(waveform))
        estimate = masking.run(waveform)
        if denoising is not None:
            estimate = denoising.run(estimate)
        return estimate.clone()

    def _buffers(self, time: int) -> tuple[MaskingBuffers, DenoisingBuffers | None]:
        if getattr(self._local, "time", None) != time:
            self._local.buffers = None  # those of another length go before new ones come
            denoising = self._denoising and DenoisingBuffers(self._denoising, time)
            self._local.buffers = (MaskingBuffers(self._masking, time), denoising)
            self._local.time = time
        found: tuple[MaskingBuffers, DenoisingBuffers | None] = self._local.buffers
        return found
