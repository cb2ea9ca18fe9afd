"""The Python interface: separate arrays, streams of blocks, and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from htmdsep.catalogue import Located, locate
from htmdsep.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig
from htmdsep.devices import pick_device, require_torch
from htmdsep.errors import HtmdsepError
from htmdsep.fast.network import FastNetwork
from htmdsep.inference import Estimator, RowEstimator
from htmdsep.options import (
    DEFAULT_ENGINE,
    DEFAULT_OVERLAP,
    DEFAULT_STEREO,
    ENGINES,
    MAX_OVERLAP,
    MAX_SEGMENT_SECONDS,
    STEREO_MODES,
    EngineName,
    FileOptions,
    Precision,
    StemName,
    StereoMode,
)
from htmdsep.precision import pick_precision
from htmdsep.stems import Check, FileReport, Progress, write_stems
from htmdsep.streaming import Engine, Pair, separate_channels, separate_mean
from htmdsep.weightsfile import read_info, read_tensors

if TYPE_CHECKING:
    from htmdsep.model import Network


class Stems(NamedTuple):
    """Two stems whose sum is the mixture, but for float32 rounding."""

    vocals: np.ndarray  # (frames, channels) float32
    accompaniment: np.ndarray  # (frames, channels) float32


class Separator:
    """A network and how to run it: load once, separate any number of signals.

    `weights` is a name that `htmdsep --list-models` shows, a path to a weights file, or a network;
    without it the default weights are loaded. `segment_seconds` is rounded up to what the network
    can take, and is the length it was trained on if not given; `overlap` is the share of a segment
    (0 to 0.9) that the next one shares with it; `batch_size` counts segments. `stereo` says how
    several channels are separated: "channels" runs the network on each, "mean" once on their
    mean, whose estimate is then spread over the channels by a gain in time and frequency.
    `threads` is the number of processor threads for the network, by default OMP_NUM_THREADS or
    the number of cores; while it runs on the CPU, numpy's other matrix products have one thread.
    `engine` is what computes in fp32 on the CPU; PyTorch is imported only where it is "torch", and
    for GPUs, bf16 and Wave-U-Nets.
    Raises HtmdsepError for values out of range, unknown weights and absent devices.
    """

    def __init__(
        self,
        weights: str | Path | Network | None = None,
        *,
        device: str = "auto",
        segment_seconds: float | None = None,
        overlap: float = DEFAULT_OVERLAP,
        batch_size: int | None = None,
        stereo: StereoMode = DEFAULT_STEREO,
        precision: Precision = "auto",
        engine: EngineName = DEFAULT_ENGINE,
        threads: int | None = None,
    ) -> None:
        if not 0 <= overlap <= MAX_OVERLAP:
            raise HtmdsepError(f"overlap must lie between 0 and {MAX_OVERLAP}, not {overlap}")
        if batch_size is not None and batch_size < 1:
            raise HtmdsepError(f"batch size must be at least 1, not {batch_size}")
        if stereo not in STEREO_MODES:
            raise HtmdsepError(f"stereo must be one of {', '.join(STEREO_MODES)}, not {stereo!r}")
        if engine not in ENGINES:
            raise HtmdsepError(f"engine must be {' or '.join(ENGINES)}, not {engine!r}")
        if threads is not None and threads < 1:
            raise HtmdsepError(f"threads must be at least 1, not {threads}")
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        if self.precision != "fp32":
            require_torch(f"precision {self.precision}", "use --precision fp32")
        elif engine != DEFAULT_ENGINE:
            require_torch(f"engine {engine}", f"use --engine {DEFAULT_ENGINE}")
        self.weights_name = self.weights_sha256 = None
        way = _Way(self.device, self.precision, engine, batch_size, threads)
        if weights is None or isinstance(weights, (str, Path)):
            located = locate(weights)
            config, estimator = _load(located, way)
            self.weights_name, self.weights_sha256 = located.name, located.hash()
        else:
            config, estimator = weights.config, _estimator(weights, way)
        self.stereo = stereo
        segment_length = _segment_length(config, segment_seconds)
        self._engine = Engine(
            estimator=estimator,
            sample_rate=config.sample_rate,
            segment_length=segment_length,
            hop_length=max(1, round(segment_length * (1 - overlap))),
        )

    def separate(self, mixture: np.ndarray, sample_rate: int) -> Stems:
        """Separate a whole signal of shape (frames,) or (frames, channels); same shape returned.

        Samples are floats with full scale at 1; sample_rate is in Hz. Raises HtmdsepError for
        other shapes, types or sample rates.
        """
        mixture = np.asarray(mixture)
        if mixture.ndim not in (1, 2) or not np.issubdtype(mixture.dtype, np.floating):
            raise HtmdsepError(
                "mixture must be floats of shape (frames,) or (frames, channels), not "
                f"{mixture.dtype} of shape {mixture.shape}"
            )
        frames = mixture.astype(np.float32).reshape(len(mixture), -1 if mixture.size else 1)
        parts = [pair.vocals for pair in self.pairs([frames], sample_rate)]
        vocals = np.concatenate([frames[:0], *parts]).reshape(mixture.shape)
        return Stems(vocals, frames.reshape(mixture.shape) - vocals)

    def separate_blocks(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Stems]:
        """Separate a stream of (frames, channels) float32 blocks of any length, in flat memory.

        The stems come in blocks of other lengths, as many frames in all as went in.
        """
        for mixture, vocals in self.pairs(blocks, sample_rate):
            yield Stems(vocals, mixture - vocals)

    def pairs(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Pair]:
        """Like `separate_blocks`, but with the mixture beside its vocals.

        Raises HtmdsepError for a sample rate that is no positive whole number, for blocks that
        are not (frames, channels) with the same channels throughout, and for samples that are
        not finite.
        """
        if sample_rate != int(sample_rate) or sample_rate < 1:
            raise HtmdsepError(f"sample rate must be a positive whole number, not {sample_rate}")
        checked = _checked(blocks)
        first = next(checked, None)
        if first is None:
            return
        channels = first.shape[1]
        separate = separate_mean if channels > 1 and self.stereo == "mean" else separate_channels
        yield from separate(self._engine, chain([first], checked), int(sample_rate), channels)

    def separate_file(
        self,
        source: Path,
        targets: Mapping[StemName, Path],
        options: FileOptions | None = None,
        progress: Progress | None = None,
        check: Check | None = None,
    ) -> FileReport:
        """Separate an audio file into the stem files of `targets`, all of them or none.

        `progress` is called with the seconds done and in all (None where unknown), `check` with
        the finished files before they get their names. Raises HtmdsepError, naming the cause and
        the remedy, for files that cannot be read or written.
        """
        known = len(self._engine.estimator.notes)
        report = write_stems(source, targets, self.pairs, options or FileOptions(), progress, check)
        report.notes.extend(self._engine.estimator.notes[known:])
        report.weights, report.weights_sha256 = self.weights_name, self.weights_sha256
        report.device, report.precision = self.device, self.precision
        return report


class _Way(NamedTuple):
    """How a network is run."""

    device: str
    precision: Precision
    engine: EngineName
    batch_size: int | None
    threads: int | None


def _load(located: Located, way: _Way) -> tuple[NetworkConfig, Estimator]:
    """Load weights for the fastest way to run them."""
    config = read_info(located.path).config
    if way.device == "cpu" and isinstance(config, (HTMDNetConfig, ConvTasNetConfig)):
        tensors = read_tensors(located.path, located.sha256)
        return config, _fast(config, tensors, way, f"the tensors of {located.path}")
    require_torch(f"a {config.architecture} network here", "choose other weights")
    from htmdsep.weights import load_weights

    network, _ = load_weights(located.path, expected_sha256=located.sha256)
    return config, _estimator(network, way)


def _estimator(network: Network, way: _Way) -> Estimator:
    """Return the fastest way to run a network that is there."""
    from htmdsep.batches import BatchEstimator, network_tensors
    from htmdsep.model import ConvTasNet, HTMDNet

    if way.device == "cpu" and isinstance(network, (HTMDNet, ConvTasNet)):
        return _fast(network.config, network_tensors(network), way, "the network's tensors")
    return BatchEstimator(network, way.device, way.batch_size, way.precision)


def _fast(
    config: HTMDNetConfig | ConvTasNetConfig,
    tensors: Mapping[str, np.ndarray],
    way: _Way,
    origin: str,
) -> Estimator:
    network = FastNetwork(config, tensors, way.precision, way.engine, origin)
    return RowEstimator(network, way.batch_size, way.threads)


def _segment_length(config: NetworkConfig, segment_seconds: float | None) -> int:
    """Return the segment length in samples: the trained one, or the seconds rounded up."""
    if segment_seconds is None:
        return config.segment_length
    if not 0 < segment_seconds <= MAX_SEGMENT_SECONDS:
        raise HtmdsepError(
            f"segment must lie between 0 and {MAX_SEGMENT_SECONDS:g} s, not {segment_seconds}"
        )
    multiples = -(-segment_seconds * config.sample_rate // config.length_multiple)
    return int(multiples) * config.length_multiple


def _checked(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass on the blocks that are not empty, as float32, once they are known to be sound."""
    channels = None
    for block in blocks:
        if block.ndim != 2 or (channels is not None and block.shape[1] != channels):
            expected = f"(frames, {channels or 'channels'})"
            raise HtmdsepError(f"a block must be {expected}, not {block.shape}")
        if not np.isfinite(block).all():
            raise HtmdsepError("the mixture holds samples that are not finite (NaN or infinity)")
        channels = block.shape[1]
        if len(block):
            yield np.asarray(block, np.float32)


def separate(mixture: np.ndarray, sample_rate: int) -> Stems:
    """Separate a signal with the default weights; see `Separator.separate`.

    The weights are loaded at each call: keep a `Separator` for more than one signal.
    """
    return Separator().separate(mixture, sample_rate)
