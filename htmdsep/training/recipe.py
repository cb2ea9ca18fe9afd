"""What a run learns with: the recipe, its presets, and what a resumed run may change."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import (
    DENSE_NARROWING,
    LEAST_SHARE,
    TEMPORAL_LEAST_SHARE,
    NetworkConfig,
    config_from_dict,
    config_to_dict,
)
from htmdsep.training.augment.draw import INPUT_LEVEL
from htmdsep.training.losses import RATIO, VARIANTS, LossSettings

Architecture = Literal["htmdnet", "spectral", "convtasnet", "waveunet"]
Decay = Literal["none", "cosine"]


@dataclass(frozen=True)
class Recipe:
    """Batches, network, steps and validations of a run; options of the same names replace them."""

    architecture: Architecture
    random_mixes: bool  # otherwise the segments of songs as they are
    batch_size: int  # segments, a process
    segment_length: int  # samples
    encoder_kernel: int
    encoder_stride: int
    loss: LossSettings
    learning_rate: float  # the highest
    betas: tuple[float, float]  # Adam's
    keras_weights: bool  # initial weights drawn as Keras does; otherwise as PyTorch does
    average_decay: float  # of the weights' moving average; 0: none
    decay: Decay = "none"  # of the learning rate, to the end of the run
    warmup_steps: int = 0
    final_share: float = 0.01  # of the learning rate, where the cosine ends
    clip_norm: float | None = None  # of the gradient
    masking_share: float = 0.0  # of a run whose end is known: HTMD-Net's masker learns alone
    keep_norms: bool = False  # batch norm's statistics stay those of the weights it starts from
    bf16: bool = False  # autocast
    epochs: int | None = None  # passes over the songs, unless there are steps
    steps: int | None = None  # in all, over resumed runs
    max_minutes: float | None = None  # of wall time in all, over resumed runs
    epoch_steps: int = 500  # between validations
    epoch_minutes: float | None = None  # instead, by the clock
    patience: int | None = None  # validations without a better loss
    validation_stride: int = 1  # every n-th window while training
    workers: int = 1  # processes that prepare batches

    def progress(self, step: int, seconds: float) -> float:
        """Return how far a run has come, 0 to 1: by steps where they are known, else by time."""
        if self.steps is not None:
            return step / self.steps
        return seconds / (60 * self.max_minutes) if self.max_minutes is not None else 0.0

    def is_due(self, step: int, before: float, seconds: float) -> bool:
        """Tell whether to validate after a step that began at `before` and ended at `seconds`.

        That is every so many steps, or at multiples of the epoch's time.
        """
        if self.epoch_minutes is None:
            return step % self.epoch_steps == 0
        epoch = 60 * self.epoch_minutes
        return seconds // epoch > before // epoch

    def is_over(self, seconds: float) -> bool:
        """Tell whether the minutes are spent."""
        return self.max_minutes is not None and seconds >= 60 * self.max_minutes

    def is_masking_alone(self, progress: float) -> bool:
        """Tell whether HTMD-Net's masking network learns alone; never in a run without an end."""
        has_end = self.steps is not None or self.max_minutes is not None
        return has_end and progress < self.masking_share

    def rate(self, step: int, progress: float) -> float:
        """Return the learning rate of a step, at a progress of 0 to 1 through the run."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "cosine":
            cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, progress)))
            rate *= self.final_share + (1 - self.final_share) * cosine
        return rate


# Slides and authors' scripts: Adam 1e-4 (Keras's betas), batch 8, segments of 16 384, at most
# 150 epochs, early stopping after 20, no augmentation.
PAPER = Recipe(
    architecture="htmdnet",
    random_mixes=False,
    batch_size=8,
    segment_length=16_384,
    encoder_kernel=16,
    encoder_stride=8,
    loss=VARIANTS["mae-mae"],
    learning_rate=1e-4,
    betas=(0.9, 0.999),
    keras_weights=True,
    average_decay=0.0,
    epochs=150,
    patience=20,
)

# Chosen for a few hours on a CPU (docs/recipe.md): an encoder of an eighth of the cost, segments
# that the masking network's context of 5.9 s can use, small batches for many steps, the denoiser
# only once there is a mask worth refining. Of the validation windows every second is scored while
# training, not every third: the voices of `open-corpus` come in three groups in turn. Batch norm
# learns to the end: frozen over the last fifth, it let three runs' PES on the album rise by 10 dB.
OURS = Recipe(
    architecture="htmdnet",
    random_mixes=True,
    batch_size=2,
    segment_length=65_536,
    encoder_kernel=512,
    encoder_stride=128,
    loss=RATIO,
    learning_rate=5e-4,
    betas=(0.9, 0.99),
    keras_weights=False,
    average_decay=0.995,
    decay="cosine",
    warmup_steps=60,
    clip_norm=1.0,
    masking_share=0.75,
    bf16=True,
    epoch_minutes=12.0,
    validation_stride=2,
)

# What tuned the spectral network without losing what it knew (docs/recipe.md): batch norm as it
# came, a fifth of OURS's rate, segments as long as the network remembers.
SPECTRAL = replace(
    OURS,
    architecture="spectral",
    batch_size=3,
    segment_length=131_072,
    learning_rate=1e-4,
    average_decay=0.997,
    masking_share=0.0,
    keep_norms=True,
)
PRESETS = {"paper": PAPER, "ours": OURS, "spectral": SPECTRAL}

# What a resumed run may change: how long it goes on, and on what machine.
FREE_ON_RESUME = ("max_minutes", "workers")


def resume_settings(recipe: Recipe, config: NetworkConfig, seed: int) -> dict[str, Any]:
    """Return what must be the same when a run is resumed, as plain values by their names."""
    network = {f"network's {name}": value for name, value in config_to_dict(config).items()}
    values = {name: value for name, value in asdict(recipe).items() if name not in FREE_ON_RESUME}
    return {**values, **network, "seed": seed}


def network_config(
    recipe: Recipe, repeats: int | None = None, known: NetworkConfig | None = None
) -> NetworkConfig:
    """Return the config of the recipe's architecture with the recipe's segment length and encoder.

    What else it has is as in `known`, the config of the weights a run starts from, if it is of that
    architecture. `repeats` is the masking network's depth, None that one's, or the architecture's.
    """
    architecture = recipe.architecture
    values = {
        **(config_to_dict(known) if known and known.architecture == architecture else {}),
        "architecture": architecture,
        "segment_length": recipe.segment_length,
        # The paper's segments are as they are
        "input_level": INPUT_LEVEL if recipe.random_mixes else None,
    }
    if architecture == "spectral":
        values["least_share"] = LEAST_SHARE
        values.setdefault("dense_narrowing", DENSE_NARROWING)
    if architecture in ("htmdnet", "convtasnet"):
        values["least_share"] = TEMPORAL_LEAST_SHARE if recipe.random_mixes else 0.0
        values |= {name: getattr(recipe, name) for name in ("encoder_kernel", "encoder_stride")}
        values |= {} if repeats is None else {"repeats": repeats}
    elif repeats is not None:
        raise HtmdsepError(f"{architecture} has no masking network to repeat; leave out --repeats")
    return config_from_dict(values)
