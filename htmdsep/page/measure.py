"""Read a song's stems once, block by block: figures, waveforms and picture for the page."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from htmdsep.audio.reader import AudioReader, open_audio
from htmdsep.dsp.blocks import equal_blocks
from htmdsep.dsp.levels import LevelMeter
from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path
from htmdsep.page.pictures import Drawing, draw_picture

ALIKE_SECONDS = 0.1  # by which an original may be longer or shorter than its stems
SILENT_DBFS = -120.0  # is told of signals below it


def measure_stems(
    paths: Mapping[str, Path], original: Path | None, picture: Path
) -> dict[str, Any]:
    """Return what the page shows of a song's stems, one or both, and draw their picture.

    The mixture is the sum of both stems. The original is compared with it where it can be read.
    Raises HtmdsepError where a stem cannot be read, or does not fit the other.
    """
    with ExitStack() as stack:
        readers = {}
        for name, path in paths.items():
            with explained(str(path), of=HtmdsepError):
                readers[name] = stack.enter_context(open_audio(path))
        formats = {(one.header.sample_rate, one.header.channels) for one in readers.values()}
        if len(formats) > 1:
            raise HtmdsepError("its stems differ in sample rate or channels; separate it again")
        ((rate, channels),) = formats
        names = [*readers] if len(readers) == 1 else ["mixture", *readers]
        meters = {name: LevelMeter(rate) for name in names}
        drawings = {name: Drawing(rate, channels) for name in names}
        frames = 0
        for blocks in _together(paths, readers):
            frames += len(next(iter(blocks.values())))
            if len(blocks) > 1:
                blocks["mixture"] = sum(blocks.values(), np.zeros(1, np.float32))
            for name, block in blocks.items():
                meters[name].add(block)
                drawings[name].add(block)
    for drawing in drawings.values():
        drawing.end()
    with atomic_path(picture) as temporary:
        draw_picture(temporary, [(name, one.powers()) for name, one in drawings.items()])
    seconds = frames / rate
    return {
        "seconds": seconds,
        "sample_rate": rate,
        "channels": channels,
        "levels": {name: _level(meter) for name, meter in meters.items()},
        "share": meters["vocals"].active_share if "vocals" in meters else None,
        "column_seconds": drawings[names[0]].column_seconds,
        "waves": _waves({name: one.wave() for name, one in drawings.items()}),
        **_compared(original, seconds, meters.get("mixture")),
    }


def _together(
    paths: Mapping[str, Path], readers: Mapping[str, AudioReader]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the stems' blocks by name, of one length; a shorter stem ends in silence."""
    nothing = np.zeros((0, 1), np.float32)
    streams = [_blocks(paths[name], reader) for name, reader in readers.items()]
    for blocks in zip_longest(*streams, fillvalue=nothing):
        longest = max(blocks, key=len)
        found = [np.zeros_like(longest) for _ in blocks]
        for one, block in zip(found, blocks, strict=True):
            one[: len(block)] = block
        yield dict(zip(readers, found, strict=True))


def _blocks(path: Path, reader: AudioReader) -> Iterator[np.ndarray]:
    with explained(str(path), of=HtmdsepError):
        yield from equal_blocks(reader.blocks())


def _level(meter: LevelMeter) -> float:
    return round(max(20 * math.log10(max(meter.rms, 1e-9)), SILENT_DBFS), 2)


def _waves(waves: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the waveforms as base64 of bytes, peaks before RMS; 255 is the highest peak of all."""
    top = max(float(wave.max(initial=0)) for wave in waves.values()) or 1.0
    scaled = {name: np.rint(255 / top * wave).astype(np.uint8) for name, wave in waves.items()}
    return {name: base64.b64encode(wave.tobytes()).decode() for name, wave in scaled.items()}


def _compared(original: Path | None, seconds: float, mixture: LevelMeter | None) -> dict[str, Any]:
    """Return by how many dB the stems' sum lies above the original, or why nobody can compare."""
    if mixture is None or original is None:
        return {"gain_db": None, "lack": "there is no original to compare the sum with"}
    try:
        with open_audio(original) as reader:
            meter, frames = LevelMeter(reader.header.sample_rate), 0
            for block in reader.blocks():
                meter.add(block)
                frames += len(block)
            found = frames / reader.header.sample_rate
    except HtmdsepError as error:
        return {"gain_db": None, "lack": f"the original cannot be read: {error}"}
    if abs(found - seconds) > ALIKE_SECONDS:
        return {
            "gain_db": None,
            "lack": f"the stems are of an excerpt of the original ({found:.1f} s)",
        }
    return {"gain_db": round(_level(mixture) - _level(meter), 2), "lack": None}
