"""What a run is made of, as frozen values that checkpoints carry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from htmdsep.model import NetworkConfig, config_to_dict
from htmdsep.training.losses import LossSettings
from htmdsep.training.optimisers import OptimiserName
from htmdsep.training.schedule import Schedule


@dataclass(frozen=True)
class TrainerSettings:
    """How long to run, what to descend, and when to validate."""

    loss: LossSettings
    schedule: Schedule
    clip_norm: float | None = None  # of the gradient
    bf16: bool = False  # autocast
    steps: int | None = None  # in all, over resumed runs
    max_minutes: float | None = None  # of wall time in all, over resumed runs
    epoch_steps: int = 500  # between validations
    epoch_minutes: float | None = None  # instead, by the clock
    patience: int | None = None  # validations without a better loss
    validation_stride: int = 1  # every n-th window while training
    masking_share: float = 0.0  # of a run whose end is known: HTMD-Net's masker learns alone
    workers: int = 1  # processes that prepare batches

    def progress(self, step: int, seconds: float) -> float:
        """Return how far a run has come, 0 to 1: by steps where they are known, else by time."""
        if self.steps is not None:
            return step / self.steps
        return seconds / (60 * self.max_minutes) if self.max_minutes is not None else 0.0

    def is_masking_alone(self, progress: float) -> bool:
        """Tell whether HTMD-Net's masking network learns alone; never in a run without an end."""
        has_end = self.steps is not None or self.max_minutes is not None
        return has_end and progress < self.masking_share


@dataclass(frozen=True)
class Preset:
    """A recipe: data, batches, network, optimiser."""

    random_mixes: bool  # otherwise the segments of songs as they are
    batch_size: int  # segments, a process
    segment_length: int
    encoder_kernel: int
    encoder_stride: int
    optimiser: OptimiserName
    betas: tuple[float, float]  # Adam's
    keras_weights: bool  # initial weights drawn as Keras does; otherwise as PyTorch does
    average_decay: float  # of the weights' moving average; 0: none
    trainer: TrainerSettings
    epochs: int | None = None


# Settings that a resumed run may change: how long it goes on, and on what machine.
FREE_ON_RESUME = ("max_minutes", "workers")


def comparable(preset: Preset, config: NetworkConfig, seed: int) -> dict[str, Any]:
    """Return what must be the same when a run is resumed, as plain values."""
    values = asdict(preset)
    for name in FREE_ON_RESUME:
        del values["trainer"][name]
    values["betas"] = list(values["betas"])
    return {**values, "network": config_to_dict(config), "seed": seed}
