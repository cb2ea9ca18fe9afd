"""Write a network as an ONNX file that says of itself what a weights file does."""

from __future__ import annotations

import json
from pathlib import Path

from htmdsep.files import atomic_path
from htmdsep.graph import network_graph
from htmdsep.model import Network, config_to_dict
from htmdsep.version import __version__
from htmdsep.weights_file import WeightsInfo


def export_onnx(path: Path, network: Network, info: WeightsInfo) -> None:
    """Write a network as ONNX: (batch, 1, segment_length) to the same shape, any batch.

    The file's metadata are all strings: name, licence, config and provenance (JSON), sample_rate
    (Hz) and segment_length (samples). Raises HtmdsepError where the packages for it are missing.
    """
    model = network_graph(network)
    model.producer_name, model.producer_version = "htmdsep", __version__
    texts = {
        "name": info.name,
        "licence": info.licence,
        "config": json.dumps(config_to_dict(info.config)),
        "provenance": json.dumps(info.provenance),
        "sample_rate": str(info.config.sample_rate),
        "segment_length": str(info.config.segment_length),
    }
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
