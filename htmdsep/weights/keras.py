"""Convert an HTMD-Net that its authors' script saved with Keras 2, as .h5, to our network.

The script makes its layers in one order, and Keras numbers them by class, from 0, 1 or more: a
layer's rank in its class tells its place. In the file they are sorted by their depth in the graph.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet

# What reading raises where a file is no HDF5, is cut, or lacks something that Keras writes.
_DAMAGE = (OSError, AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


class _Layer(NamedTuple):
    """A layer with its arrays by their last name ("kernel"), an LSTM's as "forward_kernel"."""

    name: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


def convert_keras(path: Path) -> HTMDNet:
    """Return the HTMD-Net of a Keras .h5 file (`Model.save`), in float32 and evaluation mode.

    The file does not say its sample rate, which is the config's default.
    """
    try:
        layers = _read_layers(path)
        parts = _assign(layers)
        network = HTMDNet(_read_config(layers, parts))
        network.load_state_dict(_state(network, parts), strict=False)
    except (HtmdsepError, *_DAMAGE) as error:
        cause = f"it is no whole .h5 file of Keras's Model.save ({error!r})"
        raise HtmdsepError(
            f"cannot import {path}: {error if isinstance(error, HtmdsepError) else cause}; give an "
            "HTMD-Net as its authors' script saves it"
        ) from error
    return network.eval()


def _read_layers(path: Path) -> dict[str, list[_Layer]]:
    """Return a file's layers by class, in the order of their numbers."""
    layers: dict[str, list[_Layer]] = defaultdict(list)
    with h5py.File(path, "r") as file:
        if not _text(file.attrs["keras_version"]).startswith("2."):
            raise HtmdsepError("it was not written by Keras 2")
        for entry in json.loads(file.attrs["model_config"])["config"]["layers"]:
            group = file["model_weights"][entry["name"]]
            arrays = {}
            for name in map(_text, group.attrs["weight_names"]):
                # Versions nest names differently: "lstm/forward_lstm/lstm_cell_1/kernel:0"
                key = re.sub(r"^(?:.*/(forward_|backward_))?.*/(\w+):0$", r"\1\2", name)
                arrays[key] = np.asarray(group[name], dtype=np.float32)
            layers[entry["class_name"]].append(_Layer(entry["name"], entry["config"], arrays))
    for kind, found in layers.items():
        found.sort(key=lambda layer, kind=kind: _number(kind, layer))  # type: ignore[misc]
    return layers


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(kind: str, layer: _Layer) -> float:
    """Return the number that Keras put behind the class in a layer's name, as in "conv1d_12"."""
    if layer.name == "vocal_source":
        return inf  # the last convolution has a name of its own
    name = layer.name.rstrip("0123456789")
    if layer.arrays and name.replace("_", "") != kind.lower():
        raise HtmdsepError(f"the name of its {kind} {layer.name!r} does not tell its place")
    return int(layer.name[len(name) :] or 0)


def _assign(layers: dict[str, list[_Layer]]) -> dict[str, _Layer]:
    """Return the layers that hold weights by the names of our modules."""
    kinds = ("DepthwiseConv2D", "AveragePooling1D", "Bidirectional")
    blocks, levels, lstms = (max(len(layers[kind]), 1) for kind in kinds)
    each = [f"masking.blocks.{block}" for block in range(blocks)]
    norms = [f"{block}.{part}.2" for block in each for part in ("expand", "depthwise")]
    modules = {
        "Conv1D": [*_convolutions(blocks, levels)],
        "DepthwiseConv2D": [f"{block}.depthwise.0" for block in each],
        "Conv2DTranspose": ["masking.decoder"],
        "BatchNormalization": ["masking.entry.0", *norms],
        "Bidirectional": [f"denoising.bottleneck.{layer}.lstm" for layer in range(lstms)],
    }
    counts = {
        **{kind: len(names) for kind, names in modules.items()},
        **{"InputLayer": 1, "Multiply": 1, "Add": 2 * blocks - 2, "Lambda": 2 * blocks + 2},
        **{"LeakyReLU": 2 * (blocks + levels + 1), "Concatenate": levels + 1},
        **{"AveragePooling1D": levels, "UpSampling1D": levels},
    }
    for kind in sorted(layers.keys() | counts.keys()):
        found, expected = len(layers[kind]), counts.get(kind, 0)
        if found != expected:
            raise HtmdsepError(f"it has {found} layers of the class {kind} instead of {expected}")
    pairs = (zip(names, layers[kind], strict=True) for kind, names in modules.items())
    return {name: layer for pair in pairs for name, layer in pair}


