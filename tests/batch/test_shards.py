"""Shards: the same everywhere, disjoint, complete, balanced; their manifests merge."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.batch import sources as module
from htmdsep.batch.plan import Source
from htmdsep.batch.sources import Shard, parse_shard, take_shard
from htmdsep.errors import PlanError
from tests.batch.songs import Run, counts, done_inputs, is_whole, rows_of, write_songs


@given(
    st.lists(st.floats(0, 1e4), max_size=60),
    st.integers(1, 9),
)
def test_shards_are_disjoint_complete_and_balanced(durations: list[float], count: int) -> None:
    sources = [Source(f"{number}.mp3") for number in range(len(durations))]
    lengths = dict(zip(sources, durations, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_seconds", {s.name: x for s, x in lengths.items()}.__getitem__)
        parts = [take_shard(sources, Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(source.name for part in parts for source in part) == sorted(
        source.name for source in sources
    )
    loads = [sum(lengths[source] for source in part) for part in parts]
    assert max(loads) - min(loads) <= max(durations, default=0) + 0.1


def test_durations_follow_from_sizes_and_endings(tmp_path: Path) -> None:
    sizes = {"0.wav": 5 * 176_400, "song.MP3": 64_000, "song.flac": 106_000, "absent.flac": 0}
    for name, size in sizes.items():
        if size:
            (tmp_path / name).write_bytes(bytes(size))
    found = [module._seconds(str(tmp_path / name)) for name in sizes]
    assert found == pytest.approx([5.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "1/3/4", "-1/3"])
def test_shards_that_cannot_be(text: str) -> None:
    with pytest.raises(PlanError, match="write I/N"):
        parse_shard(text)


def test_shards_cover_a_folder_and_merge(run: Run) -> None:
    write_songs(Path("music"), 5)
    out, arguments = Path("out"), ("music", "-o", "out", "--resume")
    for number in (1, 2, 3):
        assert run(*arguments, "--shard", f"{number}/3").exit_code == 0
    parts = [f"manifest-{number}-of-3.jsonl" for number in (1, 2, 3)]
    assert sorted(name for part in parts for name in done_inputs(out, part)) == [
        f"{number}.wav" for number in range(5)
    ]
    # The shards' rows are known to a run over everything, and to shards cut otherwise.
    for more in ([], ["--shard", "1/2"], ["--shard", "2/2"]):
        result = run(*arguments, *more)
        assert " 0 failed" in result.stderr and "0 done" in result.stderr
    assert run("--merge-manifests", "out").exit_code == 0
    assert [path.name for path in out.glob("*.jsonl")] == ["manifest.jsonl"]
    assert sorted(done_inputs(out)) == [f"{number}.wav" for number in range(5)]
    assert len(rows_of(out)) == 5
    assert counts(run(*arguments)) == "0 done, 5 skipped, 0 failed"
    assert is_whole(out, [str(number) for number in range(5)])


def test_merging_where_there_is_nothing_is_an_error(run: Run) -> None:
    result = run("--merge-manifests", "typo")
    assert result.exit_code == 1 and "there is no manifest.jsonl in" in result.stderr
    assert not Path("typo").exists()


def test_of_two_shards_rows_the_later_counts(run: Run) -> None:
    write_songs(Path("music"), 1)
    arguments, shard = ("music", "-o", "out", "--resume"), ("--shard", "1/1")
    assert run(*arguments, *shard).exit_code == 0
    Path("out/0/vocals.wav").unlink()
    assert run(*arguments).exit_code == 0
    write_songs(Path("music"), 1, seconds=0.4)
    assert run(*arguments, *shard).exit_code == 0
    for more in ((), shard):
        assert counts(run(*arguments, *more)) == "0 done, 1 skipped, 0 failed"
