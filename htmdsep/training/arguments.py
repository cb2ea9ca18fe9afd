"""The arguments of a training run, and what they change in a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from htmdsep.training.losses import VARIANTS
from htmdsep.training.optimisers import OptimiserName
from htmdsep.training.presets import PRESETS, Architecture
from htmdsep.training.settings import Preset


@dataclass(frozen=True)
class Arguments:
    """The arguments of `htmdsep-train run`; None leaves the preset's value."""

    folder: Path
    out: Path
    cache: Path
    held_out: str | None
    preset: str
    architecture: Architecture
    loss: str | None
    learning_rate: float | None
    batch_size: int | None
    segment_length: int | None
    encoder: tuple[int, int] | None
    repeats: int | None
    start_from: str | None
    seed: int
    epochs: int | None
    steps: int | None
    max_minutes: float | None
    masking_share: float | None
    optimiser: OptimiserName | None
    decay: str | None
    patience: int | None
    epoch_minutes: float | None
    validation_stride: int | None
    resume: bool
    device: str
    threads: int | None
    workers: int
    bf16: bool | None
    compiled: bool
    tensorboard: bool

    def chosen_preset(self) -> Preset:
        """Return the preset with every option that was given."""
        preset = PRESETS[self.preset]
        trainer = _given(
            preset.trainer,
            steps=self.steps,
            max_minutes=self.max_minutes,
            patience=self.patience,
            epoch_minutes=self.epoch_minutes,
            validation_stride=self.validation_stride,
            workers=self.workers,
            loss=None if self.loss is None else VARIANTS[self.loss],
            masking_share=self.masking_share,
            schedule=_given(
                preset.trainer.schedule, learning_rate=self.learning_rate, decay=self.decay
            ),
        )
        return _given(
            preset,
            batch_size=self.batch_size,
            segment_length=self.segment_length,
            encoder_kernel=self.encoder and self.encoder[0],
            encoder_stride=self.encoder and self.encoder[1],
            optimiser=self.optimiser,
            epochs=self.epochs,
            trainer=trainer,
        )


Settings = TypeVar("Settings")


def _given(settings: Settings, **changes: Any) -> Settings:
    """Replace the fields whose new value is not None."""
    known = {name: value for name, value in changes.items() if value is not None}
    replaced: Settings = replace(settings, **known)  # type: ignore[type-var]
    return replaced
