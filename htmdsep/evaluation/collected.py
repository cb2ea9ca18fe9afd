"""All scores of a folder of results, and what they sum up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from htmdsep.evaluation.results import METRICS, Folder, Table
from htmdsep.evaluation.scores import Procedure, Setting
from htmdsep.evaluation.statistics import Summary, summarise
from htmdsep.options import STEM_NAMES, StemName

SCORED: tuple[tuple[Setting, Procedure], ...] = (
    ("mono", "v4"),
    ("native", "v4"),
    ("mono", "segments"),
)


@dataclass(frozen=True)
class Results:
    """All scores of a folder, read once."""

    systems: tuple[str, ...]
    descriptions: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Mapping[str, Table]]  # by system and title
    _summaries: dict[tuple[str, ...], Summary] = field(default_factory=dict)

    @property
    def titles(self) -> list[str]:
        """The songs that some system has scores of."""
        return sorted({title for tables in self.tables.values() for title in tables})

    def songs(
        self,
        system: str,
        column: str,
        setting: Setting,
        procedure: Procedure,
        target: StemName = "vocals",
    ) -> dict[str, np.ndarray]:
        """Return a metric's frames by song, without the songs that were not scored so."""
        found = {
            title: table.frames(column, setting, procedure, target)
            for title, table in self.tables[system].items()
        }
        return {title: frames for title, frames in found.items() if len(frames)}

    def summary(
        self,
        system: str,
        column: str,
        setting: Setting,
        procedure: Procedure,
        target: StemName = "vocals",
    ) -> Summary:
        """Sum a metric up, once."""
        key = (system, column, setting, procedure, target)
        if key not in self._summaries:
            self._summaries[key] = summarise(list(self.songs(*key).values()))
        return self._summaries[key]

    def has(self, setting: Setting, procedure: Procedure) -> bool:
        """Tell whether anything was scored so."""
        return any(self.songs(system, "sdr", setting, procedure) for system in self.systems)


def read_results(folder: Folder) -> Results:
    """Read everything that has been scored."""
    systems = tuple(folder.systems())
    return Results(
        systems,
        {system: folder.description(system) for system in systems},
        {
            system: {title: folder.read(system, title) for title in folder.titles(system)}
            for system in systems
        },
    )


def vad_accuracy(results: Results, system: str) -> float:
    """Return the share of detector frames, in percent, that true and estimated voice agree in."""
    equal, frames = (
        sum(
            float(np.nansum(part))
            for part in results.songs(system, name, "mono", "segments").values()
        )
        for name in ("vad_equal", "vad_frames")
    )
    return 100 * equal / frames if frames else float("nan")


def summary_document(results: Results) -> dict[str, Any]:
    """Return every summary, for programs; numbers that are not finite are null."""
    systems: dict[str, Any] = {}
    for system in results.systems:
        entries = []
        for setting, procedure in SCORED:
            for target in STEM_NAMES:
                for name in (*METRICS, "si_sdr", "pes", "pes_zeros", "eps"):
                    found = results.summary(system, name, setting, procedure, target)
                    if found.frames:
                        values = {key: _jsonable(value) for key, value in asdict(found).items()}
                        entries.append(
                            {
                                "setting": setting,
                                "procedure": procedure,
                                "target": target,
                                "metric": name,
                                **values,
                            }
                        )
        systems[system] = {
            **results.descriptions[system],
            "vad_percent": _jsonable(vad_accuracy(results, system)),
            "summaries": entries,
        }
    return {"songs": results.titles, "systems": systems}


def _jsonable(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_jsonable(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
