from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from htmdsep import HtmdsepError, Separator
from htmdsep.engines.torch_batches import BatchEstimator
from htmdsep.errors import ArgumentError
from htmdsep.networks.htmdnet import HTMDNet, NetworkOutput
from htmdsep.options import RunOptions, StemName
from htmdsep.separation.streaming import SHIFTS_SEMITONES
from tests.sounds import tone
from tests.tiny import Scale, scale

RATES = (8_000, 11_025, 22_050, 44_100, 48_000, 96_000)


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_a_network_that_keeps_everything_keeps_everything(sample_rate: int, channels: int) -> None:
    """The whole pipeline's latency is compensated: vocals lie on the mixture, to the sample."""
    mixture = np.repeat(tone(sample_rate, sample_rate), channels, axis=1)
    vocals, accompaniment = Separator(scale()).separate(mixture, sample_rate)
    inner = slice(sample_rate // 20, -sample_rate // 20)  # the resampler's filter rings at the ends
    assert vocals.shape == mixture.shape
    assert np.abs(vocals - mixture)[inner].max() < 1e-3
    assert np.array_equal(accompaniment, mixture - vocals)


@settings(deadline=None, max_examples=60)
@given(
    frames=st.one_of(
        st.integers(0, 5_000), st.sampled_from([1_535, 1_536, 1_537, 2_047, 2_048, 2_049])
    ),
    sample_rate=st.sampled_from(RATES),
    channels=st.integers(1, 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    shifts=st.sampled_from([0, 1, 3]),
)
def test_as_many_frames_come_out_as_go_in(
    frames: int, sample_rate: int, channels: int, overlap: float, shifts: int
) -> None:
    mixture = tone(frames, sample_rate, channels)
    separator = Separator(scale(0.5), overlap=overlap, shifts=shifts)
    assert separator.separate(mixture, sample_rate).vocals.shape == mixture.shape


@pytest.mark.parametrize("shifts", range(1, len(SHIFTS_SEMITONES) + 1))
def test_shifts_are_the_mean_of_passes_at_other_pitches(
    tiny_network: HTMDNet, rng: np.random.Generator, shifts: int
) -> None:
    rate, heard = 44_100, tiny_network.config.sample_rate
    mixture = 0.1 * rng.standard_normal((rate, 2)).astype(np.float32)
    plain = Separator(tiny_network)
    passes = [plain.separate(mixture, rate).vocals]
    for semitones in SHIFTS_SEMITONES[:shifts]:
        shifted_rate = heard * 2 ** (semitones / 12)  # what is played faster is sampled less often
        vocals = plain.separate(soxr.resample(mixture, rate, shifted_rate), heard).vocals
        passes.append(np.resize(soxr.resample(vocals, shifted_rate, rate), mixture.shape))
    found = Separator(tiny_network, shifts=shifts).separate(mixture, rate).vocals
    inner = slice(100, -100)  # a frame may be missing at the end
    np.testing.assert_allclose(found[inner], np.mean(passes, axis=0)[inner], atol=1e-6)
    assert np.abs(found - passes[0]).max() > 0.01


class Slope(Scale):
    """Lets a segment rise from nothing to all of it."""

    def forward(self, mixture: Tensor) -> NetworkOutput:
        return NetworkOutput(mixture * torch.linspace(0, 1, mixture.shape[-1]), None)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5])
def test_where_segments_overlap_they_fade_into_each_other(overlap: float) -> None:
    """At half a segment's overlap nothing is left of what every segment does by its place."""
    separator = Separator(cast(HTMDNet, Slope()), overlap=overlap)
    vocals = separator.separate(np.ones(10_000, np.float32), 22_050).vocals
    assert np.ptp(vocals) == pytest.approx(1 - 2 * overlap, abs=2e-3)


