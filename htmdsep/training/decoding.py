"""Blocks of samples from any audio file, or from one stream of a MUSDB18 stem file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame

from htmdsep.audio import open_audio
from htmdsep.errors import HtmdsepError
from htmdsep.resample import resample_blocks

STEM_SUFFIX = ".stem.mp4"  # several audio streams in one file


def decoded_blocks(
    path: Path, stream: int, sample_rate: int, channels: int
) -> Iterator[np.ndarray]:
    """Yield (frames, channels) float32 blocks at a rate in Hz.

    Where a file has another number of channels, each is the mean of its own. Raises HtmdsepError,
    with the file's name, where the file cannot be decoded.
    """
    try:
        with open_stream(path, stream) as (rate, blocks):
            fitting = (_with_channels(block, channels) for block in blocks)
            yield from resample_blocks(fitting, channels, rate, sample_rate)
    except HtmdsepError as error:
        raise HtmdsepError(f"{path}: {error}") from error


def _with_channels(block: np.ndarray, channels: int) -> np.ndarray:
    if block.shape[1] == channels:
        return block
    mean: np.ndarray = block.mean(axis=1, keepdims=True)
    return mean.repeat(channels, axis=1)


@contextmanager
def open_stream(path: Path, stream: int) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open one stream of an audio file; yield its rate in Hz and its (frames, channels) blocks.

    Raises HtmdsepError, without the file's name, where it cannot be decoded.
    """
    if path.name.endswith(STEM_SUFFIX):
        with _open_packed(path, stream) as opened:
            yield opened
    else:
        assert stream == 0
        with open_audio(path) as audio:
            yield audio.sample_rate, audio.blocks()


@contextmanager
def _open_packed(path: Path, stream: int) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise HtmdsepError(f"cannot be opened ({error.strerror})") from error
    with container:
        if stream >= len(container.streams.audio):
            raise HtmdsepError(
                f"it holds {len(container.streams.audio)} audio streams; a MUSDB18 stem file has "
                "5: mixture, drums, bass, other, vocals"
            )
        audio = container.streams.audio[stream]
        yield int(audio.codec_context.sample_rate or 0), _stream_blocks(container, audio)


def _stream_blocks(
    container: av.container.InputContainer, audio: av.AudioStream
) -> Iterator[np.ndarray]:
    planar = av.AudioResampler(format="fltp")
    try:
        for frame in container.decode(audio):
            assert isinstance(frame, AudioFrame)
            for converted in planar.resample(frame):
                yield converted.to_ndarray().T  # (frames, channels)
    except av.FFmpegError as error:
        raise HtmdsepError(f"damaged ({error.strerror})") from error
