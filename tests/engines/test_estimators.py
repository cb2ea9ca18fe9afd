"""Every engine gives what PyTorch gives, from a graph whose numbers are the weights file's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from htmdsep import HtmdsepError, Separator
from htmdsep.engines.choice import PRECISIONS_OF
from htmdsep.engines.estimators import load_run
from htmdsep.networks.build import Network, build_network
from htmdsep.networks.config import ConvTasNetConfig, NetworkConfig, WaveUNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.networks.spectral import AcrossBins
from htmdsep.onnx import export_onnx
from htmdsep.options import EngineName, RunOptions
from htmdsep.separation.selftest import SAMPLE_RATE, synthesised_mixture
from htmdsep.weights.catalogue import WeightsFile, cache_folder
from htmdsep.weights.file import WeightsInfo, load_weights, save_weights
from htmdsep.weights.graph import make_graph, network_graph, read_graph
from tests.tiny import TINY, TINY_SPECTRAL

AGREEMENT_DB = 100.0
CONFIGS: dict[str, NetworkConfig] = {
    "tanh": TINY,
    "linear": replace(TINY, encoder_kernel=32, encoder_stride=16, activation="linear"),
    "hard": replace(TINY, activation="linear", recurrent_activation="hard_sigmoid"),
    "where hardly any is a voice": replace(TINY, least_share=0.9),
    "spectral": TINY_SPECTRAL,
    "spectral, with dense layers": replace(TINY_SPECTRAL, dense_narrowing=2),
    "mono spectral": replace(TINY_SPECTRAL, input_channels=1),
    "spectral, where hardly any is a voice": replace(TINY_SPECTRAL, least_share=0.9),
    "convtasnet": ConvTasNetConfig(
        segment_length=512, encoder_channels=8, bottleneck_channels=4, block_channels=8, blocks=2
    ),
    "waveunet": WaveUNetConfig(segment_length=512, levels=3, channels=2),
}


def random_network(config: NetworkConfig, seed: int = 0) -> Network:
    """Return a network with weights and statistics that are nothing special."""
    torch.manual_seed(seed)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        if isinstance(module, AcrossBins):
            torch.nn.init.normal_(module.widen.weight)
    return network.eval()


def agreement_db(expected: np.ndarray, found: np.ndarray) -> float:
    error = np.sum((expected - found.astype(np.float64)) ** 2)
    return float(10 * np.log10(np.sum(np.square(expected, dtype=np.float64)) / (error + 1e-30)))


@pytest.fixture(params=["onnx", "openvino"])
def graph_engine(request: pytest.FixtureRequest) -> EngineName:
    """Return an engine that runs graphs, each in turn."""
    if request.param == "openvino":
        pytest.importorskip("openvino")
    engine: EngineName = request.param
    return engine


def saved(folder: Path, network: Network, dtype: torch.dtype = torch.float32) -> WeightsFile:
    path = folder / "any.safetensors"
    sha256 = save_weights(path, network, WeightsInfo("any", network.config, "CC0"), dtype)
    return WeightsFile("any", path, sha256)


def of_noise(located: WeightsFile, engine: EngineName) -> np.ndarray:
    """Return what an engine makes of noise, with weights of TINY_SPECTRAL."""
    mixture = np.random.default_rng(0).standard_normal((1, 2, 4096)).astype(np.float32)
    return load_run(located, TINY_SPECTRAL, RunOptions(engine=engine, precision="fp32"))(mixture)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *(("onnx", name) for name in CONFIGS),
        *(("openvino", name) for name in CONFIGS if name not in ("linear", "hard")),
    ],
)
def test_graphs_agree_with_pytorch(
    engine: EngineName, name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    config = CONFIGS[name]
    network = random_network(config)
    options = RunOptions(precision="fp32", engine=engine, threads=2)
    run = load_run(saved(tmp_path, network), config, options)
    for segments in (1, 3):  # the graph is not of one length
        shape = (1, config.input_channels, segments * config.segment_length)
        mixture = 0.1 * rng.standard_normal(shape).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(mixture))
            exact = network.double()(torch.from_numpy(mixture).double()).estimate.numpy()
            network.float()
        vocals, *gain = run(mixture)
        # Random networks amplify rounding, PyTorch's own as well.
        limit = min(AGREEMENT_DB, agreement_db(exact, expected.estimate.numpy()) - 10)
        assert agreement_db(expected.estimate.numpy(), vocals) >= limit
        assert len(gain) == (expected.high_gain is not None)
        if gain:
            assert agreement_db(expected.high_gain.numpy(), gain[0]) >= AGREEMENT_DB


def test_bf16_stays_close_to_fp32() -> None:
    pytest.importorskip("openvino")
    mixture = 0.5 * synthesised_mixture()[: 4 * SAMPLE_RATE]
    exact, rounded = (
        Separator(engine="openvino", precision=precision).separate(mixture, SAMPLE_RATE).vocals
        for precision in PRECISIONS_OF["cpu"]
    )
    assert agreement_db(exact, rounded) > 40


def test_graphs_are_small_and_take_numbers_of_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(TINY_SPECTRAL)
    located = saved(tmp_path, network, torch.float16)
    graph = read_graph(located.path, located.hash())
    assert len(graph) < 50_000
    (cached,) = cache_folder("graphs").glob(f"{located.hash()}-*.onnx")
    assert cached.read_bytes() == read_graph(located.path, located.hash()) == graph
    monkeypatch.setenv("HTMDSEP_CACHE", "/dev/null")  # where no folder can be made
    assert read_graph(located.path, located.hash()) == graph
    mixture = np.random.default_rng(0).standard_normal((1, 2, 4096)).astype(np.float32)
    found = load_run(located, network.config, RunOptions(engine="onnx"))(mixture)[0]
    halved, _ = load_weights(located.path)
    with torch.inference_mode():
        expected = halved(torch.from_numpy(mixture)).estimate.numpy()
    assert agreement_db(expected, found) >= AGREEMENT_DB


def test_numbers_that_no_graph_takes_run_in_pytorch(tmp_path: Path) -> None:
    located = saved(tmp_path, random_network(TINY_SPECTRAL), torch.float64)
    with pytest.raises(HtmdsepError, match="are F64: use --engine torch"):
        Separator(located.path, engine="onnx")
    assert Separator(located.path, engine="torch").engine == "torch"


@pytest.mark.parametrize("name", ["b.safetensors", "Stimme Ж.safetensors", "x" * 200])
def test_weights_keep_their_graph_under_another_name(
    tmp_path: Path, graph_engine: EngineName, name: str
) -> None:
    located = saved(tmp_path, random_network(TINY_SPECTRAL))
    before = of_noise(located, graph_engine)
    moved = replace(located, path=located.path.rename(tmp_path / name))
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "model.safetensors"
    link.symlink_to(moved.path)
    for place in (moved, replace(located, path=link)):
        after = of_noise(place, graph_engine)
        np.testing.assert_array_equal(after, before)


def test_openvino_tells_nobody_that_it_is_used() -> None:
    pytest.importorskip("openvino")
    code = (
        "import sys, htmdsep.engines.openvino as ours; "
        "print(ours.openvino.get_version() != '', 'openvino_telemetry' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (found.stdout.split(), found.stderr) == ([b"True", b"False"], b"")


def test_a_full_temporary_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    located = saved(tmp_path, random_network(TINY_SPECTRAL))

    def fill_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfile", fill_disk)
    with pytest.raises(HtmdsepError, match=r"No space left on device; make room there, let TMPDIR"):
        Separator(located.path, engine="openvino")
    assert Separator(engine="openvino").engine == "openvino"  # needs no room


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_no_graph_could_hold_is_refused(tmp_path: Path) -> None:
    located = saved(tmp_path, random_network(TINY_SPECTRAL))
    moved = located.path.rename(tmp_path / os.fsdecode(b"\xff.safetensors"))
    with pytest.raises(HtmdsepError, match=r"is not UTF-8; rename it"):
        Separator(moved)


@pytest.mark.parametrize("beside", ["a network's own", "other numbers'", "none"])
def test_another_graph_beside_weights_is_passed_over(
    tmp_path: Path, graph_engine: EngineName, beside: str
) -> None:
    located = saved(tmp_path, random_network(TINY_SPECTRAL))
    expected = of_noise(located, graph_engine)
    other, place = random_network(TINY_SPECTRAL, 1), located.path.with_suffix(".onnx")
    if beside == "a network's own":
        export_onnx(place, other, WeightsInfo("other", TINY_SPECTRAL, "CC0"))
    else:
        graph = make_graph(other, located.path, "0" * 64)
        place.write_bytes(graph if beside == "other numbers'" else b"none")
    np.testing.assert_array_equal(of_noise(located, graph_engine), expected)


def test_a_damaged_graph_is_refused(tmp_path: Path, graph_engine: EngineName) -> None:
    located = saved(tmp_path, random_network(TINY_SPECTRAL))
    graph = read_graph(located.path, located.hash())
    located.path.with_suffix(".onnx").write_bytes(graph[len(graph) // 2 :])
    with pytest.raises(HtmdsepError, match="cannot load the graph of") as caught:
        Separator(located.path, engine=graph_engine)
    assert "\n" not in str(caught.value)


def test_spectral_masks_with_a_denoising_network_run_in_pytorch(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    config = replace(TINY_SPECTRAL, denoiser_levels=4, denoiser_channels=2, lstm_size=4)
    network = random_network(config)
    assert isinstance(network, HTMDNet)
    located = saved(tmp_path, network)
    mixture = 0.1 * rng.standard_normal((9_000, 2)).astype(np.float32)
    assert Separator(located.path).engine == "torch"
    assert Separator(located.path).separate(mixture, 22_050).vocals.shape == mixture.shape
    output = network(torch.zeros(1, 2, 2048))
    assert output.masked_estimate is not None and output.high_gain is not None
    with pytest.raises(HtmdsepError, match="run in PyTorch: --engine torch"):
        network_graph(network)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_all_engines_separate_alike(
    any_network: HTMDNet, tmp_path: Path, rng: np.random.Generator, channels: int
) -> None:
    """Channels go in pairs, and a last one alone, whatever computes."""
    located = saved(tmp_path, any_network)
    mixture = 0.1 * rng.standard_normal((30_000, channels)).astype(np.float32)
    expected = Separator(located.path, engine="torch").separate(mixture, 44_100).vocals
    for threads in (1, 3):
        found = Separator(located.path, engine="onnx", threads=threads).separate(mixture, 44_100)
        assert agreement_db(expected, found.vocals) > 90
        np.testing.assert_allclose(found.vocals + found.accompaniment, mixture, atol=1e-6)


@pytest.mark.parametrize("engine", ["auto", "onnx", "torch"])
def test_a_network_runs_in_pytorch_and_says_so(tiny_network: HTMDNet, engine: EngineName) -> None:
    assert Separator(tiny_network, engine=engine).engine == "torch"


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_threads_and_batches_change_nothing(
    any_network: HTMDNet, tmp_path: Path, rng: np.random.Generator, batch_size: int
) -> None:
    located = saved(tmp_path, any_network)
    mixture = 0.1 * rng.standard_normal((30_000, 2)).astype(np.float32)
    one = Separator(located.path, threads=1).separate(mixture, 22_050).vocals
    many = Separator(located.path, threads=3, batch_size=batch_size).separate(mixture, 22_050)
    assert np.array_equal(many.vocals, one)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("engine", "expected"),
    [("onnx", "same"), ("torch", "same"), ("openvino", "forked from one that used it")],
)
def test_a_separator_that_was_used_works_in_a_forked_process_or_says_why_not(
    tiny_weights: Path, rng: np.random.Generator, engine: EngineName, expected: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    separator = Separator(tiny_weights, threads=2, engine=engine)
    mixture = 0.1 * rng.standard_normal((5_000, 1)).astype(np.float32)
    before = separator.separate(mixture, 22_050).vocals
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # rather than wait for ever
        try:
            same = np.array_equal(separator.separate(mixture, 22_050).vocals, before)
            os.write(writing, b"same" if same else b"other")
        except HtmdsepError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert expected in file.read().decode()
    os.waitpid(child, 0)
