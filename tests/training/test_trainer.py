from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.networks.build import build_network, initialise_like_keras
from htmdsep.networks.config import HTMDNetConfig, NetworkConfig
from htmdsep.training.batches import Batch
from htmdsep.training.holdout import ValidationSet
from htmdsep.training.losses import RATIO, VARIANTS
from htmdsep.training.processes import LOST_WORKER, World
from htmdsep.training.recipe import OURS, Recipe
from htmdsep.training.state import RunState, fresh_state, read_checkpoint, restore, save_state
from htmdsep.training.trainer import (
    BEST_LOSS,
    BEST_SDR,
    LAST,
    MOST_SKIPPED,
    TrainingRun,
    train,
    validate,
)
from tests.training.conftest import TINY, TINY_SPECTRAL

RECIPE = replace(
    OURS,
    loss=VARIANTS["mae-mae"],
    learning_rate=2e-3,
    warmup_steps=2,
    average_decay=0.9,
    masking_share=0.0,
    bf16=False,
    steps=8,
    epoch_steps=3,
    epoch_minutes=None,
    validation_stride=1,
    workers=0,
)


@dataclass
class Tones:
    """Batches of tones under noise; may end the process's run at a step, or spoil steps."""

    end_at: int | None = None
    by: signal.Signals = signal.SIGTERM
    same: bool = False
    spoilt: range = range(0)
    asked: list[int] = field(default_factory=list)

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        if step == self.end_at:
            os.kill(os.getpid(), self.by)
        generator = torch.Generator().manual_seed(0 if self.same else step)
        hertz = 200 + 300 * torch.rand(4, 1, 1, generator=generator)
        vocals = torch.sin(2 * torch.pi * hertz * torch.arange(4096) / 22_050) / 4
        mixture = vocals + torch.randn(4, 1, 4096, generator=generator) / 4
        return (mixture * float("inf") if step in self.spoilt else mixture), vocals


@dataclass(frozen=True)
class FixedWindows(ValidationSet):
    """Two windows of tones under noise."""

    def batches(self) -> Any:
        mixture, vocals = Tones().batch(99)
        yield mixture[:2], vocals[:2] * self.sung

    sung: float = 1.0


WINDOWS = FixedWindows("tones", (), 4096, None)


def fresh(config: NetworkConfig, settings: dict[str, Any] | None = None) -> RunState:
    network = build_network(config)
    initialise_like_keras(network, torch.Generator().manual_seed(5))
    return fresh_state(network, RECIPE, settings or {"seed": 0})


@pytest.fixture
def state() -> RunState:
    return fresh(TINY)


def go(
    state: RunState,
    folder: Path,
    batches: Tones,
    recipe: Recipe = RECIPE,
    windows: Sequence[ValidationSet] = (WINDOWS,),
) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    masking = state.network.masking if isinstance(state.network.config, HTMDNetConfig) else None
    run = TrainingRun(state, batches, windows, recipe, folder, rows.append, state.network, masking)
    ended_by = train(run)
    assert ended_by == (None if batches.end_at is None else batches.by)
    return rows


def assert_equal_states(one: RunState, other: RunState) -> None:
    for first, second in (
        (one.network.state_dict(), other.network.state_dict()),
        (one.average.module.state_dict(), other.average.module.state_dict()),
    ):
        assert all(torch.equal(first[name], second[name]) for name in first)
    ours, theirs = (state.optimiser.state_dict()["state"] for state in (one, other))
    assert ours
    for key, values in ours.items():
        assert all(torch.equal(value, theirs[key][name]) for name, value in values.items())
    assert one.step == other.step
    assert one.best == other.best
    assert one.means == other.means


def test_a_run_cut_in_two_equals_one_in_one_piece(tmp_path: Path) -> None:
    whole = fresh(TINY)
    rows = go(whole, tmp_path / "whole", Tones())
    cut = fresh(TINY)
    early = go(cut, tmp_path / "cut", Tones(end_at=4))  # asked by a signal to end
    assert cut.step == 5
    resumed = fresh(TINY)
    with torch.no_grad():
        next(iter(resumed.network.parameters())).add_(1.0)  # must not matter
    restore(resumed, read_checkpoint(tmp_path / "cut" / LAST))
    batches = Tones()
    late = go(resumed, tmp_path / "cut", batches)
    assert batches.asked == [5, 6, 7]
    assert_equal_states(whole, resumed)
    timed = ("minutes", "audio_seconds_per_second", "waited_share")
    figures = [
        {name: repr(value) for name, value in row.items() if name not in timed}
        for row in (*rows, *early, *late)
    ]
    assert figures[: len(rows)] == figures[len(rows) :]
    assert [row["step"] for row in rows] == [3, 6, 8]


