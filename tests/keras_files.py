"""Write small HTMD-Nets as Keras does, together with their outputs.

Each method of `KerasModel` that takes and returns a `Tensor` adds a layer to the file and applies
it with `keras_numpy`; nothing of htmdsep takes part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests import keras_numpy
from tests.keras_numpy import ACTIVATIONS, Array

SEGMENT_LENGTH = 32
LEVELS, CHANNELS, LSTM_SIZE = 3, 3, 5
ENCODER_CHANNELS, NARROW, WIDE, BLOCKS = 7, 4, 6, 3


@dataclass(frozen=True)
class Form:
    """How the network is built and how the file is written; first as the authors' are."""

    gate: str = "hard_sigmoid"
    activation: str = "linear"
    encoder_kernel: int = 8
    encoder_stride: int = 4
    repeats: int = 1  # of the temporal blocks
    slope: float = 0.3
    reshapes: str = "Lambda"  # or "TFOpLambda", "TensorFlowOpLayer", "Reshape", "none"
    one_sum: bool = False  # of all skips, and of all residuals so far
    operators: bool = False  # sums and the product as functions, not layers
    skip_first: bool = False  # the other order of inputs of all that joins two
    separate_activations: bool = False
    nested_leaky: bool = False  # LeakyReLU as another layer's activation
    shared_leaky: bool = False  # one layer used throughout
    keras: int = 2
    attributes: type = str
    cell_level: bool = True  # in the names of an LSTM's arrays
    shuffled: bool = False
    open_length: bool = False


@dataclass(frozen=True)
class Tensor:
    """The output of a layer, (batch, time, channels)."""

    layer: str
    value: Array
    call: int = 0  # which use of the layer