@pytest.mark.parametrize("shifts", [0, 1])
@pytest.mark.parametrize("block_length", [999, 40_000, 65_536, 1_000_000])
def test_blocks_of_any_length_give_the_same_bytes_as_the_whole(
    any_network: HTMDNet, rng: np.random.Generator, shifts: int, block_length: int
) -> None:
    mixture = (0.1 * rng.standard_normal((150_001, 2))).astype(np.float32)
    separator = Separator(any_network, shifts=shifts)
    whole = separator.separate(mixture, 44_100).vocals
    blocks = (
        mixture[start : start + block_length] for start in range(0, len(mixture), block_length)
    )
    streamed = [stems.vocals for stems in separator.separate_blocks(blocks, 44_100)]
    assert np.array_equal(np.concatenate(streamed), whole)


@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_batches_change_rounding_only(
    tiny_network: HTMDNet, rng: np.random.Generator, batch_size: int
) -> None:
    mixture = (0.1 * rng.standard_normal(22_050)).astype(np.float32)
    single = Separator(tiny_network).separate(mixture, 22_050).vocals
    batched = Separator(tiny_network, batch_size=batch_size).separate(mixture, 22_050).vocals
    np.testing.assert_allclose(batched, single, atol=1e-6)


@pytest.mark.parametrize("shifts", [0, 2])
def test_memory_does_not_grow_with_length(shifts: int) -> None:
    def stream(seconds: int) -> Iterator[np.ndarray]:
        for _ in range(seconds):
            yield np.full((8_000, 2), 0.1, np.float32)

    separator = Separator(scale(), shifts=shifts)

    def peak(seconds: int) -> int:
        tracemalloc.start()
        frames = sum(
            len(stems.vocals) for stems in separator.separate_blocks(stream(seconds), 8_000)
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert frames == seconds * 8_000
        return most

    peak(10)
    assert peak(300) < 1.05 * peak(60)


class ShortOfMemory(Scale):
    """Runs out of memory on batches above a size."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.seen: list[int] = []

    def forward(self, mixture: Tensor) -> NetworkOutput:
        self.seen.append(len(mixture))
        if len(mixture) > self.most:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().forward(mixture)


def same(estimator: BatchEstimator, segments: np.ndarray, notes: list[str]) -> bool:
    """Tell whether the estimates are the segments themselves."""
    found = [estimate.vocals for estimate in estimator.estimates(segments, notes.append)]
    return np.array_equal(np.stack(found), segments)


def test_fp32_is_not_rounded_on_gpus_and_the_process_keeps_its_settings() -> None:
    allowed = []

    class Watched(Scale):
        def forward(self, mixture: Tensor) -> NetworkOutput:
            allowed.append(torch.backends.cudnn.allow_tf32)
            return super().forward(mixture)

    before = torch.backends.cudnn.allow_tf32
    Separator(cast(HTMDNet, Watched()), shifts=3).separate(np.ones(100_000), 44_100)
    assert (allowed, torch.backends.cudnn.allow_tf32) == ([False] * len(allowed), before)
    assert allowed and before


def test_out_of_memory_retreats_to_smaller_batches() -> None:
    network = ShortOfMemory(3)
    estimator = BatchEstimator(cast(HTMDNet, network), "cpu", batch_size=16)
    segments = np.random.default_rng(0).standard_normal((16, 2_048, 1)).astype(np.float32)
    notes: list[str] = []
    assert same(estimator, segments, notes)
    assert network.seen == [16, 8, 4, *[2] * 8]
    assert estimator.batch_size == 2
    assert [note.split(":")[0] for note in notes] == ["out of memory on cpu"] * 3


@pytest.mark.parametrize(
    ("most", "batch_size", "remedy"), [(16, 8, "--batch-size 8"), (1, 1, "a shorter --segment")]
)
def test_out_of_memory_is_met_once_with_channels_too(
    most: int, batch_size: int, remedy: str
) -> None:
    network = ShortOfMemory(most)
    estimator = BatchEstimator(cast(HTMDNet, network), "cpu", batch_size=16)
    segments = np.random.default_rng(0).standard_normal((16, 2_048, 2)).astype(np.float32)
    notes: list[str] = []
    assert same(estimator, segments, notes)
    assert estimator.batch_size == batch_size
    assert f"{remedy} avoids the attempt" in notes.pop()
    network.seen.clear()
    notes.clear()
    assert same(estimator, segments, notes) and not notes
    assert max(network.seen) <= most  # not tried again


def test_out_of_memory_on_one_segment_is_an_error() -> None:
    separator = Separator(cast(HTMDNet, ShortOfMemory(0)))
    with pytest.raises(HtmdsepError, match="one segment of 2048 samples is too large"):
        separator.separate(np.zeros(100, np.float32), 22_050)


def test_an_output_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(HtmdsepError, match="output on cpu is not finite; use --device cpu"):
        Separator(scale(np.nan)).separate(np.ones(100, np.float32), 22_050)


@pytest.mark.parametrize(
    ("mixture", "sample_rate", "message"),
    [
        (np.zeros((2, 3, 4)), 44_100, "must be floats of shape"),
        (np.zeros((2, 44_100)), 44_100, "transpose it if it is"),
        (np.zeros((5, 0)), 44_100, "1 to 8 channels, not 0"),
        (np.zeros(10, np.int16), 44_100, "must be floats of shape"),
        (np.zeros(10), 999, "a whole number from 1000 to 768000 Hz, not 999"),
        (np.zeros(10), np.inf, "a whole number from 1000 to 768000 Hz, not inf"),
        (np.zeros(10), np.array([44_100]), "a whole number"),
        (np.zeros(10), None, "a whole number from 1000 to 768000 Hz, not None"),
        (np.zeros(10), 44_100.5, "sample rate must be"),
        (np.full(10, np.nan), 44_100, "not finite"),
    ],
)
def test_wrong_signals(mixture: np.ndarray, sample_rate: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Separator(scale()).separate(mixture, sample_rate)


@pytest.mark.parametrize("as_blocks", [torch.from_numpy, np.ndarray.tolist, np.asarray])
@pytest.mark.parametrize("rate", [np.array(44_100), np.int16(22_050), torch.tensor(8_000), 48e3])
def test_blocks_and_rates_of_other_types(
    as_blocks: Callable[[np.ndarray], Any], rate: Any, rng: np.random.Generator
) -> None:
    mixture = rng.standard_normal((4_000, 2)).astype(np.float32)
    separator = Separator(scale())
    expected = separator.separate(mixture, int(rate)).vocals
    blocks = (as_blocks(part) for part in np.split(mixture, [1_000, 3_000]))
    vocals = [stems.vocals for stems in separator.separate_blocks(blocks, rate)]
    np.testing.assert_array_equal(np.concatenate(vocals), expected)


def test_a_buffer_may_be_filled_again_for_every_block(rng: np.random.Generator) -> None:
    mixture = rng.standard_normal((9_000, 2)).astype(np.float32)
    buffer = np.empty((1_000, 2), np.float32)

    def blocks() -> Iterator[np.ndarray]:
        for part in np.split(mixture, 9):
            buffer[:] = part
            yield buffer

    separator = Separator(scale())
    stems = list(separator.separate_blocks(blocks(), 44_100))
    vocals, accompaniment = (np.concatenate(parts) for parts in zip(*stems, strict=True))
    np.testing.assert_array_equal(vocals, separator.separate(mixture, 44_100).vocals)
    np.testing.assert_allclose(vocals + accompaniment, mixture, atol=1e-6)


THREAD = """
import sys, threading
import numpy as np
from htmdsep import Separator

separator = Separator(sys.argv[1], engine=sys.argv[2])

def work():
    main.join()
    print(separator.separate(np.zeros((9_000, 2)), 44_100).vocals.shape)

main = threading.main_thread()
threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_thread_may_outlive_the_main_one(tiny_weights: Path, engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREAD, str(tiny_weights), engine], capture_output=True, text=True
    )
    assert done.stdout.strip() == "(9000, 2)", done.stderr


