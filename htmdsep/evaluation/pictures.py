"""Pictures, without a display: boxplots of the scores; waveforms and spectrograms of excerpts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import librosa
import matplotlib as mpl
import numpy as np
from librosa.display import specshow
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from htmdsep.datasets.folders import Song
from htmdsep.dsp.levels import INAUDIBLE_DBFS, power_of
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.options import Excerpt, Procedure, Setting
from htmdsep.evaluation.results import Results
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import System
from htmdsep.files import atomic_path, readable
from htmdsep.metrics.silence import frame_powers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DURATION_SECONDS = 20.0  # of an excerpt that is chosen here
CONTEXT_SECONDS = 5.0  # separated before and after, so that the borders are as in the whole song
FRAME_SECONDS = 0.1
LEAST_SILENT_SECONDS = 0.5
BOXES = ("sdr", "sir", "sar", "isr")
TRUTH = "true vocals"
SILENCE_COLOUR = "#f3d9a4"
TRUTH_COLOUR = "#2f6d4f"
WAVE_COLOUR = "#3b5b92"
COLUMNS_DRAWN = 1600  # pixels across; a waveform is drawn as the range within each
SCALE_DB = 60.0  # of a spectrogram's colours
# What may have the characters that matplotlib's own font lacks, of Linux, macOS and Windows.
OTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei", "IPAGothic",
    "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic",
    "Arial Unicode MS",
)  # fmt: skip


@dataclass(frozen=True)
class ExcerptSignals:
    """What is drawn of an excerpt: (frames,) signals by name, and where there is no singing."""

    excerpt: Excerpt
    sample_rate: int
    signals: dict[str, np.ndarray]  # mixture, true vocals, then each system's vocals
    silent: list[tuple[float, float]]  # stretches of the song without vocals, in seconds


def read_excerpt(song: Song, excerpt: Excerpt | None, systems: Sequence[System]) -> ExcerptSignals:
    """Run the systems over an excerpt of a song; without one, over a good one (`choose_excerpt`).

    Networks and oracles run on the excerpt, as `htmdsep --start --duration` does; files are cut.
    Raises HtmdsepError for an excerpt beyond the song's end.
    """
    mono = read_song(song).mono()
    rate = mono.sample_rate
    excerpt = excerpt or choose_excerpt(song.title, mono)
    before = max(0.0, excerpt.start - CONTEXT_SECONDS)
    around = mono.excerpt(before, excerpt.start - before + excerpt.duration + CONTEXT_SECONDS)
    first = round((excerpt.start - before) * rate)
    if len(around.vocals) <= first:
        raise HtmdsepError(f"{song.title} ends before {excerpt.start:g} s")
    signals = {"mixture": around.mixture, TRUTH: around.vocals}
    for system in systems:
        if system.needs_whole_song:
            whole = system.estimate(mono, song.title).vocals
            signals[system.label] = whole[round(before * rate) :]
        else:
            signals[system.label] = system.estimate(around, song.title).vocals
    part = slice(first, first + round(excerpt.duration * rate))
    cut = {name: samples[part, 0] for name, samples in signals.items()}
    return ExcerptSignals(excerpt, rate, cut, silent_stretches(cut[TRUTH], rate, excerpt.start))


def choose_excerpt(title: str, signals: Signals) -> Excerpt:
    """Return the 20 s in which the shares of singing and of silence are most alike.

    Of equals the earliest.
    """
    sung = ~_silent(signals.vocals[:, 0], signals.sample_rate)
    width = round(DURATION_SECONDS / FRAME_SECONDS)
    starts = range(0, max(1, len(sung) - width + 1), width)
    best = min(starts, key=lambda start: abs(sung[start : start + width].sum() - width / 2))
    return Excerpt(title, best * FRAME_SECONDS, DURATION_SECONDS)


def silent_stretches(
    vocals: np.ndarray, sample_rate: int, start: float
) -> list[tuple[float, float]]:
    """Return where (frames,) vocals are below -60 dBFS for half a second or longer."""
    silent = np.concatenate([[False], _silent(vocals, sample_rate), [False]])
    edges = (np.flatnonzero(silent[1:] != silent[:-1]) * FRAME_SECONDS + start).tolist()
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(one, other) for one, other in pairs if other - one >= LEAST_SILENT_SECONDS]


def _silent(vocals: np.ndarray, sample_rate: int) -> np.ndarray:
    powers = frame_powers(vocals, round(FRAME_SECONDS * sample_rate))
    return np.asarray(powers < power_of(INAUDIBLE_DBFS))


@contextmanager
def _figure(path: Path, height: float, title: str) -> Iterator[Figure]:
    """Yield a figure of 12 by so many inches that becomes a PNG file; all its text is text."""
    installed = {font.name for font in fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in OTHER_FONTS if name in installed)]
    with mpl.rc_context({"text.parse_math": False, "font.family": families}):
        figure = Figure(figsize=(12, height), layout="constrained")
        figure.suptitle(title, fontsize=11)
        yield figure
        with atomic_path(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box stands for it
            figure.savefig(temporary, format="png")


def draw_boxplots(results: Results, path: Path, setting: Setting, procedure: Procedure) -> None:
    """Draw the vocals' ratios of all frames of all songs: a panel a metric, a box a system.

    Boxes are quartiles, whiskers the 5th and 95th percentile; a triangle is the mean.
    """
    scores, labels = results.select(setting, procedure), [*results.descriptions]
    where = "22 050 Hz mono" if setting == "mono" else "own rate and channels"
    lengths = " and ".join(f"{one:g}" for one in sorted({*scores["duration_seconds"]}))
    own = f"segments of {lengths} s, each by itself"
    title = f"Vocals, {where}, {'BSS Eval v4, frames of 1 s' if procedure == 'v4' else own}"
    with _figure(path, 1.3 + 0.42 * len(labels), title) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(BOXES), sharey=True))
        for panel, metric in zip(panels, BOXES, strict=True):
            finite = scores[np.isfinite(scores[metric])]
            values = [finite[metric][finite["system"] == label] for label in labels]
            _draw_boxes(panel, [one.to_numpy() for one in values])
            panel.set_xlabel(f"{metric.upper()} in dB")
        panels[0].set_yticks(range(1, len(labels) + 1), [*map(readable, labels)])
        panels[0].invert_yaxis()


def _draw_boxes(panel: Axes, values: Sequence[np.ndarray]) -> None:
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
    panel.grid(axis="x", alpha=0.4)


@contextmanager
def _panels(drawn: ExcerptSignals, path: Path, inches: float, title: str) -> Iterator[np.ndarray]:
    """Yield a panel a signal, `inches` high each, over the excerpt's seconds."""
    start, duration = drawn.excerpt.start, drawn.excerpt.duration
    count = len(drawn.signals)
    with _figure(path, 0.8 + inches * count, title) as figure:
        panels = np.atleast_1d(figure.subplots(count, 1, sharex=True, sharey=True))
        yield panels
        for panel, name in zip(panels, drawn.signals, strict=True):
            panel.set_title(readable(name), loc="left", fontsize=9, pad=2)
            panel.tick_params(labelsize=8)
            panel.label_outer()
        panels[-1].set_xlabel(f"seconds of “{readable(drawn.excerpt.title)}”", fontsize=9)
        panels[-1].set_xlim(start, start + duration)


