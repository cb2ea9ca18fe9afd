"""Begin a run from weights that were trained before."""

from __future__ import annotations

from typing import Any, cast

import torch

from htmdsep.catalogue import find_weights
from htmdsep.errors import HtmdsepError
from htmdsep.model import Network, config_to_dict
from htmdsep.model.masking import MaskingNetwork, TemporalBlock
from htmdsep.weights_file import load_weights

# Parts of the config that no part of the weights depends on
FREE = {"segment_length", "input_level"}


def start_from(network: Network, weights: str) -> dict[str, Any]:
    """Give a network the weights of a name or a file, and return where those come from.

    The weights may have fewer repeats of the masking network's blocks: the network then begins by
    computing what they do, its further blocks adding nothing yet.

    Raises HtmdsepError where there are none, or where they are another network's.
    """
    located = find_weights(weights)
    known, info = load_weights(located.path, expected_sha256=located.sha256)
    further = _further_blocks(network, known)
    free = FREE | {"repeats"} if further else FREE
    wanted, found = config_to_dict(network.config), config_to_dict(info.config)
    odd = sorted(
        f"{name} {found.get(name)}, not {wanted.get(name)}"
        for name in (wanted.keys() | found.keys()) - free
        if wanted.get(name) != found.get(name)
    )
    if odd:
        raise HtmdsepError(
            f"the weights {weights} are of another network ({'; '.join(odd)}); start from others, "
            "or give --architecture, --encoder and --repeats to match"
        )
    network.load_state_dict(known.state_dict(), strict=not further)
    for block in further:
        _silence(block)
    return {
        "name": info.name,
        "sha256": located.hash(),
        "licence": info.licence,
        "provenance": info.provenance,
    }


def _further_blocks(network: Network, known: Network) -> list[TemporalBlock]:
    """Return the masking network's blocks that go beyond those of a known network."""
    wanted, there = getattr(network, "masking", None), getattr(known, "masking", None)
    if not (isinstance(wanted, MaskingNetwork) and isinstance(there, MaskingNetwork)):
        return []
    return cast(list[TemporalBlock], list(wanted.blocks)[len(there.blocks) :])


@torch.no_grad()
def _silence(block: TemporalBlock) -> None:
    """Let a block add nothing to the sum that becomes the mask.

    What it and the blocks before it hand on reaches the mask by later blocks' skips alone, so that
    where all of those are silent residuals as drawn change nothing either.
    """
    assert block.skip.bias is not None
    block.skip.weight.zero_()
    block.skip.bias.zero_()
