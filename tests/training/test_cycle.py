"""The whole cycle: a folder of stems becomes weights, and the weights separate."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.networks.build import build_network
from htmdsep.networks.config import ConvTasNetConfig, NetworkConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.export import export_weights, masking_network
from htmdsep.training.losses import VARIANTS
from htmdsep.training.options import TrainOptions
from htmdsep.training.prepare import Prepared, prepare
from htmdsep.training.processes import World
from htmdsep.training.recipe import OURS, PAPER, SPECTRAL, Recipe
from htmdsep.training.run import fit
from htmdsep.training.state import RunState
from htmdsep.training.trainer import BEST_SDR, LAST
from htmdsep.training.validation import score_estimates, separate_windows
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import WeightsInfo, load_weights, save_weights
from tests.training.conftest import TINY, TINY_SPECTRAL

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(corpus: Path, cache: Path) -> Prepared:
    return prepare(corpus, cache, None, TINY)


def short(recipe: Recipe, steps: int, **changes: Any) -> Recipe:
    few = {"steps": steps, "epoch_steps": steps // 2, "epoch_minutes": None, "bf16": False}
    small = {"validation_stride": 1, "workers": 0, "segment_length": 4096, "batch_size": 6}
    return replace(recipe, **{**few, **small, **changes})


def go(
    out: Path, recipe: Recipe, config: NetworkConfig, prepared: Prepared, **options: Any
) -> RunState:
    told = TrainOptions(folder=Path("music"), out=out, **options)
    out.mkdir(exist_ok=True)
    state, ended_by = fit(told, recipe, config, prepared, CPU, World())
    assert ended_by is None
    return state


def logged(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_stems_become_weights_that_separate(
    tmp_path: Path,
    prepared: Prepared,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = short(OURS, 120, learning_rate=5e-3, warmup_steps=10, average_decay=0.9)
    run = tmp_path / "run"
    assert go(run, recipe, TINY, prepared).step == 120
    assert [row["step"] for row in logged(run)] == ["60", "120"]
    wanted = {"loss", "final_loss", "masked_loss", "sdr", "si_sdr", "pes", "accompaniment_sdr"}
    assert {f"validation_{name}" for name in wanted} <= logged(run)[0].keys()
    assert (run / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert "validation_sdr" in capsys.readouterr().err

    path = tmp_path / "mine.safetensors"
    credits = [{"source": "synthesised", "licence": "CC0"}]
    digest = export_weights(run / BEST_SDR, path, "mine", "CC0-1.0", credits)
    assert digest == sha256(path)
    network, info = WeightsFile("any", path, digest).load()
    assert info.provenance["data"] == credits
    assert info.provenance["audio_seconds"] > 60  # the best may be the first of two
    assert {"command", "commit", "steps", "minutes", "best"} <= info.provenance.keys()

    (windows,) = prepared.windows()
    estimator = partial(separate_windows, network)
    scores = score_estimates(estimator, windows, 22_050, VARIANTS["mae"])
    ((mixtures, vocals),) = windows.batches()
    error = (mixtures - vocals).square().sum()
    mixture_sdr = 10 * torch.log10(vocals.square().sum() / error)
    assert scores["sdr"] > float(mixture_sdr) + 3
    assert scores["sdr"] > 0.5
    assert separate_windows(network, mixtures, vocals).estimate.shape == mixtures.shape

    part = tmp_path / "part.safetensors"
    export_weights(run / BEST_SDR, part, "part", "CC0-1.0", credits, masking_only=True)
    alone, info = load_weights(part)
    assert "masking network" in info.provenance["part"]
    mixture = torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(alone(mixture).estimate, network(mixture).masked_estimate)


def test_only_htmdnet_has_a_masking_network_of_its_own() -> None:
    with pytest.raises(HtmdsepError, match="only HTMD-Net has a masking"):
        masking_network(HTMDNet(ConvTasNetConfig(blocks=1, repeats=1)))


def test_the_papers_protocol_trains_by_epochs(tmp_path: Path, prepared: Prepared) -> None:
    recipe = replace(PAPER, segment_length=4096, batch_size=8, epochs=2, workers=0)
    state = go(tmp_path, recipe, TINY, prepared)
    segments = 2 * (12 * 22_050 // 4096)  # of the two songs that are not held out
    assert state.step == 2 * (segments // 8)
    assert len(logged(tmp_path)) == 2


def test_the_spectral_network_is_tuned_in_stereo_and_keeps_its_norms(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    config = TINY_SPECTRAL
    known, path = build_network(config), tmp_path / "known.safetensors"
    for name, value in known.named_buffers():
        if "running" in name:
            value.uniform_(0.5, 2.0)
    save_weights(path, known, WeightsInfo("known", config, "CC0-1.0"), torch.float32)
    stereo = prepare(corpus, cache, None, TINY_SPECTRAL)
    state = go(
        tmp_path,
        short(SPECTRAL, 4, bf16=True, learning_rate=1e-2),
        config,
        stereo,
        start_from=str(path),
    )
    (windows,) = stereo.windows()
    assert {mixtures.shape[1] for mixtures, _ in windows.batches()} == {2}
    assert state.audio_seconds == pytest.approx(4 * 6 * 4096 / 22_050)
    out = tmp_path / "tuned.safetensors"
    data = [{"source": "synthesised", "licence": "CC0"}]
    export_weights(tmp_path / LAST, out, "tuned", "CC0-1.0", data)
    assert out.with_suffix(".onnx").is_file()
    tuned, info = load_weights(out)
    assert info.config == config
    for name, value in known.state_dict().items():
        if "running" in name:
            assert torch.equal(tuned.get_buffer(name), value.half().float()), name
    moved = [(known.get_parameter(n) - p).abs().max() for n, p in tuned.named_parameters()]
    assert max(moved) > 5e-4


def test_a_run_is_resumed(tmp_path: Path, prepared: Prepared) -> None:
    recipe = short(OURS, 4)
    go(tmp_path, recipe, TINY, prepared)
    assert go(tmp_path, recipe, TINY, prepared, resume=True).step == 4
    other = replace(recipe, batch_size=5)
    with pytest.raises(HtmdsepError, match="batch_size was 6 and is 5"):
        go(tmp_path, other, TINY, prepared, resume=True)
    less = replace(prepared, held_out=prepared.held_out[:0])
    with pytest.raises(HtmdsepError, match="data and held-out sets"):
        go(tmp_path, recipe, TINY, less, resume=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's, of its own parts
def test_compiled_networks_learn_in_both_stages(tmp_path: Path, prepared: Prepared) -> None:
    """As PyTorch wraps them, but run as they are: compiling takes half a minute."""
    recipe = short(OURS, 2, masking_share=0.5, batch_size=2)
    plain = go(tmp_path / "plain", recipe, TINY, prepared)
    with torch.compiler.set_stance("force_eager"):
        compiled = go(tmp_path / "compiled", recipe, TINY, prepared, compiled=True)
    for name, weight in plain.network.named_parameters():
        assert torch.equal(compiled.network.get_parameter(name), weight), name


def test_a_run_starts_from_weights(tmp_path: Path, prepared: Prepared) -> None:
    known = HTMDNet(TINY)
    path = tmp_path / "known.safetensors"
    digest = save_weights(path, known, WeightsInfo("known", TINY, "CC0-1.0"), torch.float32)
    recipe = short(OURS, 2, learning_rate=1e-9)
    config = replace(TINY, segment_length=2048)  # weights do not depend on it
    run, other = tmp_path / "run", tmp_path / "other"
    state = go(run, recipe, config, prepared, start_from=str(path))
    for name, weight in known.named_parameters():
        assert torch.allclose(state.network.get_parameter(name), weight, atol=1e-6), name
    started = state.provenance["started_from"]
    assert (started["name"], started["sha256"]) == ("known", digest)

    assert go(run, recipe, config, prepared, start_from=str(path), resume=True).step == 2
    with pytest.raises(HtmdsepError, match="started_from"):
        go(run, recipe, config, prepared, resume=True)
    deeper = replace(config, repeats=2)
    with pytest.raises(HtmdsepError, match=r"another network.*repeats 1, not 2"):
        go(other, recipe, deeper, prepared, start_from=str(path))
    with pytest.raises(HtmdsepError, match="no weights"):
        go(other, recipe, config, prepared, start_from="unheard-of")
