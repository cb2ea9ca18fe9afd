from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from htmdsep.training.cache import CachedStem
from htmdsep.training.excerpts import make_pool, random_active_start
from htmdsep.training.loading import INLINE_BYTES, as_message, load, moved
from htmdsep.training.mixing import RandomMixes, Sources
from htmdsep.training.shares import INPUT_LEVEL, MixSettings

RATE = 22_050
LENGTH = 8_192


def stem(name: str, hertz: float, seconds: float = 4.0) -> CachedStem:
    time = np.arange(int(seconds * RATE)) / RATE
    return CachedStem(name, np.round(4000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16))


PAIRS = ((stem("songs/a/vocals", 400), stem("songs/a/accompaniment", 90)),)
SOURCES = Sources(
    pairs=PAIRS,
    song_voices=make_pool([PAIRS[0][0]]),
    voices=make_pool([stem("voices/anna_1", 300), stem("voices/bert_1", 200)]),
    accompaniments=make_pool([stem("accompaniment/x", 80), PAIRS[0][1]]),  # type: ignore[arg-type]
)
PLAIN = MixSettings(
    doubled=0,
    choir=0,
    formants=0,
    gaps=0,
    reverb=0,
    second_source=0,
    leads=0,
    voiceless_leads=0,
    bare=0,
    clipped=0,
    coded=0,
    silence=0,
)


def mixes(
    settings: MixSettings, *, batch_size: int = 12, seed: int = 0, rank: int = 0
) -> RandomMixes:
    return RandomMixes(SOURCES, settings, RATE, LENGTH, batch_size, seed, rank)


def test_a_batch_depends_on_seed_step_and_rank_alone() -> None:
    first = mixes(MixSettings()).batch(3)
    again = mixes(MixSettings()).batch(3)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    for odd in (
        mixes(MixSettings()).batch(4),
        mixes(MixSettings(), seed=1).batch(3),
        mixes(MixSettings(), rank=1).batch(3),
    ):
        assert not torch.equal(first[0], odd[0])


def test_batches_are_finite_and_at_the_level_of_inference() -> None:
    settings = replace(MixSettings(), silence=0.0)
    for step in range(6):
        mixture, vocals = mixes(settings).batch(step)
        assert mixture.shape == vocals.shape == (12, 1, LENGTH)
        assert mixture.isfinite().all()
        assert vocals.isfinite().all()
        levels = 10 * mixture.square().mean(dim=(1, 2)).log10()
        assert (levels - INPUT_LEVEL).abs().max() < 5 * settings.input_level_deviation


def test_voiceless_rows_have_no_vocals_and_music_all_the_same() -> None:
    mixture, vocals = mixes(replace(MixSettings(), pairs=0, song_voices=0, voiceless=1.0)).batch(0)
    assert (vocals == 0).all()
    assert (mixture.abs().amax(dim=2) > 0.001).all()


def test_bare_rows_are_vocals_alone() -> None:
    mixture, vocals = mixes(replace(PLAIN, bare=1.0, voiceless=0.0)).batch(0)
    torch.testing.assert_close(mixture, vocals)


@pytest.mark.parametrize("level", [-12.0, 5.0])
def test_levels_are_those_asked_for(level: float) -> None:
    settings = replace(PLAIN, pairs=0.0, voiceless=0.0, level=(level, level))
    mixture, vocals = mixes(settings).batch(1)
    music = mixture - vocals
    found = 10 * torch.log10(vocals.square().mean(dim=2) / music.square().mean(dim=2))
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


def test_pairs_move_together() -> None:
    settings = replace(PLAIN, pairs=1.0, song_voices=0.0, voiceless=0.0)
    mixture, vocals = mixes(settings).batch(2)
    window = torch.hann_window(LENGTH)
    peaks = [
        torch.fft.rfft(signal[:, 0] * window).abs().argmax(dim=1) * RATE / LENGTH
        for signal in (vocals, mixture - vocals)
    ]
    keys = [12 * torch.log2(peak / hertz) for peak, hertz in zip(peaks, (400.0, 90.0), strict=True)]
    assert keys[0].std() > 0.5
    torch.testing.assert_close(keys[0], keys[1], atol=0.6, rtol=0)  # a bin at 90 Hz


def test_a_library_without_songs_or_without_voices_still_mixes() -> None:
    for sources in (
        replace(SOURCES, pairs=(), song_voices=None),
        replace(SOURCES, voices=None),
    ):
        _, vocals = RandomMixes(sources, MixSettings(), RATE, LENGTH, 16, 0).batch(0)
        assert (vocals.abs().amax(dim=2) > 0).float().mean() > 0.4


