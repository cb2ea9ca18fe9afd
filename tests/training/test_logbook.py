from __future__ import annotations

import os
from pathlib import Path

from htmdsep.training.logbook import append_row, read_rows, write_rows


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_rows(tmp_path / "rows.csv", ["vocals"], [{"vocals": name}])
    assert read_rows(tmp_path / "rows.csv") == [{"vocals": name}]


def test_new_columns_are_empty_in_earlier_rows(tmp_path: Path) -> None:
    append_row(tmp_path / "log.csv", {"step": 1.0})
    append_row(tmp_path / "log.csv", {"step": 2.0, "loss": 0.5})
    assert read_rows(tmp_path / "log.csv") == [
        {"step": "1.0", "loss": ""},
        {"step": "2.0", "loss": "0.5"},
    ]
