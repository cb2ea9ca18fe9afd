"""The Python interface: separate arrays, streams of blocks, and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from htmdsep.catalogue import locate
from htmdsep.chunks import hop_for
from htmdsep.config import NetworkConfig
from htmdsep.devices import pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.estimators import Way, load_estimator, make_estimator
from htmdsep.options import (
    DEFAULT_OVERLAP,
    DEFAULT_STEREO,
    MAX_CHANNELS,
    MAX_OVERLAP,
    MAX_SAMPLE_RATE,
    MAX_SEGMENT_SECONDS,
    MIN_SAMPLE_RATE,
    STEREO_MODES,
    EngineName,
    FileOptions,
    Precision,
    StemName,
    StereoMode,
)
from htmdsep.precision import pick_precision
from htmdsep.processor import check_engine, pick_engine
from htmdsep.stems import Check, FileReport, Progress, write_stems
from htmdsep.streaming import Engine, Pair, separate_channels, separate_mean

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
    `engine` is what computes on the CPU: "numpy" (fp32 only), "torch", "openvino", or what is best
    for the weights. PyTorch is imported for all but the first.
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
        engine: EngineName = "auto",
        threads: int | None = None,
    ) -> None:
        if not 0 <= overlap <= MAX_OVERLAP:
            raise HtmdsepError(f"overlap must lie between 0 and {MAX_OVERLAP}, not {overlap}")
        if batch_size is not None and batch_size < 1:
            raise HtmdsepError(f"batch size must be at least 1, not {batch_size}")
        if stereo not in STEREO_MODES:
            raise HtmdsepError(f"stereo must be one of {', '.join(STEREO_MODES)}, not {stereo!r}")
        if threads is not None and threads < 1:
            raise HtmdsepError(f"threads must be at least 1, not {threads}")
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device, engine)
        check_engine(engine, self.device, self.precision)
        self.weights_name = self.weights_sha256 = None
        way = Way(self.device, self.precision, engine, batch_size, threads)
        if weights is None or isinstance(weights, (str, Path)):
            located = locate(weights)
            config, estimator = load_estimator(located, way)
            self.weights_name, self.weights_sha256 = located.name, located.hash()
        else:
            config, estimator = weights.config, make_estimator(weights, way)
        on_cpu = self.device == "cpu"
        self.engine = pick_engine(engine, self.precision, config) if on_cpu else None
        self.stereo = stereo
        segment_length = _segment_length(config, segment_seconds)
        self._engine = Engine(
            estimator=estimator,
            sample_rate=config.sample_rate,
            segment_length=segment_length,
            hop_length=hop_for(segment_length, overlap),
            input_level=config.input_level,
        )

    def separate(self, mixture: np.ndarray, sample_rate: int) -> Stems:
        """Separate a whole signal of shape (frames,) or (frames, channels); same shape returned.

        Samples are floats with full scale at 1, of up to 8 channels; sample_rate is in Hz. Raises
        HtmdsepError for other shapes, types or sample rates.
        """
        mixture = np.asarray(mixture)
        if mixture.ndim not in (1, 2) or not np.issubdtype(mixture.dtype, np.floating):
            raise HtmdsepError(
                "mixture must be floats of shape (frames,) or (frames, channels), not "
                f"{mixture.dtype} of shape {mixture.shape}"
            )
        frames = mixture.astype(np.float32)
        if frames.ndim == 1:
            frames = frames[:, None]
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

        Raises HtmdsepError for a sample rate that is no whole number in range, for blocks that
        are not (frames, channels) with the same channels throughout, and for samples that are
        not finite.
        """
        rate = sample_rate
        is_number = isinstance(rate, (int, float, np.number)) and np.isfinite(rate)
        if not is_number or rate != int(rate) or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            raise HtmdsepError(
                f"sample rate must be a whole number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} "
                f"Hz, not {rate}"
            )
        checked = _checked(blocks)
        first = next(checked, None)
        if first is None:
            return
        channels = first.shape[1]
        separate = separate_mean if channels > 1 and self.stereo == "mean" else separate_channels
        yield from separate(self._engine, chain([first], checked), int(sample_rate), channels)

    def separate_file(
        self,
        source: str | Path,
        targets: Mapping[StemName, str | Path],
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
        paths = {stem: Path(target) for stem, target in targets.items()}
        report = write_stems(
            Path(source), paths, self.pairs, options or FileOptions(), progress, check
        )
        report.notes.extend(self._engine.estimator.notes[known:])
        report.weights, report.weights_sha256 = self.weights_name, self.weights_sha256
        report.device, report.precision, report.engine = self.device, self.precision, self.engine
        return report


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
        if not 1 <= block.shape[1] <= MAX_CHANNELS:
            raise HtmdsepError(
                f"a mixture of shape (frames, channels) may have 1 to {MAX_CHANNELS} channels, not "
                f"{block.shape[1]}; transpose it if it is (channels, frames)"
            )
        if not np.issubdtype(block.dtype, np.floating):
            raise HtmdsepError(f"a block must hold floats with full scale at 1, not {block.dtype}")
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
