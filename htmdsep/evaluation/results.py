"""Result files: one a system and song, complete or absent, so that a run can go on where it ended.

scores/<system>/<title>.csv                     a row a frame
scores/<system>/system.json                     what the scores depend on
museval/<setting>/<system>/test/<title>.json    BSS Eval v4, as museval writes and reads it
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.scores import Procedure, Score, Setting
from htmdsep.files import ANY_BYTES, atomic_path
from htmdsep.options import STEM_NAMES, StemName
from htmdsep.version import __version__

COLUMNS = ("song", "system", *(field.name for field in fields(Score)))
METRICS = ("sdr", "isr", "sir", "sar")
RATIO_DECIMALS = 6


@dataclass(frozen=True)
class Folder:
    """The folder of a run's results."""

    path: Path

    def scores_path(self, system: str, title: str) -> Path:
        """Return where a song's scores are, or will be."""
        return self.path / "scores" / system / f"{title}.csv"

    def has(self, system: str, title: str) -> bool:
        """Tell whether a song has been scored."""
        return self.scores_path(system, title).exists()

    def systems(self) -> list[str]:
        """Return the labels of the systems that there are scores of, oldest first."""
        found = (self.path / "scores").glob("*/system.json")
        described = sorted((_read_json(path)["order"], path.parent.name) for path in found)
        return [label for _, label in described]

    def description(self, system: str) -> dict[str, Any]:
        """Return what is known of a system."""
        return _read_json(self.path / "scores" / system / "system.json")

    def describe(self, system: str, description: Mapping[str, Any]) -> None:
        """Note what a system's scores depend on.

        Raises HtmdsepError where scores of that label depend on something else.
        """
        path = self.path / "scores" / system / "system.json"
        if path.exists():
            known = _read_json(path)
            for key in ("fingerprint", "segment_seconds", "settings"):
                if known[key] != description[key]:
                    raise HtmdsepError(
                        f"{path.parent} holds scores with {key} {known[key]!r}, not "
                        f"{description[key]!r}; give another label or --out, or remove the folder"
                    )
            return
        order = len(list((self.path / "scores").glob("*/system.json")))
        _write_json(path, {**description, "order": order})

    def write(self, system: str, title: str, scores: Sequence[Score]) -> None:
        """Store a song's scores, museval's files first."""
        for setting in dict.fromkeys(score.setting for score in scores):
            frames = [
                score for score in scores if (score.setting, score.procedure) == (setting, "v4")
            ]
            path = self.path / "museval" / setting / system / "test" / f"{title}.json"
            _write_json(path, museval_document(frames))
        with (
            atomic_path(self.scores_path(system, title)) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors=ANY_BYTES) as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for score in scores:
                writer.writerow([title, system, *map(_shown, asdict(score).values())])

    def titles(self, system: str) -> list[str]:
        """Return the songs that a system has scores of."""
        return sorted(path.stem for path in (self.path / "scores" / system).glob("*.csv"))

    def read(self, system: str, title: str) -> Table:
        """Return a song's scores."""
        with self.scores_path(system, title).open(
            newline="", encoding="utf-8", errors=ANY_BYTES
        ) as file:
            rows = list(csv.reader(file))
        if not rows or tuple(rows[0]) != COLUMNS:
            raise HtmdsepError(
                f"{self.scores_path(system, title)} is no result of this version; remove it"
            )
        return Table(rows[1:])


class Table:
    """A song's scores, by setting, procedure and source."""

    def __init__(self, rows: Iterable[Sequence[str]]) -> None:
        numbers = COLUMNS.index("start_seconds")
        groups: dict[tuple[str, ...], list[list[float]]] = {}
        for row in rows:
            groups.setdefault(tuple(row[2:numbers]), []).append([float(x) for x in row[numbers:]])
        self._groups = {key: np.array(values) for key, values in groups.items()}

    def frames(
        self, column: str, setting: Setting, procedure: Procedure, target: StemName
    ) -> np.ndarray:
        """Return a column, in the order of the frames; empty where it was not scored."""
        found = self._groups.get((setting, procedure, target))
        if found is None:
            return np.empty(0)
        return np.asarray(found[:, COLUMNS.index(column) - COLUMNS.index("start_seconds")])


def museval_document(frames: Iterable[Score]) -> dict[str, Any]:
    """Return BSS Eval v4's frames as museval has them: infinite ratios as NaN, five decimals."""
    targets: dict[str, list[dict[str, Any]]] = {name: [] for name in STEM_NAMES}
    for score in frames:
        values = {name.upper(): getattr(score, name) for name in METRICS}
        targets[score.target].append(
            {
                "time": score.start_seconds,
                "duration": score.duration_seconds,
                "metrics": {
                    name: round(value, 5) if np.isfinite(value) else float("nan")
                    for name, value in values.items()
                },
            }
        )
    return {
        "targets": [{"name": name, "frames": rows} for name, rows in targets.items()],
        "museval_version": f"htmdsep {__version__}",
    }


def _shown(value: object) -> object:
    return round(value, RATIO_DECIMALS) if isinstance(value, float) else value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise HtmdsepError(f"cannot read {path}: {error}") from error
    return document


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
