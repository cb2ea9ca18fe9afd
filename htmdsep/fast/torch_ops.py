"""The fast network's operations in PyTorch: bfloat16, which numpy lacks, and float32."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from htmdsep.options import Precision


class TorchOps:
    """See `Ops`."""

    # All that is there: products of few rows are slow (measured with encoders of 16/8 and 32/16:
    # 7 % faster than half a mebibyte in float32, 10 % than one in bfloat16).
    tile_bytes = 1 << 22

    def __init__(self, precision: Precision) -> None:
        assert precision in ("fp32", "bf16"), precision
        self._dtype = torch.float32 if precision == "fp32" else torch.bfloat16

    def zeros(self, *shape: int, exact: bool = False) -> Tensor:
        return torch.zeros(shape, dtype=torch.float32 if exact else self._dtype)

    def constant(self, values: np.ndarray, *, exact: bool = False) -> Tensor:
        dtype = torch.float32 if exact else self._dtype
        return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)

    def row(self, values: np.ndarray, *, exact: bool = False) -> Tensor:
        return self.constant(values, exact=exact)

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

    def scale(self, rows: Tensor, tap: Tensor, bias: Tensor, out: Tensor) -> None:
        torch.addcmul(bias, rows, tap, out=out)

    def add_scaled(self, target: Tensor, rows: Tensor, tap: Tensor) -> None:
        target.addcmul_(rows, tap)

    def add(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        torch.add(left, right, out=out)

    def leaky_relu(self, values: Tensor, slope: float) -> None:
        F.leaky_relu_(values, slope)

    def gate(self, values: Tensor, mask: Tensor) -> None:
        values.mul_(mask.sigmoid_())

    def tanh(self, values: Tensor) -> None:
        values.tanh_()
