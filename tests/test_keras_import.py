"""Networks that Keras saved give the same outputs here, however the file is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.keras_import import convert_keras
from tests import keras_files
from tests.keras_files import Form, KerasModel, build_htmdnet

FORMS = {
    "authors": Form(),
    "sigmoid gates": Form(gate="sigmoid"),
    "tanh LSTM": Form(gate="sigmoid", activation="tanh"),
    "other encoder": Form(encoder_kernel=6, encoder_stride=2, slope=0.2),
    "sums at once": Form(one_sum=True, shuffled=True),
    "other order of inputs": Form(skip_first=True),
    "functions as layers": Form(reshapes="TFOpLambda", operators=True, skip_first=True),
    "repeated blocks": Form(repeats=2),
    "functions of TensorFlow 2.3": Form(reshapes="TensorFlowOpLayer"),
    "reshape layers": Form(reshapes="Reshape", separate_activations=True),
    "one-dimensional layers": Form(reshapes="none", nested_leaky=True),
    "a layer used often": Form(shared_leaky=True, shuffled=True),
    "old file": Form(attributes=bytes, cell_level=False, shuffled=True),
    "Keras 3": Form(gate="sigmoid", keras=3, shuffled=True),
}


@pytest.fixture
def mixture() -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.uniform(-1, 1, (2, keras_files.SEGMENT_LENGTH, 1)).astype(np.float32)


@pytest.fixture
def model(mixture: np.ndarray) -> KerasModel:
    return build_htmdnet(Form(), mixture, np.random.default_rng(6))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_outputs_are_those_of_keras(form: Form, mixture: np.ndarray, tmp_path: Path) -> None:
    model = build_htmdnet(form, mixture, np.random.default_rng(7))
    network = convert_keras(model.write(tmp_path / "network.h5"))
    with torch.inference_mode():
        outputs = network(torch.from_numpy(mixture).transpose(1, 2))
    for found, expected in zip(outputs[:2], model.outputs, strict=True):
        assert expected.value.std() > 0.05
        np.testing.assert_allclose(found.transpose(1, 2), expected.value, rtol=0, atol=1e-5)


def test_config_is_the_files(mixture: np.ndarray, tmp_path: Path) -> None:
    form = Form(encoder_kernel=6, encoder_stride=2, slope=0.2)
    model = build_htmdnet(form, mixture, np.random.default_rng(8))
    network = convert_keras(model.write(tmp_path / "network.h5"))
    assert not network.training
    assert dataclasses.asdict(network.config) == {
        "sample_rate": 22_050,
        "segment_length": keras_files.SEGMENT_LENGTH,
        "leaky_slope": 0.2,
        "batchnorm_eps": 1e-3,
        "batchnorm_momentum": 0.01,
        "input_level": None,
        "encoder_channels": keras_files.ENCODER_CHANNELS,
        "encoder_kernel": 6,
        "encoder_stride": 2,
        "bottleneck_channels": keras_files.NARROW,
        "block_channels": keras_files.WIDE,
        "block_kernel": 3,
        "blocks": keras_files.BLOCKS,
        "repeats": 1,
        "denoiser_levels": keras_files.LEVELS,
        "denoiser_channels": keras_files.CHANNELS,
        "first_kernel": 5,
        "down_kernel": 15,
        "up_kernel": 5,
        "lstm_size": keras_files.LSTM_SIZE,
        "lstm_layers": 2,
        "activation": "linear",
        "recurrent_activation": "hard_sigmoid",
    }


def test_open_length_gives_the_default_segment(mixture: np.ndarray, tmp_path: Path) -> None:
    model = build_htmdnet(Form(open_length=True), mixture, np.random.default_rng(9))
    assert convert_keras(model.write(tmp_path / "network.h5")).config.segment_length == 16_384


def refuse(path: Path, match: str) -> None:
    """Expect an error of one line that names the file and the cause."""
    with pytest.raises(HtmdsepError, match=match) as caught:
        convert_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "none.h5", "no such file; check the path")


def test_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "cannot be read as HDF5")


@pytest.mark.parametrize("contents", [b"", b"<html>not found</html>"])
def test_other_contents_are_refused(contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.h5"
    path.write_bytes(contents)
    refuse(path, "cannot be read as HDF5; give the .h5 file")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_file_is_refused(kept: float, model: KerasModel, tmp_path: Path) -> None:
    path = model.write(tmp_path / "network.h5")
    contents = path.read_bytes()
    path.write_bytes(contents[: int(kept * len(contents))])
    refuse(path, "cannot be read as HDF5")


def test_weights_without_their_network_are_refused(model: KerasModel, tmp_path: Path) -> None:
    path = model.write(tmp_path / "network.h5")
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    refuse(path, "with Keras's Model.save, not save_weights")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"config": []}', '{"config": {"layers": [{}], "output_layers": []}}']
)
def test_damaged_description_is_refused(text: str, model: KerasModel, tmp_path: Path) -> None:
    path = model.write(tmp_path / "network.h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = text
    refuse(path, "damaged|is not a graph of layers")


Edit = Callable[[KerasModel], Any]


def configure(kind: str, **settings: Any) -> Edit:
    return lambda model: model.entry(kind)["config"].update(settings)


def configure_lstm(**settings: Any) -> Edit:
    return lambda model: model.entry("Bidirectional")["config"]["layer"]["config"].update(settings)


def rename_kind(kind: str, other: str) -> Edit:
    return lambda model: model.entry(kind).update(class_name=other)


def edit_weights(
    kind: str, name: str, edit: Callable[[np.ndarray], np.ndarray], position: int = 0
) -> Edit:
    def apply(model: KerasModel) -> None:
        weights = model.weights[model.entry(kind, position)["name"]]
        weights[name] = edit(weights[name])

    return apply


def rewire(kind: str, position: int, source: tuple[str, int]) -> Edit:
    """Feed a layer's first input from another layer."""

    def apply(model: KerasModel) -> None:
        reference = model.entry(kind, position)["inbound_nodes"][0][0]
        reference[0] = model.entry(*source)["name"]

    return apply


