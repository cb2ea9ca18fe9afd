"""Networks as ONNX graphs whose numbers are those of a weights file, which is not copied.

A graph has 40 to 150 kB: its initialisers are ONNX external data, places in a safetensors file, in
whatever precision that has, and are cast in the graph. It says which weights file it belongs to.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.weights.catalogue import cache_folder
from htmdsep.weights.file import load_weights, read_header

if TYPE_CHECKING:
    import onnx

    from htmdsep.networks.build import Network

MIXTURE, VOCALS = "mixture", "vocals"  # (batch, 1, time) each
MAGNITUDES, MASKS = "magnitudes", "masks"  # (batch, channels, frames, bins) each
WEIGHTS_KEY = "weights_sha256"  # of a graph's metadata
VERSION = 2  # of the form of graphs, in the names of cached ones
OPSET = 17  # of ONNX 1.12 (2022), which every runtime of today reads
EXAMPLE_BATCH = 2  # one would be taken for a constant
_TYPES = {"F32": "FLOAT", "F16": "FLOAT16", "BF16": "BFLOAT16"}  # safetensors' and ONNX's names


def network_graph(network: Network) -> onnx.ModelProto:
    """Return a network as a graph of any batch and time, its tensors by the network's names."""
    import onnx
    import torch

    from htmdsep.weights.lowering import GraphNetwork

    config = network.config
    if isinstance(config, SpectralConfig):
        if config.denoiser_levels:
            raise HtmdsepError(
                "spectral masks with a denoising network run in PyTorch: --engine torch"
            )
        frames = int(2 ** len(config.widths))
        example = torch.zeros(EXAMPLE_BATCH, config.input_channels, frames, config.bins)
        names, axis = (MAGNITUDES, MASKS), "frames"
    else:
        example = torch.zeros(EXAMPLE_BATCH, 1, config.length_multiple)
        names, axis = (MIXTURE, VOCALS), "time"
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Of PyTorch's two exporters this is the older. The newer one takes half a minute where
        # this takes a second, needs onnxscript, and is not in every PyTorch that htmdsep runs
        # with. Its other warnings concern variable batches of LSTMs, which the tests hold.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            GraphNetwork(network),
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes={name: {0: "batch", 2: axis} for name in names},
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=False,  # which would give tensors other names,
            training=torch.onnx.TrainingMode.PRESERVE,  # as folding batch norm would
        )
    model = onnx.load_from_string(buffer.getvalue())
    _tidy(model.graph, config)
    onnx.checker.check_model(model, full_check=True)
    return model


def _tidy(graph: onnx.GraphProto, config: NetworkConfig) -> None:
    """Name tensors as the network does, forget the exporter's notes, set LSTMs' functions."""
    from onnx import helper

    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix("network.")
    for node in graph.node:
        node.ClearField("doc_string")
        for index, name in enumerate(node.input):
            node.input[index] = name.removeprefix("network.")
        if node.op_type == "LSTM":
            gate = "Sigmoid" if config.recurrent_activation == "sigmoid" else "HardSigmoid"  # type: ignore[union-attr]
            inner = "Tanh" if config.activation == "tanh" else "Affine"  # type: ignore[union-attr]
            functions = [gate, inner, inner] * 2
            parameters = {"HardSigmoid": (0.2, 0.5), "Affine": (1.0, 0.0)}
            node.attribute.append(helper.make_attribute("activations", functions))
            used = [parameters[name] for name in functions if name in parameters]
            if used:
                for name, values in zip(("alpha", "beta"), zip(*used, strict=True), strict=True):
                    node.attribute.append(helper.make_attribute(f"activation_{name}", values))


def make_graph(network: Network, weights: Path, sha256: str) -> bytes:
    """Return a network's graph whose tensors are places in a weights file of a hash."""
    import onnx
    from onnx import helper

    model = network_graph(network)
    begin, tensors = read_header(weights)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        if tensor.name not in tensors:
            kept.append(tensor)  # a shape or a constant
            continue
        place = tensors[tensor.name]
        if (stored_type := place["dtype"]) not in _TYPES:
            raise HtmdsepError(f"numbers of {weights} are {stored_type}: use --engine torch")
        kind = getattr(onnx.TensorProto, _TYPES[stored_type])
        is_float = kind == onnx.TensorProto.FLOAT
        name = tensor.name if is_float else f"{tensor.name}:stored"
        stored = onnx.TensorProto(name=name, data_type=kind, dims=tensor.dims)
        stored.data_location = onnx.TensorProto.EXTERNAL
        first, last = place["data_offsets"]
        entries = {"location": weights.name, "offset": begin + first, "length": last - first}
        for key, value in entries.items():
            stored.external_data.add(key=key, value=str(value))
        kept.append(stored)
        if not is_float:
            casts.append(helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    model.metadata_props.add(key=WEIGHTS_KEY, value=sha256)
    content: bytes = model.SerializeToString()
    return content


def read_graph(weights: Path, sha256: str) -> bytes:
    """Return the graph of a weights file of a hash.

    It lies beside the file, in the cache folder, or is made there now, which imports PyTorch. What
    lies there without the hash is of other weights, or of `htmdsep-onnx`, and is passed over.
    Raises HtmdsepError for a file whose name no graph could hold.
    """
    name = weights.resolve().name  # engines find no numbers behind a link
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise HtmdsepError(f"the name of {weights} is not UTF-8; rename it") from error
    places = [weights.with_suffix(".onnx")]
    with suppress(HtmdsepError):  # there may be no place for a cache
        places.append(cache_folder("graphs") / f"{sha256}-{VERSION}.onnx")
    for place in places:
        if place.is_file() and sha256.encode() in (found := place.read_bytes()):
            return _placed(found, name)
    network, _ = load_weights(weights)
    graph = make_graph(network, weights, sha256)
    for cached in places[1:]:
        with suppress(OSError, HtmdsepError), atomic_path(cached) as temporary:
            temporary.write_bytes(graph)
    return _placed(graph, name)


def _placed(graph: bytes, name: str) -> bytes:
    """Return a graph that finds its numbers in a file of this name, which may be a new one."""
    known = name.encode()
    # In protobuf's form, so that onnx, whose import takes 0.1 s, is needed for renamed files only.
    # Lengths from 128 on have two bytes there.
    if len(known) < 128 and b"\x08location\x12%c%b" % (len(known), known) in graph:
        return graph
    import onnx

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    placed: bytes = model.SerializeToString()
    return placed
