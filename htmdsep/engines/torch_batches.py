"""Run a network in PyTorch over batches of segments: on a GPU, or one of any kind on the CPU."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.backends import cudnn

from htmdsep.engines.estimates import Estimate, Note, as_estimate, network_inputs, submit
from htmdsep.errors import HtmdsepError
from htmdsep.networks.build import Network
from htmdsep.networks.htmdnet import NetworkOutput
from htmdsep.options import Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Segments a batch. On CPU a larger one only costs memory (measured); a GPU wants to be filled.
CPU_BATCH_SIZE = 1
GPU_BATCH_SIZE = 16

BATCHES_AHEAD = 2  # one in work, one waiting
_SETTINGS = threading.Lock()


class BatchEstimator:
    """Estimate in batches of segments; where a GPU's memory is short, in smaller ones."""

    def __init__(
        self, network: Network, device: str, batch_size: int | None, precision: Precision = "fp32"
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        on_cpu = self.device.type == "cpu"
        self.batch_size = batch_size or (CPU_BATCH_SIZE if on_cpu else GPU_BATCH_SIZE)
        self._most_rows = sys.maxsize  # inputs of the network at once, once memory was short
        enabled = precision != "fp32"
        self._autocast = torch.autocast(self.device.type, DTYPES[precision], enabled=enabled)

    def estimates(self, segments: Iterable[np.ndarray], note: Note) -> Iterator[Estimate]:
        # The thread goes with the stream: a process that forks in between has none of its threads
        pool = ThreadPoolExecutor(1, thread_name_prefix="htmdsep")
        pending: deque[Future[list[Estimate]]] = deque()
        remaining = iter(segments)
        try:
            while group := list(islice(remaining, self.batch_size)):
                pending.append(submit(pool, self, group, note))
                if len(pending) >= BATCHES_AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def __call__(self, segments: list[np.ndarray], note: Note) -> list[Estimate]:
        """Return the estimates of segments of one shape, in this thread."""
        channels = segments[0].shape[1]
        inputs = [
            network_inputs(segment, self.network.config.input_channels) for segment in segments
        ]
        size = len(inputs[0])
        outputs = self._outputs(torch.from_numpy(np.concatenate(inputs)), size, note)
        parts = np.split(outputs, len(segments), axis=1)
        return [as_estimate(part, channels, self.device) for part in parts]

    def _outputs(self, rows: Tensor, inputs_a_segment: int, note: Note) -> np.ndarray:
        """Run the network on (inputs, network_channels, time), in parts that fit the memory."""
        parts: list[np.ndarray] = []
        done = 0
        while done < len(rows):
            part = rows[done : done + self._most_rows]
            try:
                parts.append(self._run(part))
                done += len(part)
            except torch.cuda.OutOfMemoryError as error:
                if len(part) == 1:
                    raise HtmdsepError(
                        f"one segment of {part.shape[-1]} samples is too large for the memory of "
                        f"{self.device}; use a shorter --segment or --device cpu"
                    ) from error
                self._retreat(len(part), inputs_a_segment, note)
        return np.concatenate(parts, axis=1)

    def _run(self, rows: Tensor) -> np.ndarray:
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        with self._autocast, _whole_fp32():
            output: NetworkOutput = self.network(rows.to(self.device, non_blocking=True))
        found = (output.estimate, output.high_gain)
        return torch.stack([one.float() for one in found if one is not None]).cpu().numpy()

    def _retreat(self, failed_rows: int, inputs_a_segment: int, note: Note) -> None:
        """Halve the rows that failed, for good, and say so."""
        most = self._most_rows = failed_rows // 2
        whole = most // inputs_a_segment
        self.batch_size = max(1, whole)
        remedy = f"--batch-size {whole}" if whole else "a shorter --segment"
        note(
            f"out of memory on {self.device}: went on with {most} inputs of the network at once; "
            f"{remedy} avoids the attempt"
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def _whole_fp32() -> Iterator[None]:
    """Let convolutions in fp32 be just that: on GPUs PyTorch allows them 10 bits (TF32).

    The setting is the process's and is put back, so that streams have to take turns.
    """
    with _SETTINGS:
        kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
        with cudnn.flags(**kept, allow_tf32=False):
            yield
