"""Looking ahead says of no song that it stands unless the manifest proves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.batch import Plan, Source
from htmdsep.fleet import survey as module
from htmdsep.fleet.ledger import open_ledger
from htmdsep.fleet.manifest import Index, Output, Row, parse_row, proof, row_id
from htmdsep.fleet.places import known_stamp
from htmdsep.fleet.standing import Terms, judge
from htmdsep.fleet.survey import LOCAL, STORE, Pace, survey
from htmdsep.options import STEM_NAMES, Existing

SONGS = 9
TERMS = Terms("resume", "o" * 64, "w" * 64)


def row_of(plan: Plan, source: Source) -> Row:
    """Return the row of a song that is done, with what is on the disk now."""
    job = plan.job(source)
    return Row(
        id=row_id(job.names.values()),
        time="2026-01-01T00:00:00.000Z",
        status="done",
        input=source.name,
        below="",
        outputs={
            stem: Output(name, "0" * 64, known_stamp(job.targets[stem]))
            for stem, name in job.names.items()
        },
        options_sha256=TERMS.options_sha256,
        weights_sha256=TERMS.weights_sha256,
        attempt=1,
        input_sha256="0" * 64,
        input_stamp=known_stamp(source.name),
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Songs whose stems are there, and whose rows say so."""
    sources = [Source(str(tmp_path / f"{number}.mp3")) for number in range(SONGS)]
    plan = Plan(sources, str(tmp_path / "out"), "{track}/{stem}.{ext}", STEM_NAMES, "wav")
    for job in plan:
        Path(job.source.name).write_bytes(b"song")
        for target in job.targets.values():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_bytes(b"stem")
    with open_ledger(plan.out, None) as ledger:
        for source in sources:
            ledger.add(row_of(plan, source))
    return plan


@pytest.fixture
def index(plan: Plan) -> Iterator[Index]:
    index = Index([Path(plan.out) / "manifest.jsonl"])
    yield index
    index.close()


def use(monkeypatch: pytest.MonkeyPatch, pace: Pace) -> None:
    """Look ahead in parts of two songs, however few there are."""
    small = replace(pace, workers=2, part=2, fewest=1)
    monkeypatch.setattr(module, "STORE" if pace is STORE else "LOCAL", small)
    monkeypatch.setattr(module, "_pace", lambda _: small)


def standing(plan: Plan, index: Index | None, terms: Terms) -> list[bool]:
    found = list(survey(plan, index, terms))
    assert [source for source, _ in found] == plan.sources
    return [stands for _, stands in found]


def change(plan: Plan, number: int, what: str) -> None:
    job = plan.job(plan.sources[number])
    path = Path(job.source.name if what == "input" else job.targets["accompaniment"])
    if what == "remove":
        path.unlink()
    else:
        os.utime(path, (1, 1))


@pytest.mark.parametrize("pace", [LOCAL, STORE])  # processes, and threads
@pytest.mark.parametrize("what", ["input", "output", "remove"])
def test_what_is_as_recorded_stands_and_nothing_else(
    plan: Plan, index: Index, what: str, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, pace)
    assert standing(plan, index, TERMS) == [True] * SONGS
    change(plan, 4, what)
    assert standing(plan, index, TERMS) == [number != 4 for number in range(SONGS)]
    for other in (replace(TERMS, options_sha256="x"), replace(TERMS, weights_sha256="x")):
        assert not any(standing(plan, index, other))


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "resume", "skip"])
def test_looking_ahead_and_judging_agree(
    plan: Plan, index: Index, existing: Existing, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, STORE)
    for number, what in ((1, "input"), (3, "output"), (5, "remove")):
        change(plan, number, what)
    broken = Source(plan.sources[7].name, problem="no audio file in this folder")
    plan = replace(plan, sources=[*plan.sources[:7], broken, plan.sources[8]])
    for verify in (False, True):
        terms = replace(TERMS, existing=existing, verify=verify)
        known = index if existing == "resume" else None
        for source, stands in survey(plan, known, terms):
            verdict = judge(plan.job(source), known, terms)
            assert not stands or verdict.action == "skip"
            assert not (stands and verify and existing == "resume")


def test_processes_that_are_killed_leave_it_to_the_judge(
    plan: Plan, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, LOCAL)
    monkeypatch.setattr(module, "_end_with_parent", partial(os._exit, 1))
    assert standing(plan, index, TERMS) == [False] * SONGS


def test_a_run_that_ends_early_leaves_no_process(
    plan: Plan, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    import multiprocessing

    use(monkeypatch, LOCAL)
    sources = survey(plan, index, TERMS)
    assert next(sources) == (plan.sources[0], True)
    assert multiprocessing.active_children()
    sources.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@given(st.lists(st.text(), min_size=2, max_size=4), st.integers(0, 3))
def test_the_proof_follows_from_every_stamp(stamps: list[str], place: int) -> None:
    given_proof = proof("options", "weights", stamps)
    assert given_proof == proof("options", "weights", list(stamps)) < 1 << 64
    other = [*stamps]
    other[place % len(stamps)] += "0"
    assert given_proof != proof("options", "weights", other)


def test_rows_with_and_without_a_proof_are_read(plan: Plan, tmp_path: Path) -> None:
    row = row_of(plan, plan.sources[0])
    line = row.line()
    assert parse_row(line) == row
    assert parse_row(line.replace(b'"attempt"', b'"of a later version": [1], "attempt"')) == row
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(line + replace(row, status="started").line())
    index = Index([path])
    assert index.proof(int(row.id, 16)) is None  # as it has been begun again
    assert index.last(row.id) == replace(row, status="started")
    index.close()
