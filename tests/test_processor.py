"""Which library computes, and that they all give the eager network's results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig, WaveUNetConfig
from htmdsep.errors import HtmdsepError
from htmdsep.options import EngineName, Precision
from htmdsep.precision import pick_precision
from htmdsep.processor import check_engine, pick_engine
from htmdsep.separator import Separator
from tests.networks import TINY
from tests.test_fast import AGREEMENT_DB, agreement_db, random_network

PUBLISHED = HTMDNetConfig(encoder_kernel=16, encoder_stride=8)
LIGHT = HTMDNetConfig(encoder_kernel=512, encoder_stride=128)


@pytest.mark.parametrize(
    ("engine", "precision", "config", "expected"),
    [
        ("auto", "fp32", LIGHT, "numpy"),
        ("auto", "fp32", PUBLISHED, "torch"),
        ("auto", "fp32", ConvTasNetConfig(encoder_kernel=32, encoder_stride=16), "torch"),
        ("auto", "fp32", WaveUNetConfig(), "torch"),
        ("auto", "bf16", LIGHT, "torch"),
        ("numpy", "fp32", PUBLISHED, "numpy"),
        ("torch", "fp32", LIGHT, "torch"),
        ("openvino", "bf16", WaveUNetConfig(), "openvino"),
    ],
)
def test_auto_takes_what_is_faster(
    engine: EngineName, precision: Precision, config: NetworkConfig, expected: EngineName
) -> None:
    assert pick_engine(engine, precision, config) == expected


def test_auto_does_without_pytorch_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("htmdsep.processor.find_spec", lambda _: None)
    assert pick_engine("auto", "fp32", PUBLISHED) == "numpy"


def test_numpy_is_not_asked_for_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htmdsep.precision.has_bf16", lambda: True)
    assert pick_precision("auto", "cpu", "numpy") == "fp32"
    assert pick_precision("auto", "cpu", "torch") == "bf16"


@pytest.mark.parametrize(
    ("engine", "device", "precision", "message"),
    [
        ("onnx", "cpu", "fp32", "must be one of auto, numpy, torch, openvino, not 'onnx'"),
        ("numpy", "cpu", "bf16", "engine numpy has no bf16: use --engine auto"),
        ("torch", "cuda:0", "fp32", "engine torch computes on the CPU only: use --device cpu"),
        ("openvino", "cpu", "fp32", r"needs pip install 'htmdsep\[openvino\]'"),
    ],
)
def test_engines_that_cannot(
    engine: EngineName,
    device: str,
    precision: Precision,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("htmdsep.processor.find_spec", lambda _: None)
    with pytest.raises(HtmdsepError, match=message):
        check_engine(engine, device, precision)


def test_a_separator_says_what_computes(tiny_weights: Path) -> None:
    assert Separator(tiny_weights, device="cpu").engine == "torch"
    assert Separator(tiny_weights, device="cpu", engine="numpy").engine == "numpy"
    assert Separator(device="cpu").engine == "numpy"  # the default weights


def test_numpy_has_no_wave_u_net() -> None:
    network = random_network(WaveUNetConfig(segment_length=512, levels=3, channels=2), 0)
    with pytest.raises(HtmdsepError, match="engine numpy has no waveunet: use --engine auto"):
        Separator(network, device="cpu", engine="numpy")


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, activation="tanh"),
        replace(TINY, segment_length=128, activation="linear", recurrent_activation="hard_sigmoid"),
        ConvTasNetConfig(
            segment_length=512, encoder_channels=8, bottleneck_channels=4, block_channels=8
        ),
        WaveUNetConfig(segment_length=512, levels=3, channels=2),
    ],
    ids=["tanh", "linear", "convtasnet", "waveunet"],
)
def test_openvino_agrees_with_the_eager_network(config: NetworkConfig) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    from htmdsep.openvino_network import OpenVinoNetwork

    network = random_network(config, 0)
    compiled = OpenVinoNetwork(network, "fp32", threads=2)
    for multiples in (1, 3):  # of the segment; compiled anew for another length
        length = multiples * config.segment_length
        mixtures = torch.randn(6, 1, length)
        with ThreadPoolExecutor(3) as pool:
            found = np.stack(list(pool.map(compiled, mixtures[:, 0].numpy())))
        with torch.no_grad():
            exact = network.double()(mixtures.double()).estimate
            expected = network.float()(mixtures).estimate
        assert found.dtype == np.float32 and found.shape == (6, length)
        # Random networks amplify rounding, the eager one's as well.
        limit = min(AGREEMENT_DB, agreement_db(exact, expected) - 10)
        assert agreement_db(exact[:, 0], torch.from_numpy(found)) >= limit


def test_openvino_separates(tiny_weights: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    mixture = rng.normal(0, 0.1, (30_000, 2)).astype(np.float32)
    ours = Separator(tiny_weights, device="cpu", engine="openvino", precision="fp32", threads=2)
    usual = Separator(tiny_weights, device="cpu", engine="numpy")
    found, expected = (one.separate(mixture, 22_050) for one in (ours, usual))
    np.testing.assert_allclose(found.vocals, expected.vocals, atol=1e-4)
    np.testing.assert_allclose(found.vocals + found.accompaniment, mixture, atol=1e-6)
