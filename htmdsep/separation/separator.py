"""The Python interface: separate arrays, streams of blocks, and files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from htmdsep.dsp.overlap_add import hop_for
from htmdsep.dsp.segments import StreamEstimator
from htmdsep.engines.choice import choices
from htmdsep.engines.estimates import Note
from htmdsep.engines.estimators import load_estimator, make_estimator
from htmdsep.errors import ArgumentError
from htmdsep.files import stored_stream
from htmdsep.options import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    NETWORK_OPTIONS,
    STEM_NAMES,
    RunOptions,
    StemName,
)
from htmdsep.separation.arrays import Stems
from htmdsep.separation.pairs import Pair
from htmdsep.separation.report import Check, FileReport, Progress
from htmdsep.separation.streaming import separate_stream
from htmdsep.separation.targets import targets_in
from htmdsep.weights.catalogue import find_weights

if TYPE_CHECKING:
    from htmdsep.networks.build import Network


class Separator:
    """A network and how to run it: load once, separate any number of signals.

    `weights` is a name that `htmdsep --list-models` shows, a path to a weights file, or a network,
    which runs in PyTorch; without it the default weights are loaded. `changes` replace fields of
    `options`, as in Separator(device="cpu", overlap=0.25); see RunOptions.
    Raises HtmdsepError for values out of range, unknown weights and absent devices.
    """

    def __init__(
        self,
        weights: str | Path | Network | None = None,
        options: RunOptions | None = None,
        **changes: Any,
    ) -> None:
        self.options = options = replace(options or RunOptions(), **changes)
        self.weights_name = self.weights_sha256 = None
        if weights is None or isinstance(weights, (str, Path)):
            located = find_weights(weights)
            config, options, self._estimates = load_estimator(located, options)
            self.weights_name, self.weights_sha256 = located.name, located.hash()
        else:
            config = weights.config
            (options,) = choices(replace(options, engine="torch"), config)
            self._estimates = make_estimator(weights, options)
        self.device, self.precision = options.device, options.precision
        self.engine = options.engine if options.device == "cpu" else None
        self._config = config

    def separate(
        self, mixture: np.ndarray, sample_rate: int, progress: Progress | None = None
    ) -> Stems:
        """Separate a whole signal of shape (frames,) or (frames, channels); same shape returned.

        Samples are floats with full scale at 1, of up to 8 channels; sample_rate is in Hz.
        `progress` is called with the seconds done and in all. Raises HtmdsepError for other shapes,
        types or sample rates.
        """
        mixture = np.asarray(mixture)
        if mixture.ndim not in (1, 2) or not np.issubdtype(mixture.dtype, np.floating):
            raise ArgumentError(
                "mixture must be floats of shape (frames,) or (frames, channels), not "
                f"{mixture.dtype} of shape {mixture.shape}"
            )
        frames = mixture.astype(np.float32)
        if frames.ndim == 1:
            frames = frames[:, None]
        parts, done = [frames[:0]], 0
        for pair in self.pairs([frames], sample_rate):
            parts.append(pair.vocals)
            done += len(pair.vocals)
            if progress is not None:
                progress(done / sample_rate, len(frames) / sample_rate)
        vocals = np.concatenate(parts).reshape(mixture.shape)
        return Stems(vocals, frames.reshape(mixture.shape) - vocals, int(sample_rate))

    def separate_blocks(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Stems]:
        """Separate a stream of (frames, channels) float32 blocks of any length, in flat memory.

        The stems come in blocks of other lengths, as many frames in all as went in. Each block is
        copied as it comes, so that one buffer may be filled again and again.
        """
        own = (np.asarray(block).copy() for block in blocks)
        for mixture, vocals in self.pairs(own, sample_rate):
            yield Stems(vocals, mixture - vocals, int(sample_rate))

    def pairs(
        self, blocks: Iterable[np.ndarray], sample_rate: int, *, note: Note = lambda _: None
    ) -> Iterator[Pair]:
        """Like `separate_blocks`, but with the mixture beside its vocals; `note` gets remarks.

        Blocks may be whatever NumPy makes arrays of, such as lists and tensors; they must stay.
        Raises ArgumentError for a sample rate that is no whole number in range, for blocks that
        are not (frames, channels) with the same channels throughout, and for samples that are
        not finite.
        """
        rate, shifts = _whole_rate(sample_rate), self.options.shifts
        config, segment_length = self._config, self._segment_length()
        network = StreamEstimator(
            estimates=lambda segments: self._estimates(segments, note),
            sample_rate=config.sample_rate,
            segment_length=segment_length,
            hop_length=hop_for(segment_length, self.options.overlap),
            network_channels=config.input_channels,
            input_level=config.input_level,
        )
        yield from separate_stream(network, _checked(blocks), rate, shifts)

    def _segment_length(self) -> int:
        """Return the segment length in samples: the trained one, or the seconds rounded up."""
        config, seconds = self._config, self.options.segment_seconds
        if seconds is None:
            return config.segment_length
        multiples = -(-seconds * config.sample_rate // config.length_multiple)
        return int(multiples) * config.length_multiple

    def separate_file(
        self,
        source: str | Path | BinaryIO,
        targets: Mapping[StemName, str | Path],
        *,
        options: RunOptions | None = None,
        tags: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        check: Check | None = None,
        overwrite: bool = True,
    ) -> FileReport:
        """Separate an audio file into the stem files of `targets`, all of them or none.

        The source is a path, or a binary file that is read to its end. `options` say how the stems
        are written, if not as the separator's do; a target that ends in .flac is FLAC. `tags`, such
        as {"title": "..."}, replace those that the source has of the same name. `progress`
        is called with the seconds done and in all (None where unknown), `check` with the finished
        files before they get their names. Without `overwrite` no file is replaced that is there in
        the end, as another process may have written it meanwhile. Raises HtmdsepError, naming the
        cause and the remedy, for files that cannot be read or written, and ArgumentError, a
        ValueError, too, for targets that cannot be and for options of another network than is
        loaded.
        """
        from htmdsep.separation.stems import write_stems  # 0.03 s and more, for nothing but files

        if not targets or not set(targets) <= set(STEM_NAMES):
            given = ", ".join(map(repr, targets)) or "none"
            raise ArgumentError(f"targets are one or both of {', '.join(STEM_NAMES)}, not {given}")
        options = options or self.options
        for name in NETWORK_OPTIONS:
            if getattr(options, name) != getattr(self.options, name):
                raise ArgumentError(f"{name} is settled when a Separator is made; make another")
        notes: list[str] = []
        paths = {stem: Path(target) for stem, target in targets.items()}
        pairs = partial(self.pairs, note=notes.append)
        with _as_path(source) as path:
            report = write_stems(
                path, paths, pairs, options, progress, check, tags=tags, overwrite=overwrite
            )
        report.notes.extend(notes)
        report.weights, report.weights_sha256 = self.weights_name, self.weights_sha256
        report.device, report.precision, report.engine = self.device, self.precision, self.engine
        report.shifts = self.options.shifts
        return report


@contextmanager
def _as_path(source: str | Path | BinaryIO) -> Iterator[Path]:
    """Yield a source's path; what a binary file holds is stored in a temporary one."""
    if isinstance(source, (str, os.PathLike)):
        yield Path(source)
        return
    if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise ArgumentError(f"a source is a path or a binary file, not {type(source).__name__}")
    suffix = Path(str(getattr(source, "name", ""))).suffix
    with stored_stream(source, suffix) as path:
        yield path


