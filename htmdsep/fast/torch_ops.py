"""The fast network's operations in PyTorch, for precisions that numpy lacks."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

DTYPES = {"bf16": torch.bfloat16}


class TorchOps:
    """See `Ops`."""

    def __init__(self, precision: str) -> None:
        self._dtype = DTYPES[precision]

    def zeros(self, *shape: int, exact: bool = False) -> Tensor:
        return torch.zeros(shape, dtype=torch.float32 if exact else self._dtype)

    def constant(self, values: np.ndarray, *, exact: bool = False) -> Tensor:
        dtype = torch.float32 if exact else self._dtype
        return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)

    def taken(self, waveform: np.ndarray) -> Tensor:
        return torch.from_numpy(waveform)

    def given(self, waveform: Tensor) -> np.ndarray:
        return waveform.float().numpy().copy()

    def strided(
        self, array: Tensor, shape: tuple[int, int], strides: tuple[int, int], offset: int
    ) -> Tensor:
        return array.as_strided(shape, strides, offset)

    def product(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        torch.mm(left, right, out=out)

    def affine(self, bias: Tensor, left: Tensor, right: Tensor, out: Tensor) -> None:
        torch.addmm(bias, left, right, out=out)

    def add_product(self, target: Tensor, left: Tensor, right: Tensor) -> None:
        target.addmm_(left, right)

    def add_scaled(self, total: Tensor, rows: Tensor, tap: Tensor, out: Tensor) -> None:
        torch.addcmul(total, rows, tap, out=out)

    def add(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        torch.add(left, right, out=out)

    def leaky_relu(self, values: Tensor, slope: float) -> None:
        F.leaky_relu_(values, slope)

    def gate(self, values: Tensor, mask: Tensor) -> None:
        values.mul_(mask.sigmoid_())

    def tanh(self, values: Tensor) -> None:
        values.tanh_()
