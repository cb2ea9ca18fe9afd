"""What is to be done with a song: nothing, as its stems stand; the work; or no more tries."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from htmdsep.batch import storage
from htmdsep.batch.manifest import ManifestRow
from htmdsep.batch.plan import Job, Plan, Source
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.song import Outcome
from htmdsep.errors import HtmdsepError
from htmdsep.files import is_in_work
from htmdsep.options import STANDARD_STREAM

IN_WORK = "another run is at it"
ASKED_AHEAD = 16  # songs; the answers of stores are waited for


def decide_all(plan: Plan, recorder: ManifestRecorder) -> Generator[Job | Outcome, None, None]:
    """Yield the jobs to be done, and the outcomes of all others, in order of the sources.

    Of stores 16 songs are asked for at once.
    """

    def decision(source: Source) -> Job | Outcome:
        if source.problem is not None:
            return _refused(source, source.problem)
        return decide(plan.job(source), recorder)

    if not any(map(storage.is_url, (plan.out, *(source.name for source in plan.sources)))):
        yield from map(decision, plan.sources)
        return
    waiting: deque[Future[Job | Outcome]] = deque()
    pool = ThreadPoolExecutor(ASKED_AHEAD)
    try:
        for source in plan.sources:
            waiting.append(pool.submit(decision, source))
            if len(waiting) == ASKED_AHEAD:
                yield waiting.popleft().result()
        yield from (answer.result() for answer in waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def decide(job: Job, recorder: ManifestRecorder) -> Job | Outcome:
    """Return a job that is to be done, with its attempt, or else the outcome.

    With "refuse" stems that exist are in the way, with "skip" they count as they are, with
    "overwrite" they count for nothing, and with "resume" as far as the manifest proves them:
    input, options and weights are those recorded, and the outputs hold what was written.
    """
    existing, source = recorder.batch.existing, job.source
    if existing == "overwrite":
        return job
    if existing == "resume":
        row = recorder.last(job)
        return job if row is None else _resume(job, row, recorder)
    present = [target for target in job.targets.values() if storage.exists(target)]
    if present and source.name != STANDARD_STREAM and not storage.exists(source.name):
        return job  # which says that there is no such file
    if existing == "skip" and len(present) == len(job.names):
        return Outcome(source, reason=_doubt(source, recorder.last(job)))
    if existing == "refuse" and present:
        return _refused(
            source,
            f"{present[0]} exists already; use --overwrite or --skip-existing, or --resume to go "
            "on with a batch",
        )
    return job


def _refused(source: Source, reason: str) -> Outcome:
    return Outcome(source, error=HtmdsepError(reason))


def _doubt(source: Source, row: ManifestRow | None) -> str:
    """Return why stems that exist may not be this song's; nothing where that is known."""
    if row is None:
        is_known = source.name == STANDARD_STREAM
        return "" if is_known else "its stems exist; no manifest says of which song"
    if row.input == storage.absolute(source.name) or not storage.exists(row.input):
        return ""
    return f"its stems' names are taken by those of {row.input}"


def _resume(job: Job, row: ManifestRow, recorder: ManifestRecorder) -> Job | Outcome:
    if row.status == "started" and is_in_work(map(Path, job.targets.values())):
        return Outcome(job.source, reason=IN_WORK)
    wanted = (recorder.options_of(job.source), recorder.weights_sha256)
    same = (row.options_sha256, row.weights_sha256) == wanted
    verify = recorder.batch.verify
    stamp = _unchanged(job.source.name, row.input_stamp, row.input_sha256, verify)
    if not same or stamp is None:
        return job
    if row.status == "done":
        standing = _standing(job, replace(row, input_stamp=stamp), verify)
        if standing is None:
            return job
        if standing != row and recorder.manifest is not None:  # other times, and the same content
            recorder.manifest.add(standing)
        return Outcome(job.source)
    tries = row.attempt - (row.status == "interrupted")
    if tries > recorder.batch.retries:
        cause = row.error or "the process ended while it was being separated, which may be why"
        return _refused(job.source, f"tried {tries} times, see --retries: {cause}")
    return replace(job, attempt=tries + 1)


def _standing(job: Job, row: ManifestRow, verify: bool) -> ManifestRow | None:
    """Return a row with its outputs' stamps of today, None where one is not as it was written."""
    outputs = {}
    for stem, target in job.targets.items():
        known = row.outputs.get(stem)
        if known is None or known.sha256 is None:
            return None
        stamp = _unchanged(target, known.stamp, known.sha256, verify)
        if stamp is None:
            return None
        outputs[stem] = replace(known, stamp=stamp)
    return replace(row, outputs=outputs)


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
