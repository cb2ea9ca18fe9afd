from __future__ import annotations

from pathlib import Path

import pytest

from htmdsep.training.log import append_row, read_rows, reporter

FIRST, SECOND = {"step": 1.0, "sdr": 0.5}, {"step": 2.0, "sdr": float("nan"), "loss": 0.25}
WANTED = [{"step": "1.0", "sdr": "0.5", "loss": ""}, {"step": "2.0", "sdr": "nan", "loss": "0.25"}]


def test_new_columns_are_empty_in_earlier_rows(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    append_row(log, FIRST)
    append_row(log, SECOND)
    assert read_rows(log) == WANTED


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04\xff",
        b"step,sdr\n1,0\xc3\xa4\n",
        b"a,b\n1,2\n",
        b"step;sdr\n1;0,5\n",
        b"step\n1,2\n",
    ],
)
def test_what_is_no_log_is_moved_aside_and_told(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(content)
    append_row(log, SECOND)
    assert [row["step"] for row in read_rows(log)] == ["2.0"]
    (aside,) = (path for path in tmp_path.iterdir() if path != log)
    assert aside.read_bytes() == content
    assert aside.name in capsys.readouterr().err


def test_events_hold_every_figure_at_its_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = reporter(tmp_path, tensorboard=True)
    for step in (2, 4):
        report({"step": step, "minutes": 1.0, "loss": 1 / step, "x_sdr": step})
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 0.5), (4, 0.25)]
