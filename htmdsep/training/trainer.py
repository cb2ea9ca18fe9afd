"""The training loop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from htmdsep.training.loading import Batches, load
from htmdsep.training.losses import Losses, LossSettings, supervise
from htmdsep.training.schedule import Schedule
from htmdsep.training.scores import sdr
from htmdsep.training.state import RunState, save_state
from htmdsep.training.validation import ValidationSet, score
from htmdsep.training.world import World

MANY_STEPS = 1 << 40  # where only the time ends a run
SMOOTHING = 0.98  # of the loss and SDR shown and logged


@dataclass(frozen=True)
class TrainerSettings:
    """How to run; what the gradients are is in the loss, the schedule and the batches."""

    loss: LossSettings
    schedule: Schedule
    clip_norm: float | None = None
    bf16: bool = False
    steps: int | None = None  # in all
    max_minutes: float | None = None  # of wall time in all, over resumed runs
    epoch_steps: int = 1000  # between validations
    epoch_minutes: float | None = None  # instead, by the clock
    patience: int | None = None  # validations without a better loss
    validation_stride: int = 1  # every n-th window
    freeze_statistics_at: float = 2.0  # progress from which batch norm is frozen; 2: never
    workers: int = 1


class Stop:
    """Becomes true once the process is asked to end."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take SIGTERM and SIGINT as the wish to save and end."""
        wanted = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self) for number in wanted}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


Report = Callable[[dict[str, float]], None]


def train(
    state: RunState,
    batches: Batches,
    windows: Sequence[ValidationSet],
    settings: TrainerSettings,
    folder: Path,
    report: Report,
    *,
    forward: nn.Module | None = None,
    world: World | None = None,
) -> None:
    """Train until the steps, the minutes or the patience are spent, or a signal asks to end.

    `forward` is the network as compiled or made parallel, where it is. `report` gets a row of
    figures at every validation. Checkpoints go to `folder`: `last.pt`, and `best-loss.pt` and
    `best-sdr.pt`.
    """
    forward, world = forward or state.network, world or World()
    device = next(state.network.parameters()).device
    last = settings.steps or MANY_STEPS
    clock = _Clock(state, settings)
    smooth = _Smooth()
    progress_bar = tqdm(
        total=settings.steps,
        initial=state.step,
        unit="step",
        mininterval=10,
        disable=not world.is_chief,
    )
    with Stop().listening() as stop, progress_bar:
        stream = load(batches, state.step, last, settings.workers, pin=device.type == "cuda")
        while state.step < last:
            progress = _progress(state, settings)
            rate = settings.schedule.at(state.step, progress, state.stale_validations)
            rate, progress, ending = world.agree(rate, progress, stop.asked or clock.is_over())
            if ending:
                break
            set_training_mode(state.network, frozen=progress >= settings.freeze_statistics_at)
            waiting = time.monotonic()
            mixture, vocals = (part.to(device, non_blocking=True) for part in next(stream))
            state.waited_seconds += time.monotonic() - waiting
            for group in state.optimiser.param_groups:
                group["lr"] = rate
            losses, estimate = descend(state, forward, mixture, vocals, settings)
            state.average.update(state.network)
            state.step += 1
            state.audio_seconds += mixture.shape[0] * mixture.shape[2] * world.size / _rate(state)
            clock.tick()
            if not world.is_chief:
                continue
            smooth.add(losses, vocals, estimate)
            progress_bar.update()
            progress_bar.set_postfix(smooth.shown(state), refresh=False)
            if clock.is_due() and state.step < last:
                _validate(state, windows, settings, folder, smooth, report)
                clock.validated()
                save_state(folder / "last.pt", state)
                if _is_stale(state, settings):
                    stop.asked = True
        if world.is_chief:
            if not stop.asked:
                _validate(state, windows, settings, folder, smooth, report)
            save_state(folder / "last.pt", state)


def set_training_mode(network: nn.Module, *, frozen: bool) -> None:
    """Train; where `frozen`, with batch norm as in evaluation, which the last steps profit by."""
    network.train()
    if frozen:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()


