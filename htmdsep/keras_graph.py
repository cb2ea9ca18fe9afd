"""Read the graph and the weights of a network that Keras saved as .h5, without Keras.

`Model.save` writes the layers as JSON in the attribute `model_config`, sorted by their depth in
the graph, and their arrays under `model_weights`. Lambda layers hold compiled Python, which is
never run: they are taken for what they are around Keras's two-dimensional convolutions, changes of
shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from htmdsep.errors import HtmdsepError

_RESHAPE = "reshape"

# By the layer's class or, for layers made of a TensorFlow function, by that function's name.
_OPERATIONS = {
    "InputLayer": "input",
    "Conv1D": "convolution",
    "DepthwiseConv1D": "depthwise",
    "DepthwiseConv2D": "depthwise",
    "Conv1DTranspose": "transposed",
    "Conv2DTranspose": "transposed",
    "BatchNormalization": "norm",
    "BatchNormalizationV1": "norm",
    "LeakyReLU": "leaky",
    "AveragePooling1D": "pool",
    "UpSampling1D": "upsample",
    "Bidirectional": "bilstm",
    "Concatenate": "concatenate",
    **dict.fromkeys(("Add", "AddV2", "math.add", "__operators__.add"), "add"),
    **dict.fromkeys(("Multiply", "Mul", "math.multiply", "__operators__.multiply"), "multiply"),
    **dict.fromkeys(("math.sigmoid", "nn.sigmoid"), "sigmoid"),
    "math.tanh": "tanh",
    **dict.fromkeys(
        (
            *("Lambda", "Reshape", "Dropout", "SpatialDropout1D"),
            *("expand_dims", "squeeze", "compat.v1.squeeze", "reshape", "ExpandDims", "Squeeze"),
        ),
        _RESHAPE,
    ),
}
_MERGING = ("add", "multiply", "concatenate")


def unlike(difference: str) -> HtmdsepError:
    """Return the error for a file whose network is not HTMD-Net."""
    return HtmdsepError(
        f"{difference}; only an HTMD-Net that was written with Keras's Model.save can be imported"
    )


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer as the file describes it, with its arrays by their last name ("kernel", ...)."""

    name: str
    config: dict[str, Any]
    weights: dict[str, np.ndarray]

    def array(self, *names: str) -> np.ndarray:
        """Return the array that has one of these names; raise HtmdsepError where none has."""
        for name in names:
            if name in self.weights:
                return self.weights[name]
        raise unlike(f"its layer {self.name!r} has no {names[0]}")


@dataclass(frozen=True, eq=False)
class Node:
    """One operation on the outputs of others, in the order in which it takes them."""

    operation: str
    layer: Layer
    inputs: tuple[Node, ...]


class KerasGraph(NamedTuple):
    """The model's outputs, from which its nodes are reached, and all layers that hold arrays."""

    outputs: tuple[Node, ...]
    weighted: tuple[Layer, ...]
    keras_version: str  # empty where the file does not say


class _Call(NamedTuple):
    """The use of a layer: Keras numbers them, as a layer may be used more than once."""

    layer: str
    number: int


