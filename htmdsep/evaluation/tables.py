"""The results as Markdown, in the layout of the slides, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from htmdsep.evaluation import slides
from htmdsep.evaluation.options import Procedure, Setting
from htmdsep.evaluation.results import METRICS, Results, Summary, wilcoxon
from htmdsep.options import STEM_NAMES, StemName

RATIOS = ("sdr", "sir", "sar")  # of the slides, which have no ISR
SETTING_NAMES: dict[Setting, str] = {
    "mono": "22 050 Hz mono",
    "native": "the input's own rate and channels",
}
SCORED: tuple[tuple[Setting, Procedure], ...] = (
    ("mono", "v4"),
    ("native", "v4"),
    ("mono", "segments"),
)
NOTHING = "-"
SIGNIFICANT = 0.01  # the slides' mark


def summary_document(results: Results) -> dict[str, Any]:
    """Return every summary, for programs; numbers that are not finite are null."""
    names = ("setting", "procedure", "target", "metric")
    systems = {}
    for system, description in results.descriptions.items():
        summaries = [
            dict(zip(names, key, strict=True)) | asdict(summary)
            for (owner, *key), summary in results.summaries.items()
            if owner == system and summary.frames
        ]
        vad = vad_percent(results, system)
        systems[system] = {**description, "vad_percent": vad, "summaries": summaries}
    document = {"songs": sorted(results.scores["song"].unique()), "systems": systems}
    # Python writes NaN and Infinity, which JSON lacks; here they are read back as null
    finite: dict[str, Any] = json.loads(json.dumps(document), parse_constant=lambda _: None)
    return finite


def vad_percent(results: Results, system: str) -> float:
    """Return the share of detector frames that true and estimated voice agree in."""
    segments = results.select("mono", "segments")
    equal, frames = segments[segments["system"] == system][["vad_equal", "vad_frames"]].sum()
    return 100 * float(equal) / float(frames) if frames else math.nan


def summary_markdown(results: Results, runtime: str | None) -> str:
    """Return the whole summary."""
    count = results.scores["song"].nunique()
    parts = [
        f"# Evaluation on {count} song{'s' * (count != 1)}",
        "Ratios are in dB. A second line in italics gives the slides' own figures (MUSDB18, other "
        "songs than these unless these are MUSDB18's); `?` marks what could not be read there.",
    ]
    has_segments = not results.select("mono", "segments").empty
    if has_segments:
        parts += [_results_1(results), _results_2(results)]
    if runtime is not None:
        parts.append(runtime)
    for setting in SETTING_NAMES:
        if not results.select(setting, "v4").empty:
            parts += [_bss_v4(results, setting, target) for target in STEM_NAMES]
    if has_segments:
        parts += [_silence(results), _tests(results)]
    return "\n\n".join([*parts, _left_out(results)]) + "\n"


def _segments(results: Results, system: str, *metrics: str) -> list[Summary]:
    """Return what vocals' metrics sum up to by the authors' procedure."""
    return [results.summary(system, "mono", "segments", "vocals", name) for name in metrics]


def _finals(results: Results) -> list[str]:
    return [label for label, known in results.descriptions.items() if not known["masked"]]


def _results_1(results: Results) -> str:
    """The authors' procedure: every second by itself."""
    rows = []
    for system in _finals(results):
        *found, pes = _segments(results, system, *RATIOS, "pes")
        songs = (number(one.song_median) for one in found)
        levels = number(pes.pooled_median, 1), number(vad_percent(results, system), 1)
        rows.append([system, *songs, *map(median_and_mean, found), *levels])
        known = results.descriptions[system]
        architecture, losses = known.get("architecture"), known.get("losses")
        if architecture and (slide := slides.row_of(architecture, losses)):
            rows.append(italic([f"slides: {slide[0]}", *slide[1:]]))
    return titled(
        "Results I: final estimates",
        "Song: median over songs of the median over segments. Segment: median/mean of all "
        "segments. Filters are fitted to each segment of 22 050 Hz mono (BSS Eval v3, images). "
        "PES is the median level in dB where the true voice is inactive.",
        ["vocals", "song SDR", "SIR", "SAR", "segment SDR", "SIR", "SAR", "PES", "VAD %"],
        rows,
    )


def _results_2(results: Results) -> str:
    """Masked against final estimates."""
    rows = []
    for system, known in results.descriptions.items():
        if not known["masked"]:
            continue
        for label, output in ((system, "masked"), (known["final"], "final")):
            if label in results.descriptions:
                found = _segments(results, label, *RATIOS)
                rows.append([known["final"], output, *map(median_and_mean, found)])
        for losses, figures in slides.MASKED_SEGMENTS.items():
            loss = f"masked, {losses} loss there".replace("none", "no")
            rows.append(italic(["slides: HTMD-Net, MAE", loss, *figures]))
    return titled(
        "Results II: the masked estimate",
        "Median/mean of all segments, as in Results I. The slides' rows differ in the loss at the "
        "masked estimate.",
        ["vocals", "estimate", "segment SDR", "SIR", "SAR"],
        rows or [["no network with a masked estimate was evaluated", *[NOTHING] * 4]],
    )


