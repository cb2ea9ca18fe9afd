from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from htmdsep.errors import HtmdsepError
from htmdsep.training.augment.draw import INPUT_LEVEL, LABEL, PAIR, STEREO_MIXES, VOICE, MixSettings
from htmdsep.training.batches import RandomMixes, SongSegments
from htmdsep.training.cache import UNIT, CachedStem
from htmdsep.training.places import Sources, active_place, make_pool
from htmdsep.training.processes import load
from tests.training.conftest import RATE, loudest_hertz

LENGTH = 8_192
CPU = torch.device("cpu")


def stem(
    name: str, hertz: float, seconds: float = 4.0, channels: int = 1, turn: float = 0.0
) -> CachedStem:
    """Return a tone; of two channels the second lies a part of a turn later."""
    time = np.arange(int(seconds * RATE)) / RATE
    turns = hertz * time[:, None] - turn * np.arange(channels)
    samples = np.round(4000 * np.sin(2 * np.pi * turns)).astype(np.int16)
    return CachedStem(name, samples)


def sources(channels: int = 1) -> Sources:
    """Return a song, labels, two mono voices and two accompaniments, of which one is mono."""
    song, label = (
        (
            stem(f"{folder}/a/vocals", hertz, channels=channels, turn=0.25),
            stem(f"{folder}/a/accompaniment", 90, channels=channels, turn=0.25),
        )
        for folder, hertz in (("songs", 400), ("labels", 700))
    )
    anna, bert, music = (
        stem(name, hertz, channels=channels)
        for name, hertz in (("voices/anna_1", 300), ("voices/bert_1", 200), ("accompaniment/x", 80))
    )
    pools = map(make_pool, ([song[0]], [anna, bert], [music, song[1]]))
    return Sources([song], [label], *pools)


KINDS = ("pairs", "labels", "song_voices", "voiceless")
NO_SHARES = (*KINDS, "formant_semitones", "input_level", "input_level_deviation")
EFFECTS = [
    field.name
    for field in fields(MixSettings)
    if isinstance(field.default, float) and field.name not in NO_SHARES
]
PLAIN = replace(MixSettings(), **dict.fromkeys(EFFECTS, 0.0))  # type: ignore[arg-type]
BUSY = replace(MixSettings(), **dict.fromkeys(EFFECTS, 0.6))  # type: ignore[arg-type]
BUSY_STEREO = replace(BUSY, channels=2)


def only(settings: MixSettings, kind: str = "voices", **changes: Any) -> MixSettings:
    """Return settings for rows of one kind."""
    return replace(settings, **{name: float(name == kind) for name in KINDS}, **changes)  # type: ignore[arg-type]


def mixes(
    settings: MixSettings, *, batch_size: int = 12, seed: int = 0, rank: int = 0
) -> RandomMixes:
    channels = sources(settings.channels)
    return RandomMixes(channels, settings, RATE, LENGTH, batch_size, seed, rank)


def decibels(ratio: Tensor) -> Tensor:
    return 10 * ratio.log10()


def power(signal: Tensor) -> Tensor:
    return signal.square().mean(dim=(1, 2))


@pytest.mark.parametrize("settings", [PLAIN, MixSettings(), STEREO_MIXES, BUSY, BUSY_STEREO])
def test_a_batch_depends_on_seed_step_and_rank_alone(settings: MixSettings) -> None:
    first, again = mixes(settings).batch(3), mixes(settings).batch(3)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for odd in (
        mixes(settings).batch(4),
        mixes(settings, seed=1).batch(3),
        mixes(settings, rank=1).batch(3),
    ):
        assert not torch.equal(first[0], odd[0])


@pytest.mark.parametrize("settings", [MixSettings(), STEREO_MIXES, BUSY, BUSY_STEREO])
def test_batches_are_finite_and_at_the_level_of_inference(settings: MixSettings) -> None:
    settings = replace(settings, silence=0.0, gaps=0.0)
    for step in range(4):
        mixture, vocals = mixes(settings).batch(step)
        assert mixture.shape == vocals.shape == (12, settings.channels, LENGTH)
        assert mixture.isfinite().all() and vocals.isfinite().all()
        levels = decibels(power(mixture)) - INPUT_LEVEL
        assert levels.abs().max() < 5 * settings.input_level_deviation


