"""The bidirectional LSTM in numpy: a few steps a segment, both directions side by side."""

from __future__ import annotations

import numpy as np

from htmdsep.config import HTMDNetConfig
from htmdsep.fast.tensors import Tensors


class FastBiLSTM:
    """A layer whose directions are averaged; `model.lstm.AveragedBiLSTM` is the definition."""

    def __init__(self, config: HTMDNetConfig, tensors: Tensors, name: str, inputs: int) -> None:
        size = config.lstm_size
        directions = ("", "_reverse")
        kernels = [
            tensors.take(f"{name}.weight_ih_l0{end}", 4 * size, inputs + 1) for end in directions
        ]
        recurrent = [
            tensors.take(f"{name}.weight_hh_l0{end}", 4 * size, size) for end in directions
        ]
        # The last column of the input's weights is the bias. (directions, inputs, 4 * size)
        self._kernels = np.array([kernel[:, :-1].T for kernel in kernels], np.float32)
        self._biases = np.array([kernel[:, -1:].T for kernel in kernels], np.float32)
        self._recurrent = np.array([matrix.T for matrix in recurrent], np.float32)
        self._linear = config.activation == "linear"
        self._hard = config.recurrent_activation == "hard_sigmoid"

    def __call__(self, sequence: np.ndarray) -> np.ndarray:
        """Map (time, inputs) float32 to (time, size)."""
        both = np.stack([sequence, sequence[::-1]])
        projected = both @ self._kernels + self._biases  # (2, time, 4 * size): i, f, candidate, o
        size = self._recurrent.shape[1]
        hidden = np.zeros((2, 1, size), np.float32)
        cell = np.zeros((2, size), np.float32)
        outputs = np.zeros((2, len(sequence), size), np.float32)
        for step in range(len(sequence)):
            gates = projected[:, step] + (hidden @ self._recurrent)[:, 0]
            opened = self._gate(gates)
            candidate = self._activate(gates[:, 2 * size : 3 * size])
            cell = opened[:, size : 2 * size] * cell + opened[:, :size] * candidate
            hidden = (opened[:, 3 * size :] * self._activate(cell))[:, None]
            outputs[:, step] = hidden[:, 0]
        mean: np.ndarray = (outputs[0] + outputs[1, ::-1]) / np.float32(2)
        return mean

    def _activate(self, values: np.ndarray) -> np.ndarray:
        return values if self._linear else np.tanh(values)

    def _gate(self, values: np.ndarray) -> np.ndarray:
        """Return the sigmoid, or Keras 2's hard one, clip(0.2 x + 0.5, 0, 1)."""
        if self._hard:
            return (np.float32(0.2) * values + np.float32(0.5)).clip(0, 1)
        half = np.float32(0.5)
        return half * np.tanh(half * values) + half
