from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.dsp.blocks import equal_blocks
from htmdsep.dsp.overlap_add import cut_segments, fade_weights, overlap_add


def blocks_of(signal: np.ndarray, block_length: int) -> Iterator[np.ndarray]:
    for start in range(0, len(signal), block_length):
        yield signal[start : start + block_length]


@given(
    frames=st.integers(0, 500),
    channels=st.integers(1, 3),
    segment_length=st.integers(1, 64),
    hop_share=st.floats(0.01, 1),
    block_length=st.integers(1, 200),
)
def test_segments_that_are_not_changed_add_up_to_the_stream(
    frames: int, channels: int, segment_length: int, hop_share: float, block_length: int
) -> None:
    signal = np.random.default_rng(frames).standard_normal((frames, channels)).astype(np.float32)
    hop_length = max(1, round(hop_share * segment_length))
    segments = list(cut_segments(blocks_of(signal, block_length), segment_length, hop_length))
    assert all(segment.samples.shape == (segment_length, channels) for segment in segments)
    joined = np.concatenate([signal[:0], *overlap_add(segments, segment_length, hop_length)])
    assert joined.shape == signal.shape
    np.testing.assert_allclose(joined, signal, atol=2e-6)


@pytest.mark.parametrize("frames", [1, 23, 24, 25, 31, 32, 33, 55, 56, 57])
def test_number_of_segments_is_the_least_that_covers_the_stream(frames: int) -> None:
    segments = list(cut_segments([np.ones((frames, 1), np.float32)], 32, 24))
    assert len(segments) == max(1, -(-(frames - 8) // 24))
    assert segments[-1].valid == min(frames, 32)
    assert sum(segment.advance for segment in segments) + segments[-1].valid == frames


@given(
    frames=st.integers(1, 500),
    segment_length=st.integers(1, 64),
    hop_share=st.floats(0.01, 1),
    block_length=st.integers(1, 200),
)
def test_no_segment_holds_zeros_unless_the_stream_is_shorter(
    frames: int, segment_length: int, hop_share: float, block_length: int
) -> None:
    signal = np.arange(1, frames + 1, dtype=np.float32)[:, None]
    hop_length = max(1, round(hop_share * segment_length))
    segments = list(cut_segments(blocks_of(signal, block_length), segment_length, hop_length))
    start = 0
    for segment in segments:
        start += segment.advance
        assert 0 < segment.advance <= hop_length or start == 0
        inside = signal[start : start + segment_length]
        assert np.array_equal(segment.samples[: segment.valid], inside)
        assert segment.valid == min(frames, segment_length)


@given(lengths=st.lists(st.integers(0, 50), max_size=20), block_length=st.integers(1, 40))
def test_equal_blocks_keep_the_stream(lengths: list[int], block_length: int) -> None:
    signal = np.arange(sum(lengths), dtype=np.float32)[:, None]
    pieces = np.split(signal, np.cumsum(lengths)[:-1]) if lengths else []
    blocks = list(equal_blocks(pieces, block_length))
    assert np.array_equal(np.concatenate([signal[:0], *blocks]), signal)
    assert all(len(block) == block_length for block in blocks[:-1])


@pytest.mark.parametrize(("segment_length", "hop_length"), [(8, 4), (8, 6), (8, 8), (8, 1), (9, 4)])
def test_weights_fade_over_the_overlap_and_never_vanish(
    segment_length: int, hop_length: int
) -> None:
    weights = fade_weights(segment_length, hop_length)
    assert len(weights) == segment_length
    assert weights.min() > 0
    assert np.array_equal(weights, weights[::-1])
    overlap_length = segment_length - hop_length
    assert (weights[overlap_length : segment_length - overlap_length] == 1).all()