class KerasModel:
    """A Keras file in the making; `entries`, `weights` and `outputs` may be edited."""

    def __init__(self, form: Form, rng: np.random.Generator) -> None:
        self.form = form
        self.rng = rng
        self.entries: list[dict[str, Any]] = []
        self.weights: dict[str, dict[str, Array]] = {}
        self.outputs: list[Tensor] = []
        self._leaky: dict[str, Any] | None = None

    def entry(self, kind: str, position: int = 0) -> dict[str, Any]:
        """Return what the file says of one layer of a kind, in the order of their making."""
        return [entry for entry in self.entries if entry["class_name"] == kind][position]

    def layer(
        self, kind: str, config: dict[str, Any], inputs: list[Tensor], value: Array
    ) -> Tensor:
        """Add a layer whose name tells nothing."""
        name = f"layer_{self.rng.integers(1 << 40)}"
        calls = [self._call(kind, inputs)] if inputs else []
        config = {"name": name, **config}
        self.entries.append(
            {"class_name": kind, "name": name, "config": config, "inbound_nodes": calls}
        )
        return Tensor(name, value)

    def _call(self, kind: str, inputs: list[Tensor]) -> Any:
        names = [[one.layer, one.call, 0] for one in inputs]
        if self.form.keras == 3:
            tensors = [
                {"class_name": "__keras_tensor__", "config": {"keras_history": name}}
                for name in names
            ]
            return {"args": tensors if len(names) == 1 else [tensors], "kwargs": {"mask": None}}
        if kind == "TFOpLambda":
            arguments = {"axis": 2} if len(names) == 1 else {"y": names[1], "name": None}
            return [*names[0], arguments]
        return [[*name, {}] for name in names]

    def input(self, value: Array) -> Tensor:
        length = None if self.form.open_length else value.shape[1]
        shape = "batch_shape" if self.form.keras == 3 else "batch_input_shape"
        return self.layer("InputLayer", {shape: [None, length, 1]}, [], value)

    def convolution(
        self, before: Tensor, channels: int, width: int, activation: str = "linear", stride: int = 1
    ) -> Tensor:
        within = before.value.shape[2]
        kernel = self._draw((width, within, channels), 1.3 / (width * within) ** 0.5)
        bias = self._draw((channels,), 0.2)
        value = keras_numpy.convolve(before.value, kernel, stride) + bias
        activated = ACTIVATIONS[activation](value)
        separate = self.form.separate_activations and activation != "linear"
        config = {
            "kernel_size": [width],
            "strides": [stride],
            "padding": "same" if width > 1 else "valid",
            "dilation_rate": [1],
            "activation": "linear" if separate else activation,
        }
        tensor = self.layer("Conv1D", config, [before], value if separate else activated)
        self.weights[tensor.layer] = {"kernel": kernel, "bias": bias}
        if separate:
            return self.layer("Activation", {"activation": activation}, [tensor], activated)
        return tensor

    def depthwise(self, before: Tensor, width: int, dilation: int) -> Tensor:
        kernel = self._draw((width, before.value.shape[2]), 0.7)
        bias = self._draw(kernel.shape[1:], 0.2)
        value = keras_numpy.convolve_depthwise(before.value, kernel, dilation) + bias
        flat = self.form.reshapes == "none"
        config = {
            "strides": [1] if flat else [1, 1],
            "padding": "same",
            "dilation_rate": [dilation] if flat else [dilation, 1],
        }
        kind = "DepthwiseConv1D" if flat else "DepthwiseConv2D"
        tensor = self.layer(kind, config, [self._reshape(before, "expand_dims")], value)
        name = "kernel" if self.form.keras == 3 else "depthwise_kernel"
        shaped = kernel[:, :, None] if flat else kernel[:, None, :, None]
        self.weights[tensor.layer] = {name: shaped, "bias": bias}
        return self._reshape(tensor, "squeeze")

    def transposed(self, before: Tensor, width: int, stride: int) -> Tensor:
        channels = before.value.shape[2]
        kernel = self._draw((width, 1, channels), 0.6 / channels**0.5)
        bias = self._draw((1,), 0.1)
        value = keras_numpy.convolve_transposed(before.value, kernel, stride) + bias
        flat = self.form.reshapes == "none"
        config = {"strides": [stride] if flat else [stride, 1], "padding": "same"}
        kind = "Conv1DTranspose" if flat else "Conv2DTranspose"
        tensor = self.layer(kind, config, [self._reshape(before, "expand_dims")], value)
        self.weights[tensor.layer] = {"kernel": kernel if flat else kernel[:, None], "bias": bias}
        return self._reshape(tensor, "squeeze")

    def _reshape(self, before: Tensor, function: str) -> Tensor:
        """Add what stands around Keras's two-dimensional convolutions."""
        kind = self.form.reshapes
        if kind == "none":
            return before
        config: dict[str, Any] = {"function": function}
        if kind == "TensorFlowOpLayer":
            operation = {"expand_dims": "ExpandDims", "squeeze": "Squeeze"}[function]
            config = {"node_def": {"name": "any", "op": operation}, "constants": {"1": 2}}
        elif kind == "Lambda":
            config = {"function": ["4wEAAAA=", None, None], "function_type": "lambda"}
        return self.layer(kind, config, [before], before.value)

    def norm(self, before: Tensor) -> Tensor:
        channels = before.value.shape[2]
        weights = {
            "gamma": self.rng.uniform(0.6, 1.5, (channels,)).astype(np.float32),
            "beta": self._draw((channels,), 0.3),
            "moving_mean": self._draw((channels,), 0.3),
            "moving_variance": self.rng.uniform(0.5, 2, (channels,)).astype(np.float32),
        }
        value = keras_numpy.normalise(before.value, weights, 1e-3)
        tensor = self.layer("BatchNormalization", {"axis": [2], "epsilon": 1e-3}, [before], value)
        self.weights[tensor.layer] = weights
        return tensor

    def leaky(self, before: Tensor) -> Tensor:
        value = keras_numpy.leak(before.value, self.form.slope)
        if self._leaky is not None:
            calls = self._leaky["inbound_nodes"]
            calls.append(self._call("LeakyReLU", [before]))
            return Tensor(self._leaky["name"], value, len(calls) - 1)
        # Keras 2 keeps the slope as float32.
        alpha = {"alpha": float(np.float32(self.form.slope))}
        config: dict[str, Any] = alpha
        if self.form.keras == 3:
            config = {"negative_slope": self.form.slope}
        if self.form.nested_leaky:
            nested = {"class_name": "LeakyReLU", "config": config}
            return self.layer("Activation", {"activation": nested}, [before], value)
        tensor = self.layer("LeakyReLU", config, [before], value)
        if self.form.shared_leaky:
            self._leaky = self.entries[-1]
        return tensor

    def pool(self, before: Tensor) -> Tensor:
        config = {"pool_size": [2], "strides": [2]}
        return self.layer(
            "AveragePooling1D", config, [before], keras_numpy.average_pairs(before.value)
        )

    def upsample(self, before: Tensor) -> Tensor:
        return self.layer("UpSampling1D", {"size": 2}, [before], before.value.repeat(2, axis=1))

    def concatenate(self, *inputs: Tensor) -> Tensor:
        inputs = inputs[:: -1 if self.form.skip_first else 1]
        value = np.concatenate([one.value for one in inputs], axis=2)
        return self.layer("Concatenate", {"axis": -1}, list(inputs), value)

    def add(self, *inputs: Tensor) -> Tensor:
        return self._join("Add", "__operators__.add", inputs, sum(one.value for one in inputs))

    def multiply(self, one: Tensor, other: Tensor) -> Tensor:
        return self._join("Multiply", "math.multiply", (one, other), one.value * other.value)

    def _join(self, kind: str, function: str, inputs: tuple[Tensor, ...], value: Any) -> Tensor:
        inputs = inputs[:: -1 if self.form.skip_first else 1]
        if self.form.operators:
            return self.layer("TFOpLambda", {"function": function}, list(inputs), value)
        return self.layer(kind, {}, list(inputs), value)

    def lstm(self, before: Tensor, size: int) -> Tensor:
        inner = {
            "activation": self.form.activation,
            "recurrent_activation": self.form.gate,
            "return_sequences": True,
            "go_backwards": False,
        }
        config: dict[str, Any] = {
            "merge_mode": "ave",
            "layer": {"class_name": "LSTM", "config": inner},
        }
        if self.form.keras == 3:
            backward = {**inner, "go_backwards": True}
            config["backward_layer"] = {"class_name": "LSTM", "config": backward}
        weights: dict[str, Array] = {}
        values = [
            self._direction(before.value[:, ::way], size, name, weights)[:, ::way]
            for name, way in (("forward", 1), ("backward", -1))
        ]
        tensor = self.layer("Bidirectional", config, [before], (values[0] + values[1]) / 2)
        self.weights[tensor.layer] = weights
        return tensor

    def _direction(self, value: Array, size: int, name: str, weights: dict[str, Array]) -> Array:
        """Run one direction of an LSTM and note its weights."""
        channels = value.shape[2]
        kernel = self._draw((channels, 4 * size), 1.5 / channels**0.5)
        recurrent = self._draw((size, 4 * size), 0.6 / size**0.5)
        bias = self._draw((4 * size,), 0.6)
        prefix = f"{name}_lstm/lstm_cell_7" if self.form.cell_level else f"{name}_lstm"
        weights[f"{prefix}/kernel"] = kernel
        weights[f"{prefix}/recurrent_kernel"] = recurrent
        weights[f"{prefix}/bias"] = bias
        gate, activate = ACTIVATIONS[self.form.gate], ACTIVATIONS[self.form.activation]
        return keras_numpy.run_lstm(value @ kernel + bias, recurrent, gate, activate)

    def _draw(self, shape: tuple[int, ...], scale: float) -> Array:
        return self.rng.normal(0, scale, shape).astype(np.float32)

    def model_config(self) -> dict[str, Any]:
        """Return the file's description of the network."""
        layers = self.entries
        if self.form.shuffled:
            layers = [layers[position] for position in self.rng.permutation(len(layers))]
        outputs = [[one.layer, one.call, 0] for one in self.outputs]
        return {"class_name": "Functional", "config": {"layers": layers, "output_layers": outputs}}

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        colon = "" if self.form.keras == 3 else ":0"
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"] = self._text("3.1.0" if self.form.keras == 3 else "2.12.0")
            file.attrs["model_config"] = self._text(json.dumps(self.model_config()))
            groups = file.create_group("model_weights")
            for entry in self.entries:
                layer = entry["name"]
                group = groups.create_group(layer)
                weights = {
                    f"{layer}/{name}{colon}": array
                    for name, array in self.weights.get(layer, {}).items()
                }
                group.attrs["weight_names"] = [self._text(name) for name in weights]
                for name, array in weights.items():
                    group[name] = array
        return path

    def _text(self, text: str) -> str | bytes:
        return text.encode() if self.form.attributes is bytes else text


