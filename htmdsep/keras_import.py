"""Convert an HTMD-Net that Keras saved, such as the authors' published weights, to our network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.keras_graph import Node, read_keras, unlike
from htmdsep.keras_roles import Roles, find_roles
from htmdsep.keras_settings import check_settings, kernel_of, read_config
from htmdsep.model import HTMDNet


def convert_keras(path: Path) -> HTMDNet:
    """Return the HTMD-Net of a Keras .h5 file (`Model.save`), in float32 and evaluation mode.

    Sizes, activations and constants are the file's; its sample rate, of which it says nothing, is
    the config's default. Raises HtmdsepError for a file that cannot be read, or that holds another
    network.
    """
    try:
        graph = read_keras(path)
        roles = find_roles(graph)
        nodes = _ancestors(graph.outputs)
        check_settings(nodes, roles["masking.encoder"])
        network = HTMDNet(read_config(nodes, roles, graph.keras_version))
        network.load_state_dict(_state(network, roles), strict=False)
    except HtmdsepError as error:
        raise HtmdsepError(f"cannot import {path}: {error}") from error
    return network.eval()


def _ancestors(outputs: Iterable[Node]) -> set[Node]:
    found: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.inputs)
    return found


def _state(network: HTMDNet, roles: Roles) -> dict[str, Tensor]:
    """Return every tensor of the network, from the layers; raise where one does not fit."""
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # training only
    }
    state = {}
    for module, node in roles.items():
        for name, array in _arrays(node):
            key, layer = f"{module}.{name}", node.layer.name
            if array.shape != expected[key]:
                raise unlike(
                    f"the weights of its layer {layer!r} make {key} {array.shape} instead of "
                    f"{expected[key]}"
                )
            if not np.isfinite(array).all():
                raise unlike(f"the weights of its layer {layer!r} are not finite")
            state[key] = torch.from_numpy(np.ascontiguousarray(array))
    assert state.keys() == expected.keys()
    return state


def _arrays(node: Node) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a layer's arrays under our names and in our order of dimensions."""
    layer = node.layer
    if node.operation == "norm":
        for ours, theirs in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            yield ours, layer.array(theirs)
    elif node.operation == "bilstm":
        for direction, suffix in (("forward", ""), ("backward", "_reverse")):
            kernel = layer.array(f"{direction}_kernel")  # (input_size, 4 * size), as i, f, c, o
            bias = layer.array(f"{direction}_bias")
            if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
                raise unlike(f"the weights of its layer {layer.name!r} do not fit each other")
            # Keras's one bias is the last column of the input's weights: see AveragedBiLSTM.
            yield f"weight_ih_l0{suffix}", np.concatenate([kernel.T, bias[:, None]], axis=1)
            yield f"weight_hh_l0{suffix}", layer.array(f"{direction}_recurrent_kernel").T
    elif node.operation in ("convolution", "transposed"):
        kernel = np.roll(kernel_of(layer), -_channels_of_skip(node), axis=1)
        # (width, in, out) to (out, in, width); transposed: (width, out, in) to (in, out, width)
        yield "weight", kernel.transpose(2, 1, 0)
        yield "bias", layer.array("bias")
    elif node.operation == "depthwise":
        yield "weight", kernel_of(layer).transpose(1, 2, 0)  # (width, in, 1) to (in, 1, width)
        yield "bias", layer.array("bias")


def _channels_of_skip(node: Node) -> int:
    """Return how many channels of a skip connection come first in a convolution's input.

    Ours takes those from below first, then the skip connection's. The denoising part joins an
    upsampling and an activation, in the end an activation and the masked estimate.
    """
    joined = node.inputs[0]
    if joined.operation != "concatenate":
        return 0
    first, second = joined.inputs
    if second.operation == "upsample":
        return int(kernel_of(first.inputs[0].layer).shape[2])
    return 1 if first.operation == "transposed" else 0
