"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from htmdsep.console import Stop
from htmdsep.errors import HtmdsepError
from htmdsep.training.loading import Batches, load
from htmdsep.training.losses import Losses, supervise
from htmdsep.training.running import add_figures, bar_figures, log_figures
from htmdsep.training.settings import TrainerSettings
from htmdsep.training.state import RunState, save_state
from htmdsep.training.stopping import Clock
from htmdsep.training.validation import score
from htmdsep.training.windows import ValidationSet
from htmdsep.training.world import World

ENDLESS = 1 << 40  # steps, where only the time ends a run
LAST, BEST_LOSS, BEST_SDR = "last.pt", "best-loss.pt", "best-sdr.pt"

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Run:
    """One process's share of a training run."""

    state: RunState
    batches: Batches
    windows: Sequence[ValidationSet]  # the chief's; others need none
    settings: TrainerSettings
    folder: Path  # of the checkpoints
    report: Report  # gets a row of figures at every validation
    forward: nn.Module  # the network, perhaps compiled or made parallel
    masking: nn.Module | None = None  # what learns alone at first, likewise
    world: World = field(default_factory=World)

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.state.network.parameters()).device

    def learner(self, progress: float) -> nn.Module:
        """What learns at a progress of 0 to 1 through the run."""
        if self.masking is not None and self.settings.is_masking_alone(progress):
            return self.masking
        return self.forward


def train(run: Run) -> None:
    """Train until the steps, the minutes or the patience are spent, or a signal asks to end.

    `last.pt` is written at every validation and at the end, `best-loss.pt` and `best-sdr.pt`
    whenever they improve, averaged over the validation sets.
    """
    state, settings, world = run.state, run.settings, run.world
    last = settings.steps if settings.steps is not None else ENDLESS
    clock = Clock(state, settings)
    state.network.train()
    bar = tqdm(
        total=settings.steps,
        initial=state.step,
        unit="step",
        mininterval=1,
        disable=not world.is_chief,
    )
    batches = load(run.batches, state.step, last, settings.workers, run.device)
    with Stop().listening() as stop, bar, closing(batches) as stream:  # workers end with it
        while state.step < last:
            progress = settings.progress(state.step, state.seconds)
            rate = settings.schedule.at(state.step, progress, state.reductions)
            over = stop.signal is not None or clock.is_over() or _is_stale(run)
            rate, progress, ending = world.agree(rate, progress, over)
            if ending:
                break
            waiting = time.monotonic()
            mixture, vocals = next(stream)
            state.waited_seconds += time.monotonic() - waiting
            losses, estimate = descend(run, run.learner(progress), mixture, vocals, rate)
            state.average.update(state.network)
            state.step += 1
            state.audio_seconds += world.size * mixture.numel() / state.network.config.sample_rate
            clock.tick()
            if world.is_chief:
                add_figures(state, losses, vocals, estimate)
                bar.update()
                bar.set_postfix(bar_figures(state), refresh=False)
                if clock.is_due() or state.step == last:
                    validate(run)
                    clock.validated()
                    save_state(run.folder / LAST, state)
    if world.is_chief:
        if clock.is_over() and stop.signal is None and state.validated_step < state.step:
            validate(run)
        save_state(run.folder / LAST, state)


def descend(
    run: Run, learner: nn.Module, mixture: Tensor, vocals: Tensor, rate: float
) -> tuple[Losses, Tensor]:
    """Take one step down the gradient at a learning rate; return the losses and the estimate."""
    state, settings = run.state, run.settings
    state.optimiser.zero_grad()
    with torch.autocast(mixture.device.type, torch.bfloat16, enabled=settings.bf16):
        output = learner(mixture)
    losses = supervise(output, mixture, vocals, settings.loss)
    losses.total.backward()  # type: ignore[no-untyped-call]
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip_norm)
    state.optimiser.step(rate)
    return losses, output.estimate.detach()


def validate(run: Run) -> None:
    """Score the averaged weights, keep the best by loss and by SDR, and report a row."""
    state, settings = run.state, run.settings
    state.validated_step = state.step
    row = log_figures(state)
    losses, ratios = [], []
    for windows in run.windows:
        scores = score(
            state.average.network,
            windows.every(settings.validation_stride),
            run.device,
            settings.loss,
        )
        row |= {f"{windows.name}_{name}": value for name, value in scores.as_dict().items()}
        losses.append(scores.loss)
        ratios.append(scores.sdr.median)
    _check_finite(*state.means.values(), *losses, step=state.step)
    if run.windows:
        _keep_best(run, sum(losses) / len(losses), sum(ratios) / len(ratios))
    run.report(row)


def _check_finite(*figures: float, step: int) -> None:
    if not all(map(math.isfinite, figures)):
        raise HtmdsepError(
            f"the loss is no longer finite at step {step}; try a lower --learning-rate, from the "
            "last checkpoint or anew"
        )


def _keep_best(run: Run, loss: float, ratio: float) -> None:
    state = run.state
    state.stale_validations += 1
    better_loss = loss < state.best.get("loss", float("inf"))
    better_ratio = ratio > state.best.get("sdr", float("-inf"))
    if better_loss:
        state.best["loss"] = loss
        state.stale_validations = 0
    state.reductions += run.settings.schedule.is_spent(state.stale_validations)
    if better_ratio:
        state.best["sdr"] = ratio
    if better_loss:
        save_state(run.folder / BEST_LOSS, state)
    if better_ratio:
        save_state(run.folder / BEST_SDR, state)


def _is_stale(run: Run) -> bool:
    patience = run.settings.patience
    return patience is not None and run.state.stale_validations >= patience
