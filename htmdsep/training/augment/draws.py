"""Drawn numbers as small tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def floats(values: np.ndarray) -> Tensor:
    """Return numbers as float32."""
    return torch.from_numpy(np.asarray(values, np.float32))


def gains(decibels: np.ndarray) -> Tensor:
    """Return the factors of amplitude that decibels stand for, as float32."""
    return floats(10 ** (decibels / 20))


def rows_where(chosen: np.ndarray) -> Tensor:
    """Return the numbers of the rows where `chosen`, (rows,), is true."""
    return torch.from_numpy(np.flatnonzero(chosen))
