from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.model import HTMDNet, HTMDNetConfig, initialise_like_keras
from htmdsep.training.ema import MovingAverage
from htmdsep.training.loading import Batch
from htmdsep.training.losses import VARIANTS
from htmdsep.training.optimisers import optimise
from htmdsep.training.schedule import Schedule
from htmdsep.training.settings import TrainerSettings
from htmdsep.training.stages import masking_stage
from htmdsep.training.state import RunState, averaged_network, read_checkpoint, restore
from htmdsep.training.stopping import Clock
from htmdsep.training.trainer import BEST_LOSS, BEST_SDR, LAST, Run, train, validate
from htmdsep.training.validation import Quartiles, Scores
from htmdsep.training.windows import ValidationSet

SETTINGS = TrainerSettings(
    loss=VARIANTS["mae-mae"],
    schedule=Schedule(2e-3, decay="cosine", warmup_steps=2),
    clip_norm=1.0,
    steps=8,
    epoch_steps=3,
    workers=0,
)


@dataclass
class Tones:
    """Batches of tones under noise; may end the process's run at a step."""

    end_at: int | None = None
    same: bool = False
    asked: list[int] = field(default_factory=list)

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        if step == self.end_at:
            os.kill(os.getpid(), signal.SIGTERM)
        generator = torch.Generator().manual_seed(0 if self.same else step)
        hertz = 200 + 300 * torch.rand(4, 1, 1, generator=generator)
        vocals = torch.sin(2 * torch.pi * hertz * torch.arange(4096) / 22_050) / 4
        return vocals + torch.randn(4, 1, 4096, generator=generator) / 4, vocals


@dataclass(frozen=True)
class FixedWindows(ValidationSet):
    """Two windows of tones under noise."""

    def batches(self) -> Any:
        mixture, vocals = Tones().batch(99)
        yield mixture[:2, 0], vocals[:2, 0]


WINDOWS = FixedWindows("tones", (), 4096, None)


def fresh(config: HTMDNetConfig, settings: dict[str, Any] | None = None) -> RunState:
    network = HTMDNet(config)
    initialise_like_keras(network, torch.Generator().manual_seed(5))
    return RunState(
        network,
        MovingAverage(network, 0.9),
        optimise(network, "muon", (0.9, 0.99), fused=False),
        settings or {"seed": 0},
    )


def go(
    state: RunState,
    folder: Path,
    batches: Tones,
    settings: TrainerSettings = SETTINGS,
    windows: Sequence[ValidationSet] = (WINDOWS,),
) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    masking = masking_stage(state.network)
    train(Run(state, batches, windows, settings, folder, rows.append, state.network, masking))
    return rows


def assert_equal_states(one: RunState, other: RunState) -> None:
    for first, second in (
        (one.network.state_dict(), other.network.state_dict()),
        (one.average.network.state_dict(), other.average.network.state_dict()),
    ):
        assert all(torch.equal(first[name], second[name]) for name in first)
    for first, second in zip(one.optimiser.state_dict(), other.optimiser.state_dict(), strict=True):
        assert first["state"]
        for key, values in first["state"].items():
            others = second["state"][key]
            assert all(torch.equal(value, others[name]) for name, value in values.items())
    assert one.step == other.step
    assert one.best == other.best
    assert one.means == other.means


