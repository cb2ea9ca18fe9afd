"""From one audio file to its stem files: complete, closed and checked, or not at all."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from htmdsep.audio.covers import read_cover
from htmdsep.audio.loudness import integrated_loudness
from htmdsep.audio.output import OutputFormat, check_space, plan_output
from htmdsep.audio.reader import open_audio
from htmdsep.audio.stem_file import stem_streams
from htmdsep.audio.tags import without_replaygain
from htmdsep.audio.writer import frame_count, open_stem, read_stem
from htmdsep.dsp.blocks import BLOCK_LENGTH, resample_blocks
from htmdsep.dsp.levels import LevelMeter
from htmdsep.dsp.quantise import dequantise, quantise
from htmdsep.errors import DiskError, HtmdsepError, explained
from htmdsep.files import atomic_paths, refuse_input
from htmdsep.options import STEM_FILE, STEM_NAMES, RunOptions, StemName, Subtype
from htmdsep.separation.pairs import Pair
from htmdsep.separation.report import Check, FileReport, Progress, StemReport
from htmdsep.separation.targets import format_of

Separate = Callable[[Iterable[np.ndarray], int], Iterator[Pair]]


def write_stems(
    source: Path,
    targets: Mapping[StemName, Path],
    separate: Separate,
    options: RunOptions,
    progress: Progress | None = None,
    check: Check | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    overwrite: bool = True,
) -> FileReport:
    """Separate a file into the stem files of `targets`; see `Separator.separate_file`."""
    options = replace(options, file_format=format_of(targets, options.file_format))
    for target in targets.values():
        refuse_input(target, source, "choose another --out or --filename")
    excerpt = open_audio(
        source, start_seconds=options.start_seconds, duration_seconds=options.duration_seconds
    )
    with excerpt as reader:
        header = replace(reader.header, tags={**reader.header.tags, **(tags or {})})
        output = plan_output(header, reader.frames, options)
        output = replace(output, cover=read_cover(source))
        blocks = resample_blocks(reader.blocks(), header.sample_rate, output.sample_rate)
        pairs = _reported(separate(blocks, output.sample_rate), output, progress)
        report = write_pairs(targets, pairs, output, check, overwrite=overwrite)
    report.notes[:0] = [
        *reader.notes,
        *_rate_notes(output, options.sample_rate or reader.header.sample_rate),
    ]
    return report


def write_pairs(
    targets: Mapping[StemName, Path],
    pairs: Iterable[Pair],
    output: OutputFormat,
    check: Check | None = None,
    *,
    overwrite: bool = True,
) -> FileReport:
    """Write pairs at the output's rate into stem files that appear once they are checked."""
    with ExitStack() as stack:
        files = list(dict.fromkeys(targets.values()))
        temporaries = stack.enter_context(atomic_paths(files, overwrite=overwrite))
        folder = temporaries[0].parent
        check_space(output, folder, len(targets))
        gain, loudness = 1.0, None
        if output.clip_mode == "rescale" or output.loudness is not None:
            spool = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            gain, loudness = _spooled(pairs, output, spool, folder)
            pairs = _scaled(spool, output.channels, gain)
            if gain != 1:
                output = replace(output, tags=without_replaygain(output.tags))
        written = {stem: temporaries[files.index(target)] for stem, target in targets.items()}
        report = _write(written, pairs, output)
        if check is not None:
            check(written)
    for name, target in targets.items():
        report.stems[name].path = str(target)
    report.gain, report.loudness = gain, loudness
    report.notes.extend([*_loudness_notes(report, output.loudness), *_clip_notes(report)])
    return report


def _loudness_notes(report: FileReport, wanted: float | None) -> list[str]:
    if wanted is None:
        return []
    if report.loudness is None:
        return ["it is too quiet or too short to have a loudness; its level is kept"]
    decibels = 20 * math.log10(report.gain)
    reached = report.loudness + decibels
    told = (
        f"its loudness is {report.loudness:.1f} LUFS; both stems have a gain of {decibels:+.1f} dB"
    )
    if wanted - reached > 0.05:
        return [f"{told}, for {reached:.1f} LUFS: more would pass full scale"]
    return [told]


def _clip_notes(report: FileReport) -> list[str]:
    clipped = {"the mixture": report.clipped_samples, "a stem": report.clipped_stem_samples}
    return [
        f"{count} samples of {signal} lie beyond full scale and were clipped; --clip-mode rescale, "
        "or WAV with --float32, keeps them"
        for signal, count in clipped.items()
        if count
    ]


def _reported(
    pairs: Iterable[Pair], output: OutputFormat, progress: Progress | None
) -> Iterator[Pair]:
    """Pass pairs on, and tell how far they have come."""
    frames = 0
    for pair in pairs:
        yield pair
        frames += len(pair.mixture)
        if progress is not None:
            progress(frames / output.sample_rate, output.seconds)


