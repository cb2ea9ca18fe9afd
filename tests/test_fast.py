"""The fast network gives the eager network's results, whatever the config and the length."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor, nn

from htmdsep.batches import network_tensors
from htmdsep.catalogue import bundled_folder
from htmdsep.config import NetworkConfig
from htmdsep.errors import HtmdsepError
from htmdsep.fast import masking, workers
from htmdsep.fast.network import FastNetwork
from htmdsep.fast.numpy_ops import NumpyOps
from htmdsep.fast.workers import ONE_BLAS_THREAD, thread_count
from htmdsep.inference import RowEstimator
from htmdsep.model import ConvTasNetConfig, HTMDNet, HTMDNetConfig, build_network
from htmdsep.options import LIBRARIES, Library, Precision
from htmdsep.weights_file import load_weights
from tests.networks import TINY

AGREEMENT_DB = 100.0
CONVTASNET = ConvTasNetConfig(
    segment_length=2048, encoder_channels=8, bottleneck_channels=4, block_channels=8, blocks=3
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def agreement_db(expected: Tensor, found: Tensor) -> float:
    """Return the power of the expected signal over that of the difference."""
    error = (expected.double() - found.double()).square().sum()
    return float(10 * torch.log10(expected.double().square().sum() / error))


def random_network(config: NetworkConfig, seed: int) -> HTMDNet:
    """Return a network whose weights and norms are all random; some norms scale by 0 or less."""
    torch.manual_seed(seed)
    network = build_network(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            with torch.no_grad():
                module.weight[:2] = torch.tensor([0.0, -1.0])
    return network  # type: ignore[return-value]


def fast_network(
    network: HTMDNet, precision: Precision = "fp32", library: Library = "numpy"
) -> Callable[[Tensor], Tensor]:
    """Return the fast form of a network, from tensors to tensors."""
    fast = FastNetwork(network.config, network_tensors(network), precision, library)
    return lambda mixture: torch.from_numpy(fast(mixture.numpy()))


@torch.no_grad()
def eager(network: HTMDNet, mixture: Tensor) -> Tensor:
    estimate: Tensor = network(mixture[None, None]).estimate[0, 0]
    return estimate


CONFIGS = st.builds(
    lambda kernel, dilations, widths, levels, lstm, gates, kernels, repeats: HTMDNetConfig(
        segment_length=kernel[1] << levels,
        encoder_channels=widths[0],
        encoder_kernel=kernel[0],
        encoder_stride=kernel[1],
        bottleneck_channels=widths[1],
        block_channels=widths[2],
        block_kernel=kernels[0],
        blocks=dilations,
        repeats=repeats,
        denoiser_levels=levels,
        denoiser_channels=widths[3],
        first_kernel=kernels[1],
        down_kernel=kernels[2],
        up_kernel=kernels[3],
        lstm_size=5,
        lstm_layers=1 + levels % 2,
        activation=lstm,
        recurrent_activation=gates,
    ),
    st.sampled_from([(16, 8), (32, 16), (20, 10), (24, 10), (8, 8), (128, 32), (256, 64)]),
    st.integers(1, 6),
    st.tuples(st.integers(2, 9), st.integers(2, 6), st.integers(2, 9), st.integers(1, 5)),
    st.integers(1, 5),
    st.sampled_from(["tanh", "linear"]),
    st.sampled_from(["sigmoid", "hard_sigmoid"]),
    st.tuples(*[st.sampled_from([1, 3, 5, 7, 15])] * 4),
    st.integers(1, 2),
)


@settings(deadline=None, max_examples=60)
@given(
    config=CONFIGS,
    multiples=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    library=st.sampled_from(LIBRARIES),
)
def test_any_network_and_length(
    config: HTMDNetConfig, multiples: int, seed: int, library: Library
) -> None:
    network = random_network(config, seed)
    mixture = torch.randn(multiples * config.length_multiple)
    # Random networks of depth amplify rounding, the eager one's as well: so both in comparison
    # with what the eager one gives in double precision.
    exact = eager(network.double(), mixture.double())
    network.float()
    found = fast_network(network, library=library)(mixture)
    assert found.shape == mixture.shape
    limit = min(AGREEMENT_DB, agreement_db(exact, eager(network, mixture)) - 10)
    assert agreement_db(exact, found) >= limit


@pytest.fixture(scope="module")
def bundled() -> HTMDNet:
    network, _ = load_weights(bundled_folder() / "htmdnet.safetensors")
    assert isinstance(network, HTMDNet)
    return network


@settings(deadline=None, max_examples=12)
@given(
    multiples=st.integers(1, 8),
    channels=st.integers(1, 3),
    loudness=st.integers(-20, 0),
    library=st.sampled_from(LIBRARIES),
)
def test_bundled_weights(
    bundled: HTMDNet, multiples: int, channels: int, loudness: int, library: Library
) -> None:
    length = multiples * bundled.config.length_multiple
    segment = 10 ** (loudness / 20) * torch.randn(length, channels).clamp(-1, 1)
    fast = FastNetwork(bundled.config, network_tensors(bundled), library=library)
    (found,) = RowEstimator(fast).estimates([segment.numpy()])
    for channel in range(channels):
        expected = eager(bundled, segment[:, channel])
        assert agreement_db(expected, torch.from_numpy(found[:, channel])) >= AGREEMENT_DB


def test_of_quiet_signals_it_is_as_near_the_truth_as_the_eager_network(bundled: HTMDNet) -> None:
    """Next to the biases a quiet signal drowns in rounding, in either network."""
    mixture = 1e-3 * torch.randn(4_096)
    exact = eager(deepcopy(bundled).double(), mixture.double())
    found = fast_network(bundled)(mixture)
    # Which is the nearer depends on the processor; measured: -0.9 to +1 dB and more.
    assert agreement_db(exact, found) > agreement_db(exact, eager(bundled, mixture)) - 3


@pytest.mark.parametrize(("chunk", "tile"), [(64, 48), (100, 48), (2_048, 48), (64, 100)])
@pytest.mark.parametrize("config", [TINY, replace(TINY, blocks=6), CONVTASNET])
def test_chunks_and_tiles_shorter_than_the_dilation(
    config: NetworkConfig, chunk: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(config, 0)
    frame_bytes = 4 * network.config.block_channels
    monkeypatch.setattr(masking, "CHUNK_BYTES", chunk * frame_bytes)
    monkeypatch.setattr(NumpyOps, "tile_bytes", tile * frame_bytes)
    mixture = torch.randn(2_048)
    assert agreement_db(eager(network, mixture), fast_network(network)(mixture)) >= AGREEMENT_DB


def test_buffers_remember_nothing(tiny_network: HTMDNet) -> None:
    """What a network gives depends on neither the waveforms before nor their lengths."""
    fast = fast_network(tiny_network)
    mixtures = [torch.randn(length) for length in (2_048, 512, 2_048, 4_096)]
    fresh = [fast_network(tiny_network)(mixture) for mixture in mixtures]
    for mixture, expected in zip(mixtures + mixtures[::-1], fresh + fresh[::-1], strict=True):
        assert torch.equal(fast(mixture), expected)


def test_threads_share_a_network(tiny_network: HTMDNet) -> None:
    fast = fast_network(tiny_network)
    mixtures = [torch.randn(512 * (1 + index % 3)) for index in range(40)]
    expected = [fast(mixture) for mixture in mixtures]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(fast, mixtures), expected, strict=True):
            assert torch.equal(found, alone)


def test_a_fast_network_keeps_the_weights_it_was_made_with(tiny_network: HTMDNet) -> None:
    mixture = torch.randn(512)
    fast = fast_network(tiny_network)
    before = fast(mixture)
    for parameter in tiny_network.parameters():
        parameter.data.mul_(2)
    assert torch.equal(fast(mixture), before)


def test_low_precision_is_close(tiny_network: HTMDNet) -> None:
    mixture = torch.randn(2_048)
    found = fast_network(tiny_network, "bf16", "torch")(mixture)
    assert found.dtype == torch.float32
    assert 20 < agreement_db(eager(tiny_network, mixture), found) < 80


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_segments_come_back_in_order_and_not_all_are_taken_at_once(
    batch_size: int | None,
) -> None:
    taken = []

    def segments() -> Iterator[np.ndarray]:
        for number in range(50):
            taken.append(number)
            yield np.full((8, 2), number, np.float32)

    estimator = RowEstimator(lambda row: row / 2, batch_size)
    most = batch_size or 1 + thread_count()
    for number, estimate in enumerate(estimator.estimates(segments())):
        assert (estimate == number / 2).all()
        assert len(taken) <= min(50, number + most)


def test_what_fails_in_a_thread_is_raised_to_the_caller() -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        list(RowEstimator(fail).estimates([np.zeros((8, 1), np.float32)]))


def test_workers_have_one_thread_each_and_leave_the_others_theirs() -> None:
    def threads_inside(_: np.ndarray) -> np.ndarray:
        return np.array([torch.get_num_threads(), blas_threads()])

    before = torch.get_num_threads(), blas_threads()
    torch.set_num_threads(3)
    try:
        estimator = RowEstimator(threads_inside, threads=2)
        inside = np.concatenate(list(estimator.estimates([np.zeros((1, 3), np.float32)] * 4)))
        with ThreadPoolExecutor(1) as pool:
            later = pool.submit(torch.get_num_threads).result()
        assert (torch.get_num_threads(), later) == (3, 3)
        assert (inside == 1).all()
    finally:
        torch.set_num_threads(before[0])
    assert blas_threads() == before[1]


def blas_threads() -> int:
    """Return the largest number of threads of a library of matrix products."""
    blas = [one for one in threadpool_info() if one["user_api"] == "blas"]
    counts: list[int] = [one["num_threads"] for one in blas]
    return max(counts)


def test_the_last_one_out_lifts_the_limit_on_threads() -> None:
    with threadpool_limits(2, user_api="blas"):
        with ONE_BLAS_THREAD:
            with ONE_BLAS_THREAD:
                assert blas_threads() == 1
            assert blas_threads() == 1
        assert blas_threads() == 2


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= thread_count() <= (os.cpu_count() or 1)
    assert RowEstimator(np.copy, threads=5)._workers == 5


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_threads_are_no_more_than_a_container_may_have(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "_cores", lambda: 8)
    monkeypatch.setattr(workers, "CONTROL_GROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert thread_count() == expected


@pytest.mark.parametrize("change", ["missing", "shape", "surplus"])
def test_tensors_that_do_not_fit_are_named(tiny_network: HTMDNet, change: str) -> None:
    tensors, name = network_tensors(tiny_network), "masking.blocks.1.skip.weight"
    if change == "surplus":
        tensors[name := "masking.blocks.9.skip.weight"] = np.zeros(1, np.float32)
    elif change == "shape":
        tensors[name] = tensors[name][:-1]
    else:
        del tensors[name]
    with pytest.raises(HtmdsepError, match=f"those of x do not fit the config: {name}"):
        FastNetwork(tiny_network.config, tensors, origin="those of x")
