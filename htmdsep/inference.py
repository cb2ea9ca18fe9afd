"""Run a network over batches of segments on a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.model import Network

# Segments a batch. On CPU a larger one only costs memory (measured); a GPU wants to be filled.
CPU_BATCH_SIZE = 1
GPU_BATCH_SIZE = 16


def pick_device(name: str) -> torch.device:
    """Return the device a name stands for; "auto" is CUDA where there is one, else the CPU.

    Raises HtmdsepError for an unknown name and for a device this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return device


class SegmentEstimator:
    """Estimate the vocals of segments; where a GPU's memory is short, in smaller batches."""

    def __init__(self, network: Network, device: torch.device, batch_size: int | None) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.batch_size = batch_size or (CPU_BATCH_SIZE if device.type == "cpu" else GPU_BATCH_SIZE)
        self.notes: list[str] = []

    @torch.inference_mode()
    def __call__(self, segments: np.ndarray) -> np.ndarray:
        """Map (segments, segment_length, channels) float32 mixtures to vocals, channel by channel.

        Raises HtmdsepError where not even one segment fits the device's memory, and where the
        network's output is not finite.
        """
        count, length, channels = segments.shape
        rows = torch.from_numpy(np.ascontiguousarray(segments.transpose(0, 2, 1)))
        rows = rows.reshape(count * channels, 1, length)  # (batch, 1, time)
        estimate = self._estimate(rows, self.batch_size * channels)
        if not estimate.isfinite().all():
            raise HtmdsepError(
                f"the network's output on {self.device} is not finite; use --device cpu, or other "
                "weights"
            )
        return estimate.reshape(count, channels, length).numpy().transpose(0, 2, 1)

    def _estimate(self, rows: Tensor, most: int) -> Tensor:
        parts: list[Tensor] = []
        while (done := sum(map(len, parts))) < len(rows):
            part = rows[done : done + most]
            try:
                parts.append(self.network(part.to(self.device)).estimate.float().cpu())
            except torch.cuda.OutOfMemoryError as error:
                if len(part) == 1:
                    raise HtmdsepError(
                        f"one segment of {part.shape[-1]} samples is too large for the memory of "
                        f"{self.device}; use a shorter --segment or --device cpu"
                    ) from error
                most = self._retreat(len(part))
        return torch.cat(parts)

    def _retreat(self, failed: int) -> int:
        """Halve the batch that failed, for good, and say so."""
        most = failed // 2
        self.batch_size = most
        self.notes.append(
            f"out of memory on {self.device}: went on with batches of {most}; "
            f"--batch-size {most} avoids the attempt"
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return most
