"""A network's graph in ONNX Runtime, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

# Read at import: else it logs its use in the user's cache, and sends that to its makers (1.32)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from htmdsep.errors import explained

# What the runtime raises for a graph or numbers that it cannot take.
_FAILURES = (
    errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf,
    errors.NoSuchFile, errors.NotImplemented, errors.RuntimeException,
)  # fmt: skip


class OnnxGraph:
    """A graph that maps one array to one of the same shape; any threads may call it at once.

    It computes in the calling thread, so that results do not depend on how many there are.
    """

    def __init__(self, graph: bytes, weights: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # 20 MB less for two threads, as fast (measured)
        options.log_severity_level = 4  # its words are told by the error that follows
        folder = str(weights.resolve().parent)
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", folder
        )
        remedy = "reinstall htmdsep, or use --engine torch"
        with explained(f"ONNX Runtime cannot load the graph of {weights}", remedy, of=_FAILURES):
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Run the graph on a batch, float32."""
        (found,) = self._session.run(None, {self._input: values})
        result: np.ndarray = found
        return result