def drop_array(kind: str, name: str) -> Edit:
    return lambda model: model.weights[model.entry(kind)["name"]].pop(name)


def drop_input(kind: str) -> Edit:
    return lambda model: model.entry(kind)["inbound_nodes"][0].pop()


def add_head(model: KerasModel) -> None:
    model.outputs.append(model.convolution(model.outputs[1], 2, 3))


OTHER_NETWORKS: dict[str, tuple[Edit, str]] = {
    "unknown layer": (rename_kind("AveragePooling1D", "MaxPooling1D"), "kind 'MaxPooling1D'"),
    "unknown activation": (configure("Conv1D", activation="relu"), "the activation 'relu'"),
    "no tanh": (lambda model: model.outputs.pop(0), "0 of its outputs end in tanh"),
    "one more head": (add_head, "1 layers with weights have no part"),
    "circle": (rewire("Conv1D", 1, ("Add", 0)), "runs in a circle"),
    "another order": (rewire("LeakyReLU", 0, ("BatchNormalization", 0)), "where a convolution is"),
    "crossed blocks": (
        rewire("Conv1D", 7, ("BatchNormalization", 2)),  # block 1's residual from block 0
        "the block of 'layer_[0-9]+' does not follow that of",
    ),
    "no levels": (rewire("Concatenate", 3, ("LeakyReLU", 10)), "has no levels"),
    "crossed levels": (rewire("AveragePooling1D", 1, ("LeakyReLU", 7)), "another level than its"),
    "mask of the entry": (rewire("Multiply", 0, ("Conv1D", 1)), "does not follow the encoder"),
    "sum of one": (drop_input("Add"), "joins fewer than two"),
    "causal": (configure("DepthwiseConv2D", padding="causal"), "padding='causal'"),
    "strided": (
        lambda model: model.entry("Conv1D", -1)["config"].update(strides=[2]),
        r"strides=\[2\]",
    ),
    "pools by 4": (configure("AveragePooling1D", pool_size=[4]), r"pool_size=\[4\]"),
    "directions joined": (configure("Bidirectional", merge_mode="concat"), "merge_mode='concat'"),
    "GRU": (
        lambda model: model.entry("Bidirectional")["config"]["layer"].update(class_name="GRU"),
        "a layer of the kind 'GRU' inside",
    ),
    "no LSTM": (configure("Bidirectional", layer=None), "a layer of the kind None inside"),
    "last step only": (configure_lstm(return_sequences=False), "return_sequences=False"),
    "unequal LSTMs": (configure_lstm(activation="tanh"), "differ in their activations"),
    "unequal slopes": (configure("LeakyReLU", alpha=0.1), "differ in alpha"),
    "slope in words": (configure("LeakyReLU", alpha="steep"), "has alpha='steep'"),
    "unequal epsilons": (configure("BatchNormalization", epsilon=1e-5), "differ in epsilon"),
    "dilations": (configure("DepthwiseConv2D", dilation_rate=[4, 1]), r"dilations \[4, 2, 4\]"),
    "unequal strides": (configure("Conv2DTranspose", strides=[2, 1]), "different strides"),
    "stereo": (configure("InputLayer", batch_input_shape=[None, 32, 2]), "not .batch, time, 1"),
    "no shape": (configure("InputLayer", batch_input_shape=None), "has the shape None"),
    "odd length": (configure("InputLayer", batch_input_shape=[None, 31, 1]), "multiple of 8"),
    "no bias": (drop_array("Conv1D", "bias"), "has no bias"),
    "flat kernel": (
        edit_weights("Conv1D", "kernel", np.ravel),
        r"has a kernel of shape \(56,\)",
    ),
    "short bias": (edit_weights("Conv1D", "bias", lambda bias: bias[1:]), r"bias \(6,\) instead"),
    "narrow layer": (
        edit_weights("Conv1D", "kernel", lambda kernel: kernel[:, :, :5], position=10),
        r"make masking.mask.1.weight \(5, 4, 1\) instead of \(7, 4, 1\)",
    ),
    "even kernel": (
        edit_weights("Conv1D", "kernel", lambda kernel: kernel[1:], position=-1),
        "an even kernel_size of 4",
    ),
    "not finite": (
        edit_weights("BatchNormalization", "gamma", lambda gamma: gamma * np.nan),
        "are not finite",
    ),
    "LSTM bias": (
        edit_weights("Bidirectional", "backward_lstm/lstm_cell_7/bias", lambda bias: bias[1:]),
        "do not fit each other",
    ),
}


@pytest.mark.parametrize(("edit", "match"), OTHER_NETWORKS.values(), ids=OTHER_NETWORKS)
def test_other_network_is_refused(
    edit: Edit, match: str, model: KerasModel, tmp_path: Path
) -> None:
    edit(model)
    refuse(model.write(tmp_path / "network.h5"), match)


def test_hard_sigmoid_of_keras_3_is_refused(mixture: np.ndarray, tmp_path: Path) -> None:
    model = build_htmdnet(Form(keras=3), mixture, np.random.default_rng(10))
    refuse(model.write(tmp_path / "network.h5"), "the hard sigmoid of Keras 3")