def _bss_v4(results: Results, setting: Setting, target: StemName) -> str:
    rows = []
    for system in results.descriptions:
        found = [results.summary(system, setting, "v4", target, name) for name in METRICS[:5]]
        if found[0].songs:
            rows.append([system, *map(with_interval, found), f"{found[0].frames}"])
    return titled(
        f"BSS Eval v4, {target}, {SETTING_NAMES[setting]}",
        "Median over songs of the median over frames of 1 s, with the 95 % bootstrap interval over "
        "songs. SI-SDR is of the same frames.",
        [target, "SDR", "ISR", "SIR", "SAR", "SI-SDR", "frames"],
        rows,
    )


def _silence(results: Results) -> str:
    rows = []
    for system in results.descriptions:
        cells = []
        for found in _segments(results, system, "pes", "pes_zeros", "eps"):
            cells += [median_and_mean(found, 1), str(found.frames)]
        rows.append([system, *cells])
    return titled(
        "Silence",
        "Median/mean in dB and number of segments. PES: level where the true voice is active in at "
        "most half of the detector's frames (HTMD-Net's authors; a silent estimate counts as -2000 "
        "dB and spoils the mean). PES at zeros and EPS: energies of segments where the true "
        "or the estimated voice is all zeros (Schulze-Forster et al.).",
        ["vocals", "PES", "segments", "PES at zeros", "segments", "EPS", "segments"],
        rows,
    )


def _tests(results: Results) -> str:
    """Every pair of systems, on segments and on songs' medians that both have."""
    segment = ["song", "start_seconds", "duration_seconds"]
    scores = results.select("mono", "segments")
    paired = scores.pivot(index=segment, columns="system", values=[*RATIOS])
    paired = paired.where(np.isfinite(paired))
    by_song = paired.groupby("song").median()
    rows = []
    for first, second in combinations(_finals(results), 2):
        pair = [first, second]
        both = [of[name].reindex(columns=pair) for name in RATIOS for of in (paired, by_song)]
        tests = [wilcoxon(of[first], of[second]) for of in both]
        rows.append([f"{first} / {second}", *(p_value(*test) for test in tests)])
    return titled(
        "Paired Wilcoxon signed-rank tests",
        f"Two-sided p (and pairs); bold where p < {SIGNIFICANT}, as the slides mark. Segments of a "
        "song resemble each other, so their p is too good; that of songs needs many songs.",
        ["vocals", *(cell for name in RATIOS for cell in (f"{name.upper()}, segments", "songs"))],
        rows,
    )


def _left_out(results: Results) -> str:
    songs = results.scores.groupby("system")["song"].nunique()
    rows = []
    for system in results.descriptions:
        cells = []
        for setting, procedure in SCORED:
            found = [results.summary(system, setting, procedure, "vocals", name) for name in RATIOS]
            total = found[0].frames + found[0].left_out
            lost = "/".join(str(one.left_out) for one in found)
            cells.append(f"{lost} of {total}" if total else NOTHING)
        rows.append([system, *cells, str(songs.get(system, 0))])
    return titled(
        "Frames left out",
        "Of vocals, for SDR/SIR/SAR: some signal is all zeros in them, or a ratio is infinite.",
        ["", "v4, mono", "v4, native", "segments", "songs"],
        rows,
    )


def number(value: float, decimals: int = 2) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else NOTHING


def median_and_mean(summary: Summary, decimals: int = 2) -> str:
    if not summary.frames:
        return NOTHING
    return f"{number(summary.pooled_median, decimals)}/{number(summary.pooled_mean, decimals)}"


def with_interval(summary: Summary) -> str:
    lower, upper = summary.song_interval
    if not math.isfinite(lower):
        return number(summary.song_median)
    return f"{number(summary.song_median)} ({number(lower)}, {number(upper)})"


def p_value(p: float, pairs: int) -> str:
    if not math.isfinite(p):
        return f"{NOTHING} ({pairs})"
    shown = f"{p:.2g} ({pairs})"
    return f"**{shown}**" if p < SIGNIFICANT else shown


def italic(cells: Iterable[str]) -> list[str]:
    return [f"*{cell.replace('*', chr(92) + '*')}*" for cell in cells]


def titled(title: str, text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a section in Markdown: its title, a paragraph, and a table."""
    lines = [header, ["---"] * len(header), *rows]
    # A bar in a name is no border of a cell
    escaped = ([cell.replace("|", "\\|") for cell in cells] for cells in lines)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)
    return f"## {title}\n\n{text}\n\n{table}"
