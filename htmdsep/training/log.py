"""A run's log: CSV with a row for every validation, the learning curve, TensorBoard's events."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from htmdsep.errors import explained
from htmdsep.files import atomic_path

Rows = list[dict[str, str]]


def reporter(folder: Path, *, tensorboard: bool) -> Callable[[dict[str, float]], None]:
    """Return what logs a row: CSV, a picture with matplotlib, standard error, events on request."""
    events = _event_writer(folder) if tensorboard else None

    def report(row: dict[str, float]) -> None:
        rows = append_row(folder / "log.csv", row)
        try:
            draw_curve(rows, folder / "curve.png")
        except ImportError:
            pass  # matplotlib is an extra; the log holds the figures
        if events is not None:
            for name, value in row.items():
                events.add_scalar(name, value, int(row["step"]))
            events.flush()
        shown = ", ".join(
            f"{name} {value:g}"
            for name, value in row.items()
            if name in ("step", "minutes", "train_loss") or is_vocals_ratio(name)
        )
        speed = row["step"] / max(60 * row["minutes"], 0.6)  # minutes are rounded to a hundredth
        tqdm.write(f"{shown}, {speed:.3g} step/s", file=sys.stderr)

    return report


def append_row(path: Path, row: dict[str, float]) -> Rows:
    """Add a row to a log and return all; a file that is no log is moved aside, with a line."""
    try:
        earlier = read_rows(path) if path.exists() else []
    except (ValueError, csv.Error) as error:
        aside = path.with_name(f"{path.stem}-before-step-{row['step']:g}{path.suffix}")
        path.replace(aside)
        tqdm.write(f"{path} cannot be read ({error}): it is now {aside}", file=sys.stderr)
        earlier = []
    rows = [*earlier, {key: str(value) for key, value in row.items()}]
    columns = list(dict.fromkeys(key for one in rows for key in one))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def read_rows(path: Path) -> Rows:
    """Return the rows of a log; raise ValueError or csv.Error where it is none."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if "step" not in row or None in row or None in row.values():
            raise ValueError("its rows are not those of a log")
        for value in filter(None, row.values()):
            float(value)
    return rows


def is_vocals_ratio(column: str) -> bool:
    """Tell whether a column holds SDR or SI-SDR of vocals, what people watch a run by."""
    return column.endswith("_sdr") and "accompaniment" not in column


def draw_curve(rows: Rows, path: Path) -> None:
    """Draw losses and SDR over the steps of a log; raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    losses, ratios = figure.subplots(2, 1, sharex=True)
    for name in dict.fromkeys(name for row in rows for name in row):
        known = [row for row in rows if row.get(name)]
        points = [[float(row[axis]) for row in known] for axis in ("step", name)]
        if name.endswith("_loss") and name != "train_loss":
            losses.plot(*points, ".-", label=name)
        elif is_vocals_ratio(name):
            ratios.plot(*points, ".-", label=name)
    losses.set_ylabel("loss")
    ratios.set(ylabel="dB", xlabel="steps")
    for axes in (losses, ratios):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _event_writer(folder: Path) -> Any:
    with explained("--tensorboard needs pip install 'htmdsep[tensorboard]'", of=ImportError):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder / "events"))