@pytest.fixture
def song(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, rng.uniform(-0.5, 0.5, (4_000, 2)), 44_100)
    return path


@pytest.mark.parametrize("name", ["v.flac", "v.FLAC", "v.wav", "v", "v.1"])
def test_the_ending_decides_on_the_format(song: Path, name: str) -> None:
    separator, path = Separator(scale()), song.with_name(name)
    separator.separate_file(song, {"vocals": path})
    assert soundfile.info(path).format == ("FLAC" if name.lower().endswith("flac") else "WAV")


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ({"vocals": "v.aac"}, {}, "may end in .*, not in .aac"),
        ({"vocals": "v.wav"}, {"file_format": "flac"}, "end their names in .flac"),
        ({"vocals": "v.wav", "accompaniment": "a.flac"}, {}, "cannot all be"),
        ({"vocals": "x.wav", "accompaniment": "./x.wav"}, {}, "both stems would be written to"),
        ({"drums": "d.wav"}, {}, "one or both of vocals, accompaniment, not 'drums'"),
        ({}, {}, "one or both of vocals, accompaniment, not none"),
    ],
)
def test_targets_that_cannot_be(
    song: Path, targets: dict[StemName, str], options: dict[str, Any], message: str
) -> None:
    paths = {stem: song.parent / name for stem, name in targets.items()}
    with pytest.raises(ValueError, match=message):
        Separator(scale()).separate_file(song, paths, options=RunOptions(**options))
    assert list(song.parent.iterdir()) == [song]