class _Clock:
    """Wall time spent, over resumed runs, and when the next validation is due."""

    def __init__(self, state: RunState, settings: TrainerSettings) -> None:
        self.state, self.settings = state, settings
        self.started = time.monotonic() - state.seconds
        self.next_minutes = state.seconds / 60 + (settings.epoch_minutes or 0)

    def tick(self) -> None:
        self.state.seconds = time.monotonic() - self.started

    def is_over(self) -> bool:
        limit = self.settings.max_minutes
        return limit is not None and self.state.seconds >= 60 * limit

    def is_due(self) -> bool:
        if self.settings.epoch_minutes is not None:
            return self.state.seconds / 60 >= self.next_minutes
        return self.state.step % self.settings.epoch_steps == 0

    def validated(self) -> None:
        self.tick()
        self.next_minutes = self.state.seconds / 60 + (self.settings.epoch_minutes or 0)


def descend(
    state: RunState,
    forward: nn.Module,
    mixture: Tensor,
    vocals: Tensor,
    settings: TrainerSettings,
) -> tuple[Losses, Tensor]:
    """Take one step down the gradient; return the losses and the estimate."""
    state.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(mixture.device.type, torch.bfloat16, enabled=settings.bf16):
        output = forward(mixture)
    losses = supervise(output, mixture, vocals, settings.loss)
    losses.total.backward()
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip_norm)
    state.optimiser.step()
    return losses, output.estimate.detach().float()


def _progress(state: RunState, settings: TrainerSettings) -> float:
    if settings.steps is not None:
        return state.step / settings.steps
    if settings.max_minutes is not None:
        return state.seconds / (60 * settings.max_minutes)
    return 0.0


def _rate(state: RunState) -> int:
    return state.network.config.sample_rate


def _is_stale(state: RunState, settings: TrainerSettings) -> bool:
    return settings.patience is not None and state.stale_validations >= settings.patience


def _validate(
    state: RunState,
    windows: Sequence[ValidationSet],
    settings: TrainerSettings,
    folder: Path,
    smooth: _Smooth,
    report: Report,
) -> None:
    """Score the averaged weights, keep the best by loss and by SDR, and report a row."""
    device = next(state.network.parameters()).device
    row: dict[str, float] = {
        "step": state.step,
        "minutes": round(state.seconds / 60, 2),
        "audio_hours": round(state.audio_seconds / 3600, 3),
        "audio_seconds_per_second": round(state.audio_seconds / max(state.seconds, 1e-9), 2),
        "waited_share": round(state.waited_seconds / max(state.seconds, 1e-9), 4),
        **smooth.row(),
    }
    losses, ratios = [], []
    for one in windows:
        scores = score(state.average.network, one.every(settings.validation_stride), device)
        row |= scores.as_row(one.name)
        losses.append(scores.final_loss)
        ratios.append(scores.sdr)
    if windows:
        _keep_best(state, folder, sum(losses) / len(losses), sum(ratios) / len(ratios))
    report(row)


def _keep_best(state: RunState, folder: Path, loss: float, ratio: float) -> None:
    state.stale_validations += 1
    if loss < state.best.get("loss", float("inf")):
        state.best["loss"] = loss
        state.stale_validations = 0
        save_state(folder / "best-loss.pt", state)
    if ratio > state.best.get("sdr", float("-inf")):
        state.best["sdr"] = ratio
        save_state(folder / "best-sdr.pt", state)


class _Smooth:
    """Exponential means of the training figures."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, losses: Losses, vocals: Tensor, estimate: Tensor) -> None:
        ratio = sdr(vocals.flatten(1), estimate.flatten(1))
        sung = ratio[vocals.flatten(1).square().mean(dim=1) > 1e-8]
        new: dict[str, Any] = {
            "loss": losses.total.detach(),
            "final_loss": losses.final,
            "masked_loss": losses.masked,
        }
        if len(sung):
            new["sdr"] = sung.clamp(-30, 30).mean()
        for name, value in new.items():
            self.values[name] = SMOOTHING * self.values.get(name, float(value)) + (
                1 - SMOOTHING
            ) * float(value)

    def shown(self, state: RunState) -> dict[str, str]:
        speed = state.audio_seconds / max(state.seconds, 1e-9)
        return {
            "loss": f"{self.values['loss']:.4f}",
            "SDR": f"{self.values.get('sdr', float('nan')):.2f}",
            "audio s/s": f"{speed:.1f}",
        }

    def row(self) -> dict[str, float]:
        return {f"train_{name}": round(value, 5) for name, value in self.values.items()}
