"""How loud a song is, by ITU-R BS.1770 and EBU R 128, measured by FFmpeg in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import av
import numpy as np

from htmdsep.audio.encoders import LAYOUTS
from htmdsep.errors import HtmdsepError

SILENT_LUFS, LOUDEST_LUFS = -70.0, 10.0  # what is not louder, or is, the meter does not tell


def integrated_loudness(blocks: Iterable[np.ndarray], sample_rate: int) -> float | None:
    """Return the integrated loudness in LUFS of (frames, channels) float32 blocks at a rate in Hz.

    None for silence, and for less than 0.4 s. Raises HtmdsepError where PyAV is too old for it, and
    for what is louder than the meter knows.
    """
    if not hasattr(av.AudioFrame, "metadata"):
        raise HtmdsepError("loudness is measured by PyAV 18.1 or later, on Python 3.11 or later")
    found = SILENT_LUFS
    for number, frame in enumerate(_measured(blocks, sample_rate)):
        found = float(frame.metadata.get("lavfi.r128.I", found))
        if float(frame.metadata.get("lavfi.r128.M", found)) > LOUDEST_LUFS:
            told = f"it is louder than {LOUDEST_LUFS:g} LUFS after {number / 10:.1f} s"
            raise HtmdsepError(f"{told}; leave --loudness out, or scale the file to 1 first")
    return found if found > SILENT_LUFS else None


def _measured(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[av.AudioFrame]:
    """Yield what FFmpeg's meter makes of blocks: frames of 0.1 s with what was found up to each."""
    graph: av.filter.Graph | None = None
    for block in filter(len, blocks):  # FFmpeg takes no empty ones
        layout = LAYOUTS[block.shape[1] - 1]
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout=layout)
            meter = graph.add("ebur128", "metadata=1")
            graph.link_nodes(source, meter, graph.add("abuffersink")).configure()
        packed = np.ascontiguousarray(block).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
        frame.sample_rate = sample_rate
        yield from _passed(graph, frame)
    if graph is not None:
        yield from _passed(graph, None)


def _passed(graph: av.filter.Graph, frame: av.AudioFrame | None) -> Iterator[av.AudioFrame]:
    graph.push(frame)
    with suppress(av.BlockingIOError, av.EOFError):  # until there is no more for now, or at all
        while isinstance(passed := graph.pull(), av.AudioFrame):
            yield passed
