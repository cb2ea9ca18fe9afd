"""What is said of a batch: every failure under its cause, every odd song among the outliers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.batch.manifest import ManifestRow, OutputRecord, Status
from htmdsep.batch.summary import CAUSES, FEWEST, SHOWN, summarise
from htmdsep.cli.summary import summary_lines
from htmdsep.options import StemName
from tests.batch.songs import Run, write_songs

NAMES = ("7", "a song", "Album [2004]/No 3, a song's name")


def row(number: int, status: Status = "done", **known: Any) -> ManifestRow:
    return ManifestRow(
        id=f"{number:016x}",
        time="2026-01-01T00:00:00.000Z",
        status=status,
        input=f"/music/{number}.mp3",
        below="",
        outputs={},
        options_sha256="",
        weights_sha256="",
        attempt=1,
        **known,
    )


def done(
    number: int, vocals_db: float = -20.0, accompaniment_db: float = -20.0, **known: Any
) -> ManifestRow:
    """Return the row of a song whose stems have these levels (dBFS)."""
    levels = {"vocals": vocals_db, "accompaniment": accompaniment_db}
    result = {
        "levels": {stem: {"peak": 1.0, "rms": 10 ** (db / 20)} for stem, db in levels.items()},
        "vocals_share": known.pop("vocals_share", 0.5),
        "clipped_samples": known.pop("clipped_samples", 0),
        "notes": known.pop("notes", []),
    }
    timed = {"seconds": 10.0, "audio_seconds": 200.0, **known}
    return row(number, result=result, **timed)


def usual(count: int = FEWEST, spread_db: float = 1.0) -> list[ManifestRow]:
    """Return songs whose vocals are about as loud as the accompaniment."""
    return [done(n, vocals_db=-20 + spread_db * math.sin(n)) for n in range(count)]


# Of one cause whatever the song, its size, and the folder it lies in.
CAUSES_OF_FAILURE = {
    "no audio that can be decoded": "no audio that can be decoded",
    "cannot write /mnt/{0}/x.wav: No space left": "cannot write ... No space left",
    "damaged after {0}.5 s": "damaged after N s",
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(CAUSES_OF_FAILURE)), st.integers(0, 10**6), st.booleans()),
        max_size=40,
    )
)
def test_every_failed_song_is_counted_under_its_cause(
    failures: Sequence[tuple[str, int, bool]],
) -> None:
    rows = []
    for number, (error, figure, other) in enumerate(failures):
        rows.append(row(number, "failed", error=error.format(figure)))
        if other:
            rows.append(done(1000 + number))
    report = summarise(rows)
    expected = Counter(CAUSES_OF_FAILURE[error] for error, _, _ in failures)
    assert {cause["error"]: cause["songs"] for cause in report["causes"]} == expected
    assert [cause["songs"] for cause in report["causes"]] == sorted(expected.values(), reverse=True)
    assert report["failed"] == len(failures) == sum(cause["songs"] for cause in report["causes"])
    for cause in report["causes"]:
        named = next(r for r in rows if cause["example"] == f"{r.input}: {r.error}")
        assert named.status == "failed"


@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=5))
def test_names_with_blanks_make_no_causes_of_their_own(names: list[str]) -> None:
    rows = []
    for number, name in enumerate(names):
        outputs: dict[StemName, OutputRecord] = {"vocals": OutputRecord(f"{name}/vocals.wav")}
        target = f"/mnt/out/{name}/.vocals.wav.0123abcd.part"
        failed = row(number, "failed", error=f"cannot write {target}: full (see {name}.mp3)")
        rows.append(replace(failed, input=f"{name}.mp3", outputs=outputs))
    (cause,) = summarise(rows)["causes"]
    assert (cause["songs"], cause["error"]) == (len(names), "cannot write ... full (see ...")


def test_a_short_name_is_not_found_within_words() -> None:
    rows = [
        replace(row(n, "failed", error=f"a.mp3: an audio file of {n} frames"), input="a.mp3")
        for n in range(3)
    ]
    outputs: dict[StemName, OutputRecord] = {"vocals": OutputRecord("a/vocals.wav")}
    rows = [replace(failed, outputs=outputs) for failed in rows]
    (cause,) = summarise(rows)["causes"]
    assert cause["error"] == "... an audio file of N frames"


def test_causes_that_are_not_shown_are_counted_all_the_same() -> None:
    words = [f"cause {chr(ord('a') + n)}" for n in range(CAUSES + 3)]
    rows = [row(n, "failed", error=word) for n, word in enumerate(words)]
    report = summarise(rows)
    assert (len(report["causes"]), report["failed"]) == (CAUSES, CAUSES + 3)
    assert report["other_causes_songs"] == 3
    assert "3  other causes" in shown(report)


def shown(report: dict[str, Any]) -> str:
    return "\n".join(summary_lines(report))


statuses = st.sampled_from(["done", "failed", "started", "interrupted"])


@given(
    st.lists(
        st.tuples(statuses, st.floats(0, 1e5, width=32), st.floats(0, 1e5, width=32)), max_size=60
    )
)
def test_songs_hours_and_rate_add_up(songs: Sequence[tuple[Status, float, float]]) -> None:
    rows = [
        done(n, seconds=work, audio_seconds=audio) if status == "done" else row(n, status)
        for n, (status, work, audio) in enumerate(songs)
    ]
    report = summarise(rows)
    assert report["done"] + report["failed"] + report["unfinished"] == report["songs"] == len(rows)
    audio_hours = sum(audio for status, _, audio in songs if status == "done") / 3600
    work_hours = sum(work for status, work, _ in songs if status == "done") / 3600
    assert report["audio_hours"] == pytest.approx(audio_hours)
    assert report["work_hours"] == pytest.approx(work_hours)
    if work_hours:
        assert report["times_real_time"] == pytest.approx(audio_hours / work_hours)
    else:
        assert report["times_real_time"] is None


@given(st.integers(0, FEWEST - 1), st.sampled_from([-200.0, -80.0, -61.0]))
def test_a_silent_stem_is_named(place: int, db: float) -> None:
    rows = usual()
    rows[place] = done(place, accompaniment_db=db)
    report = summarise(rows)
    assert [song["input"] for song in report["silent_accompaniment"]] == [rows[place].input]
    assert report["silent_accompaniment"][0]["value"] == pytest.approx(db)
    rows[place] = done(place, vocals_db=db, vocals_share=0.0)
    report = summarise(rows)
    assert [song["input"] for song in report["voiceless"]] == [rows[place].input]
    assert not report["silent_accompaniment"]
    # Silence is named as such, not as an odd balance.
    assert not report["balance"]["named"]
    assert rows[place].input in shown(report)


@given(st.integers(0, FEWEST - 1), st.sampled_from([-35.0, -15.0, 15.0, 19.0]))
def test_a_stem_far_from_its_fellows_level_is_named(place: int, off_db: float) -> None:
    rows = usual()
    rows[place] = done(place, vocals_db=-20 + off_db)
    report = summarise(rows)
    assert [song["input"] for song in report["balance"]["named"]] == [rows[place].input]
    assert report["balance"]["named"][0]["value"] == pytest.approx(off_db)
    # Where both stems are as far off, it is the level that is odd.
    rows[place] = done(place, -20 + off_db, -20 + off_db)
    report = summarise(rows)
    assert not report["balance"]["named"]
    assert [song["input"] for song in report["level"]["named"]] == [rows[place].input]
    assert rows[place].input in shown(report)


@given(st.integers(0, FEWEST - 1))
def test_where_all_else_is_alike_any_other_balance_is_far(place: int) -> None:
    rows = usual(spread_db=0.0)
    assert not summarise(rows)["balance"]["named"]
    rows[place] = done(place, vocals_db=0.0)
    assert [song["input"] for song in summarise(rows)["balance"]["named"]] == [rows[place].input]


def test_few_songs_tell_nothing_of_what_is_usual() -> None:
    rows = [*usual(FEWEST - 2), done(99, vocals_db=0.0)]
    assert not summarise(rows)["balance"]["named"]
    assert summarise([*rows, done(100)])["balance"]["named"]


@given(st.lists(st.floats(1, 1e4), min_size=1, max_size=30, unique=True))
def test_the_slowest_are_the_slowest(paces: list[float]) -> None:
    rows = [done(n, seconds=pace, audio_seconds=1.0) for n, pace in enumerate(paces)]
    found = [song["value"] for song in summarise(rows)["slowest"]]
    assert found == pytest.approx(sorted(paces, reverse=True)[:SHOWN])


def test_clipping_and_notes_are_counted() -> None:
    rows = [done(0, clipped_samples=3), done(1, notes=["damaged"]), done(2)]
    report = summarise(rows)
    assert (report["clipped_songs"], report["noted_songs"]) == (1, 1)


def test_rows_that_hold_less_are_no_outliers() -> None:
    """One stem only, or rows that were written by hand."""
    rows = [replace(one, result={}, seconds=None, audio_seconds=None) for one in usual()]
    report = summarise(rows)
    assert (
        report["done"] == FEWEST and not report["balance"]["named"] + report["silent_accompaniment"]
    )
    assert summarise([])["songs"] == 0 and shown(summarise([]))


def test_a_batch_reports_what_became_of_it(run: Run) -> None:
    write_songs(Path("music"), 2, seconds=1.0)
    Path("music/bad.wav").write_text("no music")
    assert run("music", "-o", "out").exit_code == 1
    result = run("--report", "out", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1  # as a song has failed
    assert (report["songs"], report["done"], report["failed"]) == (3, 2, 1)
    assert report["audio_hours"] == pytest.approx(2 / 3600, rel=1e-3)
    (cause,) = report["causes"]
    assert "no audio" in cause["error"] and "bad.wav" in cause["example"]
    table = run("--report", "out").stdout
    assert "3 songs: 2 done, 1 failed, 0 unfinished" in table and "bad.wav" in table
    assert run("--report", "out/manifest.jsonl", "--json").stdout == result.stdout
    Path("music/bad.wav").unlink()
    result = run("--report", "out")
    assert result.exit_code == 0 and "0 failed" in result.stdout
    assert "1 that failed are no longer there" in result.stdout
    result = run("--report", "music")
    assert result.exit_code == 1 and "there is no manifest.jsonl in music" in result.stderr