def build_htmdnet(form: Form, mixture: Array, rng: np.random.Generator) -> KerasModel:
    """Return a small HTMD-Net with random weights, whose outputs are vocals and masked estimate.

    The mixture is (batch, SEGMENT_LENGTH, 1).
    """
    model = KerasModel(form, rng)
    width, stride = form.encoder_kernel, form.encoder_stride
    encoded = model.convolution(model.input(mixture), ENCODER_CHANNELS, width, stride=stride)
    skips = _temporal_blocks(model, model.convolution(model.norm(encoded), NARROW, 1))
    mask = model.convolution(model.leaky(skips), ENCODER_CHANNELS, 1, "sigmoid")
    masked = model.transposed(model.multiply(encoded, mask), width, stride)
    hidden, levels = masked, []
    for level in range(LEVELS):
        width = 15 if level else 5
        hidden = model.leaky(model.convolution(hidden, CHANNELS * (level + 1), width))
        levels.append(hidden)
        hidden = model.pool(hidden)
    hidden = model.leaky(model.lstm(model.lstm(hidden, LSTM_SIZE), LSTM_SIZE))
    for level in reversed(range(LEVELS)):
        hidden = model.concatenate(model.upsample(hidden), levels[level])
        hidden = model.leaky(model.convolution(hidden, CHANNELS * (level + 1), 5))
    vocals = model.convolution(model.concatenate(hidden, masked), 1, 5, "tanh")
    model.outputs = [vocals, masked]
    return model


def _temporal_blocks(model: KerasModel, entry: Tensor) -> Tensor:
    """Add the temporal blocks and return the sum of their skips."""
    one_sum = model.form.one_sum
    features, total = [entry], entry
    skips: list[Tensor] = []
    dilations = [2**block for block in range(BLOCKS)] * model.form.repeats
    for block, dilation in enumerate(dilations):
        hidden = model.norm(model.leaky(model.convolution(total, WIDE, 1)))
        hidden = model.norm(model.leaky(model.depthwise(hidden, 3, dilation)))
        skip = model.convolution(hidden, NARROW, 1)
        skips.append(skip if one_sum or not block else model.add(skips[-1], skip))
        if block < len(dilations) - 1:
            features.append(model.convolution(hidden, NARROW, 1))
            total = model.add(*features) if one_sum else model.add(total, features[-1])
    return model.add(*skips) if one_sum else skips[-1]
