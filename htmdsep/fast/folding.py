"""Fold a masking network's norms and chained linear maps into few matrices, in double precision.

With batch norms fixed, `norm(x) = scale x + shift` is linear, and so are the encoder and all 1x1
convolutions. Hence:

- encoder, norm and entry are one convolution of the waveform;
- the norm before a depthwise convolution goes into its taps and bias, if the convolution pads
  with -shift / scale, which the norm maps to zero;
- the norm before the projections goes into these, and their biases into all that follows, so that
  residual and skip are one matrix without bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig
from htmdsep.fast.ops import Array, Ops
from htmdsep.fast.tensors import Tensors

# A norm's scale is held away from zero by this much, for -shift / scale to be finite.
_LEAST_SCALE = 1e-20


@dataclass(frozen=True)
class BlockWeights:
    """A temporal block: `features @ expand + expand_bias`, the taps, `hidden @ project`."""

    expand: Array  # (narrow, wide)
    expand_bias: Array  # (wide,)
    taps: tuple[Array, ...]  # kernel of (wide,)
    taps_bias: Array  # (wide,)
    padding: Array  # (wide,): what the depthwise convolution sees beyond both ends
    project: Array  # (wide, 2 * narrow): residual, then skip; the last block's: (wide, narrow)
    dilation: int
    last: bool


@dataclass(frozen=True)
class MaskingWeights:
    """A masking network as products with frames of the waveform (frames, kernel)."""

    entry: Array  # (kernel, narrow), without its bias, which is in the blocks'
    blocks: tuple[BlockWeights, ...]
    skip_bias: Array  # (narrow,), the sum of all blocks'
    mask: Array  # (narrow, channels)
    mask_bias: Array  # (channels,)
    encoder: Array  # (kernel, channels)
    encoder_bias: Array  # (channels,)
    decoder: Array  # (channels, kernel rounded up to whole strides)
    decoder_bias: Array  # (1,)


def fold_masking(
    config: HTMDNetConfig | ConvTasNetConfig, tensors: Tensors, ops: Ops
) -> MaskingWeights:
    """Return the folded weights of a masking network in evaluation mode."""
    channels, narrow, kernel = (
        config.encoder_channels,
        config.bottleneck_channels,
        config.encoder_kernel,
    )
    encoder = tensors.convolution("masking.encoder", channels, 1, kernel)
    scale, shift = tensors.norm("masking.entry.0", channels, config.batchnorm_eps)
    entry = tensors.convolution("masking.entry.1", narrow, channels)
    carried = entry.matrix @ (scale * encoder.bias + shift) + entry.bias  # the features' bias
    skip_bias = np.zeros(narrow)
    blocks = []
    count = config.blocks * config.repeats
    for index in range(count):
        block, residual_bias, bias = _fold_block(
            config, tensors, index, carried, last=index == count - 1, ops=ops
        )
        carried, skip_bias = carried + residual_bias, skip_bias + bias
        blocks.append(block)
    mask = tensors.convolution("masking.mask.1", channels, narrow)
    decoder = tensors.take("masking.decoder.weight", channels, 1, kernel)[:, 0]
    overhang = -kernel % config.encoder_stride
    return MaskingWeights(
        entry=ops.constant((entry.matrix * scale @ encoder.matrix).T),
        blocks=tuple(blocks),
        skip_bias=ops.constant(skip_bias),
        mask=ops.constant(mask.matrix.T),
        mask_bias=ops.row(mask.bias),
        encoder=ops.constant(encoder.matrix.T),
        encoder_bias=ops.row(encoder.bias),
        decoder=ops.constant(np.pad(decoder, ((0, 0), (0, overhang)))),
        decoder_bias=ops.constant(tensors.take("masking.decoder.bias", 1), exact=True),
    )


def _fold_block(
    config: HTMDNetConfig | ConvTasNetConfig,
    tensors: Tensors,
    index: int,
    carried: np.ndarray,
    *,
    last: bool,
    ops: Ops,
) -> tuple[BlockWeights, np.ndarray, np.ndarray]:
    """Return a block's weights, and the biases it adds to the features and to the skips."""
    name, eps = f"masking.blocks.{index}", config.batchnorm_eps
    narrow, wide = config.bottleneck_channels, config.block_channels
    expand = tensors.convolution(f"{name}.expand.0", wide, narrow)
    scale, shift = tensors.norm(f"{name}.expand.2", wide, eps)
    scale = np.where(scale < 0, -1.0, 1.0) * np.maximum(np.abs(scale), _LEAST_SCALE)
    depthwise = tensors.convolution(f"{name}.depthwise.0", wide, 1, config.block_kernel)
    taps = depthwise.matrix.T  # (kernel, wide)
    norm_scale, norm_shift = tensors.norm(f"{name}.depthwise.2", wide, eps)
    projections = [] if last else [tensors.convolution(f"{name}.residual", narrow, wide)]
    projections.append(tensors.convolution(f"{name}.skip", narrow, wide))
    matrix = np.concatenate([projection.matrix for projection in projections])
    bias = np.concatenate([projection.bias for projection in projections]) + matrix @ norm_shift
    weights = BlockWeights(
        expand=ops.constant(expand.matrix.T),
        expand_bias=ops.row(expand.matrix @ carried + expand.bias),
        taps=tuple(ops.row(tap) for tap in taps * scale),
        taps_bias=ops.row(depthwise.bias + shift * taps.sum(axis=0)),
        padding=ops.constant(-shift / scale),
        project=ops.constant((matrix * norm_scale).T),
        dilation=2 ** (index % config.blocks),
        last=last,
    )
    residual_bias = np.zeros(narrow) if last else bias[:narrow]
    return weights, residual_bias, bias[-narrow:]
