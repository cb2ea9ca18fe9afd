"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from htmdsep.networks.build import initialise_like_keras
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.weights.file import WeightsInfo, save_weights
from tests.tiny import TINY, TINY_SPECTRAL


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "auto" stand for the first of its choices, fp32 in ONNX Runtime, on every machine."""
    monkeypatch.setattr("htmdsep.engines.estimators.fastest", lambda choices, *_: choices[0])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests cache, in processes of their own, too, out of the user's folder."""
    monkeypatch.setenv("HTMDSEP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_211)


@pytest.fixture
def tiny_network() -> HTMDNet:
    network = HTMDNet(TINY).eval()
    initialise_like_keras(network, torch.Generator().manual_seed(1))
    return network


@pytest.fixture
def tiny_spectral() -> HTMDNet:
    torch.manual_seed(2)
    return HTMDNet(TINY_SPECTRAL).eval()


@pytest.fixture(params=["tiny_network", "tiny_spectral"])
def any_network(request: pytest.FixtureRequest) -> HTMDNet:
    """Return a network on waveforms, then one on spectra that hears two channels together."""
    network: HTMDNet = request.getfixturevalue(request.param)
    return network


@pytest.fixture
def tiny_weights(tmp_path: Path, tiny_network: HTMDNet) -> Path:
    path = tmp_path / "weights" / "tiny.safetensors"
    info = WeightsInfo("tiny", TINY, "CC0", {"data": "none"})
    save_weights(path, tiny_network, info, torch.float32)
    return path
