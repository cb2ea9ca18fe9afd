"""The mean of several weights of one network, which often separates better than each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from htmdsep.catalogue import find_weights
from htmdsep.errors import HtmdsepError
from htmdsep.weights_file import WeightsInfo, load_weights, save_weights


def average_weights(weights: Sequence[str], path: Path, *, name: str) -> str:
    """Write the mean of weights given by name or file in half precision; return its SHA-256.

    Licence and provenance are those of the first, to which the hashes of all are added: weights
    that one run passed, or that one began as, share their data. Raises HtmdsepError where there
    are fewer than two, where one cannot be read, and where they are of different networks.
    """
    if len(weights) < 2:
        raise HtmdsepError("an average takes two weights or more")
    located = [find_weights(one) for one in weights]
    loaded = [load_weights(one.path, expected_sha256=one.sha256) for one in located]
    network, info = loaded[0]
    for given, (_, other) in zip(weights, loaded, strict=True):
        if other.config != info.config:
            raise HtmdsepError(f"{given} is of another network than {weights[0]}; average its like")
    states = [one.state_dict() for one, _ in loaded]
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.stack([state[key] for state in states]).mean(dim=0))
    provenance = {**info.provenance, "averaged": [one.hash() for one in located]}
    averaged = WeightsInfo(name, info.config, info.licence, provenance)
    return save_weights(path, network, averaged, torch.float16)
