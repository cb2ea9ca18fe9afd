"""From weights, or a network, to what estimates segments in the fastest way there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from htmdsep.engines.choice import choices, thread_count
from htmdsep.engines.estimates import (
    Estimate,
    Estimates,
    Note,
    as_estimate,
    network_inputs,
    submit,
)
from htmdsep.engines.measure import fastest, time_choices
from htmdsep.engines.spectral import Graph, Run, spectral_run
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.options import RunOptions
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import read_info
from htmdsep.weights.graph import read_graph

if TYPE_CHECKING:
    from htmdsep.networks.build import Network

SEGMENTS_AHEAD = 1  # a thread, besides the segment that is waited for


def load_estimator(
    located: WeightsFile, options: RunOptions
) -> tuple[NetworkConfig, RunOptions, Estimates]:
    """Load weights; return with them their config, and the options as they are settled."""
    config = read_info(located.path).config
    options = settle(located, config, options)
    if options.engine == "torch":
        network, _ = located.load()
        return config, options, make_estimator(network, options)
    run = load_run(located, config, options)
    return config, options, partial(graph_estimates, run, config.input_channels, options)


def settle(located: WeightsFile, config: NetworkConfig, options: RunOptions) -> RunOptions:
    """Settle device, precision and engine for weights: where "auto" leaves several, the fastest.

    Raises HtmdsepError for what is absent, or does not go together.
    """
    return fastest(choices(options, config), config, partial(time_choices, located))


def make_estimator(network: Network, options: RunOptions) -> Estimates:
    """Return what estimates with a network that is there: PyTorch."""
    from htmdsep.engines.torch_batches import BatchEstimator

    estimator = BatchEstimator(network, options.device, options.batch_size, options.precision)
    return estimator.estimates


def load_run(located: WeightsFile, config: NetworkConfig, options: RunOptions) -> Run:
    """Load the graph of weights, with what stands around it, into the engine of the options."""
    content = read_graph(located.path, located.check())
    graph: Graph
    if options.engine == "openvino":
        from htmdsep.engines.openvino import OpenVinoGraph

        threads = options.threads or thread_count()
        graph = OpenVinoGraph(content, located.path, options.precision, threads)
    else:
        from htmdsep.engines.onnx_runtime import OnnxGraph

        graph = OnnxGraph(content, located.path)
    if isinstance(config, SpectralConfig):
        return spectral_run(graph, config)
    return lambda inputs: graph(inputs)[None]


def graph_estimates(
    run: Run, input_channels: int, options: RunOptions, segments: Iterable[np.ndarray], _note: Note
) -> Iterator[Estimate]:
    """Estimate with a graph on the CPU, as many inputs of the network at once as it has cores.

    The results do not depend on how many run at once. `batch_size` is the number of segments taken
    at most before the first one's estimate is handed out; by default it follows from the cores.
    """
    threads = options.threads or thread_count()
    # The pool goes with the stream: a process that forks in between has none of its threads
    pool = ThreadPoolExecutor(threads, thread_name_prefix="htmdsep")
    pending: deque[tuple[int, list[Future[np.ndarray]]]] = deque()
    try:
        for segment in segments:
            inputs = network_inputs(segment, input_channels)
            pending.append((segment.shape[1], [submit(pool, run, row[None]) for row in inputs]))
            ahead = -(-SEGMENTS_AHEAD * threads // len(inputs))
            if len(pending) >= (options.batch_size or 1 + ahead):
                yield _gathered(*pending.popleft())
        while pending:
            yield _gathered(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _gathered(channels: int, futures: list[Future[np.ndarray]]) -> Estimate:
    outputs = [future.result() for future in futures]
    whole = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)  # a copy
    return as_estimate(whole, channels)
