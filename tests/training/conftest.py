"""A small synthetic library: voices are gliding harmonics, accompaniments noise and low tones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from htmdsep.networks.config import HTMDNetConfig, SpectralConfig
from htmdsep.training.cli import command
from tests.programs import invoke_program

RATE = 22_050
TINY = HTMDNetConfig(  # a few thousand weights
    segment_length=4096,
    encoder_channels=48,
    encoder_kernel=32,
    encoder_stride=16,
    bottleneck_channels=16,
    block_channels=32,
    blocks=4,
    denoiser_levels=4,
    denoiser_channels=4,
    lstm_size=8,
    lstm_layers=1,
)
TINY_SPECTRAL = SpectralConfig(
    segment_length=4096, window_length=256, hop_length=64, bins=128, widths=(4, 8)
)


def invoke(*arguments: object) -> tuple[int, str]:
    """Run htmdsep-train; return its exit status and what it prints."""
    result = invoke_program(command, "htmdsep-train", *arguments)
    return result.exit_code, result.output


def voice(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Return a harmonic tone that glides between 250 and 500 Hz, with pauses; (frames,)."""
    time = np.arange(int(seconds * RATE)) / RATE
    hertz = 375 + 125 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    tone = sum(np.sin(partial * phase) / partial for partial in (1, 2, 3, 4))
    sung = np.sin(2 * np.pi * 0.4 * time + rng.uniform(0, 6)) > -0.6
    return np.asarray(0.15 * tone * sung, np.float32)


def accompaniment(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Return a low tone and noise in bursts; (frames,)."""
    time = np.arange(int(seconds * RATE)) / RATE
    low = 0.3 * np.sin(2 * np.pi * rng.uniform(50, 90) * time)
    noise = 0.15 * rng.standard_normal(len(time)) * (np.sin(2 * np.pi * 2 * time) > 0)
    return np.asarray(low + noise, np.float32)


def loudest_hertz(signal: Tensor) -> Tensor:
    """Return the loudest frequency of every row's first channel, of (rows, channels, time)."""
    spectrum = torch.fft.rfft(signal[:, 0] * torch.hann_window(signal.shape[2])).abs()
    loudest: Tensor = spectrum.argmax(dim=1) * RATE / signal.shape[2]
    return loudest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: on networks this small more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three songs of 12 s, three voices and three accompaniments."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    for number in range(3):
        song = folder / "songs" / f"song {number}"
        song.mkdir(parents=True)
        soundfile.write(song / "vocals.wav", voice(rng, 12), RATE)
        soundfile.write(song / "accompaniment.wav", accompaniment(rng, 12), RATE)
        for kind, make in (("voices", voice), ("accompaniment", accompaniment)):
            (folder / kind).mkdir(exist_ok=True)
            soundfile.write(folder / kind / f"solo_{number}.wav", make(rng, 11), RATE)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that all tests share."""
    return tmp_path_factory.mktemp("cache")
