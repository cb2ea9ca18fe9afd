"""Read HTMD-Net's config from a Keras graph, and refuse settings that our network does not have."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.keras_graph import Layer, Node, unlike
from htmdsep.keras_roles import Roles
from htmdsep.model import HTMDNetConfig

_ONE = (1, [1], [1, 1])  # how Keras writes a size of 1, in one dimension or two
_TWO = (2, [2])

# What our network takes for granted of each kind of layer. The first value stands where the file
# says nothing: Keras's default, for old versions that lack the setting.
_REQUIRED: dict[str, dict[str, tuple[Any, ...]]] = {
    "convolution": {"dilation_rate": _ONE, "groups": (1,), "data_format": ("channels_last",)},
    "depthwise": {"strides": _ONE, "depth_multiplier": (1,), "data_format": ("channels_last",)},
    "transposed": {"dilation_rate": _ONE, "data_format": ("channels_last",)},
    "norm": {"axis": (-1, 2, 3, [2], [3])},
    "concatenate": {"axis": (-1, 2)},
    "pool": {"pool_size": _TWO, "strides": (None, *_TWO)},
    "upsample": {"size": _TWO},
    "bilstm": {"merge_mode": ("ave",)},
}
_DEPTHWISE = re.compile(r"masking\.blocks\.\d+\.depthwise\.0")


def kernel_of(layer: Layer) -> np.ndarray:
    """Return a convolution's kernel without its dimension of 1, of shape (width, ..., ...)."""
    kernel = layer.array("kernel", "depthwise_kernel")
    if kernel.ndim not in (3, 4):
        raise unlike(f"its layer {layer.name!r} has a kernel of shape {kernel.shape}")
    return kernel.reshape(-1, *kernel.shape[-2:])


def check_settings(nodes: Collection[Node], encoder: Node) -> None:
    """Raise HtmdsepError for a layer that computes something else than ours in its place."""
    for node in nodes:
        layer = node.layer
        _require(layer, layer.config, _REQUIRED.get(node.operation, {}))
        if node.operation in ("convolution", "depthwise", "transposed"):
            _check_convolution(node, encoder)
        elif node.operation == "bilstm":
            for config, backward in zip(_lstm_configs(layer), (False, True), strict=False):
                _require(layer, config, {"go_backwards": (backward,)})
                _require(layer, config, {"return_sequences": (True,), "time_major": (False,)})


def read_config(nodes: Collection[Node], roles: Roles, keras_version: str) -> HTMDNetConfig:
    """Read sizes from the arrays, and from the layers' settings what those do not show.

    Raises HtmdsepError for settings that differ between layers where ours has one for all.
    """
    layers = {name: node.layer for name, node in roles.items()}
    encoder_kernel, _, encoder_channels = kernel_of(layers["masking.encoder"]).shape
    _, narrow, wide = kernel_of(layers["masking.blocks.0.expand.0"]).shape
    first_kernel, _, denoiser_channels = kernel_of(layers["denoising.down.0"]).shape
    levels = sum(name.startswith("denoising.down.") for name in layers)
    lstms = [node.layer for node in nodes if node.operation == "bilstm"]
    activation, gate = _activations(lstms, keras_version)
    blocks, repeats = _blocks_and_repeats(layers)
    return HTMDNetConfig(
        **_segment_length(layers["input"]),
        leaky_slope=_common_number(nodes, "leaky", ("negative_slope", "alpha"), 0.3),
        batchnorm_eps=_common_number(nodes, "norm", ("epsilon",), 1e-3),
        encoder_channels=encoder_channels,
        encoder_kernel=encoder_kernel,
        encoder_stride=_stride(layers["masking.encoder"], layers["masking.decoder"]),
        bottleneck_channels=narrow,
        block_channels=wide,
        block_kernel=len(kernel_of(layers["masking.blocks.0.depthwise.0"])),
        blocks=blocks,
        repeats=repeats,
        denoiser_levels=levels,
        denoiser_channels=denoiser_channels,
        first_kernel=first_kernel,
        down_kernel=len(kernel_of(layers[f"denoising.down.{levels - 1}"])),
        up_kernel=len(kernel_of(layers["denoising.output"])),
        lstm_size=layers["denoising.bottleneck.0.lstm"].array("forward_bias").size // 4,
        lstm_layers=len(lstms),
        activation=activation,
        recurrent_activation=gate,
    )