def _write(
    paths: Mapping[StemName, Path], pairs: Iterable[Pair], output: OutputFormat
) -> FileReport:
    """Write the stems, and read them back: the files themselves must add up to the mixture."""
    meters = {name: LevelMeter(output.sample_rate) for name in ("mixture", *STEM_NAMES)}
    frames = clipped = clipped_stem = checksum = 0
    with ExitStack() as stack:
        is_one = output.file_format == STEM_FILE
        writers = {
            name: stack.enter_context(open_stem(path, output))
            for name, path in paths.items()
            if not (is_one and name == "accompaniment")
        }
        for mixture, vocals in pairs:
            block = quantise(mixture, vocals, output.subtype, clamp=output.clip_mode != "none")
            for name, meter in meters.items():
                meter.add(dequantise(getattr(block, name), output.subtype))
            for name, writer in writers.items():
                writer.write(stem_streams(block) if is_one else getattr(block, name))
            frames += len(mixture)
            clipped += block.clipped_samples
            clipped_stem += block.clipped_stem_samples
            checksum = zlib.crc32(block.mixture.data, checksum)
        if not frames:
            raise HtmdsepError(f"nothing is left of it at {output.sample_rate} Hz; separate more")
    notes = []
    if output.is_lossy and len(paths) == len(STEM_NAMES):
        notes.append(f"{output.file_format} is lossy: the stems add up but for what coding loses")
    return FileReport(
        seconds=frames / output.sample_rate,
        sample_rate=output.sample_rate,
        channels=output.channels,
        subtype=output.subtype,
        mixture_peak=meters["mixture"].peak,
        stems={
            name: StemReport(str(path), meters[name].peak, meters[name].rms)
            for name, path in paths.items()
        },
        clipped_samples=clipped,
        clipped_stem_samples=clipped_stem,
        gain=1.0,
        closure=_closed(paths, output, checksum, frames),
        vocals_share=meters["vocals"].active_share,
        notes=notes,
    )


def _closed(
    paths: Mapping[StemName, Path], output: OutputFormat, checksum: int, frames: int
) -> bool | None:
    """Tell that two stem files add up to a mixture of this CRC-32; raise HtmdsepError if not.

    One stem alone and lossy stems, of which that cannot be told (None), must have all frames.
    """
    if output.is_lossy or len(paths) < len(STEM_NAMES):
        if any(frame_count(path, output) != frames for path in set(paths.values())):
            raise HtmdsepError("the file read back lacks frames; the disk may be faulty")
        return None
    if _sum_checksum(paths, output.subtype) != checksum:
        raise HtmdsepError(
            "the files read back do not add up to the mixture; the disk may be faulty"
        )
    return True


def _sum_checksum(paths: Mapping[StemName, Path], subtype: Subtype) -> int:
    """Return the CRC-32 of the sum of the stem files, sample by sample.

    Sums of int16 wrap around: none that is off by 2^16 is told, which no faulty disk makes.
    """
    stems = [read_stem(path, subtype, BLOCK_LENGTH) for path in paths.values()]
    checksum = 0
    for vocals, accompaniment in zip(*stems, strict=False):
        checksum = zlib.crc32((vocals + accompaniment).data, checksum)
    return checksum


def _rate_notes(output: OutputFormat, wanted: int) -> list[str]:
    if output.sample_rate == wanted:
        return []
    return [
        f"{output.file_format} holds no {wanted} Hz: the stems are resampled to "
        f"{output.sample_rate} Hz"
    ]


def _spooled(
    pairs: Iterable[Pair], output: OutputFormat, spool: IO[bytes], folder: Path
) -> tuple[float, float | None]:
    """Store pairs; return the gain that they need, and the mixture's loudness in LUFS.

    The gain brings the mixture to the output's loudness, of which nothing is measured where none is
    wanted, and with clip mode "rescale" is no higher than full scale allows.
    """
    peak = 0.0  # of the mixture and both stems
    remedy = "--loudness and --clip-mode rescale need room for 32-bit floats there: make room or "
    remedy += "choose another --out"

    def stored() -> Iterator[np.ndarray]:
        nonlocal peak
        for mixture, vocals in pairs:
            signals = (mixture, vocals, mixture - vocals)
            peak = max(peak, *(float(np.abs(one).max()) for one in signals))
            with explained(f"cannot write into {folder}", remedy, kind=DiskError):
                spool.write(np.hstack([mixture, vocals]).astype(np.float32).tobytes())
            yield mixture

    mixtures, loudness, gain = stored(), None, 1.0
    if output.loudness is not None:
        loudness = integrated_loudness(mixtures, output.sample_rate)
    deque(mixtures, 0)  # what is left
    if loudness is not None and output.loudness is not None:
        gain = 10 ** ((output.loudness - loudness) / 20)
    if output.clip_mode == "rescale" and peak:
        gain = min(gain, output.full_scale / peak)
    return gain, loudness


def _scaled(spool: IO[bytes], channels: int, gain: float) -> Iterator[Pair]:
    """Yield the stored pairs times the gain."""
    spool.seek(0)
    while data := spool.read(BLOCK_LENGTH * 2 * channels * 4):
        both = np.frombuffer(data, np.float32).reshape(-1, 2 * channels) * np.float32(gain)
        yield Pair(both[:, :channels], both[:, channels:])
