"""Networks that Keras saved give the same outputs here; what is no such network is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.weights.keras import convert_keras
from tests.weights.keras_files import SEGMENT_LENGTH, KerasFile

CONFIG = HTMDNetConfig(
    segment_length=SEGMENT_LENGTH,
    encoder_channels=7,
    encoder_kernel=8,
    encoder_stride=4,
    bottleneck_channels=4,
    block_channels=6,
    blocks=3,
    denoiser_levels=3,
    denoiser_channels=3,
    lstm_size=5,
    activation="linear",
    recurrent_activation="hard_sigmoid",
)


@pytest.fixture
def mixture() -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.uniform(-1, 1, (2, SEGMENT_LENGTH, 1)).astype(np.float32)


@pytest.fixture
def file(mixture: np.ndarray) -> KerasFile:
    return KerasFile(mixture, np.random.default_rng(6))


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize(("first", "cell"), [(0, "lstm_cell_3/"), (1, ""), (98, "")])
def test_outputs_are_those_of_keras(
    mixture: np.ndarray, tmp_path: Path, activation: str, gate: str, first: int, cell: str
) -> None:
    file = KerasFile(
        mixture, np.random.default_rng(7), activation=activation, gate=gate, first=first, cell=cell
    )
    network = convert_keras(file.write(tmp_path / "network.h5"))
    with torch.inference_mode():
        output = network(torch.from_numpy(mixture).transpose(1, 2))
    found = (output.estimate, output.masked_estimate)
    for ours, expected in zip(found, file.outputs, strict=True):
        assert expected.std() > 0.05
        np.testing.assert_allclose(ours.transpose(1, 2), expected, rtol=0, atol=1e-5)


def test_config_is_the_files(file: KerasFile, tmp_path: Path) -> None:
    network = convert_keras(file.write(tmp_path / "network.h5"))
    assert network.config == CONFIG and not network.training
    file.layers["InputLayer"][0]["config"]["batch_input_shape"][1] = None
    assert convert_keras(file.write(tmp_path / "open.h5")).config.segment_length == 16_384


def refuse(path: Path, match: str) -> None:
    """Expect an error of one line that names the file and the cause."""
    with pytest.raises(HtmdsepError, match=match) as caught:
        convert_keras(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_file_is_refused(kept: float, file: KerasFile, tmp_path: Path) -> None:
    path = file.write(tmp_path / "network.h5")
    contents = path.read_bytes()
    path.write_bytes(contents[: int(kept * len(contents))])
    refuse(path, "no whole .h5 file")


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {"layers": [{}]}}', None])
def test_a_damaged_description_is_refused(
    text: str | None, file: KerasFile, tmp_path: Path
) -> None:
    path = file.write(tmp_path / "network.h5")
    with h5py.File(path, "a") as opened:
        del opened.attrs["model_config"]  # as Keras's save_weights leaves it out
        if text is not None:
            opened.attrs["model_config"] = text
    refuse(path, "no whole .h5 file")


Edit = Callable[[dict[str, Any]], Any]


def drop(name: str) -> Edit:
    return lambda layer: layer["arrays"].pop(name)


def change(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda layer: layer["arrays"].update({name: edit(layer["arrays"][name])})


def configure(**settings: Any) -> Edit:
    return lambda layer: layer["config"].update(settings)


OTHERS: dict[str, tuple[str, Edit, str]] = {
    "class": ("Add", lambda layer: layer.update(class_name="Average"), "3 .*Add instead of 4"),
    "pools": (
        "AveragePooling1D",
        lambda layer: layer.update(class_name="MaxPooling1D"),
        "it has 4 layers of the class Concatenate instead of 3",
    ),
    "name": ("Conv1D", lambda layer: layer.update(name="encoder"), "'encoder' does not tell"),
    "dilations": ("DepthwiseConv2D", configure(dilation_rate=[4, 1]), r"dilations \[4, 2, 4\]"),
    "strides": ("Conv2DTranspose", configure(strides=[2, 1]), "differ in strides"),
    "slopes": ("LeakyReLU", configure(alpha=0.1), r"differ in alpha: \[0.1, 0.3\]"),
    "slope": ("LeakyReLU", configure(alpha="steep"), "no whole .h5 file"),
    "epsilons": ("BatchNormalization", configure(epsilon=1e-5), "differ in epsilon"),
    "LSTMs": (
        "Bidirectional",
        lambda layer: layer["config"]["layer"]["config"].update(activation="tanh"),
        "differ in activation",
    ),
    "length": ("InputLayer", configure(batch_input_shape=[None, 31, 1]), "a multiple of 8"),
    "no bias": ("Conv1D", drop("bias"), "KeyError.*bias"),
    "flat": ("Conv1D", change("kernel", np.ravel), "no whole .h5 file"),
    "shape": ("Conv1D", change("bias", lambda bias: bias[1:]), r"bias \(6,\) instead of \(7,\)"),
    "values": ("BatchNormalization", change("gamma", lambda gamma: gamma * np.nan), "not finite"),
}


@pytest.mark.parametrize(("kind", "edit", "match"), OTHERS.values(), ids=OTHERS)
def test_another_network_is_refused(
    kind: str, edit: Edit, match: str, file: KerasFile, tmp_path: Path
) -> None:
    edit(file.layers[kind][0])
    refuse(file.write(tmp_path / "network.h5"), match)


def test_another_version_of_keras_is_refused(file: KerasFile, tmp_path: Path) -> None:
    file.version = "3.1.0"
    refuse(file.write(tmp_path / "network.h5"), "by Keras 2")
