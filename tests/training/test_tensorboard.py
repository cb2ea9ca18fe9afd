"""What --tensorboard writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from htmdsep.training.log import reporter

pytest.importorskip("tensorboard")


def test_events_hold_every_figure_at_its_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = reporter(tmp_path, tensorboard=True)
    for step in (2, 4):
        report({"step": step, "minutes": 1.0, "loss": 1 / step, "x_sdr": step})
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 0.5), (4, 0.25)]
