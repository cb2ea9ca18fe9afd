"""The paper's protocol and our own recipe, as presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from htmdsep.model import (
    ConvTasNetConfig,
    HTMDNetConfig,
    NetworkConfig,
    WaveUNetConfig,
)
from htmdsep.training.losses import VARIANTS, LossSettings
from htmdsep.training.schedule import Schedule
from htmdsep.training.trainer import TrainerSettings

Architecture = Literal["htmdnet", "convtasnet", "waveunet"]
PAPER_EPOCHS = 150  # slides
PAPER_PATIENCE = 20  # slides

OUR_LOSS = LossSettings(masked="mae", beta=0.5, final="mae", alpha=1.0, spectral=0.3, balanced=1.0)


@dataclass(frozen=True)
class Preset:
    """How to train: data, batches, optimiser."""

    random_mixes: bool  # otherwise the segments of songs as they are
    batch_size: int
    segment_length: int
    encoder_kernel: int
    encoder_stride: int
    betas: tuple[float, float]
    average_decay: float  # of the moving average of weights; 0 switches it off
    trainer: TrainerSettings
    epochs: int | None = None


# Slides: Adam 1e-4, batch 8, segments of 16 384, no augmentation; betas are Keras's default.
PAPER = Preset(
    random_mixes=False,
    batch_size=8,
    segment_length=16_384,
    encoder_kernel=16,
    encoder_stride=8,
    betas=(0.9, 0.999),
    average_decay=0.0,
    trainer=TrainerSettings(
        loss=VARIANTS["mae-mae"], schedule=Schedule(1e-4), patience=PAPER_PATIENCE
    ),
    epochs=PAPER_EPOCHS,
)

# Measured: small batches make more of little time than large ones do.
OURS = Preset(
    random_mixes=True,
    batch_size=3,
    segment_length=32_768,
    encoder_kernel=32,
    encoder_stride=16,
    betas=(0.9, 0.99),
    average_decay=0.995,
    trainer=TrainerSettings(
        loss=OUR_LOSS,
        schedule=Schedule(1e-3, decay="cosine", warmup_steps=120),
        clip_norm=1.0,
        bf16=True,
        epoch_minutes=15.0,
        validation_stride=3,
        freeze_statistics_at=0.8,
    ),
)
PRESETS = {"paper": PAPER, "ours": OURS}


def network_config(preset: Preset, architecture: Architecture) -> NetworkConfig:
    """Return an architecture's config with the preset's segment length and encoder."""
    if architecture == "waveunet":
        return WaveUNetConfig(segment_length=preset.segment_length)
    kind = HTMDNetConfig if architecture == "htmdnet" else ConvTasNetConfig
    return kind(
        segment_length=preset.segment_length,
        encoder_kernel=preset.encoder_kernel,
        encoder_stride=preset.encoder_stride,
    )


def with_trainer(preset: Preset, **changes: object) -> Preset:
    """Return the preset with some of its trainer's settings replaced."""
    return replace(preset, trainer=replace(preset.trainer, **changes))  # type: ignore[arg-type]
