"""Write small HTMD-Nets as their authors' script and Keras 2 do, together with their outputs.

Each method that takes and returns an array adds a layer to the file and computes in double
precision what Keras documents; nothing of htmdsep takes part. Arrays are (batch, time, channels).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Array = np.ndarray

SEGMENT_LENGTH = 32
LEVELS, CHANNELS, LSTM_SIZE = 3, 3, 5
ENCODER_CHANNELS, NARROW, WIDE, BLOCKS = 7, 4, 6, 3
ENCODER_KERNEL, ENCODER_STRIDE = 8, 4


def _sigmoid(value: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-value)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda value: value,
    "tanh": lambda value: np.asarray(np.tanh(value)),
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda value: np.clip(0.2 * value + 0.5, 0, 1),
}


class KerasFile:
    """The file of a network with random weights; `layers` may be edited before it is written.

    `first` is the number of a class's first layer, which Keras leaves out where it is 0, and
    `cell` a level in the names of an LSTM's arrays.
    """

    def __init__(
        self,
        mixture: Array,
        rng: np.random.Generator,
        *,
        activation: str = "linear",
        gate: str = "hard_sigmoid",
        first: int = 1,
        cell: str = "",
    ) -> None:
        self.rng, self.activation, self.gate = rng, activation, gate
        self.first, self.cell = first, cell
        self.version = "2.2.4"
        self.layers: dict[str, list[dict[str, Any]]] = {}
        self._made: Counter[str] = Counter()
        self.outputs = self._build(mixture)

    def _build(self, mixture: Array) -> tuple[Array, Array]:
        self._layer("InputLayer", batch_input_shape=[None, mixture.shape[1], 1])
        encoded = self._convolve(mixture, ENCODER_CHANNELS, ENCODER_KERNEL, stride=ENCODER_STRIDE)
        hidden = self._convolve(self._normalise(encoded), NARROW, 1)
        skips = np.zeros_like(hidden)
        for block in range(BLOCKS):
            wide = self._normalise(self._leak(self._convolve(hidden, WIDE, 1)))
            wide = self._normalise(self._leak(self._convolve_depthwise(wide, 3, 2**block)))
            skips = skips + self._convolve(wide, NARROW, 1)
            if block < BLOCKS - 1:
                hidden = hidden + self._convolve(wide, NARROW, 1)
                self._layer("Add")
                self._layer("Add")
            else:
                self._made["Conv1D"] += 1  # a residual that leads nowhere
        mask = _sigmoid(self._convolve(self._leak(skips), ENCODER_CHANNELS, 1))
        self._layer("Multiply")
        masked = self._convolve_transposed(encoded * mask)
        return self._denoise(masked), masked

    def _denoise(self, masked: Array) -> Array:
        hidden, levels = masked, []
        for level in range(LEVELS):
            width = 15 if level else 5
            levels.append(self._leak(self._convolve(hidden, CHANNELS * (level + 1), width)))
            self._layer("AveragePooling1D")
            hidden = (levels[-1][:, ::2] + levels[-1][:, 1::2]) / 2
        hidden = self._leak(self._run_lstm(self._run_lstm(hidden)))
        for level in reversed(range(LEVELS)):
            self._layer("UpSampling1D")
            joined = self._join(hidden.repeat(2, axis=1), levels[level])
            hidden = self._leak(self._convolve(joined, CHANNELS * (level + 1), 5))
        joined = self._join(hidden, masked)
        return ACTIVATIONS["tanh"](self._convolve(joined, 1, 5, name="vocal_source"))

    def _layer(
        self, kind: str, arrays: dict[str, Array] | None = None, *, name: str = "", **config: Any
    ) -> None:
        number = self._made[kind] + self.first
        self._made[kind] += 1
        words = re.sub(r"(?<=[a-zD])(?=[A-Z][a-z])", "_", kind).lower()
        name = name or (f"{words}_{number}" if number else words)
        layer = {"name": name, "class_name": kind, "config": config, "arrays": arrays or {}}
        self.layers.setdefault(kind, []).append(layer)

    def _draw(self, *shape: int, scale: float) -> Array:
        return self.rng.normal(0, scale, shape).astype(np.float32)

    def _convolve(
        self, value: Array, channels: int, width: int, *, stride: int = 1, name: str = ""
    ) -> Array:
        within = value.shape[2]
        kernel = self._draw(width, within, channels, scale=1.3 / (width * within) ** 0.5)
        bias = self._draw(channels, scale=0.2)
        self._layer("Conv1D", {"kernel": kernel, "bias": bias}, name=name, strides=[stride])
        taps = zip(_taps(value, width, stride, 1), kernel, strict=True)
        return np.asarray(sum(seen @ weights for seen, weights in taps) + bias)

    def _convolve_depthwise(self, value: Array, width: int, dilation: int) -> Array:
        kernel = self._draw(width, 1, value.shape[2], 1, scale=0.7)
        bias = self._draw(value.shape[2], scale=0.2)
        arrays = {"depthwise_kernel": kernel, "bias": bias}
        self._layer("Lambda")
        self._layer("DepthwiseConv2D", arrays, dilation_rate=[dilation, 1])
        self._layer("Lambda")
        taps = zip(_taps(value, width, 1, dilation), kernel[:, 0, :, 0], strict=True)
        return np.asarray(sum(seen * weights for seen, weights in taps) + bias)

    def _convolve_transposed(self, value: Array) -> Array:
        """Spread each frame with a kernel; padding "same" keeps the middle of the sum."""
        batch, frames, channels = value.shape
        width, stride = ENCODER_KERNEL, ENCODER_STRIDE
        kernel = self._draw(width, 1, 1, channels, scale=0.6 / channels**0.5)
        bias = self._draw(1, scale=0.1)
        self._layer("Lambda")
        self._layer("Conv2DTranspose", {"kernel": kernel, "bias": bias}, strides=[stride, 1])
        self._layer("Lambda", name="masked_source")
        result = np.zeros((batch, (frames - 1) * stride + width, 1))
        for frame in range(frames):
            spread = value[:, frame] @ kernel[:, 0, 0].T
            result[:, frame * stride : frame * stride + width, 0] += spread
        start = (width - stride) // 2
        return np.asarray(result[:, start : start + frames * stride] + bias)

    def _normalise(self, value: Array) -> Array:
        channels = value.shape[2]
        gamma, variance = self.rng.uniform(0.5, 1.5, (2, channels)).astype(np.float32)
        beta, mean = self._draw(2, channels, scale=0.3)
        arrays = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
        self._layer("BatchNormalization", arrays, epsilon=1e-3)
        return np.asarray((value - mean) * gamma / np.sqrt(variance + 1e-3) + beta)

    def _leak(self, value: Array) -> Array:
        self._layer("LeakyReLU", alpha=float(np.float32(0.3)))
        return np.where(value > 0, value, 0.3 * value)

    def _join(self, below: Array, skip: Array) -> Array:
        self._layer("Concatenate", axis=2)
        return np.concatenate([below, skip], axis=2)

    def _run_lstm(self, value: Array) -> Array:
        """Average both directions."""
        arrays: dict[str, Array] = {}
        forward = self._run_direction(value, "forward", arrays)
        backward = self._run_direction(value[:, ::-1], "backward", arrays)[:, ::-1]
        cell = {"activation": self.activation, "recurrent_activation": self.gate}
        self._layer("Bidirectional", arrays, merge_mode="ave", layer={"config": cell})
        return np.asarray((forward + backward) / 2)

    def _run_direction(self, value: Array, way: str, arrays: dict[str, Array]) -> Array:
        """Run an LSTM, its gates in the order input, forget, cell, output."""
        kernel = self._draw(value.shape[2], 4 * LSTM_SIZE, scale=1.5 / value.shape[2] ** 0.5)
        recurrent = self._draw(LSTM_SIZE, 4 * LSTM_SIZE, scale=0.6 / LSTM_SIZE**0.5)
        bias = self._draw(4 * LSTM_SIZE, scale=0.6)
        prefix = f"{way}_lstm_1/{self.cell}"
        arrays |= {f"{prefix}kernel": kernel, f"{prefix}bias": bias}
        arrays[f"{prefix}recurrent_kernel"] = recurrent
        gate, activate = ACTIVATIONS[self.gate], ACTIVATIONS[self.activation]
        hidden = state = np.zeros((len(value), LSTM_SIZE))
        outputs = []
        for seen in np.moveaxis(value @ kernel + bias, 1, 0):
            i, f, c, o = np.split(seen + hidden @ recurrent, 4, axis=1)
            state = gate(f) * state + gate(i) * activate(c)
            hidden = gate(o) * activate(state)
            outputs.append(hidden)
        return np.stack(outputs, axis=1)

    def write(self, path: Path) -> Path:
        """Write the file, its layers in an order that tells nothing, and return its path."""
        layers = [layer for found in self.layers.values() for layer in found]
        self.rng.shuffle(layers)
        keys = ("name", "class_name", "config")
        described = [{key: layer[key] for key in keys} for layer in layers]
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"] = self.version.encode()
            file.attrs["model_config"] = json.dumps({"config": {"layers": described}}).encode()
            for name, arrays in ((layer["name"], layer["arrays"]) for layer in layers):
                group = file.create_group(f"model_weights/{name}")
                group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
                for key, array in arrays.items():
                    group[f"{name}/{key}:0"] = array
        return path


def _taps(value: Array, width: int, stride: int, dilation: int) -> list[Array]:
    """Return what each tap of a kernel sees with padding "same"."""
    reach = (-(-value.shape[1] // stride) - 1) * stride + 1
    missing = max(reach + (width - 1) * dilation - value.shape[1], 0)
    padded = np.pad(value, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
    return [padded[:, tap * dilation :][:, :reach:stride] for tap in range(width)]
