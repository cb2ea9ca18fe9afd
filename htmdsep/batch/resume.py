"""What is to be done with a song: nothing, as its stems stand; the work; or no more tries."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from htmdsep.batch import storage
from htmdsep.batch.manifest import ManifestRow, row_id
from htmdsep.batch.plan import Job, Plan, Source
from htmdsep.errors import HtmdsepError
from htmdsep.files import is_in_work
from htmdsep.options import DEFAULT_RETRIES, STANDARD_STREAM, Existing

LastRow = Callable[[str], ManifestRow | None]  # of a song by its id
ASKED_AHEAD = 16  # songs; the answers of stores are waited for


@dataclass(frozen=True)
class ResumeRules:
    """What a song's stems depend on besides the song, and when they count as done."""

    existing: Existing
    options_sha256: str
    weights_sha256: str
    retries: int = DEFAULT_RETRIES
    verify: bool = False  # read every byte again, even where sizes and times are as recorded

    def options_of(self, source: Source) -> str:
        """Return the hash of the options of a source's stems; where it is a track, of that, too."""
        if source.track is None:
            return self.options_sha256
        known = json.dumps([self.options_sha256, source.track]).encode("ascii")
        return hashlib.sha256(known).hexdigest()


@dataclass(frozen=True)
class Decision:
    """What is to be done with a job."""

    action: Literal["separate", "skip", "refuse"]
    attempt: int = 1  # how often it has been tried without result, this time included
    reason: str = ""  # of "refuse", and of "skip" where its stems do not stand
    fresh: ManifestRow | None = None  # of "skip": the row to add, where only times have changed


_SEPARATE, _SKIP = Decision("separate"), Decision("skip")  # one of each, for a million songs


def decide_all(
    plan: Plan, last_row: LastRow | None, rules: ResumeRules
) -> Iterator[tuple[Source, Decision]]:
    """Yield every source with its decision, in order; of stores 16 are asked for at once."""

    def decision(source: Source) -> Decision:
        if source.problem is not None:
            return Decision("refuse", reason=source.problem)
        return decide(plan.job(source), last_row, rules)

    if not any(map(storage.is_url, (plan.out, *(source.name for source in plan.sources)))):
        yield from ((source, decision(source)) for source in plan.sources)
        return
    waiting: deque[tuple[Source, Future[Decision]]] = deque()
    pool = ThreadPoolExecutor(ASKED_AHEAD)
    try:
        for source in plan.sources:
            waiting.append((source, pool.submit(decision, source)))
            if len(waiting) == ASKED_AHEAD:
                asked, answer = waiting.popleft()
                yield asked, answer.result()
        for asked, answer in waiting:
            yield asked, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)


def decide(job: Job, last_row: LastRow | None, rules: ResumeRules) -> Decision:
    """Decide on a job; `last_row` looks into the manifest, if one is kept.

    With "refuse" stems that exist are in the way, with "skip" they count as they are, with
    "overwrite" they count for nothing, and with "resume" as far as the manifest proves them:
    input, options and weights are those recorded, and the outputs hold what was written.
    """
    if rules.existing == "overwrite":
        return _SEPARATE
    if rules.existing == "resume":
        row = last_row(row_id(job.names.values())) if last_row is not None else None
        return _SEPARATE if row is None else _resume(job, row, rules)
    present = [target for target in job.targets.values() if storage.exists(target)]
    if present and job.source.name != STANDARD_STREAM and not storage.exists(job.source.name):
        return _SEPARATE  # which says that there is no such file
    if rules.existing == "skip" and len(present) == len(job.names):
        row = last_row(row_id(job.names.values())) if last_row is not None else None
        name = storage.absolute(job.source.name)
        if row is None and job.source.name != STANDARD_STREAM:
            return Decision("skip", reason="its stems exist; no manifest says of which song")
        if row is None or row.input == name or not storage.exists(row.input):
            return _SKIP
        return Decision("skip", reason=f"its stems' names are taken by those of {row.input}")
    if rules.existing == "refuse" and present:
        return Decision(
            "refuse",
            reason=f"{present[0]} exists already; use --overwrite or --skip-existing, or --resume "
            "to go on with a batch",
        )
    return _SEPARATE


def _resume(job: Job, row: ManifestRow, rules: ResumeRules) -> Decision:
    if row.status == "started" and is_in_work(map(Path, job.targets.values())):
        return Decision("skip", reason="another run is at it")
    wanted = (rules.options_of(job.source), rules.weights_sha256)
    same = (row.options_sha256, row.weights_sha256) == wanted
    stamp = _unchanged(job.source.name, row.input_stamp, row.input_sha256, rules.verify)
    if not same or stamp is None:
        return _SEPARATE
    if row.status == "done":
        return _check_outputs(job, row, stamp, rules)
    tries = row.attempt - (row.status == "interrupted")
    if tries > rules.retries:
        cause = row.error or "the process ended while it was being separated, which may be why"
        reason = f"tried {tries} times, see --retries: {cause}"
        return Decision("refuse", attempt=tries, reason=reason)
    return Decision("separate", tries + 1)


def _check_outputs(job: Job, row: ManifestRow, input_stamp: str, rules: ResumeRules) -> Decision:
    outputs = {}
    for stem, target in job.targets.items():
        known = row.outputs.get(stem)
        if known is None or known.sha256 is None:
            return _SEPARATE
        stamp = _unchanged(target, known.stamp, known.sha256, rules.verify)
        if stamp is None:
            return _SEPARATE
        outputs[stem] = known if stamp == known.stamp else replace(known, stamp=stamp)
    if input_stamp == row.input_stamp and outputs == row.outputs:
        return _SKIP
    return Decision("skip", fresh=replace(row, input_stamp=input_stamp, outputs=outputs))


def _unchanged(name: str, stamp: str | None, sha256: str | None, verify: bool) -> str | None:
    """Return a file's stamp if it holds what it held; None if it does not, or that is unknown."""
    if name == STANDARD_STREAM:
        return None
    try:
        found = storage.stamp(name)
        if found is None or (found == stamp and not verify):
            return found
        if sha256 is None or storage.size_of(found) != storage.size_of(stamp):
            return None
        return found if storage.hash_content(name) == sha256 else None
    except (OSError, HtmdsepError):
        return None  # the work itself will say what is wrong
