"""The learning curve as a picture."""

from __future__ import annotations

from pathlib import Path

from htmdsep.files import atomic_path
from htmdsep.training.logbook import is_vocals_ratio


def draw_curve(rows: list[dict[str, str]], path: Path) -> None:
    """Draw losses and SDR over the steps of a log; needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    losses, ratios = figure.subplots(2, 1, sharex=True)
    columns = dict.fromkeys(name for row in rows for name in row)
    for name in columns:
        if name.endswith("_loss") and name != "train_loss":
            losses.plot(*_points(rows, name), ".-", label=name)
        elif is_vocals_ratio(name):
            ratios.plot(*_points(rows, name), ".-", label=name)
    losses.set_ylabel("loss")
    ratios.set_ylabel("dB")
    ratios.set_xlabel("steps")
    for axes in (losses, ratios):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _points(rows: list[dict[str, str]], name: str) -> tuple[list[float], list[float]]:
    known = [row for row in rows if row.get(name)]
    return [float(row["step"]) for row in known], [float(row[name]) for row in known]
