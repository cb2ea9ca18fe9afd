"""Write into the manifest how the tries of songs begin and end."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from typing import Any

from htmdsep.batch import STANDARD_STREAM, Job
from htmdsep.fleet import places
from htmdsep.fleet.ledger import Ledger
from htmdsep.fleet.manifest import Output, Row, Status, now, row_id
from htmdsep.fleet.outcome import Outcome, Task, cause
from htmdsep.fleet.standing import Terms
from htmdsep.options import FileOptions, Precision
from htmdsep.stems import FileReport


@dataclass(frozen=True)
class Scribe:
    """Turns tries into rows; without a ledger nothing is written."""

    ledger: Ledger | None
    terms: Terms

    def started(self, task: Task) -> None:
        """Note that a try begins: where no more is heard of it, the process was killed."""
        self._add(task, "started", input_stamp=_stamp(task.job.source.name))

    def interrupted(self, task: Task) -> None:
        """Note that a try was given up for no fault of its own."""
        self._add(task, "interrupted", input_stamp=_stamp(task.job.source.name))

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Note how a try ended."""
        seconds = round(outcome.wall_seconds, 3)
        if outcome.done is None:
            error = None if outcome.error is None else cause(outcome.error)
            stamp = _stamp(task.job.source.name)
            self._add(task, "failed", error=error, seconds=seconds, input_stamp=stamp)
            return
        done = outcome.done
        self._add(
            task,
            "done",
            input_sha256=done.input_sha256,
            input_stamp=done.input_stamp,
            outputs=done.outputs,
            seconds=seconds,
            audio_seconds=round(done.report.seconds, 3),
            result=_result(done.report),
        )

    def refresh(self, row: Row) -> None:
        """Write a row again whose files have other times and the same content."""
        if self.ledger is not None:
            self.ledger.add(row)

    def _add(self, task: Task, status: Status, **known: Any) -> None:
        if self.ledger is None:
            return
        job = task.job
        names = {stem: Output(name) for stem, name in job.names.items()}
        row = {
            "id": row_id(job.names.values()),
            "time": now(),
            "status": status,
            "input": _name(job),
            "below": job.source.below,
            "outputs": names,
            "options_sha256": self.terms.options_sha256,
            "weights_sha256": self.terms.weights_sha256,
            "attempt": task.attempt,
            "host": platform.node(),
        }
        self.ledger.add(Row(**{**row, **known}))


def options_sha256(
    options: FileOptions,
    *,
    segment_seconds: float | None,
    overlap: float,
    precision: Precision,
    shifts: int,
) -> str:
    """Return the hash of all options that the stems' content follows from.

    The device, batch size and number of files at once are none of them: they differ by rounding.
    """
    known = {
        **asdict(options),
        "segment_seconds": segment_seconds,
        "overlap": overlap,
        "precision": precision,
        "stereo": "channels",  # of manifests of before, which stay good
        **({"shifts": shifts} if shifts else {}),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode("ascii")).hexdigest()


def _name(job: Job) -> str:
    name = job.source.name
    return name if name == STANDARD_STREAM else places.absolute(name)


def _stamp(name: str) -> str | None:
    return None if name == STANDARD_STREAM else places.known_stamp(name)


def _result(report: FileReport) -> dict[str, Any]:
    """Return what tells which songs are worth a listen."""
    return {
        "sample_rate": report.sample_rate,
        "channels": report.channels,
        "subtype": report.subtype,
        "mixture_peak": report.mixture_peak,
        "levels": {name: {"peak": s.peak, "rms": s.rms} for name, s in report.stems.items()},
        "vocals_share": round(report.vocals_share, 4),
        "clipped_samples": report.clipped_samples,
        "closure": report.closure,
        "weights": report.weights,
        "notes": report.notes,
    }