def test_what_is_not_asked_for_does_not_happen() -> None:
    """With every share at 0 a row is its vocals and its music, at a level, in mono and stereo."""
    for channels in (1, 2):
        settings = only(PLAIN, "song_voices", channels=channels)
        mixture, vocals = mixes(replace(settings, bare=1.0)).batch(0)
        torch.testing.assert_close(mixture, vocals)
        mixture, vocals = mixes(settings).batch(0)
        assert not torch.allclose(mixture, vocals, atol=0.01)


def test_voiceless_rows_have_no_vocals_and_music_all_the_same() -> None:
    for settings in (MixSettings(), STEREO_MIXES):
        mixture, vocals = mixes(only(settings, "voiceless")).batch(0)
        assert (vocals == 0).all()
        assert (mixture.abs().amax(dim=2) > 0.001).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [-12.0, 5.0])
def test_levels_are_those_asked_for(level: float, channels: int) -> None:
    settings = only(PLAIN, level=(level, level), channels=channels)
    mixture, vocals = mixes(settings).batch(1)
    found = decibels(power(vocals) / power(mixture - vocals))
    torch.testing.assert_close(found, torch.full_like(found, level), atol=0.05, rtol=0)


def test_silence_cuts_mixture_and_vocals_at_one_end() -> None:
    whole = torch.cat(mixes(PLAIN, seed=2).batch(0), dim=1)  # (rows, 2, time)
    cut = torch.cat(mixes(replace(PLAIN, silence=1.0), seed=2).batch(0), dim=1)
    sounding = (cut[:, :1] != 0).cumsum(dim=2) > 0
    sounding &= (cut[:, :1] != 0).flip(2).cumsum(dim=2).flip(2) > 0
    silent = ~sounding  # before the first and after the last sample that sounds
    assert ((cut == whole) | silent).all() and (cut * silent == 0).all()
    share = silent.float().mean(dim=(1, 2))
    assert share.min() > 0 and 0.3 < share.max() < 0.71
    assert 0 < silent[:, 0, 0].sum() < len(cut)  # some begin late, others end early


@pytest.mark.parametrize(("share", "hertz"), [("pairs", 400.0), ("labels", 700.0)])
def test_pairs_move_together(share: str, hertz: float) -> None:
    settings = only(PLAIN, share)
    mixture, vocals = mixes(settings).batch(2)
    keys, below = (
        12 * torch.log2(loudest_hertz(signal) / own)
        for signal, own in ((vocals, hertz), (mixture - vocals, 90.0))
    )
    assert keys.std() > 0.5
    torch.testing.assert_close(keys, below, atol=0.6, rtol=0)  # a bin at 90 Hz
    if share == "labels":  # the tones are as loud as each other
        torch.testing.assert_close(
            decibels(power(vocals) / power(mixture - vocals)), torch.zeros(12), atol=8, rtol=0
        )


def test_labels_have_a_share_where_there_are_any() -> None:
    kinds = mixes(MixSettings(), batch_size=4000).read(0).rows[:, 0]
    assert float((kinds == LABEL).float().mean()) == pytest.approx(0.15, abs=0.03)
    bare = RandomMixes(replace(sources(), labels=[]), MixSettings(), RATE, LENGTH, 4000, 0)
    kinds = bare.read(0).rows[:, 0]
    assert (kinds != LABEL).all()
    for kind, share in ((PAIR, 0.15), (VOICE, 0.57)):
        assert float((kinds == kind).float().mean()) == pytest.approx(share, abs=0.03)


def test_a_library_without_songs_or_without_voices_still_mixes() -> None:
    none = make_pool([])
    for found in (replace(sources(), pairs=[], song_voices=none), replace(sources(), voices=none)):
        _, vocals = RandomMixes(found, MixSettings(), RATE, LENGTH, 16, 0).batch(0)
        assert (vocals.abs().amax(dim=2) > 0).float().mean() > 0.4


def test_whole_mixes_are_played_faster_and_slower() -> None:
    settings = only(PLAIN, "pairs", pair_gain=(0.0, 0.0))
    plain = mixes(settings, batch_size=40).batch(0)
    mixture, vocals = mixes(replace(settings, speeds=1.0), batch_size=40).batch(0)
    assert mixture.shape == plain[0].shape
    sung, played = (
        12 * torch.log2(loudest_hertz(part) / own)
        for part, own in ((vocals, 400.0), (mixture - vocals, 90.0))
    )
    torch.testing.assert_close(sung, played, atol=0.8, rtol=0)
    assert 5 < sung.max() - sung.min() < 14.5  # keys of 4 semitones either way, and speeds of 3
    assert sung.abs().max() > 4.2


