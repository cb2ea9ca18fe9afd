"""Running means of the training figures, for the progress bar and the log."""

from __future__ import annotations

from torch import Tensor

from htmdsep.metrics.ratios import sdr
from htmdsep.training.losses import Losses
from htmdsep.training.state import RunState
from htmdsep.training.validation import SUNG_POWER

MEMORY = 0.98  # share of the mean that a step leaves
SDR_LIMIT = 30.0  # dB, either way, of a segment's share in the mean


def add_figures(state: RunState, losses: Losses, vocals: Tensor, estimate: Tensor) -> None:
    """Let a step's losses and SDR, over (batch, 1, time), into the state's running means."""
    figures = {
        "loss": losses.total.detach(),
        "final_loss": losses.final,
        "masked_loss": losses.masked,
    }
    sung = vocals[:, 0].square().mean(dim=1) > SUNG_POWER
    if sung.any():
        ratios = sdr(vocals[sung, 0], estimate[sung, 0].float())
        figures["sdr"] = ratios.clamp(-SDR_LIMIT, SDR_LIMIT).mean()
    memory = min(MEMORY, state.step / (state.step + 1))  # at first a plain mean
    for name, value in figures.items():
        mean = state.means.get(name, float(value))
        state.means[name] = memory * mean + (1 - memory) * float(value)


def bar_figures(state: RunState) -> dict[str, str]:
    """Return what the progress bar shows."""
    return {
        "loss": f"{state.means['loss']:.4f}",
        "SDR": f"{state.means.get('sdr', float('nan')):.2f}",
        "audio s/s": f"{state.audio_seconds / max(state.seconds, 1e-9):.1f}",
    }


def log_figures(state: RunState) -> dict[str, float]:
    """Return the training columns of a row of the log."""
    seconds = max(state.seconds, 1e-9)
    return {
        "step": state.step,
        "minutes": round(state.seconds / 60, 2),
        "audio_hours": round(state.audio_seconds / 3600, 3),
        "audio_seconds_per_second": round(state.audio_seconds / seconds, 2),
        "waited_share": round(state.waited_seconds / seconds, 4),
        **{f"train_{name}": round(value, 6) for name, value in state.means.items()},
    }
