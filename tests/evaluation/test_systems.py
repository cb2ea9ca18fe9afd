"""Networks as the command line runs them, and other programs' estimates in files."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from htmdsep.datasets.folders import find_test_songs
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import (
    MASKED,
    System,
    find_estimate,
    fit_estimate,
    labelled,
    network_systems,
)
from htmdsep.files import sha256
from htmdsep.networks.config import ConvTasNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import cache_folder, record_hash
from htmdsep.weights.file import load_weights
from tests.evaluation.signals import RATE, write
from tests.sounds import tone


def networks(weights: Path) -> list[System]:
    return network_systems(str(weights), device="cpu", with_masked=True)


def test_a_network_is_measured_as_the_command_line_runs_it(songs: Path, tiny_weights: Path) -> None:
    signals = read_song(find_test_songs(songs)[0])
    final, masked = networks(tiny_weights)
    expected = Separator(tiny_weights, device="cpu").separate(signals.mixture, signals.sample_rate)
    found = final.estimate(signals, "one")
    np.testing.assert_array_equal(found.vocals, expected.vocals)
    np.testing.assert_array_equal(found.accompaniment, expected.accompaniment)
    assert masked.label == f"tiny{MASKED}"
    assert masked.fingerprint != final.fingerprint


def test_the_masked_estimate_is_the_networks_probe_point(songs: Path, tiny_weights: Path) -> None:
    """A network without its denoising network has the same estimate."""
    network, info = load_weights(tiny_weights)
    assert isinstance(network, HTMDNet)
    shared = {field.name: getattr(info.config, field.name) for field in fields(ConvTasNetConfig)}
    alone = HTMDNet(ConvTasNetConfig(**shared))
    alone.masking = network.masking
    mono = read_song(find_test_songs(songs)[0]).mono()
    expected = Separator(alone).separate(mono.mixture, mono.sample_rate).vocals
    final, masked = (system.estimate(mono, "one").vocals for system in networks(tiny_weights))
    np.testing.assert_allclose(masked, expected, atol=1e-6)
    assert not np.allclose(masked, final, atol=1e-4)


def test_a_name_with_a_dot_is_a_label(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTMDSEP_CACHE", str(tmp_path / "cache"))
    for name in ("mine-0.5", "mine-0.7"):
        cache_folder().mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_weights, cache_folder() / f"{name}.safetensors")
        record_hash(cache_folder() / f"{name}.safetensors", sha256(tiny_weights))
        (system,) = network_systems(name, device="cpu", with_masked=False)
        assert system.label == system.network["final"] == name


@pytest.mark.parametrize("text", ["a/b=x", "=x", "..=x"])
def test_labels_that_are_no_folder_names_are_refused(text: str) -> None:
    with pytest.raises(HtmdsepError, match="cannot be a label"):
        labelled(text)


@pytest.mark.parametrize(
    "name", ["song/vocals.wav", "test/song/vocals.flac", "song.stem/vocals.wav", "song/Vocals.WAV"]
)
def test_estimates_are_found_where_programs_put_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_estimate(tmp_path, "song", "vocals") == path
    assert find_estimate(tmp_path, "song", "accompaniment") is None
    other = path.with_name("no_vocals.wav")
    other.touch()
    assert find_estimate(tmp_path, "song", "accompaniment") == other
    path.with_name("vocals.mp3").touch()
    with pytest.raises(HtmdsepError, match=r"more than one vocals file; keep one of .*mp3"):
        find_estimate(tmp_path, "song", "vocals")


def silence(frames: int, channels: int) -> Signals:
    zeros = np.zeros((frames, channels), np.float32)
    return Signals(zeros, zeros, RATE)


@pytest.mark.parametrize(
    ("frames", "rate"), [(RATE - 1, RATE), (RATE + 1, RATE), (2 * RATE, RATE), (30_000, 44_100)]
)
def test_estimates_of_another_length_are_refused(tmp_path: Path, frames: int, rate: int) -> None:
    path = write(tmp_path / "vocals.wav", tone(frames, rate), rate)
    with pytest.raises(HtmdsepError, match=rf"{frames} frames at {rate} Hz, the song {RATE}"):
        fit_estimate(path, silence(RATE, 1))


def test_estimates_of_another_rate_are_converted(tmp_path: Path) -> None:
    path = write(tmp_path / "vocals.wav", tone(44_100, 44_100, 2), 44_100)
    fitted = fit_estimate(path, silence(RATE, 1))
    expected = tone(RATE, RATE, 2).mean(axis=1)
    np.testing.assert_allclose(fitted[200:-200, 0], expected[200:-200], atol=1e-3)


def test_estimates_in_mono_stand_for_every_channel(tmp_path: Path) -> None:
    mono = write(tmp_path / "mono.wav", tone(RATE, RATE))
    fitted = fit_estimate(mono, silence(RATE, 2))
    np.testing.assert_array_equal(fitted[:, 0], fitted[:, 1])
    three = write(tmp_path / "three.wav", tone(RATE, RATE, 3))
    with pytest.raises(HtmdsepError, match="3 channels, the song 2"):
        fit_estimate(three, silence(RATE, 2))