def draw_waveforms(drawn: ExcerptSignals, path: Path) -> None:
    """Draw the signals of an excerpt below each other, on one scale, silent stretches shaded."""
    peak = max(float(np.abs(signal).max()) for signal in drawn.signals.values()) or 1.0
    with _panels(drawn, path, 1.05, "Vocals (shaded: no singing)") as panels:
        for panel, (name, signal) in zip(panels, drawn.signals.items(), strict=True):
            length = max(1, len(signal) // COLUMNS_DRAWN)
            whole = signal[: len(signal) // length * length].reshape(-1, length)
            times = drawn.excerpt.start + np.arange(len(whole)) * length / drawn.sample_rate
            colour = TRUTH_COLOUR if name == TRUTH else WAVE_COLOUR
            panel.fill_between(
                times, whole.min(axis=1), whole.max(axis=1), color=colour, linewidth=0.4
            )
            for first, last in drawn.silent:
                panel.axvspan(first, last, color=SILENCE_COLOUR, zorder=0, linewidth=0)
        panels[0].set_ylim(-1.05 * peak, 1.05 * peak)


def draw_spectrograms(drawn: ExcerptSignals, path: Path) -> None:
    """Draw the spectrograms of an excerpt's signals below each other, on one scale of 60 dB."""
    spectra = [np.abs(librosa.stft(signal)) for signal in drawn.signals.values()]
    # A few loud bins would leave the rest in the dark.
    top = max(float(np.quantile(spectrum, 0.999)) for spectrum in spectra) or 1.0
    show = partial(specshow, x_axis="s", y_axis="hz", sr=drawn.sample_rate, vmin=-SCALE_DB, vmax=0)
    times = drawn.excerpt.start + librosa.times_like(spectra[0], sr=drawn.sample_rate)
    with _panels(drawn, path, 1.42, "Vocals") as panels:
        for panel, spectrum in zip(panels, spectra, strict=True):
            level = librosa.amplitude_to_db(spectrum, ref=top, top_db=None)
            image = show(level, x_coords=times, ax=panel, cmap="magma")
        panels[0].figure.colorbar(image, ax=list(panels), label="dB", shrink=0.4, pad=0.01)