def read_keras(path: Path) -> KerasGraph:
    """Read a file of Keras's `Model.save`; changes of shape and linear activations are left out.

    Raises HtmdsepError for a file that is missing, is not HDF5, lacks the description of the
    network, or contains a layer that HTMD-Net has no use for.
    """
    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs or "model_weights" not in file:
                raise HtmdsepError(
                    "it holds no description of the network (model_config); "
                    "write it with Keras's Model.save, not save_weights"
                )
            version = _text(file.attrs.get("keras_version", ""))
            return _parse(_text(file.attrs["model_config"]), file["model_weights"], version)
    except FileNotFoundError as error:
        raise HtmdsepError("there is no such file; check the path") from error
    except OSError as error:
        raise HtmdsepError(
            "it cannot be read as HDF5; give the .h5 file that Keras's Model.save wrote"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise HtmdsepError(
            f"its description of the network is damaged ({error!r}); "
            "write it again with Keras's Model.save"
        ) from error


def _parse(model_config: str, groups: h5py.Group, keras_version: str) -> KerasGraph:
    model = json.loads(model_config)["config"]
    if "output_layers" not in model:
        raise unlike("its network is no graph of layers")
    entries = {entry["name"]: entry for entry in model["layers"]}
    layers = {
        name: Layer(name, entry["config"], _read_weights(groups, entry))
        for name, entry in entries.items()
    }
    calls = {
        _Call(name, number): tuple(_references(call))
        # An input layer has no inbound call, and yet one output.
        for name, entry in entries.items()
        for number, call in enumerate(entry["inbound_nodes"] or [[]])
    }
    nodes: dict[_Call, Node] = {}
    try:
        for call in TopologicalSorter(calls).static_order():
            inputs = tuple(nodes[before] for before in calls[call])
            nodes[call] = _node(entries[call.layer], layers[call.layer], inputs)
    except CycleError as error:
        raise unlike("its graph of layers runs in a circle") from error
    outputs = tuple(nodes[call] for call in _references(model["output_layers"]))
    weighted = tuple(layer for layer in layers.values() if layer.weights)
    return KerasGraph(outputs, weighted, keras_version)


def _references(value: Any) -> Iterator[_Call]:
    """Yield the calls named in a piece of JSON: [layer, call, tensor, ...] at any depth.

    Keras 2 nests such lists, and in the arguments of functions too; Keras 3 puts each in a
    dictionary.
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        if [type(item) for item in value[:3]] == [str, int, int]:
            yield _Call(value[0], value[1])
            value = value[3:]
        for item in value:
            yield from _references(item)


def _node(entry: dict[str, Any], layer: Layer, inputs: tuple[Node, ...]) -> Node:
    """Return the node of a layer, behind which its activation is a node of its own."""
    kind = entry["class_name"]
    if kind == "TFOpLambda":
        kind = layer.config["function"]
    elif kind == "TensorFlowOpLayer":
        kind = layer.config["node_def"]["op"]
    if kind == "Activation":
        return _activated(_only(inputs, layer), layer)
    operation = _OPERATIONS.get(kind)
    if operation is None:
        raise unlike(f"its layer {layer.name!r} is of the kind {kind!r}")
    if operation == _RESHAPE:
        return _only(inputs, layer)
    if operation in _MERGING:
        if len(inputs) < 2:
            raise unlike(f"its layer {layer.name!r} joins fewer than two others")
    elif operation != "input":
        _only(inputs, layer)
    return _activated(Node(operation, layer, inputs), layer)


def _activated(node: Node, layer: Layer) -> Node:
    if node.layer is layer and node.operation == "bilstm":
        return node  # what it activates is within
    activation = layer.config.get("activation") or "linear"
    if activation == "linear":
        return node
    if activation in ("sigmoid", "tanh"):
        return Node(activation, layer, (node,))
    if isinstance(activation, dict) and activation.get("class_name") == "LeakyReLU":
        return Node("leaky", Layer(layer.name, activation["config"], {}), (node,))
    raise unlike(f"its layer {layer.name!r} has the activation {activation!r}")


def _only(inputs: tuple[Node, ...], layer: Layer) -> Node:
    if len(inputs) != 1:
        raise unlike(f"its layer {layer.name!r} has {len(inputs)} inputs instead of one")
    return inputs[0]


def _read_weights(groups: h5py.Group, entry: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return a layer's arrays by the last part of their names, an LSTM's by direction as well.

    Keras's versions nest the names differently, and Keras 3 leaves out the ":0":
    "lstm/forward_lstm/lstm_cell_1/kernel:0" is "forward_kernel" here.
    """
    arrays: dict[str, np.ndarray] = {}
    if entry["name"] not in groups:
        return arrays
    group = groups[entry["name"]]
    for name in map(_text, group.attrs.get("weight_names", ())):
        key = name.rsplit("/", 1)[-1].removesuffix(":0")
        if entry["class_name"] == "Bidirectional":
            directions = re.findall("(?:^|/)(forward|backward)_", name)
            key = f"{directions[-1] if directions else 'undirected'}_{key}"
        if key in arrays:
            raise unlike(f"its layer {entry['name']!r} has two arrays named {key!r}")
        arrays[key] = np.asarray(group[name], dtype=np.float32)
    return arrays


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
