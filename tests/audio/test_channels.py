"""Loudspeakers: whatever order a format keeps them in, they come in the order of WAV."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from htmdsep.audio.reader import open_audio

RATE = 48_000
VORBIS = {  # the order in which a Vorbis file holds the channels of WAV's order
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}


def tones(channels: int) -> np.ndarray:
    """Return a tone a channel, low enough for any to be a subwoofer's."""
    time = np.arange(RATE)[:, None] / RATE
    wave = 0.2 * np.sin(2 * np.pi * (40 + 10 * np.arange(channels)) * time)
    return np.asarray(wave, np.float32)


def channels_of(path: Path) -> list[int]:
    """Return which tone each channel holds."""
    with open_audio(path) as reader:
        samples = np.concatenate(list(reader.blocks()))
    peaks = np.abs(np.fft.rfft(samples[4_000:], RATE, axis=0)).argmax(axis=0)
    return [round((peak - 40) / 10) for peak in peaks]


def encoded(container: str, codec: str, sample_format: str, layout: str) -> bytes:
    packed = io.BytesIO()
    signal = tones(av.AudioLayout(layout).nb_channels)
    with av.open(packed, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 400_000
        stream.codec_context.format = sample_format
        converter = av.AudioResampler(sample_format, layout, RATE)
        for first in range(0, RATE, 1_024):
            interleaved = np.ascontiguousarray(signal[first : first + 1_024].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(interleaved, "flt", layout)
            frame.sample_rate, frame.pts = RATE, first
            for converted in converter.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return bytes(packed.getvalue())


@pytest.mark.parametrize("channels", range(1, 9))
def test_vorbis(tmp_path: Path, channels: int) -> None:
    order = list(VORBIS.get(channels, range(channels)))
    path = tmp_path / "a.ogg"
    soundfile.write(path, tones(channels)[:, order], RATE)
    assert channels_of(path) == list(range(channels))


SURROUND = ("stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")


@pytest.mark.parametrize(
    ("container", "codec", "sample_format", "layouts"),
    [
        ("ogg", "libopus", "flt", ("stereo", "3.0", "quad", "5.1", "7.1")),  # others it misplaces
        ("matroska", "libopus", "flt", ("stereo", "3.0", "quad", "5.1", "7.1")),
        ("ipod", "aac", "fltp", SURROUND),
        ("flac", "flac", "s16", SURROUND),
        ("matroska", "flac", "s16", SURROUND),
        ("matroska", "ac3", "fltp", ("stereo", "3.0", "quad", "5.0", "5.1")),
        ("ipod", "alac", "s16p", ("stereo", "3.0", "5.0", "5.1")),
        ("wav", "pcm_s16le", "s16", SURROUND),
        ("mov", "pcm_s16le", "s16", SURROUND),
        ("wv", "wavpack", "s16p", SURROUND),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_layout(
    tmp_path: Path, container: str, codec: str, sample_format: str, layouts: tuple[str, ...]
) -> None:
    for layout in layouts:
        path = tmp_path / "a"
        path.write_bytes(encoded(container, codec, sample_format, layout))
        channels = av.AudioLayout(layout).nb_channels
        assert channels_of(path) == list(range(channels)), layout
