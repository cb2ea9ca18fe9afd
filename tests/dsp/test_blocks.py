from __future__ import annotations

import numpy as np
import pytest
import soxr

from htmdsep.dsp.blocks import resample_blocks
from tests.sounds import tone


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(44_100, 22_050), (22_050, 48_000), (8_000, 22_050)]
)
@pytest.mark.parametrize("frames", [0, 1, 99, 4_096, 10_007])
def test_stream_equals_the_whole(from_rate: int, to_rate: int, frames: int) -> None:
    signal = tone(frames, from_rate, channels=2)
    blocks = [signal[start : start + 1_000] for start in range(0, frames, 1_000)]
    streamed = np.concatenate(
        [np.zeros((0, 2), np.float32), *resample_blocks(blocks, from_rate, to_rate)]
    )
    whole = soxr.resample(signal, from_rate, to_rate) if frames else signal
    assert abs(len(streamed) - frames * to_rate / from_rate) <= 1
    np.testing.assert_array_equal(streamed[: len(whole)], whole[: len(streamed)])


def test_equal_rates_pass_through() -> None:
    block = tone(10, 22_050)
    assert next(resample_blocks([block], 22_050, 22_050)) is block
