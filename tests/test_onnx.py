"""What runs in ONNX Runtime gives the eager network's results, and says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from htmdsep.networks.config import ConvTasNetConfig, NetworkConfig, WaveUNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.onnx import command, export_onnx
from htmdsep.weights.file import WeightsInfo, load_weights
from tests.engines.test_estimators import AGREEMENT_DB, agreement_db, random_network
from tests.programs import invoke_program
from tests.tiny import TINY

# Where the LSTM is not PyTorch's own, the graph grows with the segment's length.
LINEAR = replace(TINY, segment_length=128, activation="linear")
CONFIGS: list[NetworkConfig] = [
    TINY,
    replace(LINEAR, encoder_kernel=32, encoder_stride=16),
    replace(LINEAR, encoder_kernel=512, encoder_stride=128, recurrent_activation="hard_sigmoid"),
    ConvTasNetConfig(
        segment_length=512, encoder_channels=8, bottleneck_channels=4, block_channels=8, blocks=2
    ),
    WaveUNetConfig(segment_length=512, levels=3, channels=2),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_any_network_and_batch(config: NetworkConfig, tmp_path: Path) -> None:
    network = random_network(config, 0)
    path = tmp_path / "new" / "network.onnx"
    export_onnx(path, network, WeightsInfo("any", config, "CC0"))
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 2, 5):
        mixture = torch.randn(batch, 1, config.segment_length)
        (vocals,) = session.run(["vocals"], {"mixture": mixture.numpy()})
        with torch.no_grad():
            exact = network.double()(mixture.double()).estimate.numpy()
            expected = network.float()(mixture).estimate.numpy()
        assert vocals.dtype == np.float32 and vocals.shape == tuple(mixture.shape)
        # Random networks amplify rounding, the eager one's as well.
        limit = min(AGREEMENT_DB, agreement_db(exact, expected) - 10)
        assert agreement_db(exact, vocals) >= limit
    with pytest.raises(InvalidArgument, match="a batch of 0 is refused"):  # the process goes on
        session.run(None, {"mixture": np.zeros((0, 1, config.segment_length), np.float32)})


def test_the_command_and_what_the_file_says(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    done = CliRunner().invoke(command, [str(tiny_weights), str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "2048 samples at 22050 Hz" in done.output
    model = onnx.load(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    _, info = load_weights(tiny_weights)
    assert (texts["name"], texts["licence"]) == (info.name, info.licence)
    assert json.loads(texts["provenance"]) == info.provenance
    assert json.loads(texts["config"])["encoder_stride"] == TINY.encoder_stride
    assert (texts["sample_rate"], texts["segment_length"]) == ("22050", "2048")
    (mixture,) = model.graph.input
    batch, channels, time = mixture.type.tensor_type.shape.dim
    assert (batch.dim_param, channels.dim_value, time.dim_param) == ("batch", 1, "time")
    assert str(Path(__file__).parent.parent).encode() not in path.read_bytes()
    assert [entry.name for entry in tmp_path.glob("*.onnx*")] == ["tiny.onnx"]


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    done = invoke_program(command, "htmdsep-onnx", "absent.safetensors", tmp_path / "a.onnx")
    assert done.exit_code == 1
    assert "there is no weights file absent.safetensors" in done.output


def test_weights_are_not_written_over(tiny_weights: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(tiny_weights.read_bytes())
    (tmp_path / "link").symlink_to(weights)
    done = invoke_program(command, "htmdsep-onnx", weights, tmp_path / "link")
    assert done.exit_code == 1 and "link is the input itself; name another file" in done.output
    assert weights.read_bytes() == tiny_weights.read_bytes()


def test_export_leaves_the_network_as_it_was(tiny_network: HTMDNet, tmp_path: Path) -> None:
    mixture = torch.randn(2, 1, TINY.segment_length)
    with torch.no_grad():
        before = tiny_network(mixture).estimate
        export_onnx(tmp_path / "tiny.onnx", tiny_network, WeightsInfo("tiny", TINY, "CC0"))
        assert torch.equal(tiny_network(mixture).estimate, before)
