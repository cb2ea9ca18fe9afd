"""From weights, or a network, to what estimates segments in the fastest way there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from htmdsep.catalogue import WeightsFile
from htmdsep.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig
from htmdsep.devices import require_torch
from htmdsep.fast.network import FastNetwork
from htmdsep.fast.workers import thread_count
from htmdsep.inference import Estimator, RowEstimator
from htmdsep.options import EngineName, Library, Precision
from htmdsep.processor import FastConfig, pick_engine
from htmdsep.weights_file import read_info, read_tensors

if TYPE_CHECKING:
    from htmdsep.model import Network

RowRunner = Callable[[np.ndarray], np.ndarray]


class Way(NamedTuple):
    """How a network is run."""

    device: str
    precision: Precision
    engine: EngineName
    batch_size: int | None = None
    threads: int | None = None


def load_estimator(located: WeightsFile, way: Way) -> tuple[NetworkConfig, Estimator]:
    """Load weights for the fastest way to run them; raise HtmdsepError where that cannot be."""
    config = read_info(located.path).config
    way = _settled(way, config)
    fast = way.device == "cpu" and way.engine != "openvino"
    if fast and isinstance(config, FastConfig):
        tensors = read_tensors(located.path, located.sha256)
        origin = f"the tensors of {located.path}"
        network = _fast(config, tensors, way.precision, way.engine, origin)
        return config, RowEstimator(network, way.batch_size, way.threads)
    require_torch(f"a {config.architecture} network here", "choose other weights")
    from htmdsep.weights_file import load_weights

    loaded, _ = load_weights(located.path, expected_sha256=located.sha256)
    return config, make_estimator(loaded, way)


def make_estimator(network: Network, way: Way) -> Estimator:
    """Return the fastest way to run a network that is there."""
    from htmdsep.batches import BatchEstimator

    if way.device == "cpu":
        way = _settled(way, network.config)
        threads = way.threads or thread_count()
        runner = make_runner(network, way.precision, way.engine, threads)
        if runner is not None:
            return RowEstimator(runner, way.batch_size, threads)
    return BatchEstimator(network, way.device, way.batch_size, way.precision)


def make_runner(
    network: Network, precision: Precision, engine: EngineName, threads: int
) -> RowRunner | None:
    """Return what maps a waveform (time,) to its estimate on the CPU; None for plain PyTorch.

    The engine is a settled one, not "auto"; up to `threads` threads may call what is returned.
    """
    from htmdsep.batches import network_tensors
    from htmdsep.model import ConvTasNet, HTMDNet

    if engine == "openvino":
        from htmdsep.openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(network, precision, threads)
    if not isinstance(network, (HTMDNet, ConvTasNet)):
        return None
    tensors = network_tensors(network)
    return _fast(network.config, tensors, precision, engine, "the network's tensors")


def _settled(way: Way, config: NetworkConfig) -> Way:
    if way.device != "cpu":
        return way
    return way._replace(engine=pick_engine(way.engine, way.precision, config))


def _fast(
    config: HTMDNetConfig | ConvTasNetConfig,
    tensors: Mapping[str, np.ndarray],
    precision: Precision,
    engine: EngineName,
    origin: str,
) -> FastNetwork:
    library: Library = "numpy" if engine == "numpy" else "torch"
    return FastNetwork(config, tensors, precision, library, origin)
