"""Pictures, without a display: boxplots of the scores; waveforms and spectrograms of excerpts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from htmdsep.evaluation.collected import Results
from htmdsep.evaluation.excerpts import Drawn
from htmdsep.evaluation.scores import Procedure, Setting
from htmdsep.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_INCHES = 1.05
SILENCE_COLOUR = "#f3d9a4"
TRUTH_COLOUR = "#2f6d4f"
WAVE_COLOUR = "#3b5b92"
COLUMNS_DRAWN = 1600  # pixels across; a waveform is drawn as the range within each
FLOOR_DB = -60.0


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of so many inches that becomes a PNG file."""
    figure = Figure(figsize=(width, height), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    yield figure
    with atomic_path(path) as temporary:
        canvas.print_png(str(temporary))  # type: ignore[no-untyped-call]


def draw_boxplots(results: Results, path: Path, setting: Setting, procedure: Procedure) -> None:
    """Draw the vocals' ratios of all frames of all songs: a panel a metric, a box a system.

    Boxes are quartiles, whiskers the 5th and 95th percentile; a triangle is the mean.
    """
    metrics = ("sdr", "sir", "sar", "isr")
    height = 1.3 + 0.42 * len(results.systems)
    with _figure(path, 12, height) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
        for panel, metric in zip(panels, metrics, strict=True):
            _draw_boxes(panel, results, metric, setting, procedure)
        panels[0].set_yticks(range(1, len(results.systems) + 1), results.systems)
        panels[0].invert_yaxis()
        where = "22 050 Hz mono" if setting == "mono" else "own rate and channels"
        how = "BSS Eval v4" if procedure == "v4" else "each second by itself"
        figure.suptitle(f"Vocals, frames of 1 s, {where}, {how}", fontsize=11)


def _draw_boxes(
    panel: Axes, results: Results, metric: str, setting: Setting, procedure: Procedure
) -> None:
    values = []
    for system in results.systems:
        songs = results.songs(system, metric, setting, procedure).values()
        pooled = np.concatenate([np.empty(0), *songs])
        values.append(pooled[np.isfinite(pooled)])
    panel.boxplot(
        values,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        widths=0.6,
        meanprops={"markersize": 4},
    )
    kept = np.concatenate(values)
    if len(kept):
        # The lower bound and the oracles would squeeze what lies between.
        lower, upper = np.quantile(kept, [0.03, 0.97])
        panel.set_xlim(max(lower, -30) - 2, min(upper, 40) + 2)
    panel.set_xlabel(f"{metric.upper()} in dB")
    panel.grid(axis="x", alpha=0.4)


def draw_waveforms(drawn: Drawn, path: Path) -> None:
    """Draw the signals of an excerpt below each other, on one scale, silent stretches shaded."""
    names = list(drawn.signals)
    peak = max(float(np.abs(signal).max()) for signal in drawn.signals.values()) or 1.0
    with _figure(path, 12, 0.8 + ROW_INCHES * len(names)) as figure:
        panels = np.atleast_1d(figure.subplots(len(names), 1, sharex=True, sharey=True))
        for panel, name in zip(panels, names, strict=True):
            _draw_wave(panel, drawn, name)
        panels[0].set_ylim(-1.05 * peak, 1.05 * peak)
        _finish(figure, panels, drawn, "Vocals (shaded: no singing)")


def _draw_wave(panel: Axes, drawn: Drawn, name: str) -> None:
    signal = drawn.signals[name]
    length = max(1, len(signal) // COLUMNS_DRAWN)
    whole = signal[: len(signal) // length * length].reshape(-1, length)
    times = drawn.excerpt.start + np.arange(len(whole)) * length / drawn.sample_rate
    colour = TRUTH_COLOUR if name == "true vocals" else WAVE_COLOUR
    panel.fill_between(times, whole.min(axis=1), whole.max(axis=1), color=colour, linewidth=0.4)
    for first, last in drawn.silent:
        panel.axvspan(first, last, color=SILENCE_COLOUR, zorder=0, linewidth=0)
    panel.set_title(name, loc="left", fontsize=9, pad=2)
    panel.tick_params(labelsize=8)


def draw_spectrograms(drawn: Drawn, path: Path) -> None:
    """Draw the spectrograms of an excerpt's signals below each other, on one scale of 60 dB."""
    from scipy.signal import stft

    names = list(drawn.signals)
    powers = [20 * np.log10(np.abs(stft(drawn.signals[n], nperseg=1024)[2]) + 1e-9) for n in names]
    # A few loud bins would leave the rest in the dark.
    top = max(float(np.quantile(power, 0.999)) for power in powers)
    first, last = drawn.excerpt.start, drawn.excerpt.start + drawn.excerpt.duration
    with _figure(path, 12, 0.8 + 1.35 * ROW_INCHES * len(names)) as figure:
        panels = np.atleast_1d(figure.subplots(len(names), 1, sharex=True, sharey=True))
        for panel, name, power in zip(panels, names, powers, strict=True):
            image = panel.imshow(
                power,
                aspect="auto",
                origin="lower",
                extent=(first, last, 0, drawn.sample_rate / 2000),
                vmin=top + FLOOR_DB,
                vmax=top,
                cmap="magma",
            )
            panel.set_title(name, loc="left", fontsize=9, pad=2)
            panel.tick_params(labelsize=8)
        figure.colorbar(image, ax=list(panels), label="dB", shrink=0.4, pad=0.01)
        figure.supylabel("kHz", fontsize=9)
        _finish(figure, panels, drawn, "Vocals")


def _finish(figure: Figure, panels: Sequence[Axes] | np.ndarray, drawn: Drawn, title: str) -> None:
    panels[-1].set_xlabel(f"seconds of “{drawn.excerpt.title}”", fontsize=9)
    panels[-1].set_xlim(drawn.excerpt.start, drawn.excerpt.start + drawn.excerpt.duration)
    figure.suptitle(title, fontsize=11)
