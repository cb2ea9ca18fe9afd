"""The layers a masking network is made of, for others that compute the same to take their place."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class Layers(NamedTuple):
    """Classes of layers, made with the arguments of PyTorch's own."""

    pointwise: type[nn.Conv1d] = nn.Conv1d
    depthwise: type[nn.Conv1d] = nn.Conv1d
    encoder: type[nn.Conv1d] = nn.Conv1d
    decoder: type[nn.ConvTranspose1d] = nn.ConvTranspose1d
    norm: type[nn.BatchNorm1d] = nn.BatchNorm1d


PLAIN = Layers()