def test_the_masking_network_learns_alone_at_first(tmp_path: Path) -> None:
    recipe = replace(RECIPE, masking_share=0.5, epoch_steps=4)
    before = fresh(TINY).network.state_dict()
    halfway = fresh(TINY)
    first = go(halfway, tmp_path / "half", Tones(end_at=3), recipe)
    now = halfway.network.state_dict()
    for name, value in before.items():
        kept = torch.equal(value, now[name])
        assert kept == name.startswith("denoising") or "num_batches" in name or "bias" in name, name
    restore(halfway, read_checkpoint(tmp_path / "half" / LAST))
    go(halfway, tmp_path / "half", Tones(), recipe)
    assert not torch.equal(
        halfway.network.state_dict()["denoising.output.weight"], before["denoising.output.weight"]
    )
    assert first[0]["train_final_loss"] == first[0]["train_masked_loss"]
    whole = fresh(TINY)
    go(whole, tmp_path / "whole", Tones(), recipe)
    assert_equal_states(whole, halfway)


def test_one_batch_is_overfitted_with_norms_at_rest(tmp_path: Path) -> None:
    steps = replace(RECIPE, steps=150, learning_rate=5e-3, decay="none", epoch_steps=1000)
    batches = Tones(same=True)
    mixture, vocals = batches.batch(0)
    state = fresh(replace(TINY_SPECTRAL, input_channels=1))
    go(state, tmp_path, batches, replace(steps, keep_norms=True, loss=RATIO), windows=())
    error = (state.network.eval()(mixture).estimate.detach() - vocals).square().mean()
    assert 10 * torch.log10(vocals.square().mean() / error) > 6
    assert 10 * torch.log10(vocals.square().mean() / (mixture - vocals).square().mean()) < -2


def test_the_time_ends_a_run_after_a_last_validation(tmp_path: Path, state: RunState) -> None:
    recipe = replace(RECIPE, steps=None, max_minutes=0.005, epoch_minutes=10.0)
    rows = go(state, tmp_path, Tones(), recipe)
    assert 1 <= state.step == rows[-1]["step"]
    assert state.seconds >= 0.3
    assert len(rows) == 1
    assert read_checkpoint(tmp_path / LAST)["step"] == state.step
    assert go(state, tmp_path, Tones(), recipe) == []  # no time is left, and nothing is new


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path, state: RunState) -> None:
    recipe = replace(RECIPE, steps=1000, epoch_steps=1, patience=3, learning_rate=1e-30)
    rows = go(state, tmp_path, Tones(), recipe)
    assert len(rows) == 4
    assert state.stale_validations == 3


def test_the_best_by_loss_and_by_sdr_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: RunState
) -> None:
    run = TrainingRun(state, Tones(), (WINDOWS,), RECIPE, tmp_path, print, state.network)
    figures = iter([(1.0, 1.0), (0.5, 0.5), (0.8, 2.0), (0.9, 1.5)])
    monkeypatch.setattr(
        "htmdsep.training.trainer.score_estimates",
        lambda *_arguments: dict(zip(("loss", "sdr"), next(figures), strict=True)),
    )
    for step in range(4):
        state.step = step
        validate(run)
    assert state.best == {"loss": 0.5, "sdr": 2.0}
    assert read_checkpoint(tmp_path / BEST_LOSS)["step"] == 1
    assert read_checkpoint(tmp_path / BEST_SDR)["step"] == 2
    assert state.stale_validations == 2


def test_a_set_without_singing_is_left_out_of_the_mean_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = FixedWindows("hummed", (), 4096, None, sung=0.0)
    state = fresh(TINY)
    (row,) = go(state, tmp_path, Tones(), replace(RECIPE, steps=1), (WINDOWS, silent))
    assert state.best["sdr"] == row["tones_sdr"]
    assert (tmp_path / BEST_SDR).exists()
    assert "no window of hummed has singing" in capsys.readouterr().err


