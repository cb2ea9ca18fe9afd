"""When a run ends and when it validates."""

from __future__ import annotations

import time

from htmdsep.training.settings import TrainerSettings
from htmdsep.training.state import RunState


class Clock:
    """Wall time spent, over resumed runs, and when the next validation is due."""

    def __init__(self, state: RunState, settings: TrainerSettings) -> None:
        self.state, self.settings = state, settings
        self.started = time.monotonic() - state.seconds
        self._plan()

    def tick(self) -> None:
        """Bring the state's seconds up to now."""
        self.state.seconds = time.monotonic() - self.started

    def is_over(self) -> bool:
        """Tell whether the minutes are spent."""
        limit = self.settings.max_minutes
        return limit is not None and self.state.seconds >= 60 * limit

    def is_due(self) -> bool:
        """Tell whether to validate after this step."""
        if self.settings.epoch_minutes is not None:
            return self.state.seconds / 60 >= self.next_minutes
        return self.state.step % self.settings.epoch_steps == 0

    def validated(self) -> None:
        """Count the time that validation took, and plan the next."""
        self.tick()
        self._plan()

    def _plan(self) -> None:
        """Plan for the next multiple of the epoch, so that runs in short pieces validate, too."""
        minutes, epoch = self.state.seconds / 60, self.settings.epoch_minutes or 1
        self.next_minutes = (minutes // epoch + 1) * epoch