def _convolutions(blocks: int, levels: int) -> Iterator[str]:
    """Yield our modules in the order in which the script makes their Conv1D.

    The last block's residual has a number, too, but leads nowhere and is not in the file.
    """
    yield from ("masking.encoder", "masking.entry.1")
    for block in range(blocks):
        for part in ("expand.0", "skip", "residual")[: 3 - (block == blocks - 1)]:
            yield f"masking.blocks.{block}.{part}"
    yield "masking.mask.1"
    yield from (f"denoising.{way}.{level}" for way in ("down", "up") for level in range(levels))
    yield "denoising.output"


def _read_config(layers: dict[str, list[_Layer]], parts: dict[str, _Layer]) -> HTMDNetConfig:
    """Read sizes from the arrays, and from the layers' settings what those do not show."""
    dilations = [max(layer.config["dilation_rate"]) for layer in layers["DepthwiseConv2D"]]
    if dilations != [2**block for block in range(len(dilations))]:
        raise HtmdsepError(f"its blocks have the dilations {dilations}, not 1, 2, 4, ...")
    ends = (parts["masking.encoder"], parts["masking.decoder"])
    cells = [layer.config["layer"]["config"] for layer in layers["Bidirectional"]]
    encoder = parts["masking.encoder"].arrays["kernel"].shape
    expand = parts["masking.blocks.0.expand.0"].arrays["kernel"].shape
    down = [p.arrays["kernel"].shape for name, p in parts.items() if "denoising.down." in name]
    length = layers["InputLayer"][0].config["batch_input_shape"][1]  # None where any fits
    return HTMDNetConfig(
        segment_length=HTMDNetConfig.segment_length if length is None else length,
        leaky_slope=_common("alpha", (layer.config["alpha"] for layer in layers["LeakyReLU"])),
        batchnorm_eps=_common(
            "epsilon", (layer.config["epsilon"] for layer in layers["BatchNormalization"])
        ),
        encoder_channels=encoder[2],
        encoder_kernel=encoder[0],
        encoder_stride=_common("strides", (max(layer.config["strides"]) for layer in ends)),
        bottleneck_channels=expand[1],
        block_channels=expand[2],
        block_kernel=len(parts["masking.blocks.0.depthwise.0"].arrays["depthwise_kernel"]),
        blocks=len(dilations),
        denoiser_levels=len(down),
        denoiser_channels=down[0][2],
        first_kernel=down[0][0],
        down_kernel=down[-1][0],
        up_kernel=len(parts["denoising.output"].arrays["kernel"]),
        lstm_size=len(parts["denoising.bottleneck.0.lstm"].arrays["forward_recurrent_kernel"]),
        lstm_layers=len(cells),
        activation=_common("activation", (cell["activation"] for cell in cells)),
        recurrent_activation=_common("gates", (cell["recurrent_activation"] for cell in cells)),
    )


def _common(setting: str, values: Iterable[Any]) -> Any:
    """Return the value that all layers have; Keras writes 0.30000001192092896 for 0.3."""
    found = {float(f"{value:.7g}") if isinstance(value, float) else value for value in values}
    if len(found) != 1:
        raise HtmdsepError(f"its layers differ in {setting}: {sorted(found)}")
    return found.pop()


def _state(network: HTMDNet, parts: dict[str, _Layer]) -> dict[str, Tensor]:
    """Return the network's tensors from the layers; raise where one does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = {}
    for module, layer in parts.items():
        for name, array in _tensors(layer.arrays):
            key = f"{module}.{name}"
            if array.shape != expected[key]:
                raise HtmdsepError(
                    f"its layer {layer.name!r} makes {key} {array.shape} instead of {expected[key]}"
                )
            if not np.isfinite(array).all():
                raise HtmdsepError(f"the weights of its layer {layer.name!r} are not finite")
            state[key] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def _tensors(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a layer's arrays under our names and in our order of dimensions."""
    if "gamma" in arrays:
        yield "weight", arrays["gamma"]
        yield "bias", arrays["beta"]
        yield "running_mean", arrays["moving_mean"]
        yield "running_var", arrays["moving_variance"]
    elif "forward_kernel" in arrays:
        for way, suffix in (("forward", ""), ("backward", "_reverse")):
            # Keras's one bias is the last column of the input's weights: see AveragedBiLSTM.
            rows = np.concatenate([arrays[f"{way}_kernel"], arrays[f"{way}_bias"][None]])
            yield f"weight_ih_l0{suffix}", rows.T
            yield f"weight_hh_l0{suffix}", arrays[f"{way}_recurrent_kernel"].T
    else:
        if "depthwise_kernel" in arrays:  # (width, 1, channels, 1) to (channels, 1, width)
            yield "weight", arrays["depthwise_kernel"][:, 0].transpose(1, 2, 0)
        else:  # (width, in, out) to (out, in, width); transposed: (width, 1, out, in)
            kernel = arrays["kernel"]
            yield "weight", (kernel[:, 0] if kernel.ndim == 4 else kernel).transpose(2, 1, 0)
        yield "bias", arrays["bias"]