def test_stereo_rows_lie_near_the_centre_and_some_are_mono() -> None:
    dry = only(STEREO_MIXES, gaps=0.0, reverb=0.0, side_doubles=0.0)
    mixture, vocals = mixes(dry, batch_size=200).batch(0)
    equal = (mixture[:, 0] == mixture[:, 1]).all(dim=1)
    assert float(equal.float().mean()) == pytest.approx(STEREO_MIXES.dual_mono, abs=0.1)
    assert (vocals[equal, 0] == vocals[equal, 1]).all()
    left, right = vocals[~equal].square().mean(dim=2).T
    pans = decibels(left / right).abs()
    assert pans.max() < 3.1
    assert float((pans > 0.01).float().mean()) == pytest.approx(STEREO_MIXES.panned, abs=0.1)
    music = (mixture - vocals)[~equal]
    side = power(music[:, :1] - music[:, 1:]) / power(music[:, :1] + music[:, 1:])
    assert (side > 1e-6).float().mean() > 0.95  # also the music that is mono at its source
    for wider in (replace(dry, reverb=1.0), replace(dry, side_doubles=1.0)):
        _, vocals = mixes(replace(wider, panned=0.0, dual_mono=0.0)).batch(0)
        assert ((vocals[:, 0] - vocals[:, 1]).abs().amax(dim=1) > 1e-3).all()


@pytest.mark.parametrize(("difference", "mono"), [(0, True), (2, True), (200, False)])
def test_channels_that_hardly_differ_count_as_mono(difference: int, mono: bool) -> None:
    samples = stem("accompaniment/x", 80).samples + np.array([0, difference], np.int16)
    pool = make_pool([CachedStem("accompaniment/x", samples)])
    found = replace(sources(2), accompaniments=pool)
    settings = only(STEREO_MIXES)
    rows = RandomMixes(found, settings, RATE, LENGTH, 8, 0).read(0).rows
    assert (rows[:, 2] == 1).all() and (rows[:, 3] == mono).all()  # voices are mono


def test_true_stereo_keeps_its_image_but_for_the_side() -> None:
    settings = only(PLAIN, "pairs", channels=2)
    mixture, vocals = mixes(settings, batch_size=40).batch(0)
    inside = slice(500, -500)
    for part in (vocals, mixture - vocals):
        left, right = torch.fft.rfft(part[:, :, inside]).unbind(dim=1)
        loudest = left.abs().argmax(dim=1, keepdim=True)
        turn = (right.gather(1, loudest) / left.gather(1, loudest))[:, 0]
        torch.testing.assert_close(turn.abs(), torch.ones(40), atol=0.1, rtol=0)
        torch.testing.assert_close(
            turn.angle().abs(), torch.full((40,), torch.pi / 2), atol=0.1, rtol=0
        )
        assert 8 < int((turn.angle() > 0).sum()) < 32  # channels swapped in half of the rows


FROM_OR_TO_NUMPY = (torch.ops.aten.detach.default, torch.ops.aten.lift_fresh.default)


class OnOneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where an operation takes or makes a tensor on another kind of device.

    Arrays are let through, and copies to it that need not be waited for.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.operations = self.copies = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in FROM_OR_TO_NUMPY:
            return result
        copied = func is torch.ops.aten._to_copy.default and bool(
            (kwargs or {}).get("non_blocking")
        )
        for value in tree_leaves(result if copied else (args, kwargs, result)):
            if isinstance(value, Tensor):
                assert value.device.type == self.kind, f"{func} meets {value.device.type}"
        self.operations += 1
        self.copies += copied
        return result


