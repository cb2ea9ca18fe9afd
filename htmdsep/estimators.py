"""From weights, or a network, to what estimates segments in the fastest way there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from htmdsep.catalogue import Located
from htmdsep.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig
from htmdsep.devices import require_torch
from htmdsep.fast.network import FastNetwork
from htmdsep.fast.workers import thread_count
from htmdsep.inference import Estimator, RowEstimator
from htmdsep.options import EngineName, Library, Precision
from htmdsep.processor import pick_engine
from htmdsep.weightsfile import read_info, read_tensors

if TYPE_CHECKING:
    from htmdsep.model import Network


class Way(NamedTuple):
    """How a network is run."""

    device: str
    precision: Precision
    engine: EngineName
    batch_size: int | None = None
    threads: int | None = None


def load_estimator(located: Located, way: Way) -> tuple[NetworkConfig, Estimator]:
    """Load weights for the fastest way to run them; raise HtmdsepError where that cannot be."""
    config = read_info(located.path).config
    way = _settled(way, config)
    fast = way.device == "cpu" and way.engine != "openvino"
    if fast and isinstance(config, (HTMDNetConfig, ConvTasNetConfig)):
        tensors = read_tensors(located.path, located.sha256)
        return config, _fast(config, tensors, way, f"the tensors of {located.path}")
    require_torch(f"a {config.architecture} network here", "choose other weights")
    from htmdsep.weights import load_weights

    network, _ = load_weights(located.path, expected_sha256=located.sha256)
    return config, make_estimator(network, way)


def make_estimator(network: Network, way: Way) -> Estimator:
    """Return the fastest way to run a network that is there."""
    from htmdsep.batches import BatchEstimator, network_tensors
    from htmdsep.model import ConvTasNet, HTMDNet

    way = _settled(way, network.config)
    if way.device == "cpu" and way.engine == "openvino":
        from htmdsep.openvino_network import OpenVinoNetwork

        threads = way.threads or thread_count()
        compiled = OpenVinoNetwork(network, way.precision, threads)
        return RowEstimator(compiled, way.batch_size, threads)
    if way.device == "cpu" and isinstance(network, (HTMDNet, ConvTasNet)):
        return _fast(network.config, network_tensors(network), way, "the network's tensors")
    return BatchEstimator(network, way.device, way.batch_size, way.precision)


def _settled(way: Way, config: NetworkConfig) -> Way:
    if way.device != "cpu":
        return way
    return way._replace(engine=pick_engine(way.engine, way.precision, config))


def _fast(
    config: HTMDNetConfig | ConvTasNetConfig,
    tensors: Mapping[str, np.ndarray],
    way: Way,
    origin: str,
) -> Estimator:
    library: Library = "numpy" if way.engine == "numpy" else "torch"
    network = FastNetwork(config, tensors, way.precision, library, origin)
    return RowEstimator(network, way.batch_size, way.threads)
