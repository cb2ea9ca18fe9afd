"""CSV files: a run's log, with a row for every validation."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from htmdsep.files import ANY_BYTES, atomic_path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log; none where there is no log yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors=ANY_BYTES) as file:
        return list(csv.DictReader(file))


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row to a log; columns that are new are added to the earlier rows, empty."""
    rows: list[dict[str, str]] = [*read_rows(path), {key: str(row[key]) for key in row}]
    columns = list(dict.fromkeys(key for one in rows for key in one))
    write_rows(path, columns, rows)


def write_rows(
    path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str | float]]
) -> None:
    """Write rows as CSV, in one piece."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=ANY_BYTES) as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def is_vocals_ratio(column: str) -> bool:
    """Tell whether a column holds SDR or SI-SDR of vocals, what people watch a run by."""
    return column.endswith("_sdr") and "accompaniment" not in column
