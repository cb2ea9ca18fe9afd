"""Run a network in PyTorch over batches of segments: on a GPU, or one of any kind on the CPU."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from htmdsep.errors import HtmdsepError
from htmdsep.inference import NOT_FINITE
from htmdsep.model import Network, NetworkOutput
from htmdsep.options import Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Segments a batch. On CPU a larger one only costs memory (measured); a GPU wants to be filled.
CPU_BATCH_SIZE = 1
GPU_BATCH_SIZE = 16

BATCHES_AHEAD = 2  # one in work, one waiting


class BatchEstimator:
    """Estimate in batches of segments; where a GPU's memory is short, in smaller ones."""

    def __init__(
        self,
        network: Network,
        device: str,
        batch_size: int | None,
        precision: Precision = "fp32",
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        on_cpu = self.device.type == "cpu"
        self.batch_size = batch_size or (CPU_BATCH_SIZE if on_cpu else GPU_BATCH_SIZE)
        self.notes: list[str] = []
        self._most_rows = sys.maxsize  # channels of segments at once, once memory was short
        enabled = precision != "fp32"
        self._autocast = torch.autocast(self.device.type, DTYPES[precision], enabled=enabled)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="htmdsep")

    def estimates(self, segments: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        if self._process != os.getpid():
            self._begin()  # a forked process has none of its parent's threads
        pending: deque[Future[np.ndarray]] = deque()
        remaining = iter(segments)
        try:
            while group := list(islice(remaining, self.batch_size)):
                pending.append(self._pool.submit(self, np.stack(group)))
                if len(pending) >= BATCHES_AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    @torch.inference_mode()
    def __call__(self, segments: np.ndarray) -> np.ndarray:
        """Map (segments, segment_length, channels) mixtures to their vocals, in this thread."""
        count, length, channels = segments.shape
        rows = torch.from_numpy(np.ascontiguousarray(segments.transpose(0, 2, 1)))
        rows = rows.reshape(count * channels, 1, length)  # (batch, 1, time)
        estimate = self._estimate(rows, channels)
        if not estimate.isfinite().all():
            raise HtmdsepError(NOT_FINITE.format(device=self.device))
        return estimate.reshape(count, channels, length).numpy().transpose(0, 2, 1)

    def _estimate(self, rows: Tensor, channels: int) -> Tensor:
        parts: list[Tensor] = []
        most = min(self.batch_size * channels, self._most_rows)
        while (done := sum(map(len, parts))) < len(rows):
            part = rows[done : done + most]
            try:
                parts.append(self._run(part))
            except torch.cuda.OutOfMemoryError as error:
                if len(part) == 1:
                    raise HtmdsepError(
                        f"one segment of {part.shape[-1]} samples is too large for the memory of "
                        f"{self.device}; use a shorter --segment or --device cpu"
                    ) from error
                most = self._retreat(len(part), channels)
        return torch.cat(parts)

    def _run(self, rows: Tensor) -> Tensor:
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        with self._autocast:
            output: NetworkOutput = self.network(rows.to(self.device, non_blocking=True))
        return output.estimate.float().cpu()

    def _retreat(self, failed_rows: int, channels: int) -> int:
        """Halve the rows that failed, for good, and say so; return their number."""
        most = self._most_rows = failed_rows // 2
        self.batch_size = max(1, most // channels)
        remedy = f"--batch-size {most // channels}" if most >= channels else "a shorter --segment"
        self.notes.append(
            f"out of memory on {self.device}: went on with {most} channels of segments at once; "
            f"{remedy} avoids the attempt"
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return most


def network_tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """Return a network's tensors by name, as float32."""
    return {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()
    }
