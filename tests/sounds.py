"""Synthesise signals, write files that soundfile does not write, and damage files on purpose."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile


def tone(frames: int, sample_rate: int, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    """A sine at half of full scale, each channel a little quieter than the one before."""
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(frames) / sample_rate)
    return (wave[:, None] * 0.9 ** np.arange(channels)).astype(np.float32)


def write_av(path: Path, signal: np.ndarray, sample_rate: int, codec: str, **tags: str) -> Path:
    """Encode (frames, 2) float32 with FFmpeg; the container follows from the file's ending."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sample_rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "stereo"
        container.metadata.update(tags)
        for start in range(0, len(signal), 1024):
            planes = np.ascontiguousarray(signal[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(planes, "fltp", "stereo")
            frame.sample_rate, frame.pts = sample_rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flac_bytes(path: Path, signal: np.ndarray, sample_rate: int, subtype: str) -> bytes:
    soundfile.write(path, signal, sample_rate, subtype, format="FLAC")
    return path.read_bytes()


def without_length(flac: bytes) -> bytes:
    """Set the total samples of a FLAC to 0, as a writer to a pipe has to leave them."""
    data = bytearray(flac)
    data[21] &= 0xF0  # STREAMINFO starts at 8; its total samples are 36 bits from byte 13 on
    data[22:26] = bytes(4)
    return bytes(data)


def frames_of(flac: bytes) -> bytes:
    """Return a FLAC's audio frames, without its metadata."""
    position, last = 4, False
    while not last:
        last = bool(flac[position] & 0x80)
        position += 4 + int.from_bytes(flac[position + 1 : position + 4], "big")
    return flac[position:]


def with_announced_mp3_frames(mp3: bytes, factor: float) -> bytes:
    """Scale the number of frames in an MP3's Xing header."""
    data = bytearray(mp3)
    position = max(data.find(b"Xing"), data.find(b"Info")) + 8
    announced = int.from_bytes(data[position : position + 4], "big")
    data[position : position + 4] = round(announced * factor).to_bytes(4, "big")
    return bytes(data)


def write_stem_file(path: Path, signals: np.ndarray, rate: int) -> Path:
    """Write signals (streams, frames) as the AAC streams of one MP4, its index first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        streams = [container.add_stream("aac", rate=rate, layout="mono") for _ in signals]
        for first in range(0, signals.shape[1], 1_024):
            for stream, samples in zip(streams, signals, strict=True):
                block = np.ascontiguousarray(samples[None, first : first + 1_024], np.float32)
                frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
                frame.sample_rate, frame.pts = rate, first
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path