def test_a_run_cut_in_two_equals_one_in_one_piece(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    whole = fresh(tiny_config)
    rows = go(whole, tmp_path / "whole", Tones())
    cut = fresh(tiny_config)
    early = go(cut, tmp_path / "cut", Tones(end_at=4))  # asked by a signal to end
    assert cut.step == 5
    resumed = fresh(tiny_config)
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


def test_the_masking_network_learns_alone_at_first(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    settings = replace(SETTINGS, masking_share=0.5, epoch_steps=4)
    before = fresh(tiny_config).network.state_dict()
    halfway = fresh(tiny_config)
    first = go(halfway, tmp_path / "half", Tones(end_at=3), settings)
    now = halfway.network.state_dict()
    for name, value in before.items():
        kept = torch.equal(value, now[name])
        assert kept == name.startswith("denoising") or "num_batches" in name or "bias" in name, name
    restore(halfway, read_checkpoint(tmp_path / "half" / LAST))
    go(halfway, tmp_path / "half", Tones(), settings)
    assert not torch.equal(
        halfway.network.state_dict()["denoising.output.weight"], before["denoising.output.weight"]
    )
    assert first[0]["train_final_loss"] == first[0]["train_masked_loss"]
    whole = fresh(tiny_config)
    go(whole, tmp_path / "whole", Tones(), settings)
    assert_equal_states(whole, halfway)


def test_without_an_end_both_networks_learn_from_the_beginning() -> None:
    settings = replace(SETTINGS, steps=None, masking_share=0.5)
    assert not settings.is_masking_alone(settings.progress(3, 1.0))
    limited = replace(settings, max_minutes=1.0)
    assert limited.is_masking_alone(limited.progress(3, 29.0))
    assert not limited.is_masking_alone(limited.progress(3, 31.0))


def test_a_run_with_other_settings_is_not_resumed(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    go(fresh(tiny_config), tmp_path, Tones(), replace(SETTINGS, steps=1))
    other = fresh(tiny_config, {"seed": 1})
    with pytest.raises(HtmdsepError, match=r"other settings \(seed\)"):
        restore(other, read_checkpoint(tmp_path / LAST))


def test_one_batch_is_overfitted(tmp_path: Path, tiny_config: HTMDNetConfig) -> None:
    settings = replace(SETTINGS, steps=150, schedule=Schedule(5e-3), epoch_steps=1000)
    batches = Tones(same=True)
    mixture, vocals = batches.batch(0)
    state = fresh(tiny_config)
    go(state, tmp_path, batches, settings, windows=())
    estimate = state.network.train()(mixture).estimate.detach()
    error = (estimate - vocals).square().mean()
    assert 10 * torch.log10(vocals.square().mean() / error) > 6
    assert 10 * torch.log10(vocals.square().mean() / (mixture - vocals).square().mean()) < -2


def test_the_time_ends_a_run_after_a_last_validation(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    state = fresh(tiny_config)
    settings = replace(SETTINGS, steps=None, max_minutes=0.005, epoch_minutes=10.0)
    rows = go(state, tmp_path, Tones(), settings)
    assert 1 <= state.step == rows[-1]["step"]
    assert state.seconds >= 0.3
    assert len(rows) == 1
    assert read_checkpoint(tmp_path / LAST)["step"] == state.step
    assert go(state, tmp_path, Tones(), settings) == []  # no time is left, and nothing is new


def test_validations_keep_their_times_over_pieces(
    tiny_config: HTMDNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(
        "htmdsep.training.stopping.time", SimpleNamespace(monotonic=lambda: 60 * now)
    )
    state = fresh(tiny_config)
    settings = replace(SETTINGS, steps=None, max_minutes=40.0, epoch_minutes=12.0)
    validated = []
    for _ in range(5):  # pieces of nine minutes, an hour between them
        now += 60
        clock = Clock(state, settings)
        for _ in range(9):
            now += 1
            clock.tick()
            if clock.is_due():
                validated.append(round(state.seconds / 60))
                now += 0.5  # what a validation takes
                clock.validated()
    assert validated == [12, 24, 36]
    assert clock.is_over()


def test_the_decay_follows_the_time_where_no_steps_are_set() -> None:
    timed = replace(SETTINGS, steps=None, max_minutes=2.0)
    assert timed.progress(5, 60.0) == 0.5
    assert SETTINGS.progress(2, 1e9) == 0.25
    assert replace(timed, max_minutes=None).progress(5, 60.0) == 0


def test_patience_ends_a_run_that_gets_no_better(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    state = fresh(tiny_config)
    settings = replace(SETTINGS, steps=1000, epoch_steps=1, patience=3, schedule=Schedule(1e-30))
    rows = go(state, tmp_path, Tones(), settings)
    assert len(rows) == 4
    assert state.stale_validations == 3


def test_the_best_by_loss_and_by_sdr_are_kept(
    tmp_path: Path, tiny_config: HTMDNetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = fresh(tiny_config)
    run = Run(state, Tones(), (WINDOWS,), SETTINGS, tmp_path, lambda _row: None, state.network)
    figures = iter([(1.0, 1.0), (0.5, 0.5), (0.8, 2.0), (0.9, 1.5)])

    def score(*_arguments: object) -> Scores:
        loss, ratio = next(figures)
        sdr = Quartiles(ratio, ratio, ratio)
        return Scores(sdr, sdr, sdr, sdr, 0.0, 0.0, 0.0, loss, loss, loss)

    monkeypatch.setattr("htmdsep.training.trainer.score", score)
    for step in range(4):
        state.step = step
        validate(run)
    assert state.best == {"loss": 0.5, "sdr": 2.0}
    assert read_checkpoint(tmp_path / BEST_LOSS)["step"] == 1
    assert read_checkpoint(tmp_path / BEST_SDR)["step"] == 2
    assert state.stale_validations == 2


def test_checkpoints_hold_the_averaged_network(tmp_path: Path, tiny_config: HTMDNetConfig) -> None:
    state = fresh(tiny_config)
    go(state, tmp_path, Tones())
    network = averaged_network(read_checkpoint(tmp_path / LAST))
    mixture = torch.randn(1, 1, 4096)
    with torch.no_grad():
        assert torch.equal(network(mixture).estimate, state.average.network(mixture).estimate)
        assert not torch.equal(network(mixture).estimate, state.network.eval()(mixture).estimate)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HtmdsepError, match=r"x\.pt"):
        read_checkpoint(path)
    torch.save({"format": "another"}, path)
    with pytest.raises(HtmdsepError, match="not a checkpoint of htmdsep-train"):
        read_checkpoint(path)


def test_a_worker_outlives_a_signal_to_the_whole_group(
    tmp_path: Path, tiny_config: HTMDNetConfig
) -> None:
    state = fresh(tiny_config)
    settings = replace(SETTINGS, workers=1, steps=3)
    go(state, tmp_path, Tones(end_at=1), settings)  # the worker signals itself
    assert state.step == 3
