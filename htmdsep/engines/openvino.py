"""A network's graph that OpenVINO compiles for the processor; needs `htmdsep[openvino]`."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory, gettempdir

import numpy as np

from htmdsep.errors import DiskError, HtmdsepError, explained
from htmdsep.options import Precision

# Each import of OpenVINO tells its makers by the network, for which it looks for the user's home,
# and fails where there is none; without this module, which it can do without, it does not.
_TELEMETRY = "openvino_telemetry"
_is_ours = _TELEMETRY not in sys.modules
sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
try:
    import openvino
finally:
    if _is_ours:
        del sys.modules[_TELEMETRY]

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoGraph:
    """A graph that maps one array to one of the same shape.

    Any threads may call it at once, of which up to `threads` run side by side, one core each. It is
    compiled for the shape of the arrays, when the first one comes.
    """

    def __init__(self, graph: bytes, weights: Path, precision: Precision, threads: int) -> None:
        self._core = openvino.Core()
        remedy = "reinstall htmdsep, or use --engine torch"
        # RuntimeErrors are all that OpenVINO raises
        with explained(f"OpenVINO cannot load the graph of {weights}", remedy, of=RuntimeError):
            self._model = _read_model(self._core, graph, weights)
        self._threads = threads
        self._settings = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
        }
        self._lock = threading.Lock()
        self._compiled: tuple[tuple[int, ...], SimpleQueue[openvino.InferRequest]] | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Run the graph on a batch, float32."""
        if os.getpid() != _process():
            raise HtmdsepError(
                "OpenVINO has no threads in a process that was forked from one that used it; start "
                "processes by spawn, or use --engine onnx"
            )
        with self._lock:
            if self._compiled is None or self._compiled[0] != values.shape:
                self._compiled = (values.shape, self._compile(values.shape))
            idle = self._compiled[1]
        request = idle.get()
        try:
            result: np.ndarray = request.infer([values])[0].copy()
        finally:
            idle.put(request)
        return result

    def _compile(self, shape: tuple[int, ...]) -> SimpleQueue[openvino.InferRequest]:
        """Return the idle requests to a model for arrays of a shape."""
        self._model.reshape(list(shape))
        compiled = self._core.compile_model(self._model, "CPU", self._settings)
        idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(self._threads):
            request = compiled.create_infer_request()
            # Requests that run for the first time side by side may wait for each other for ever
            # (OpenVINO 2026.4, seen on two cores); hence the first time is here, in turn.
            request.infer([np.zeros(shape, np.float32)])
            idle.put(request)
        return idle


@cache
def _process() -> int:
    """Return the process that asked first, also to those that are forked from it later."""
    return os.getpid()


def _read_model(core: openvino.Core, graph: bytes, weights: Path) -> openvino.Model:
    """Read a graph, whose numbers OpenVINO finds only where a file of it lies beside them.

    Where it does not, a copy of both is 0.4 s faster than a graph that holds them (measured).
    """
    beside = weights.with_suffix(".onnx")
    if beside.is_file() and beside.read_bytes() == graph:
        return core.read_model(beside)
    told = f"{weights} cannot be copied into {gettempdir()} for OpenVINO"
    remedy = "make room there, let TMPDIR name another folder, or use --engine onnx"
    with (
        explained(told, remedy, kind=DiskError),
        TemporaryDirectory(prefix="htmdsep-", ignore_cleanup_errors=True) as folder,
    ):
        shutil.copyfile(weights, Path(folder) / weights.resolve().name)
        place = Path(folder) / "graph.onnx"
        place.write_bytes(graph)
        return core.read_model(place)
