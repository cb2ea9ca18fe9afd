"""Result files, complete or absent, so that a run can go on; and what all scores sum up to.

scores/<system>/<title>.csv                     a row a frame
scores/<system>/system.json                     what the scores depend on
museval/<setting>/<system>/test/<title>.json    BSS Eval v4, as museval writes and reads it
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from htmdsep import __version__
from htmdsep.errors import HtmdsepError, explained
from htmdsep.evaluation.options import Procedure, Setting
from htmdsep.evaluation.scores import GROUPS, NUMBERS, OF_VOICE, RATIOS
from htmdsep.files import ANY_BYTES, atomic_path, write_text
from htmdsep.options import STEM_NAMES

COLUMNS = ("song", "system", *GROUPS, *NUMBERS)
METRICS = (*RATIOS, "si_sdr", *OF_VOICE[:3])
DECIMALS = 6
MUSEVAL_DECIMALS = 5
RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 2021
NAN = float("nan")
# What is known of a system, and of a masked estimate the label of the final one, too
KINDS: dict[str, Any] = {
    "order": int, "fingerprint": str, "settings": list, "segment_seconds": int | float,
    "masked": bool, "architecture": str | None, "losses": str | None,
}  # fmt: skip


@dataclass(frozen=True)
class ResultsFolder:
    """The folder of a run's results."""

    path: Path

    def scores_path(self, system: str, title: str) -> Path:
        """Return where a song's scores are, or will be."""
        return self.path / "scores" / system / f"{title}.csv"

    def has(self, system: str, title: str) -> bool:
        """Tell whether a song has been scored."""
        return self.scores_path(system, title).exists()

    def descriptions(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each system that there are scores of, oldest first."""
        paths = (self.path / "scores").glob("*/system.json")
        found = {path.parent.name: _read_description(path) for path in paths}
        return dict(sorted(found.items(), key=lambda item: (item[1]["order"], item[0])))

    def describe(self, system: str, description: Mapping[str, Any]) -> None:
        """Note what a system's scores depend on; raise HtmdsepError where that has changed."""
        path = self.path / "scores" / system / "system.json"
        if not path.exists():
            write_json(path, {**description, "order": len(self.descriptions())})
            return
        known = _read_description(path)
        for key in ("fingerprint", "segment_seconds", "settings"):
            if known[key] != description[key]:
                raise HtmdsepError(
                    f"{path.parent} holds scores with {key} {known[key]!r}, not "
                    f"{description[key]!r}; give another label or --out, or remove the folder"
                )

    def write(self, system: str, title: str, scores: pd.DataFrame) -> None:
        """Store a song's scores, museval's files first."""
        whole = scores[scores["procedure"] == "v4"]
        for setting, frames in whole.groupby("setting", sort=False):
            path = self.path / "museval" / str(setting) / system / "test" / f"{title}.json"
            write_json(path, museval_document(frames))
        table = _named(scores.round(DECIMALS), title, system)
        form = {"index": False, "na_rep": "nan", "lineterminator": "\r\n", "errors": ANY_BYTES}
        with atomic_path(self.scores_path(system, title)) as temporary:
            table.to_csv(temporary, encoding="utf-8", **form)

    def read(self) -> pd.DataFrame:
        """Return all scores, a row a frame of a source; raise HtmdsepError for other files."""
        parts = [
            _named(_read_table(path), path.stem, system)
            for system in self.descriptions()
            for path in sorted((self.path / "scores" / system).glob("*.csv"))
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _named(scores: pd.DataFrame, title: str, system: str) -> pd.DataFrame:
    # As objects: pandas' own strings may refuse names that are no text.
    songs, systems = (np.full(len(scores), name, object) for name in (title, system))
    return scores.assign(song=songs, system=systems)[list(COLUMNS)]


def _read_table(path: Path) -> pd.DataFrame:
    # Python's reader takes a song called NA for what it is, and floats to the last bit.
    with path.open(newline="", encoding="utf-8", errors=ANY_BYTES) as file:
        header, *rows = [*csv.reader(file)] or [[]]
    with explained(f"{path} is no result of this version", "remove it", of=ValueError):
        if tuple(header) != COLUMNS:
            raise ValueError("another header")
        if any(len(row) != len(COLUMNS) for row in rows):
            raise ValueError("cut off")
        table = pd.DataFrame([row[2:] for row in rows], columns=[*GROUPS, *NUMBERS], dtype=object)
        return table.astype(dict.fromkeys(NUMBERS, float))


def museval_document(frames: pd.DataFrame) -> dict[str, Any]:
    """Return BSS Eval v4's frames as museval has them: infinite ratios as NaN, five decimals."""
    ratios = frames[[*RATIOS]].where(np.isfinite(frames[[*RATIOS]])).round(MUSEVAL_DECIMALS)
    metrics = ratios.rename(columns=str.upper).to_dict("records")
    columns = (frames[name] for name in ("target", "start_seconds", "duration_seconds"))
    targets: dict[str, list[dict[str, Any]]] = {name: [] for name in STEM_NAMES}
    for target, start, duration, values in zip(*columns, metrics, strict=True):
        targets[target].append({"time": start, "duration": duration, "metrics": values})
    return {
        "targets": [{"name": name, "frames": rows} for name, rows in targets.items()],
        "museval_version": f"htmdsep {__version__}",
    }


@dataclass(frozen=True)
class Summary:
    """One metric of one method over its finite frames; NaN where there are none."""

    song_median: float = NAN  # median over songs of the median over frames
    song_interval: tuple[float, float] = (NAN, NAN)  # bootstrap over songs
    pooled_median: float = NAN
    pooled_mean: float = NAN
    pooled_interval: tuple[float, float] = (NAN, NAN)  # of the pooled median; bootstrap over songs
    frames: int = 0
    left_out: int = 0  # frames that are NaN (silence) or infinite (no error)
    songs: int = 0


@dataclass(frozen=True)
class Results:
    """All scores of a folder, and what they sum up to."""

    descriptions: dict[str, dict[str, Any]]  # by system, in the order of the tables
    scores: pd.DataFrame  # a row a frame of one source, with COLUMNS
    summaries: dict[tuple[str, ...], Summary]  # by system, setting, procedure, target, metric

    def select(self, setting: Setting, procedure: Procedure) -> pd.DataFrame:
        """Return the scores of vocals that were computed so."""
        wanted = {"setting": setting, "procedure": procedure, "target": "vocals"}
        return self.scores[(self.scores[[*GROUPS]] == wanted).all(axis=1)]

    def summary(self, *key: str) -> Summary:
        """Return a summary by its key, an empty one where nothing was computed."""
        return self.summaries.get(key, Summary())


def read_results(folder: ResultsFolder) -> Results:
    """Read and sum up all that has been scored."""
    scores = folder.read()
    summaries = {
        (*key, metric): summarise_scores(rows["song"], rows[metric])
        for key, rows in scores.groupby(["system", *GROUPS], sort=False)
        for metric in METRICS
    }
    return Results(folder.descriptions(), scores, summaries)


def summarise_scores(songs: pd.Series[Any], values: pd.Series[float]) -> Summary:
    """Sum up a metric's frames, given the song of each."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return Summary(left_out=len(values))
    by_song = [part.to_numpy() for _, part in finite.groupby(songs, sort=False)]
    medians = [np.array([np.median(part)]) for part in by_song]
    return Summary(
        song_median=float(np.median(medians)),
        song_interval=bootstrap_median(medians),
        pooled_median=float(finite.median()),
        pooled_mean=float(finite.mean()),
        pooled_interval=bootstrap_median(by_song),
        frames=len(finite),
        left_out=len(values) - len(finite),
        songs=len(by_song),
    )


def bootstrap_median(songs: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the pooled median's 95 % percentile interval, drawing songs; NaN of fewer than two.

    Songs and not frames are drawn, since the frames of a song resemble each other.
    """
    if len(songs) < 2:
        return NAN, NAN
    values, owners = np.concatenate(songs), np.repeat(np.arange(len(songs)), [*map(len, songs)])
    order = np.argsort(values)
    values, owners = values[order], owners[order]
    rng = np.random.default_rng(SEED)
    medians = np.empty(RESAMPLES)
    for index, draw in enumerate(rng.integers(len(songs), size=(RESAMPLES, len(songs)))):
        # A song that was drawn n times counts n times: no need to sort again.
        ranks = np.cumsum(np.bincount(draw, minlength=len(songs))[owners])
        middle = [np.searchsorted(ranks, ranks[-1] / 2, side) for side in ("left", "right")]
        medians[index] = values[middle].mean()
    lower, upper = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(lower), float(upper)


def wilcoxon(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Return the two-sided p of the paired signed-rank test, and how many pairs it saw.

    Pairs that are not finite are left out; p is NaN where no pair differs.
    """
    both = np.isfinite(first) & np.isfinite(second)
    differences = np.asarray(first[both] - second[both])
    if not np.any(differences):
        return NAN, len(differences)
    return float(stats.wilcoxon(differences).pvalue), len(differences)


def _read_description(path: Path) -> dict[str, Any]:
    """Return what is known of a system; raise HtmdsepError where a hand has spoilt it."""
    remedy = f"mend it, or remove {path.parent}"
    with explained(f"cannot read {path}", remedy, of=(OSError, ValueError, TypeError)):
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    for key, kind in (KINDS | ({"final": str} if known.get("masked") else {})).items():
        if not isinstance(known.get(key), kind):
            raise HtmdsepError(f"{path}: {key} cannot be {known.get(key)!r}; {remedy}")
    return known


def write_json(path: Path, document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a document in one piece."""
    write_text(path, json.dumps(document, indent=1))
