"""The training loop: steps, their running figures, when to validate, and when to end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite, isnan, nan
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from tqdm import tqdm

from htmdsep.console import noted_signals
from htmdsep.dsp.levels import SUNG_DBFS, power_of
from htmdsep.errors import HtmdsepError
from htmdsep.metrics.ratios import sdr
from htmdsep.networks.htmdnet import NetworkOutput
from htmdsep.training.holdout import ValidationSet
from htmdsep.training.losses import Losses, supervise
from htmdsep.training.processes import LOST_WORKER, Batches, World, load
from htmdsep.training.recipe import Recipe
from htmdsep.training.state import RunState, save_state
from htmdsep.training.validation import score_estimates, separate_windows

ENDLESS = 1 << 40  # steps, where only the time ends a run
LAST, BEST_LOSS, BEST_SDR = "last.pt", "best-loss.pt", "best-sdr.pt"
MEMORY = 0.98  # share of the running means of figures that a step leaves
SDR_LIMIT = 30.0  # dB, either way, of a segment's share in the mean
MOST_SKIPPED = 100  # steps in a row without a finite gradient: the weights are beyond recovery

ReportRow = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class TrainingRun:
    """One process's share of a training run."""

    state: RunState
    batches: Batches
    windows: Sequence[ValidationSet]  # the main process's; others need none
    recipe: Recipe
    folder: Path  # of the checkpoints
    report: ReportRow  # gets a row of figures at every validation
    forward: nn.Module  # the network, perhaps compiled or made parallel
    masking: nn.Module | None = None  # HTMD-Net's temporal masking, which learns first, likewise
    world: World = field(default_factory=World)


def train(run: TrainingRun) -> int | None:
    """Train until the steps, the minutes or the patience are spent, or until a signal, returned.

    `last.pt` is written at every validation and at the end, `best-loss.pt` and `best-sdr.pt`
    whenever they improve, averaged over the validation sets. Raises HtmdsepError where a process
    that prepares batches is lost, and RuntimeError where one that trains along is, after `last.pt`.
    """
    state, world = run.state, run.world
    began = time.monotonic() - state.seconds  # its seconds go on over resumed runs
    with noted_signals() as signals:
        try:
            _take_steps(run, began, signals)
        except RuntimeError as error:
            is_worker = LOST_WORKER in str(error)
            if world.is_main and (is_worker or world.size > 1):  # or it may be another process
                _save_beside_news(run.folder / LAST, state)
            if not is_worker:
                raise
            raise HtmdsepError(
                f"a process that prepares batches was lost at step {state.step}, perhaps for want "
                "of memory; go on with --resume, and with fewer --workers where it happens again"
            ) from error
        if world.is_main:
            is_over = run.recipe.is_over(state.seconds) and not signals
            if is_over and state.validated_step < state.step:
                _validate_and_save(run, began)
            else:
                save_state(run.folder / LAST, state)
        return signals[-1] if signals else None


def _save_beside_news(path: Path, state: RunState) -> None:
    """Save a state; PyTorch tells of a lost worker once, wherever Python is: perhaps here."""
    try:
        save_state(path, state)
    except RuntimeError as error:
        if LOST_WORKER not in str(error):
            raise
        save_state(path, state)


def _take_steps(run: TrainingRun, began: float, signals: list[int]) -> None:
    state, recipe, world = run.state, run.recipe, run.world
    last = recipe.steps if recipe.steps is not None else ENDLESS
    patience = recipe.patience if recipe.patience is not None else inf
    for module in state.network.train().modules():
        if recipe.keep_norms and isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()  # it uses its statistics and leaves them
    hidden = None if world.is_main else True  # None: on a terminal; elsewhere the log's rows tell
    bar = tqdm(total=recipe.steps, initial=state.step, unit="step", mininterval=1, disable=hidden)
    device = next(state.network.parameters()).device
    batches = load(run.batches, state.step, last, recipe.workers, device)
    skipped = 0
    with bar, closing(batches) as stream:  # workers end with it
        while state.step < last:
            before = state.seconds
            progress = recipe.progress(state.step, before)
            over = bool(signals) or recipe.is_over(before)
            over |= state.stale_validations >= patience
            rate = recipe.rate(state.step, progress)
            rate, progress, ending = world.broadcast(rate, progress, over)
            if ending:
                break
            waiting = time.monotonic()
            mixture, vocals = next(stream)
            state.waited_seconds += time.monotonic() - waiting
            alone = run.masking if recipe.is_masking_alone(progress) else None
            module = run.forward if alone is None else alone  # compiled ones have no truth value
            found = training_step(run, module, mixture, vocals, rate)
            skipped = 0 if found is not None else skipped + 1
            if skipped == MOST_SKIPPED:
                raise _lost(state)
            state.step += 1
            samples = world.size * mixture[:, 0].numel()
            state.audio_seconds += samples / state.network.config.sample_rate
            state.seconds = time.monotonic() - began
            if world.is_main:
                if found is not None:
                    _add_figures(state, *found, vocals)
                bar.update()
                loss, ratio = (state.means.get(name, nan) for name in ("loss", "sdr"))
                bar.set_postfix_str(f"loss {loss:.4f}, SDR {ratio:.2f}", refresh=False)
                if recipe.is_due(state.step, before, state.seconds) or state.step == last:
                    _validate_and_save(run, began)


