"""Pieces of Markdown: cells, tables, sections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from htmdsep.evaluation.statistics import Summary

NOTHING = "-"
SIGNIFICANT = 0.01  # the slides' mark


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


def count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def italic(cells: Iterable[str]) -> list[str]:
    return [f"*{cell.replace('*', chr(92) + '*')}*" for cell in cells]


def titled(title: str, text: str, table: str) -> str:
    return f"## {title}\n\n{text}\n\n{table}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
