"""From weights, or a network, to what estimates segments in the fastest way there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from htmdsep.engines.choice import Way, resolve, thread_count
from htmdsep.engines.estimates import (
    NOT_FINITE,
    Estimate,
    Estimator,
    Note,
    Outputs,
    as_estimate,
    ignore,
    network_inputs,
    submit,
)
from htmdsep.engines.spectral import Graph, Run, spectral_run
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import read_info
from htmdsep.weights.graph import read_graph

if TYPE_CHECKING:
    from htmdsep.networks.build import Network

SEGMENTS_AHEAD = 1  # a thread, besides the segment that is waited for


def load_estimator(located: WeightsFile, way: Way) -> tuple[NetworkConfig, Way, Estimator]:
    """Load weights for the way they are to be run, which is settled; raise HtmdsepError if not."""
    config = read_info(located.path).config
    way = resolve(way, config)
    if way.engine == "torch":
        from htmdsep.weights.file import load_weights

        network, _ = load_weights(located.path, expected_sha256=located.sha256)
        return config, way, make_estimator(network, way)
    run = load_run(located, config, way)
    return config, way, GraphEstimator(run, config.input_channels, way.batch_size, way.threads)


def make_estimator(network: Network, way: Way) -> Estimator:
    """Return the estimator of a network that is there: PyTorch."""
    from htmdsep.engines.torch_batches import BatchEstimator

    return BatchEstimator(network, way.device, way.batch_size, way.precision)


def load_run(located: WeightsFile, config: NetworkConfig, way: Way) -> Run:
    """Load the graph of weights, with what stands around it, into a settled way's engine."""
    graph = _load_graph(located, way)
    if isinstance(config, SpectralConfig):
        return spectral_run(graph, config)
    return lambda inputs: Outputs(graph(inputs))


def _load_graph(located: WeightsFile, way: Way) -> Graph:
    sha256 = located.check()
    graph = read_graph(located.path, sha256)
    if way.engine == "openvino":
        from htmdsep.engines.openvino import OpenVinoGraph

        return OpenVinoGraph(graph, located.path, way.precision, way.threads or thread_count())
    from htmdsep.engines.onnx_runtime import OnnxGraph

    return OnnxGraph(graph, located.path, sha256)


class GraphEstimator:
    """Estimate with a graph on the CPU, as many inputs of the network at once as it has cores.

    The results do not depend on how many run at once. `batch_size` is the number of segments taken
    at most before the first one's estimate is handed out; by default it follows from the cores.
    """

    def __init__(
        self, run: Run, input_channels: int, batch_size: int | None, threads: int | None
    ) -> None:
        self._run = run
        self._input_channels = input_channels
        self._batch_size = batch_size
        self._threads = threads or thread_count()

    def estimates(
        self,
        segments: Iterable[np.ndarray],
        note: Note = ignore,  # noqa: ARG002
    ) -> Iterator[Estimate]:
        # The pool goes with the stream: a process that forks in between has none of its threads
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="htmdsep")
        pending: deque[tuple[int, list[Future[Outputs]]]] = deque()
        try:
            for segment in segments:
                inputs = network_inputs(segment, self._input_channels)
                channels = segment.shape[1]
                pending.append((channels, [submit(pool, self._run, row[None]) for row in inputs]))
                ahead = -(-SEGMENTS_AHEAD * self._threads // len(inputs))
                if len(pending) >= (self._batch_size or 1 + ahead):
                    yield _gathered(*pending.popleft())
            while pending:
                yield _gathered(*pending.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _gathered(channels: int, futures: list[Future[Outputs]]) -> Estimate:
    outputs = [future.result() for future in futures]
    vocals = np.concatenate([output.vocals for output in outputs])
    if not np.isfinite(vocals).all():
        raise HtmdsepError(NOT_FINITE.format(device="cpu"))
    gains = [output.high_gain for output in outputs if output.high_gain is not None]
    return as_estimate(Outputs(vocals, np.concatenate(gains) if gains else None), channels)
