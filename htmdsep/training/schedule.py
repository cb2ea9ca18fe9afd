"""Learning rates as a function of how far a run has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up over `warmup_steps`, then constant, cosine or plateau decay."""

    learning_rate: float
    decay: Literal["none", "cosine", "plateau"] = "none"
    warmup_steps: int = 0
    final_share: float = 0.01  # of the learning rate, where the cosine ends
    plateau_patience: int = 5  # validations without a better loss
    plateau_factor: float = 0.5

    def at(self, step: int, progress: float, reductions: int) -> float:
        """Return the learning rate of a step, at a progress of 0 to 1 through the run.

        `reductions` counts how often the plateau's patience has been spent.
        """
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "cosine":
            cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, progress)))
            rate *= self.final_share + (1 - self.final_share) * cosine
        elif self.decay == "plateau":
            rate *= self.plateau_factor**reductions
        return rate

    def is_spent(self, stale_validations: int) -> bool:
        """Tell whether this many validations without a better loss call for a reduction."""
        return stale_validations > 0 and stale_validations % self.plateau_patience == 0