def training_step(
    run: TrainingRun, module: nn.Module, mixture: Tensor, vocals: Tensor, rate: float
) -> tuple[Losses, Tensor] | None:
    """Take one step down the gradient at a learning rate; return the losses and the estimate.

    A step whose gradient is not finite is skipped, counted, and None: the weights stay, and batch
    norm's statistics, which the forward pass may have spoilt, go back to their averages.
    """
    state, recipe = run.state, run.recipe
    state.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(mixture.device.type, torch.bfloat16, enabled=recipe.bf16):
        output = module(mixture)
        if module is run.masking:  # whose masked estimate is the estimate as well
            output = NetworkOutput(output, output)
    losses = supervise(output, mixture, vocals, recipe.loss)
    losses.loss.backward()  # type: ignore[no-untyped-call]
    limit = recipe.clip_norm if recipe.clip_norm is not None else inf
    # Of all processes together, so that they skip the same steps.
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), limit)
    if not bool(norm.isfinite()):
        state.skipped_steps += 1
        kept = state.average.module.buffers()
        for buffer, value in zip(state.network.buffers(), kept, strict=True):
            buffer.copy_(value)
        return None
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.average.update_parameters(state.network)
    return losses, output.estimate.detach()


def _add_figures(state: RunState, losses: Losses, estimate: Tensor, vocals: Tensor) -> None:
    """Let a step's losses and SDR, over (batch, channels, time), into the running means."""
    figures = losses._asdict()
    sung = vocals.square().mean(dim=(1, 2)) > power_of(SUNG_DBFS)
    if sung.any():
        ratios = sdr(vocals[sung].flatten(1), estimate[sung].float().flatten(1))
        figures["sdr"] = ratios.clamp(-SDR_LIMIT, SDR_LIMIT).mean()
    memory = min(MEMORY, state.step / (state.step + 1))  # at first a plain mean
    for name, value in zip(figures, torch.stack(list(figures.values())).tolist(), strict=True):
        state.means[name] = memory * state.means.get(name, value) + (1 - memory) * value


def _log_figures(state: RunState) -> dict[str, float]:
    """Return the training columns of a row of the log."""
    seconds = max(state.seconds, 1e-9)
    return {
        "step": state.step,
        "minutes": round(state.seconds / 60, 2),
        "audio_hours": round(state.audio_seconds / 3600, 3),
        "audio_seconds_per_second": round(state.audio_seconds / seconds, 2),
        "waited_share": round(state.waited_seconds / seconds, 4),
        "skipped_steps": state.skipped_steps,
        **{f"train_{name}": round(value, 6) for name, value in state.means.items()},
    }


def validate(run: TrainingRun) -> dict[str, float]:
    """Score the averaged weights, keep the best by loss and by SDR, and return the log's row."""
    state, recipe = run.state, run.recipe
    state.validated_step = state.step
    row = _log_figures(state)
    estimate = partial(separate_windows, state.average.module)  # type: ignore[arg-type]
    rate, losses, ratios = state.network.config.sample_rate, [], []
    for windows in run.windows:
        scores = score_estimates(estimate, windows, rate, recipe.loss)
        row |= {f"{windows.name}_{name}": value for name, value in scores.items()}
        losses.append(scores["loss"])
        ratios.append(scores["sdr"])
    if not all(map(isfinite, [*state.means.values(), *losses])):
        raise _lost(state)
    if run.windows:
        _keep_best(run, fmean(losses), _mean_ratio(run, ratios))
    return row


def _lost(state: RunState) -> HtmdsepError:
    return HtmdsepError(
        f"the loss is no longer finite at step {state.step}; begin anew with a lower "
        "--learning-rate, into another --out"
    )


def _mean_ratio(run: TrainingRun, ratios: list[float]) -> float:
    """Return the mean SDR of the sets that have one; tell once which have none."""
    known = [ratio for ratio in ratios if isfinite(ratio)]
    if len(known) < len(ratios) and not run.state.best:
        silent = [one.name for one, ratio in zip(run.windows, ratios, strict=True) if isnan(ratio)]
        text = f"no window of {', '.join(silent)} has singing: {BEST_SDR} is chosen "
        end = "by the other sets" if known else "by none, and never written"
        tqdm.write(text + end, file=sys.stderr)
    return fmean(known) if known else nan


def _validate_and_save(run: TrainingRun, began: float) -> None:
    """Validate, write `last.pt`, and only then report, which may fail."""
    row = validate(run)
    run.state.seconds = time.monotonic() - began
    save_state(run.folder / LAST, run.state)
    run.report(row)


def _keep_best(run: TrainingRun, loss: float, ratio: float) -> None:
    state, better = run.state, []
    if loss < state.best.get("loss", inf):
        state.best["loss"] = loss
        better.append(BEST_LOSS)
    if ratio > state.best.get("sdr", -inf):
        state.best["sdr"] = ratio
        better.append(BEST_SDR)
    state.stale_validations = 0 if BEST_LOSS in better else state.stale_validations + 1
    for name in better:  # once all is noted
        save_state(run.folder / name, state)
