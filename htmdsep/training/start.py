"""Begin a run from weights that were trained before."""

from __future__ import annotations

from typing import Any

from htmdsep.catalogue import locate
from htmdsep.errors import HtmdsepError
from htmdsep.model import Network, config_to_dict
from htmdsep.weights import load_weights

FREE = {"segment_length"}  # part of the config, but no part of the weights depends on it


def start_from(network: Network, weights: str) -> dict[str, Any]:
    """Give a network the weights of a name or a file, and return where those come from.

    Raises HtmdsepError where there are none, or where they are another network's.
    """
    located = locate(weights)
    known, info = load_weights(located.path, expected_sha256=located.sha256)
    wanted, found = config_to_dict(network.config), config_to_dict(info.config)
    odd = sorted(
        f"{name} {found.get(name)}, not {wanted.get(name)}"
        for name in (wanted.keys() | found.keys()) - FREE
        if wanted.get(name) != found.get(name)
    )
    if odd:
        raise HtmdsepError(
            f"the weights {weights} are of another network ({'; '.join(odd)}); start from others, "
            "or give --architecture and --encoder to match"
        )
    network.load_state_dict(known.state_dict())
    return {
        "name": info.name,
        "sha256": located.hash(),
        "licence": info.licence,
        "provenance": info.provenance,
    }
