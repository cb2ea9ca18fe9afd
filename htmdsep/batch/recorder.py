"""What a batch writes into its manifest, and reads there, as its songs begin and end."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import Any

from htmdsep.batch import storage
from htmdsep.batch.manifest import ManifestRow, OutputRecord, Status, now, row_id
from htmdsep.batch.manifest_file import Manifest
from htmdsep.batch.plan import Job, Source
from htmdsep.batch.song import Outcome, error_line, is_songs_fault
from htmdsep.options import STANDARD_STREAM, BatchOptions
from htmdsep.separation.report import FileReport


@dataclass(frozen=True)
class ManifestRecorder:
    """Turns tries into rows, with what stems follow from; without a manifest none are there."""

    manifest: Manifest | None
    batch: BatchOptions
    options_sha256: str
    weights_sha256: str

    def last(self, job: Job) -> ManifestRow | None:
        """Return the last row of a job's song."""
        return None if self.manifest is None else self.manifest.last(row_id(job.names.values()))

    def options_of(self, source: Source) -> str:
        """Return the hash of the options of a source's stems; where it is a track, of that, too."""
        if source.track is None:
            return self.options_sha256
        known = json.dumps([self.options_sha256, source.track]).encode("ascii")
        return hashlib.sha256(known).hexdigest()

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Note how a try ended."""
        seconds, report = round(outcome.wall_seconds, 3), outcome.report
        if report is None:
            error = None if outcome.error is None else error_line(outcome.error)
            counted = job.attempt - (not is_songs_fault(outcome.error))
            self.note(job, "failed", error=error, seconds=seconds, attempt=counted)
            return
        self.note(
            job,
            "done",
            input_sha256=outcome.input_sha256,
            input_stamp=outcome.input_stamp,
            outputs=outcome.outputs,
            seconds=seconds,
            audio_seconds=round(report.seconds, 3),
            result=_result(report),
        )

    def note(self, job: Job, status: Status, **known: Any) -> None:
        """Note how a try stands, with what is known of it besides."""
        if self.manifest is None:
            return
        name = job.source.name
        if "input_stamp" not in known and name != STANDARD_STREAM:
            known["input_stamp"] = storage.known_stamp(name)
        row = {
            "id": row_id(job.names.values()),
            "time": now(),
            "status": status,
            "input": name if name == STANDARD_STREAM else storage.absolute(name),
            "below": job.source.below,
            "outputs": {stem: OutputRecord(name) for stem, name in job.names.items()},
            "options_sha256": self.options_of(job.source),
            "weights_sha256": self.weights_sha256,
            "attempt": job.attempt,
            "host": platform.node(),
            "track": job.source.track,
        }
        self.manifest.add(ManifestRow(**{**row, **known}))


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
        "clipped_stem_samples": report.clipped_stem_samples,
        "closure": report.closure,
        "weights": report.weights,
        "notes": report.notes,
    }
