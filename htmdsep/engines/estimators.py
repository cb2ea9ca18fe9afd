"""From weights, or a network, to what estimates segments in the fastest way there is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from htmdsep.dsp.spectra import istft, stft
from htmdsep.engines.choice import Way, resolve, thread_count
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import read_info
from htmdsep.weights.graph import read_graph

if TYPE_CHECKING:
    from htmdsep.networks.build import Network

SEGMENTS_AHEAD = 1  # a thread, besides the segment that is waited for
NOT_FINITE = "the network's output on {device} is not finite; use --device cpu, or other weights"

Note = Callable[[str], None]  # takes what a user should know, a line
Graph = Callable[[np.ndarray], np.ndarray]  # a batch to one of the same shape


def ignore(_: str) -> None:
    """Take a note of which nobody wants to know."""


class Estimate(NamedTuple):
    """The vocals of a segment, and what share of the mixture above the network's band is theirs.

    Both are float32, (time, channels); the second is None where the network does not tell.
    """

    vocals: np.ndarray
    high_gain: np.ndarray | None = None


class Outputs(NamedTuple):
    """What a network makes of its inputs: both (inputs, network_channels, time), float32."""

    vocals: np.ndarray
    high_gain: np.ndarray | None = None


Run = Callable[[np.ndarray], Outputs]  # of mixtures (inputs, network_channels, time)


class Estimator(Protocol):
    """Anything that estimates the vocals of segments; threads may share one."""

    def estimates(self, segments: Iterable[np.ndarray], note: Note = ignore) -> Iterator[Estimate]:
        """Map (segment_length, channels) float32 mixtures to their vocals, in order.

        Segments are taken ahead of the estimates: work goes on while those are used. `note` is
        given what a user should know of this stream, a line each. Raises
        HtmdsepError where an estimate is not finite, and where memory does not suffice.
        """
        ...


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
                pending.append((channels, [pool.submit(self._run, row[None]) for row in inputs]))
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


def spectral_run(graph: Graph, config: SpectralConfig) -> Run:
    """Return what puts the transforms around a graph that maps magnitudes to masks."""
    transform = (config.window_length, config.hop_length)
    first, last = config.high_band_bins

    def run(mixture: np.ndarray) -> Outputs:
        # Channel by channel, which takes half the memory
        spectra = [stft(channel, *transform) for channel in mixture[0]]  # (frames + 1, all bins)
        magnitudes = np.stack([np.abs(one[:-1, : config.bins]) for one in spectra])[None]
        magnitudes *= np.float32(config.magnitude_scale)
        masks = graph(magnitudes)[0]  # (channels, frames, bins)
        vocals = [
            istft(_masked(one, mask), *transform) for one, mask in zip(spectra, masks, strict=True)
        ]
        gains = masks[..., first:last].mean(axis=-1)  # (channels, frames)
        return Outputs(np.stack(vocals)[None], _between_frames(gains, config.hop_length)[None])

    return run


def _masked(spectra: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Multiply spectra (frames + 1, all bins) in place by masks (frames, bins).

    The last frame gets the mask before it, and bins above the last one that bin's.
    """
    bins = masks.shape[1]
    spectra[:-1, :bins] *= masks
    spectra[-1, :bins] *= masks[-1]
    spectra[:-1, bins:] *= masks[:, -1:]
    spectra[-1, bins:] *= masks[-1, -1]
    return spectra


def _between_frames(gains: np.ndarray, hop_length: int) -> np.ndarray:
    """Return (..., frames) as (..., frames * hop_length), interpolated linearly."""
    following = np.concatenate([gains[..., 1:], gains[..., -1:]], axis=-1)
    share = np.arange(hop_length, dtype=np.float32) / hop_length
    fine: np.ndarray = gains[..., None] + (following - gains)[..., None] * share
    return fine.reshape(*gains.shape[:-1], -1)


def network_inputs(segment: np.ndarray, network_channels: int) -> np.ndarray:
    """Return a segment (time, channels) as a network's inputs, (inputs, network_channels, time).

    A last channel that has no other beside it is put in twice.
    """
    rows = segment.T
    missing = -len(rows) % network_channels
    if missing:
        rows = np.concatenate([rows, rows[-1:].repeat(missing, axis=0)])
    return np.ascontiguousarray(rows).reshape(-1, network_channels, segment.shape[0])


def as_estimate(outputs: Outputs, channels: int) -> Estimate:
    """Return what a network made of its inputs as the estimate of a segment of so many channels.

    A channel that was put in twice gets the mean.
    """
    gain = outputs.high_gain
    return Estimate(
        _channels_of(outputs.vocals, channels),
        None if gain is None else _channels_of(gain, channels),
    )


def _channels_of(found: np.ndarray, channels: int) -> np.ndarray:
    rows = found.reshape(-1, found.shape[-1])
    if len(rows) > channels:
        last = rows[channels - 1 :].mean(axis=0, keepdims=True)
        rows = np.concatenate([rows[: channels - 1], last])
    return np.ascontiguousarray(rows.T)
