"""The paper's protocol and our own recipe, as presets."""

from __future__ import annotations

from typing import Literal

from htmdsep.errors import HtmdsepError
from htmdsep.model import ConvTasNetConfig, HTMDNetConfig, NetworkConfig, WaveUNetConfig
from htmdsep.training.augment.draw import INPUT_LEVEL
from htmdsep.training.losses import RATIO, VARIANTS
from htmdsep.training.schedule import Schedule
from htmdsep.training.settings import Preset, TrainerSettings

Architecture = Literal["htmdnet", "convtasnet", "waveunet"]

# Slides and authors' scripts: Adam 1e-4 (Keras's betas), batch 8, segments of 16 384, at most
# 150 epochs, early stopping after 20, no augmentation.
PAPER = Preset(
    random_mixes=False,
    batch_size=8,
    segment_length=16_384,
    encoder_kernel=16,
    encoder_stride=8,
    optimiser="adam",
    betas=(0.9, 0.999),
    keras_weights=True,
    average_decay=0.0,
    epochs=150,
    trainer=TrainerSettings(loss=VARIANTS["mae-mae"], schedule=Schedule(1e-4), patience=20),
)

# Chosen for a few hours on a CPU (docs/recipe.md): an encoder of an eighth of the cost, segments
# that the masking network's context of 5.9 s can use, small batches for many steps, the denoiser
# only once there is a mask worth refining. Of the validation windows every second is scored while
# training, not every third: the voices of `open-corpus` come in three groups in turn. Batch norm
# learns to the end: frozen over the last fifth, it let three runs' PES on the album rise by 10 dB.
OURS = Preset(
    random_mixes=True,
    batch_size=2,
    segment_length=65_536,
    encoder_kernel=512,
    encoder_stride=128,
    optimiser="adam",
    betas=(0.9, 0.99),
    keras_weights=False,
    average_decay=0.995,
    trainer=TrainerSettings(
        loss=RATIO,
        schedule=Schedule(5e-4, decay="cosine", warmup_steps=60),
        clip_norm=1.0,
        bf16=True,
        epoch_minutes=12.0,
        validation_stride=2,
        masking_share=0.75,
    ),
)
PRESETS = {"paper": PAPER, "ours": OURS}


def network_config(
    preset: Preset, architecture: Architecture, repeats: int | None = None
) -> NetworkConfig:
    """Return an architecture's config with the preset's segment length and encoder.

    `repeats` is the masking network's depth, None the architecture's own. Raises HtmdsepError where
    it is given for a network that has none.
    """
    level = INPUT_LEVEL if preset.random_mixes else None  # the paper's segments are as they are
    if architecture == "waveunet":
        if repeats is not None:
            raise HtmdsepError("Wave-U-Net has no masking network to repeat; leave out --repeats")
        return WaveUNetConfig(segment_length=preset.segment_length, input_level=level)
    kind = HTMDNetConfig if architecture == "htmdnet" else ConvTasNetConfig
    return kind(
        segment_length=preset.segment_length,
        input_level=level,
        encoder_kernel=preset.encoder_kernel,
        encoder_stride=preset.encoder_stride,
        repeats=kind.repeats if repeats is None else repeats,
    )