BUSY = MixSettings(
    doubled=0.6,
    choir=0.6,
    formants=0.6,
    gaps=0.6,
    reverb=0.6,
    second_source=0.6,
    leads=0.6,
    clipped=0.6,
    coded=0.6,
    silence=0.6,
)


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_a_choir_is_of_other_voices(rows: int) -> None:
    settings = replace(PLAIN, choir=1.0, pairs=0.0, voiceless=0.0)
    joined = 0
    for step in range(20):
        choir = mixes(settings, batch_size=rows).draw(step).plan.singing.choir
        assert (choir.rows != choir.others).all()
        joined += len(choir.rows)
    assert joined == 20 * rows * (rows > 1)


class OnOneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where an operation takes or makes a tensor on another kind of device."""

    def __init__(self, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, Tensor):
                assert value.device.type == self.kind, f"{func} meets {value.device.type}"
        self.operations += 1
        return result


@pytest.fixture
def noise_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make noise on meta tensors, too, which have no random generators."""

    def noise(rows: int, length: int, _seed: int, device: torch.device) -> Tensor:
        return torch.empty(rows, length, device=device)

    monkeypatch.setattr("htmdsep.training.augment.rooms.noise", noise)


@pytest.mark.usefixtures("noise_anywhere")
def test_mixing_stays_on_the_drawn_batchs_device_and_never_waits_for_it() -> None:
    """Meta tensors have no values: whatever would read one, or choose by one, raises."""
    batches = mixes(BUSY)
    drawn = moved(batches.draw(0), torch.device("meta"))
    with OnOneDevice("meta") as watched:
        batch = batches.mix(drawn)
    assert [part.shape for part in batch] == [(12, 1, LENGTH)] * 2
    assert [part.device.type for part in batch] == ["meta"] * 2
    assert watched.operations > 100


def test_a_device_that_is_not_the_drawn_batchs_is_noticed() -> None:
    with pytest.raises(AssertionError, match="meets cpu"), OnOneDevice("meta"):
        torch.zeros(3)


@pytest.mark.parametrize("settings", [PLAIN, MixSettings(), BUSY])
def test_what_workers_send_gives_the_same_batch(settings: MixSettings) -> None:
    batches = mixes(settings)
    for step in range(3):
        sent = pickle.loads(pickle.dumps(as_message(batches.draw(step))))
        there = batches.mix(moved(sent, torch.device("cpu")))
        for one, other in zip(there, batches.batch(step), strict=True):
            assert torch.equal(one, other)


def test_mixing_leaves_what_was_drawn_as_it_was() -> None:
    batches = mixes(BUSY)
    drawn = batches.draw(0)
    for one, other in zip(batches.mix(drawn), batches.mix(drawn), strict=True):
        assert torch.equal(one, other)


def test_a_drawn_batch_is_hardly_more_than_its_excerpts() -> None:
    batches = mixes(BUSY)
    drawn = batches.draw(0)
    excerpts = sum(part.nbytes for part in drawn.excerpts)
    mixed = sum(part.nbytes for part in batches.batch(0))
    assert excerpts < 1.2 * mixed  # 16 bits, though 1.7 times as long
    assert sum(leaf.nbytes for leaf in tensors(drawn.plan)) < 0.1 * excerpts


def tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def test_messages_hold_few_tensors() -> None:
    """Each would keep a file open, of which a process may have about a thousand."""
    large = RandomMixes(SOURCES, BUSY, RATE, LENGTH, 64, 0)
    sent = list(tensors(as_message(large.draw(0))))
    assert len(sent) <= 3
    assert all(tensor.nbytes > INLINE_BYTES for tensor in sent)


@pytest.mark.usefixtures("noise_anywhere")
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_draw_what_another_device_mixes(workers: int) -> None:
    device = torch.device("meta")
    stream = list(load(mixes(BUSY), 3, 6, workers, device))
    assert len(stream) == 3
    assert all(part.device == device for batch in stream for part in batch)


def test_on_a_cpu_workers_make_whole_batches() -> None:
    batches = mixes(BUSY)
    for step, batch in enumerate(load(batches, 0, 2, 1, torch.device("cpu"))):
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
    assert pool is not None
    np.testing.assert_allclose(pool.odds, [1 / 6, 3 / 6, 2 / 6], rtol=1e-3)
    assert make_pool([]) is None


def test_excerpts_avoid_silence() -> None:
    samples = np.zeros(10_000, np.int16)
    samples[9000:] = 5000
    quiet = CachedStem("voices/x", samples)
    starts = [random_active_start(np.random.default_rng(seed), quiet, 500) for seed in range(200)]
    sounding = np.mean([start > 8500 for start in starts])
    assert sounding > 0.25  # 0.05 by chance, 0.4 after five attempts


def test_short_stems_start_within_the_excerpt() -> None:
    short = stem("voices/x", 300, 0.1)
    start = random_active_start(np.random.default_rng(0), short, 4000)
    assert 2205 - 4000 <= start <= 0