def _whole_rate(sample_rate: Any) -> int:
    """Return a sample rate, a number or an array of no dimensions; raise ArgumentError if wrong."""
    found = np.asarray(sample_rate)
    is_number = found.ndim == 0 and found.dtype.kind in "iuf" and bool(np.isfinite(found))
    rate = int(found) if is_number else 0
    if not is_number or rate != found or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise ArgumentError(
            f"sample rate must be a whole number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, "
            f"not {sample_rate}"
        )
    return rate


def _checked(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass on the blocks that are not empty, as float32, once they are known to be sound."""
    channels = None
    for given in blocks:
        block = np.asarray(given)
        if block.ndim != 2 or (channels is not None and block.shape[1] != channels):
            expected = f"(frames, {channels or 'channels'})"
            raise ArgumentError(f"a block must be {expected}, not {block.shape}")
        if not 1 <= block.shape[1] <= MAX_CHANNELS:
            raise ArgumentError(
                f"a mixture of shape (frames, channels) may have 1 to {MAX_CHANNELS} channels, not "
                f"{block.shape[1]}; transpose it if it is (channels, frames)"
            )
        if not np.issubdtype(block.dtype, np.floating):
            raise ArgumentError(f"a block must hold floats with full scale at 1, not {block.dtype}")
        if not np.isfinite(block).all():
            raise ArgumentError("the mixture holds samples that are not finite (NaN or infinity)")
        channels = block.shape[1]
        if len(block):
            yield np.asarray(block, np.float32)


def separate(mixture: np.ndarray, sample_rate: int, progress: Progress | None = None) -> Stems:
    """Separate a signal with the default weights; see `Separator.separate`.

    The weights are loaded at each call: keep a `Separator` for more than one signal.
    """
    return Separator().separate(mixture, sample_rate, progress)


def separate_file(
    source: str | Path,
    out: str | Path = "separated",
    *,
    weights: str | Path | Network | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> FileReport:
    """Separate an audio or video file into `<out>/<its name>/vocals.wav` and accompaniment.wav.

    A stem file is `<out>/<its name>.stem.mp4`. Files that are there are replaced. `changes` are
    fields of RunOptions, as in separate_file("song.mp3", file_format="flac", start_seconds=62). See
    `Separator.separate_file`, and keep a `Separator` for more than one file: the weights are loaded
    at each call.
    """
    separator = Separator(weights, **changes)
    targets = targets_in(Path(out) / Path(source).stem, separator.options.file_format)
    return separator.separate_file(source, targets, progress=progress)
