"""The results as Markdown, in the layout of the slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from htmdsep.evaluation import slides
from htmdsep.evaluation.collected import SCORED, Results, vad_accuracy
from htmdsep.evaluation.markdown import (
    NOTHING,
    SIGNIFICANT,
    count,
    italic,
    median_and_mean,
    number,
    p_value,
    table,
    titled,
    with_interval,
)
from htmdsep.evaluation.results import METRICS
from htmdsep.evaluation.scores import Setting
from htmdsep.evaluation.statistics import wilcoxon
from htmdsep.options import STEM_NAMES, StemName

RATIOS = ("sdr", "sir", "sar")
SETTING_NAMES: dict[Setting, str] = {
    "mono": "22 050 Hz mono",
    "native": "the input's own rate and channels",
}


def summary_markdown(results: Results, runtime: str | None) -> str:
    """Return the whole summary."""
    finals = [system for system in results.systems if not results.descriptions[system]["masked"]]
    parts = [
        f"# Evaluation on {count(len(results.titles), 'song')}",
        "Ratios are in dB. A second line in italics gives the slides' own figures (MUSDB18, other "
        "songs than these unless these are MUSDB18's); `?` marks what could not be read there.",
    ]
    if results.has("mono", "segments"):
        parts += [_results_1(results, finals), _results_2(results)]
    if runtime is not None:
        parts.append(runtime)
    for setting in SETTING_NAMES:
        if results.has(setting, "v4"):
            parts += [_bss_v4(results, setting, target) for target in STEM_NAMES]
    if results.has("mono", "segments"):
        parts += [_silence(results), _tests(results, finals)]
    parts.append(_left_out(results))
    return "\n\n".join(parts) + "\n"


def _results_1(results: Results, systems: Sequence[str]) -> str:
    """The authors' procedure: every second by itself."""
    rows = []
    for system in systems:
        found = {name: results.summary(system, name, "mono", "segments") for name in METRICS}
        rows.append(
            [
                system,
                *(number(found[name].song_median) for name in RATIOS),
                *(median_and_mean(found[name]) for name in RATIOS),
                number(results.summary(system, "pes", "mono", "segments").pooled_median, 1),
                number(vad_accuracy(results, system), 1),
            ]
        )
        if (slide := _slide(results.descriptions[system])) is not None:
            title, row = slide
            rows.append(italic([f"slides: {title}", *row.song, *row.segment, row.pes, row.vad]))
    header = ["vocals", "song SDR", "SIR", "SAR", "segment SDR", "SIR", "SAR", "PES", "VAD %"]
    return titled(
        "Results I: final estimates",
        "Song: median over songs of the median over segments. Segment: median/mean of all "
        "segments. Filters are fitted to each segment of 22 050 Hz mono (BSS Eval v3, images). "
        "PES is the median level in dB where the true voice is inactive.",
        table(header, rows),
    )


def _results_2(results: Results) -> str:
    """Masked against final estimates."""
    rows = []
    for system in results.systems:
        description = results.descriptions[system]
        if not description["masked"]:
            continue
        for label, output in ((system, "masked"), (description["final"], "final")):
            if label not in results.tables:
                continue
            found = (results.summary(label, name, "mono", "segments") for name in RATIOS)
            rows.append([description["final"], output, *map(median_and_mean, found)])
        for losses, figures in slides.MASKED_SEGMENTS.items():
            rows.append(
                italic(
                    [
                        "slides: HTMD-Net, MAE",
                        f"masked, {losses} loss there".replace("none", "no"),
                        *figures,
                    ]
                )
            )
    if not rows:
        rows = [["no network with a masked estimate was evaluated", *[NOTHING] * 4]]
    return titled(
        "Results II: the masked estimate",
        "Median/mean of all segments, as in Results I. The slides' rows differ in the loss at the "
        "masked estimate.",
        table(["vocals", "estimate", "segment SDR", "SIR", "SAR"], rows),
    )


def _bss_v4(results: Results, setting: Setting, target: StemName) -> str:
    rows = []
    for system in results.systems:
        names = ("sdr", "isr", "sir", "sar", "si_sdr")
        found = [results.summary(system, name, setting, "v4", target) for name in names]
        if not found[0].songs:
            continue
        rows.append([system, *map(with_interval, found), f"{found[0].frames}"])
    header = [target, "SDR", "ISR", "SIR", "SAR", "SI-SDR", "frames"]
    return titled(
        f"BSS Eval v4, {target}, {SETTING_NAMES[setting]}",
        "Median over songs of the median over frames of 1 s, with the 95 % bootstrap interval over "
        "songs. SI-SDR is of the same frames.",
        table(header, rows),
    )


def _silence(results: Results) -> str:
    rows = []
    for system in results.systems:
        cells = []
        for name in ("pes", "pes_zeros", "eps"):
            found = results.summary(system, name, "mono", "segments")
            cells += [median_and_mean(found, 1), str(found.frames)]
        rows.append([system, *cells])
    return titled(
        "Silence",
        "Median/mean in dB and number of segments. PES: level where the true voice is active in at "
        "most half of the detector's frames (HTMD-Net's authors; a silent estimate counts as -2000 "
        "dB and spoils the mean). PES at zeros and EPS: energies of segments where the true "
        "or the estimated voice is all zeros (Schulze-Forster et al.).",
        table(["vocals", "PES", "segments", "PES at zeros", "segments", "EPS", "segments"], rows),
    )


def _tests(results: Results, systems: Sequence[str]) -> str:
    rows = []
    for first, second in combinations(systems, 2):
        cells = []
        for name in RATIOS:
            one, other = (
                results.songs(system, name, "mono", "segments") for system in (first, second)
            )
            both = sorted(one.keys() & other.keys())
            pooled = [
                np.concatenate([of[t] for t in both]) if both else np.empty(0)
                for of in (one, other)
            ]
            medians = [np.array([_finite_median(of[t]) for t in both]) for of in (one, other)]
            cells += [p_value(*wilcoxon(*pooled)), p_value(*wilcoxon(*medians))]
        rows.append([f"{first} / {second}", *cells])
    header = [
        "vocals",
        "SDR, segments",
        "songs",
        "SIR, segments",
        "songs",
        "SAR, segments",
        "songs",
    ]
    return titled(
        "Paired Wilcoxon signed-rank tests",
        f"Two-sided p (and pairs); bold where p < {SIGNIFICANT}, as the slides mark. Segments of a "
        "song resemble each other, so their p is too good; that of songs needs many songs.",
        table(header, rows),
    )


def _left_out(results: Results) -> str:
    rows = []
    for system in results.systems:
        cells = []
        for setting, procedure in SCORED:
            found = [results.summary(system, name, setting, procedure) for name in RATIOS]
            total = found[0].frames + found[0].left_out
            lost = "/".join(str(one.left_out) for one in found)
            cells.append(f"{lost} of {total}" if total else NOTHING)
        rows.append([system, *cells, str(len(results.tables[system]))])
    return titled(
        "Frames left out",
        "Of vocals, for SDR/SIR/SAR: some signal is all zeros in them, or a ratio is infinite.",
        table(["", "v4, mono", "v4, native", "segments", "songs"], rows),
    )


def _slide(description: Mapping[str, Any]) -> tuple[str, slides.SlideRow] | None:
    if description.get("architecture") is None:
        return None
    return slides.row_of(description["architecture"], description["losses"])


def _finite_median(frames: np.ndarray) -> float:
    kept = frames[np.isfinite(frames)]
    return float(np.median(kept)) if len(kept) else float("nan")