def test_a_source_may_be_a_binary_file(song: Path) -> None:
    separator = Separator(scale())
    targets = [song.with_name(name) for name in ("1.wav", "2.wav", "3.wav")]
    with song.open("rb") as file:
        sources: list[Any] = [song, file, io.BytesIO(song.read_bytes())]
        for source, target in zip(sources, targets, strict=True):
            separator.separate_file(source, {"vocals": target})
    assert len({target.read_bytes() for target in targets}) == 1
    for wrong in (io.StringIO("x"), 3):
        with pytest.raises(ArgumentError, match="a source is a path or a binary file, not"):
            separator.separate_file(wrong, {"vocals": targets[0]})  # type: ignore[arg-type]


def test_stems_beyond_full_scale_are_told(song: Path) -> None:
    report = Separator(scale(-2)).separate_file(song, {"vocals": song.with_name("v.wav")})
    assert report.clipped_samples == 0 < report.clipped_stem_samples
    assert any("samples of a stem lie beyond full scale" in note for note in report.notes)


def test_blocks_must_keep_their_channels() -> None:
    blocks = [np.zeros((10, 2), np.float32), np.zeros((10, 1), np.float32)]
    with pytest.raises(HtmdsepError, match=r"a block must be \(frames, 2\), not \(10, 1\)"):
        list(Separator(scale()).separate_blocks(blocks, 44_100))
    with pytest.raises(HtmdsepError, match="must hold floats with full scale at 1, not int16"):
        list(Separator(scale()).separate_blocks([np.zeros((10, 2), np.int16)], 44_100))


def test_segments_are_rounded_up_to_what_the_network_takes(tiny_weights: Path) -> None:
    separator = Separator(tiny_weights, segment_seconds=0.1)
    assert separator._segment_length() == 2_208  # 2205, up to a multiple of 16
    assert separator.weights_name == "tiny"


def test_on_the_cpu_it_does_without_pytorch() -> None:
    script = (
        "import sys; import numpy as np; from htmdsep import Separator; "
        "s = Separator(device='cpu', precision='fp32'); "
        "print(s.separate(np.ones((9000, 2), np.float32), 44100).vocals.shape, "
        "'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(9000, 2) False"
