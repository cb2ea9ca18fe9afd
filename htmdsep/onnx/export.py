"""Write a network as an ONNX file that says of itself what a weights file does."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from htmdsep.atomic import atomic_path
from htmdsep.errors import HtmdsepError
from htmdsep.model import Network, config_to_dict
from htmdsep.version import __version__
from htmdsep.weightsfile import WeightsInfo

if TYPE_CHECKING:
    import onnx

MIXTURE, VOCALS = "mixture", "vocals"  # of the file's input and output
EXAMPLE_BATCH = 2  # one would be taken for a constant
OPSET = 17  # of ONNX 1.12 (2022), which every runtime of today reads


class _Vocals(nn.Module):
    """A network without its other probe point."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        vocals: Tensor = self.network(mixture).estimate
        return vocals


def export_onnx(path: Path, network: Network, info: WeightsInfo) -> None:
    """Write a network as ONNX: (batch, 1, segment_length) to the same shape, any batch.

    The file's metadata are all strings: name, licence, config and provenance (JSON), sample_rate
    (Hz) and segment_length (samples). Raises HtmdsepError where the packages for it are missing.
    """
    model = _exported(network)
    _forget_the_exporter(model.graph)
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


def _exported(network: Network) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise HtmdsepError("export needs pip install 'htmdsep[onnx]'") from error
    mixture = torch.zeros(EXAMPLE_BATCH, 1, network.config.segment_length)
    batch = {0: "batch"}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Of PyTorch's two exporters this is the older. The newer one takes half a minute where
        # this takes a second, needs onnxscript, and is not in every PyTorch that htmdsep runs
        # with. Its other warnings concern variable batches of LSTMs, which the tests hold.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Vocals(network).eval(),
            (mixture,),
            buffer,  # type: ignore[arg-type]
            input_names=[MIXTURE],
            output_names=[VOCALS],
            dynamic_axes={MIXTURE: batch, VOCALS: batch},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return model


def _forget_the_exporter(graph: onnx.GraphProto) -> None:
    """Remove the exporter's notes."""
    for node in graph.node:
        node.ClearField("doc_string")
