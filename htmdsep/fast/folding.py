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

import torch
from torch import Tensor, nn

from htmdsep.model.masking import MaskingNetwork, TemporalBlock

# A norm's scale is held away from zero by this much, for -shift / scale to be finite.
_LEAST_SCALE = 1e-20


@dataclass(frozen=True)
class BlockWeights:
    """A temporal block: `features @ expand + expand_bias`, the taps, `hidden @ project`."""

    expand: Tensor  # (narrow, wide)
    expand_bias: Tensor  # (wide,)
    taps: Tensor  # (kernel, wide)
    taps_bias: Tensor  # (wide,)
    padding: Tensor  # (wide,): what the depthwise convolution sees beyond both ends
    project: Tensor  # (wide, 2 * narrow): residual, then skip; the last block's: (wide, narrow)
    dilation: int
    last: bool


@dataclass(frozen=True)
class MaskingWeights:
    """A masking network as products with frames of the waveform (frames, kernel)."""

    entry: Tensor  # (kernel, narrow), without its bias, which is in the blocks'
    blocks: tuple[BlockWeights, ...]
    skip_bias: Tensor  # (narrow,), the sum of all blocks'
    mask: Tensor  # (narrow, channels)
    mask_bias: Tensor  # (channels,)
    encoder: Tensor  # (kernel, channels)
    encoder_bias: Tensor  # (channels,)
    decoder: Tensor  # (channels, kernel rounded up to whole strides)
    decoder_bias: Tensor  # (1,)


def fold_masking(network: MaskingNetwork, dtype: torch.dtype) -> MaskingWeights:
    """Return the folded weights of a network in evaluation mode, as `dtype` on the CPU."""
    encoder, encoder_bias = _matrix(network.encoder)  # (channels, kernel)
    norm, entry_convolution = network.entry
    scale, shift = _norm(norm)
    entry, entry_bias = _matrix(entry_convolution)  # (narrow, channels)
    carried = entry @ (scale * encoder_bias + shift) + entry_bias  # the features' bias so far
    skip_bias = torch.zeros_like(carried)
    blocks = []
    for module in network.blocks:
        assert isinstance(module, TemporalBlock)
        block, residual_bias, bias = _fold_block(module, carried, dtype)
        carried, skip_bias = carried + residual_bias, skip_bias + bias
        blocks.append(block)
    mask, mask_bias = _matrix(network.mask[1])
    decoder = _double(network.decoder.weight)[:, 0]  # (channels, kernel)
    overhang = -decoder.shape[1] % network.decoder.stride[0]
    return MaskingWeights(
        entry=_cast((entry * scale @ encoder).T, dtype),
        blocks=tuple(blocks),
        skip_bias=_cast(skip_bias, dtype),
        mask=_cast(mask.T, dtype),
        mask_bias=_cast(mask_bias, dtype),
        encoder=_cast(encoder.T, dtype),
        encoder_bias=_cast(encoder_bias, dtype),
        decoder=_cast(nn.functional.pad(decoder, (0, overhang)), dtype),
        decoder_bias=_cast(_double(network.decoder.bias), torch.float32),
    )


def _fold_block(
    block: TemporalBlock, carried: Tensor, dtype: torch.dtype
) -> tuple[BlockWeights, Tensor, Tensor]:
    """Return a block's weights, and the biases it adds to the features and to the skips."""
    expand, expand_bias = _matrix(block.expand[0])
    scale, shift = _norm(block.expand[2])
    scale = torch.where(scale < 0, -1.0, 1.0) * scale.abs().clamp(min=_LEAST_SCALE)
    convolution = block.depthwise[0]
    assert isinstance(convolution, nn.Conv1d)
    taps, taps_bias = _double(convolution.weight)[:, 0].T, _double(convolution.bias)
    projections = [block.skip] if block.residual is None else [block.residual, block.skip]
    norm_scale, norm_shift = _norm(block.depthwise[2])
    matrices, biases = zip(*map(_matrix, projections), strict=True)
    project = torch.cat(matrices) * norm_scale  # (narrow or 2 * narrow, wide)
    bias = torch.cat(biases) + torch.cat(matrices) @ norm_shift
    weights = BlockWeights(
        expand=_cast(expand.T, dtype),
        expand_bias=_cast(expand @ carried + expand_bias, dtype),
        taps=_cast(taps * scale, dtype),
        taps_bias=_cast(taps_bias + shift * taps.sum(dim=0), dtype),
        padding=_cast(-shift / scale, dtype),
        project=_cast(project.T, dtype),
        dilation=convolution.dilation[0],
        last=block.residual is None,
    )
    narrow = len(carried)
    residual_bias = torch.zeros_like(carried) if weights.last else bias[:narrow]
    return weights, residual_bias, bias[-narrow:]


def _matrix(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a convolution's (out, in) matrix and bias; of a kernel in place of its one input."""
    weight = _double(convolution.weight)
    return weight.reshape(len(weight), -1), _double(convolution.bias)


def _norm(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm in evaluation mode."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = _double(norm.weight) / torch.sqrt(_double(norm.running_var) + norm.eps)
    return scale, _double(norm.bias) - _double(norm.running_mean) * scale


def _double(values: Tensor | nn.Module | None) -> Tensor:
    assert isinstance(values, Tensor)
    return values.detach().to("cpu", torch.float64)


def _cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype).contiguous()