def test_steps_that_are_not_finite_are_skipped_and_counted(tmp_path: Path, state: RunState) -> None:
    rows = go(state, tmp_path, Tones(spoilt=range(2, 5)))
    assert state.skipped_steps == rows[-1]["skipped_steps"] == 3
    assert state.step == 8
    saved = read_checkpoint(tmp_path / LAST)
    assert all(bool(value.isfinite().all()) for value in saved["network"].values())


def test_a_run_that_only_skips_ends_as_a_failure(tmp_path: Path, state: RunState) -> None:
    recipe = replace(RECIPE, steps=10 * MOST_SKIPPED, epoch_steps=4)
    with pytest.raises(HtmdsepError, match=rf"no longer finite at step {MOST_SKIPPED + 4}"):
        go(state, tmp_path, Tones(same=True, spoilt=range(5, 10**6)), recipe, windows=())
    assert read_checkpoint(tmp_path / LAST)["step"] % 4 == 0


def test_the_checkpoint_is_written_before_the_log(tmp_path: Path, state: RunState) -> None:

    def report(_row: dict[str, float]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        train(TrainingRun(state, Tones(), (), RECIPE, tmp_path, report, state.network))
    assert read_checkpoint(tmp_path / LAST)["step"] == 3


@pytest.fixture
def uncollected() -> Iterator[None]:
    """PyTorch tells of a lost worker wherever Python is: in hypothesis's callback of the garbage
    collector that would be lost, too.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_lost_worker_leaves_a_checkpoint(tmp_path: Path, state: RunState) -> None:
    recipe = replace(RECIPE, workers=1, steps=100)
    with pytest.raises(HtmdsepError, match=r"was lost at step .*--resume"):
        go(state, tmp_path, Tones(end_at=9, by=signal.SIGKILL), recipe)  # the worker kills itself
    assert read_checkpoint(tmp_path / LAST)["step"] == state.step > 0


@pytest.mark.parametrize("news", [ConnectionResetError(104, "reset by peer"), EOFError()])
def test_a_worker_that_hangs_up_leaves_a_checkpoint(
    tmp_path: Path, state: RunState, monkeypatch: pytest.MonkeyPatch, news: Exception
) -> None:
    """Where it is lost before its batch was handed over; and PyTorch tells once more, later."""
    pending = [RuntimeError(f"{LOST_WORKER} 7) is killed by signal: Killed")]

    def one_batch(*_: object, **__: object) -> Iterator[Batch]:
        yield Tones().batch(0)
        raise news

    def save(path: Path, state: RunState) -> None:
        if pending:
            raise pending.pop()
        save_state(path, state)

    monkeypatch.setattr("htmdsep.training.processes.DataLoader", one_batch)
    monkeypatch.setattr("htmdsep.training.trainer.save_state", save)
    with pytest.raises(HtmdsepError, match=r"was lost at step 1, "):
        go(state, tmp_path, Tones(), replace(RECIPE, workers=1, steps=100))
    assert read_checkpoint(tmp_path / LAST)["step"] == 1


def test_a_lost_process_leaves_a_checkpoint_of_the_main_one(
    tmp_path: Path, state: RunState
) -> None:
    class Torn(World):
        def broadcast(self, *values: float) -> list[float]:
            if state.step == 2:
                raise RuntimeError("Connection closed by peer")
            return list(values)

    run = TrainingRun(state, Tones(), (), RECIPE, tmp_path, print, state.network, world=Torn(0, 2))
    with pytest.raises(RuntimeError, match="closed by peer"):
        train(run)
    assert read_checkpoint(tmp_path / LAST)["step"] == 2


def test_an_error_in_a_worker_is_no_lost_worker(tmp_path: Path, state: RunState) -> None:
    class Failing(Tones):
        def batch(self, step: int) -> Batch:
            raise RuntimeError(f"of its own at {step}")

    with pytest.raises(RuntimeError, match="of its own at 0"):
        go(state, tmp_path, Failing(), replace(RECIPE, workers=1, steps=100))
    assert not multiprocessing.active_children()


def test_a_worker_outlives_a_signal_to_the_whole_group(tmp_path: Path, state: RunState) -> None:
    recipe = replace(RECIPE, workers=1, steps=3)
    run = TrainingRun(state, Tones(end_at=1), (), recipe, tmp_path, print, state.network)
    assert train(run) is None  # the worker signals itself
    assert state.step == 3
