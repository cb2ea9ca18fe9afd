"""The whole cycle: a folder of stems becomes weights, and the weights separate."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.model import ConvTasNet, ConvTasNetConfig, HTMDNet, HTMDNetConfig
from htmdsep.training.export import export_weights, masking_network
from htmdsep.training.losses import VARIANTS
from htmdsep.training.prepare import Prepared, prepare
from htmdsep.training.presets import OURS, PAPER
from htmdsep.training.schedule import Schedule
from htmdsep.training.session import Job, fit
from htmdsep.training.settings import Preset
from htmdsep.training.trainer import BEST_SDR, LAST
from htmdsep.training.validation import score, separate_windows
from htmdsep.training.world import World
from htmdsep.weights_file import WeightsInfo, load_weights, save_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(corpus: Path, cache: Path) -> Prepared:
    return prepare(corpus, cache, None, 22_050, progress=False)


def short(preset: Preset, steps: int, **changes: object) -> Preset:
    trainer = replace(
        preset.trainer,
        steps=steps,
        epoch_steps=steps // 2,
        epoch_minutes=None,
        bf16=False,
        validation_stride=1,
        workers=0,
        **changes,  # type: ignore[arg-type]
    )
    return replace(preset, segment_length=4096, batch_size=6, trainer=trainer)


def test_stems_become_weights_that_separate(
    tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig
) -> None:
    preset = short(OURS, 120, schedule=Schedule(5e-3, decay="cosine", warmup_steps=10))
    preset = replace(preset, average_decay=0.9)
    job = Job(tiny_config, preset, 0, tmp_path / "run", CPU)
    state = fit(job, prepared, World())

    path = tmp_path / "mine.safetensors"
    credits = [{"source": "synthesised", "licence": "CC0"}]
    digest = export_weights(
        tmp_path / "run" / BEST_SDR, path, name="mine", licence="CC0-1.0", data=credits
    )
    assert digest == sha256(path)
    network, info = load_weights(path, expected_sha256=digest)
    assert info.provenance["data"] == credits
    assert info.provenance["audio_seconds"] > 60  # the best may be the first of two
    assert {"command", "commit", "steps", "minutes", "best"} <= info.provenance.keys()

    (windows,) = prepared.windows()
    scores = score(network, windows, CPU, VARIANTS["mae"])
    ((mixtures, vocals),) = windows.batches()
    error = (mixtures - vocals).square().sum()
    mixture_sdr = 10 * torch.log10(vocals.square().sum() / error)
    assert scores.sdr.median > float(mixture_sdr) + 3
    assert scores.sdr.median > 0.5
    assert separate_windows(network, CPU, mixtures, vocals).estimate.shape == mixtures.shape
    assert state.step == 120


def test_the_masking_network_may_be_exported_alone(
    tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig
) -> None:
    fit(Job(tiny_config, short(OURS, 4), 0, tmp_path, CPU), prepared, World())
    files = {}
    for alone in (False, True):
        path = tmp_path / f"{alone}.safetensors"
        export_weights(
            tmp_path / LAST, path, name="x", licence="CC0-1.0", data=[], masking_only=alone
        )
        files[alone], info = load_weights(path)
    assert "masking network" in info.provenance["part"]
    mixture = torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            files[True](mixture).estimate, files[False](mixture).masked_estimate, atol=0, rtol=0
        )


def test_only_htmdnet_has_a_masking_network_of_its_own() -> None:
    with pytest.raises(HtmdsepError, match="only HTMD-Net has a masking"):
        masking_network(ConvTasNet(ConvTasNetConfig(blocks=1, repeats=1)))


def test_the_log_and_the_curve_are_written(
    tmp_path: Path,
    prepared: Prepared,
    tiny_config: HTMDNetConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    fit(Job(tiny_config, short(OURS, 4), 0, tmp_path, CPU), prepared, World())
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    wanted = {"loss", "final_loss", "masked_loss", "sdr", "si_sdr", "pes", "accompaniment_sdr"}
    assert {f"validation_{name}" for name in wanted} <= rows[0].keys()
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert "validation_sdr" in capsys.readouterr().err


def test_the_papers_protocol_trains_by_epochs(
    tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig
) -> None:
    preset = replace(PAPER, segment_length=4096, batch_size=8, epochs=2)
    preset = replace(preset, trainer=replace(preset.trainer, workers=0))
    state = fit(Job(tiny_config, preset, 0, tmp_path, CPU), prepared, World())
    segments = 2 * (12 * 22_050 // 4096)  # of the two songs that are not held out
    assert state.step == 2 * (segments // 8)
    with (tmp_path / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def test_worker_processes_make_the_same_batches(
    tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig
) -> None:
    states = []
    for workers in (0, 1):
        preset = short(OURS, 2)
        preset = replace(preset, trainer=replace(preset.trainer, workers=workers))
        job = Job(tiny_config, preset, 0, tmp_path / str(workers), CPU)
        states.append(fit(job, prepared, World()))
    weights = [state.network.state_dict() for state in states]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_job_is_resumed(tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig) -> None:
    preset = short(OURS, 4)
    job = Job(tiny_config, preset, 0, tmp_path, CPU)
    fit(job, prepared, World())
    again = fit(replace(job, resume=True), prepared, World())
    assert again.step == 4
    other = replace(preset, batch_size=5)
    with pytest.raises(HtmdsepError, match="batch_size"):
        fit(replace(job, preset=other, resume=True), prepared, World())
    less = replace(prepared, held_out=prepared.held_out[:0])
    with pytest.raises(HtmdsepError, match="data and held-out sets"):
        fit(replace(job, resume=True), less, World())
    assert (tmp_path / LAST).exists()


def test_a_job_starts_from_weights(
    tmp_path: Path, prepared: Prepared, tiny_config: HTMDNetConfig
) -> None:
    known = HTMDNet(tiny_config)
    path = tmp_path / "known.safetensors"
    digest = save_weights(path, known, WeightsInfo("known", tiny_config, "CC0-1.0"), torch.float32)
    preset = short(OURS, 2, schedule=Schedule(1e-9))
    config = replace(tiny_config, segment_length=4096)  # weights do not depend on it
    job = Job(config, preset, 0, tmp_path / "run", CPU, start=str(path))
    state = fit(job, prepared, World())
    for name, weight in known.named_parameters():
        assert torch.allclose(state.network.get_parameter(name), weight, atol=1e-6), name
    started = state.provenance["started_from"]
    assert (started["name"], started["sha256"]) == ("known", digest)

    assert fit(replace(job, resume=True), prepared, World()).step == 2
    with pytest.raises(HtmdsepError, match="started_from"):
        fit(replace(job, start=None, resume=True), prepared, World())
    other = replace(config, encoder_channels=2 * config.encoder_channels)
    with pytest.raises(HtmdsepError, match=r"another network.*encoder_channels"):
        fit(replace(job, config=other, out=tmp_path / "other"), prepared, World())
    with pytest.raises(HtmdsepError, match="no weights"):
        fit(replace(job, start="unheard-of", out=tmp_path / "other"), prepared, World())
