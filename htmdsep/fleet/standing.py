"""What is to be done with a song: nothing, as its stems stand; the work; or no more tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from htmdsep.batch import STANDARD_STREAM, Job
from htmdsep.errors import HtmdsepError
from htmdsep.fleet import places
from htmdsep.fleet.manifest import Index, Row, proof, row_id
from htmdsep.options import DEFAULT_RETRIES, Existing


@dataclass(frozen=True)
class Terms:
    """What a song's stems depend on besides the song, and when they count as done."""

    existing: Existing
    options_sha256: str
    weights_sha256: str
    retries: int = DEFAULT_RETRIES
    verify: bool = False  # read every byte again, even where sizes and times are as recorded


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a job."""

    action: Literal["do", "skip", "refuse"]
    attempt: int = 1  # of "do": how often it has been tried without result, this time included
    reason: str = ""  # of "refuse"
    crashed: bool = False  # of "do": whether a process ended while it worked on this
    fresh: Row | None = None  # of "skip": the row to add, where only times have changed


_DO, SKIP = Verdict("do"), Verdict("skip")  # one of each, for a million songs


def judge(job: Job, index: Index | None, terms: Terms) -> Verdict:
    """Decide on a job; `index` is that of the manifest, if one is kept.

    With "refuse" stems that exist are in the way, with "skip" they count as they are, with
    "overwrite" they count for nothing, and with "resume" as far as the manifest proves them:
    input, options and weights are those recorded, and the outputs hold what was written.
    """
    if job.source.problem is not None:
        return Verdict("refuse", reason=job.source.problem)
    if terms.existing == "overwrite" or (terms.existing == "resume" and index is None):
        return _DO
    if terms.existing == "resume":
        assert index is not None
        identity = row_id(job.names.values())
        known = None if terms.verify else index.proof(int(identity, 16))
        if known is not None and known == proof_of(job, terms):
            return SKIP
        row = index.last(identity)
        return _DO if row is None else _resume(job, row, terms)
    present = [target for target in job.targets.values() if places.exists(target)]
    if terms.existing == "skip" and len(present) == len(job.names):
        return SKIP
    if terms.existing == "refuse" and present:
        return Verdict(
            "refuse",
            reason=f"{present[0]} exists already; use --overwrite or --skip-existing, or --resume "
            "to go on with a batch",
        )
    return _DO


def proof_of(job: Job, terms: Terms) -> int | None:
    """Return the proof that a row holds if it was written of what is there now."""
    stamps = []
    outputs = (places.join(job.out, name) for name in sorted(job.names.values()))
    for name in (job.source.name, *outputs):
        stamp = places.known_stamp(name)
        if stamp is None:
            return None
        stamps.append(stamp)
    return proof(terms.options_sha256, terms.weights_sha256, stamps)


def _resume(job: Job, row: Row, terms: Terms) -> Verdict:
    crashed = row.status == "started"
    same = (row.options_sha256, row.weights_sha256) == (terms.options_sha256, terms.weights_sha256)
    stamp = _unchanged(job.source.name, row.input_stamp, row.input_sha256, terms.verify)
    if not same or stamp is None:
        return Verdict("do", crashed=crashed)
    if row.status == "done":
        return _stand(job, row, stamp, terms)
    tries = row.attempt - (row.status == "interrupted")
    if tries > terms.retries:
        cause = row.error or "the process ended while it was being separated, which may be why"
        return Verdict(
            "refuse", reason=f"tried {tries} times, see --retries: {cause}", attempt=tries
        )
    return Verdict("do", tries + 1, crashed=crashed)


def _stand(job: Job, row: Row, input_stamp: str, terms: Terms) -> Verdict:
    outputs = {}
    for stem, target in job.targets.items():
        known = row.outputs.get(stem)
        if known is None or known.sha256 is None:
            return Verdict("do")
        stamp = _unchanged(target, known.stamp, known.sha256, terms.verify)
        if stamp is None:
            return Verdict("do")
        outputs[stem] = replace(known, stamp=stamp)
    fresh = replace(row, input_stamp=input_stamp, outputs=outputs)
    return Verdict("skip", fresh=None if fresh == row else fresh)


def _unchanged(name: str, stamp: str | None, sha256: str | None, verify: bool) -> str | None:
    """Return a file's stamp if it holds what it held; None if it does not, or that is unknown."""
    if name == STANDARD_STREAM:
        return None
    try:
        found = places.stamp(name)
        if found is None or (found == stamp and not verify):
            return found
        if sha256 is None or places.size_of(found) != places.size_of(stamp):
            return None
        return found if places.sha256(name) == sha256 else None
    except (OSError, HtmdsepError):
        return None  # the work itself will say what is wrong
