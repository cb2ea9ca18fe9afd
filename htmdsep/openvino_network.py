"""A network that OpenVINO compiles for the processor; needs `pip install 'htmdsep[openvino]'`."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from htmdsep.graph import MIXTURE, onnx_graph
from htmdsep.options import Precision

if TYPE_CHECKING:
    import openvino

    from htmdsep.model import Network

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoNetwork:
    """Any network in evaluation mode, in OpenVINO, on the CPU.

    Safe to call from several threads at once, of which up to `threads` run side by side, one core
    each. It is compiled for the length of the waveforms, when the first one comes.
    """

    def __init__(self, network: Network, precision: Precision, threads: int) -> None:
        import openvino

        self._network = network
        self._core = openvino.Core()
        self._threads = threads
        self._settings = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
        }
        self._lock = threading.Lock()
        self._compiled: tuple[int, SimpleQueue[openvino.InferRequest]] | None = None

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Map a mixture (time,) to the estimate of its vocals, of the same shape."""
        idle = self._requests(len(waveform))
        request = idle.get()
        try:
            vocals: np.ndarray = request.infer({MIXTURE: waveform[None, None]})[0][0, 0]
        finally:
            idle.put(request)
        return vocals

    def _requests(self, time: int) -> SimpleQueue[openvino.InferRequest]:
        """Return the idle requests to a model for waveforms of a length."""
        with self._lock:
            if self._compiled is None or self._compiled[0] != time:
                self._compiled = (time, self._compile(time))
            return self._compiled[1]

    def _compile(self, time: int) -> SimpleQueue[openvino.InferRequest]:
        model = self._core.read_model(onnx_graph(self._network, time).SerializeToString())
        model.reshape({MIXTURE: [1, 1, time]})
        compiled = self._core.compile_model(model, "CPU", self._settings)
        idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(self._threads):
            request = compiled.create_infer_request()
            # Requests that run for the first time side by side may wait for each other for ever
            # (OpenVINO 2026.4, seen on two cores); hence the first time is here, in turn.
            request.infer({MIXTURE: np.zeros((1, 1, time), np.float32)})
            idle.put(request)
        return idle
