"""Any network as an ONNX graph, in which other libraries can run it."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from htmdsep.errors import HtmdsepError
from htmdsep.model import Network

if TYPE_CHECKING:
    import onnx

MIXTURE, VOCALS = "mixture", "vocals"  # the graph's input and output
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


def onnx_graph(network: Network, segment_length: int) -> onnx.ModelProto:
    """Return a network as a graph: (batch, 1, segment_length) to the same shape, any batch.

    Raises HtmdsepError where the package for it is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise HtmdsepError("an ONNX graph needs pip install 'htmdsep[onnx]'") from error
    mixture = torch.zeros(EXAMPLE_BATCH, 1, segment_length)
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
    _forget_the_exporter(model.graph)
    return model


def _forget_the_exporter(graph: onnx.GraphProto) -> None:
    """Remove the exporter's notes."""
    for node in graph.node:
        node.ClearField("doc_string")