def _require(layer: Layer, config: dict[str, Any], required: dict[str, tuple[Any, ...]]) -> None:
    for name, values in required.items():
        if config.get(name, values[0]) not in values:
            raise _setting(layer, f"{name}={config[name]!r}")


def _check_convolution(node: Node, encoder: Node) -> None:
    """Check what depends on the kernel's width: one of 1 is the same with and without padding."""
    layer, width = node.layer, len(kernel_of(node.layer))
    if width > 1 and layer.config.get("padding") != "same":
        raise _setting(layer, f"padding={layer.config.get('padding')!r}")
    if node.operation == "convolution" and node is not encoder:
        _require(layer, layer.config, {"strides": _ONE})
        if width % 2 == 0:
            raise _setting(layer, f"an even kernel_size of {width}")


def _lstm_configs(layer: Layer) -> list[dict[str, Any]]:
    """Return the settings of the forward LSTM and, where the file has them, the backward one."""
    inner = [layer.config.get("layer"), *filter(None, [layer.config.get("backward_layer")])]
    for one in inner:
        if not isinstance(one, dict) or one.get("class_name") != "LSTM" or "config" not in one:
            kind = one.get("class_name") if isinstance(one, dict) else one
            raise _setting(layer, f"a layer of the kind {kind!r} inside")
    return [one["config"] for one in inner]


def _activations(lstms: Sequence[Layer], keras_version: str) -> tuple[Any, Any]:
    """Return the LSTMs' activation and recurrent activation; the config checks their values."""
    found = {
        (str(config.get("activation") or "linear"), str(config.get("recurrent_activation")))
        for layer in lstms
        for config in _lstm_configs(layer)
    }
    if len(found) != 1:
        raise unlike(f"its LSTM layers differ in their activations: {sorted(found)}")
    ((activation, gate),) = found
    if gate == "hard_sigmoid" and keras_version.startswith("3"):
        raise unlike(
            "its LSTM layers have the hard sigmoid of Keras 3, which is not that of Keras 2"
        )
    return activation, gate


def _blocks_and_repeats(layers: dict[str, Layer]) -> tuple[int, int]:
    """Return how many temporal blocks double the dilation, and how often they do so from 1 on."""
    dilations = [
        _size(layer, "dilation_rate") for name, layer in layers.items() if _DEPTHWISE.match(name)
    ]
    repeats = dilations.count(1)
    blocks = len(dilations) // max(repeats, 1)
    if dilations != [2**block for block in range(blocks)] * repeats:
        raise unlike(f"its temporal blocks have the dilations {dilations}, not 1, 2, 4, ...")
    return blocks, repeats


def _segment_length(layer: Layer) -> dict[str, int]:
    """Return the length of the network's input as a config's field, or none where any fits."""
    shape = layer.config.get("batch_input_shape") or layer.config.get("batch_shape")
    if not isinstance(shape, list) or len(shape) not in (2, 3) or shape[2:] not in ([], [1]):
        raise unlike(f"its input has the shape {shape}, not (batch, time, 1)")
    return {} if shape[1] is None else {"segment_length": shape[1]}


def _stride(encoder: Layer, decoder: Layer) -> int:
    strides = _size(encoder, "strides"), _size(decoder, "strides")
    if strides[0] != strides[1]:
        raise unlike(f"its encoder and decoder have different strides: {strides}")
    return strides[0]


def _size(layer: Layer, name: str) -> int:
    """Return a size that Keras writes as n, [n] or [n, 1]."""
    value = layer.config.get(name, 1)
    sizes = value if isinstance(value, list) else [value]
    if not sizes or not all(type(size) is int for size in sizes):
        raise _setting(layer, f"{name}={value!r}")
    return int(max(sizes))


def _common_number(
    nodes: Collection[Node], operation: str, names: Sequence[str], default: float
) -> float:
    """Return the number that all layers of a kind have under one of its names.

    Keras keeps it as float32, and writes 0.30000001192092896 for 0.3.
    """
    found = set()
    for node in nodes:
        if node.operation == operation:
            config = node.layer.config
            number = next((config[name] for name in names if name in config), default)
            if not isinstance(number, (int, float)):
                raise _setting(node.layer, f"{names[-1]}={number!r}")
            found.add(number)
    if len(found) != 1:
        raise unlike(f"its {operation} layers differ in {names[-1]}: {sorted(found)}")
    return float(f"{found.pop():.7g}")


def _setting(layer: Layer, setting: str) -> HtmdsepError:
    return unlike(f"its layer {layer.name!r} has {setting}")
