"""What Keras's layers compute, after its documentation, in numpy and double precision.

Arrays are (batch, time, channels) and kernels as Keras shapes them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]

ACTIVATIONS: dict[str, Function] = {
    "linear": lambda value: value,
    "tanh": np.tanh,
    "sigmoid": lambda value: 1 / (1 + np.exp(-value)),
    "hard_sigmoid": lambda value: np.clip(0.2 * value + 0.5, 0, 1),  # Keras 2
}


def convolve(value: Array, kernel: Array, stride: int) -> Array:
    """Convolve with a kernel (width, in, out) and padding "same"."""
    taps = _taps(value, len(kernel), stride, 1)
    seen_by = zip(taps, kernel, strict=True)
    return np.asarray(sum(seen @ weights for seen, weights in seen_by))


def convolve_depthwise(value: Array, kernel: Array, dilation: int) -> Array:
    """Convolve each channel by itself with a kernel (width, channels) and padding "same"."""
    taps = _taps(value, len(kernel), 1, dilation)
    seen_by = zip(taps, kernel, strict=True)
    return np.asarray(sum(seen * weights for seen, weights in seen_by))


def _taps(value: Array, width: int, stride: int, dilation: int) -> list[Array]:
    """Return what each tap of a kernel sees; an odd sample of padding goes to the end."""
    reach = (-(-value.shape[1] // stride) - 1) * stride + 1
    missing = max(reach + (width - 1) * dilation - value.shape[1], 0)
    padded = np.pad(value, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)))
    return [padded[:, tap * dilation :][:, :reach:stride] for tap in range(width)]


def convolve_transposed(value: Array, kernel: Array, stride: int) -> Array:
    """Spread each frame with a kernel (width, out, in); "same" keeps the middle of the sum."""
    batch, frames, _ = value.shape
    width, channels, _ = kernel.shape
    result = np.zeros((batch, (frames - 1) * stride + width, channels))
    for frame in range(frames):
        spread = np.einsum("bi,woi->bwo", value[:, frame], kernel)
        result[:, frame * stride : frame * stride + width] += spread
    start = (width - stride) // 2
    return result[:, start : start + frames * stride]


def normalise(value: Array, weights: dict[str, Array], epsilon: float) -> Array:
    """Apply batch normalisation as at inference."""
    scale = weights["gamma"] / np.sqrt(weights["moving_variance"] + epsilon)
    result: Array = (value - weights["moving_mean"]) * scale + weights["beta"]
    return result


def leak(value: Array, slope: float) -> Array:
    return np.where(value > 0, value, slope * value)


def average_pairs(value: Array) -> Array:
    mean: Array = (value[:, ::2] + value[:, 1::2]) / 2
    return mean


def run_lstm(projected: Array, recurrent: Array, gate: Function, activate: Function) -> Array:
    """Run an LSTM over (batch, time, 4 * size), in Keras's order: input, forget, cell, output."""
    batch, steps, width = projected.shape
    hidden = cell = np.zeros((batch, width // 4))
    outputs = []
    for step in range(steps):
        i, f, c, o = np.split(projected[:, step] + hidden @ recurrent, 4, axis=1)
        cell = gate(f) * cell + gate(i) * activate(c)
        hidden = gate(o) * activate(cell)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)