@pytest.fixture
def noise_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make noise on meta tensors, too, which have no random generators."""

    def noise(*shape: int, seed: int, device: torch.device) -> Tensor:
        assert seed >= 0
        return torch.empty(*shape, device=device)

    monkeypatch.setattr("htmdsep.training.augment.rooms.noise", noise)


@pytest.mark.usefixtures("noise_anywhere")
@pytest.mark.parametrize("settings", [BUSY, BUSY_STEREO])
def test_mixing_stays_on_its_device_and_never_waits_for_it(settings: MixSettings) -> None:
    """Meta tensors have no values: whatever would read one, or choose by one, raises."""
    batches = mixes(settings)
    excerpts = batches.read(0)
    with OnOneDevice("meta") as watched:
        batch = batches.mix(0, excerpts, torch.device("meta"))
    assert [part.shape for part in batch] == [(12, settings.channels, LENGTH)] * 2
    assert [part.device.type for part in batch] == ["meta"] * 2
    assert watched.operations > 100 > watched.copies > 10


@pytest.mark.parametrize("settings", [MixSettings(), STEREO_MIXES])
def test_excerpts_are_four_tensors_hardly_larger_than_the_batch(settings: MixSettings) -> None:
    """Each tensor that a worker sends holds a file open, and a process may have about 1 000."""
    batches = mixes(settings)
    excerpts = batches.read(0)
    assert [type(part) for part in excerpts] == [Tensor] * 4
    assert sum(part.nbytes for part in excerpts) < 1.5 * sum(p.nbytes for p in batches.batch(0))


@pytest.mark.usefixtures("noise_anywhere")
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_read_what_another_device_mixes(workers: int) -> None:
    device = torch.device("meta")
    stream = list(load(mixes(BUSY), 3, 6, workers, device))
    assert len(stream) == 3
    assert all(part.device == device for batch in stream for part in batch)


@pytest.mark.parametrize(
    "batches", [mixes(BUSY_STEREO), SongSegments(sources().pairs, LENGTH, 3, 0)]
)
def test_on_a_cpu_workers_make_whole_batches(batches: RandomMixes | SongSegments) -> None:
    for step, batch in enumerate(load(batches, 2, 4, 1, CPU), 2):
        for one, other in zip(batch, batches.batch(step), strict=True):
            assert torch.equal(one, other)


def test_sources_are_weighed_by_the_root_of_their_duration() -> None:
    pool = make_pool(
        [
            stem("voices/anna_1", 300, 1),
            stem("voices/anna-2", 300, 3),
            stem("voices/bert_1", 200, 1),
        ]
    )
    np.testing.assert_allclose(pool.odds, [1 / 6, 3 / 6, 2 / 6], rtol=1e-3)


def test_places_avoid_silence_and_short_stems_lie_within_the_excerpt() -> None:
    samples = np.zeros((10_000, 1), np.int16)
    samples[9000:] = 5000
    quiet, short = CachedStem("voices/x", samples), stem("voices/x", 300, 0.1)
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    sounding = np.mean([active_place(rng, quiet, 500).start > 8500 for rng in rngs])
    assert sounding > 0.25  # 0.05 by chance, 0.4 after five attempts
    starts = [active_place(rng, short, 4000).start for rng in rngs]
    assert 2205 - 4000 <= min(starts) < 0 and max(starts) <= 0


def numbered(name: str, frames: int, first: int) -> CachedStem:
    """Return a stem whose segments of 100 samples each hold one value of their own."""
    samples = (first + np.arange(frames) // 100).astype(np.int16) * 10
    return CachedStem(name, samples[:, None])


SONGS = [
    (numbered("v", frames, first), CachedStem("a", np.zeros((frames, 1), np.int16)))
    for frames, first in ((1050, 1), (760, 101))
]


def values(batches: SongSegments, step: int) -> list[int]:
    mixture, vocals = batches.batch(step)
    assert mixture.shape == vocals.shape == (batches.batch_size, 1, 100)
    assert (mixture == vocals).all()
    return [round(float(row[0, 0]) / UNIT / 10) for row in vocals]


def test_every_epoch_visits_every_segment_once_in_another_order() -> None:
    batches = SongSegments(SONGS, 100, 4, seed=0)
    assert batches.steps_per_epoch == 4
    epochs = [
        [value for step in range(4) for value in values(batches, 4 * epoch + step)]
        for epoch in range(2)
    ]
    known = {*range(1, 11), *range(101, 108)}
    for epoch in epochs:
        assert len(set(epoch)) == 16
        assert set(epoch) <= known
    assert epochs[0] != epochs[1]


def test_processes_share_an_epoch() -> None:
    ranks = [SongSegments(SONGS, 100, 2, 0, rank, 2) for rank in (0, 1)]
    alone = SongSegments(SONGS, 100, 4, 0)
    for step in range(4):
        assert [v for batches in ranks for v in values(batches, step)] == values(alone, step)


def test_too_few_segments_are_an_error() -> None:
    with pytest.raises(HtmdsepError, match="17 segments of 100 samples, too few"):
        SongSegments(SONGS, 100, 18, 0)
