from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from htmdsep.errors import HtmdsepError
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.recipe import OURS
from htmdsep.training.state import (
    RunState,
    averaged_network,
    fresh_state,
    moving_average,
    read_checkpoint,
    restore,
    save_state,
)
from tests.training.conftest import TINY


@pytest.fixture
def state() -> RunState:
    return fresh_state(HTMDNet(TINY), OURS, {})


def shift(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(value)


@pytest.mark.parametrize(
    ("decay", "updates", "wanted"),
    [
        (0.5, 1000, (0.5, 0.75, 0.875)),  # trails the network
        (0.0, 1000, (1.0, 1.0)),  # is the network
        (0.999, 0, (1.0, 1.0)),  # the first weights are forgotten at once
        (0.999, 1, (1 - 2 / 11, 1 - 2 / 11 * 3 / 12)),  # and the next ones soon
    ],
)
def test_the_average_trails_the_network(
    decay: float, updates: int, wanted: tuple[float, ...]
) -> None:
    network = HTMDNet(TINY)
    average = moving_average(network, decay)
    average.n_averaged.fill_(updates)
    before = next(iter(average.module.parameters())).clone()
    shift(network, 1.0)
    for share in wanted:
        average.update_parameters(network)
        moved = next(iter(average.module.parameters())) - before
        torch.testing.assert_close(moved, torch.full_like(moved, share), atol=1e-5, rtol=0)


def test_the_average_follows_batch_norms_statistics() -> None:
    network = HTMDNet(TINY)
    average = moving_average(network, 0.0)
    for _ in range(3):
        network.train()(torch.randn(2, 1, 4096))
        average.update_parameters(network)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(average.module.state_dict()[name], value)
    assert not average.module.training


def test_an_exported_network_is_the_averaged_one(tmp_path: Path, state: RunState) -> None:
    shift(state.network, 0.01)
    save_state(tmp_path / "x.pt", state)
    saved = read_checkpoint(tmp_path / "x.pt")
    assert {"config", "average", "provenance", "step", "seconds", "audio_seconds", "best"} <= (
        saved.keys()
    )
    network = averaged_network(saved)
    mixture = torch.randn(1, 1, 4096)
    with torch.no_grad():
        assert torch.equal(network(mixture).estimate, state.average.module(mixture).estimate)
        assert not torch.equal(network(mixture).estimate, state.network.eval()(mixture).estimate)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "it is empty"),
        (b"hello", "it begins with b'hello'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "it begins with b'<!DOCTYPE"),
        (b"PK\x03\x04half an archive", "it is cut off"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_by_what_it_is(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "last.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HtmdsepError, match=told) as raised:
        read_checkpoint(path)
    assert "last.pt" in str(raised.value) and "weights_only" not in str(raised.value)


@pytest.mark.parametrize("saved", [{"format": "another"}, [1], {"format": Path("x")}])
def test_another_programs_archive_is_no_checkpoint(tmp_path: Path, saved: object) -> None:
    torch.save(saved, tmp_path / "x.pt")
    with pytest.raises(HtmdsepError, match=r"x\.pt is no checkpoint of htmdsep-train"):
        read_checkpoint(tmp_path / "x.pt")


def test_an_archive_of_which_a_byte_is_wrong_is_told(tmp_path: Path, state: RunState) -> None:
    path = tmp_path / "x.pt"
    save_state(path, state)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of a weight
    path.write_bytes(content)
    with pytest.raises(HtmdsepError, match=r"x\.pt is no checkpoint .* an archive that is damaged"):
        read_checkpoint(path)


def test_other_settings_are_told_by_name_with_both_values(tmp_path: Path) -> None:
    theirs = {"seed": 0, "learning_rate": 5e-4, "steps": None}
    save_state(tmp_path / "x.pt", fresh_state(HTMDNet(TINY), OURS, theirs))
    other = fresh_state(HTMDNet(TINY), OURS, {**theirs, "learning_rate": 1e-4, "bf16": True})
    with pytest.raises(HtmdsepError) as raised:
        restore(other, read_checkpoint(tmp_path / "x.pt"))
    told = str(raised.value)
    assert "(learning_rate was 0.0005 and is 0.0001; bf16 was None and is True)" in told
    assert "only max_minutes and workers may change" in told


@pytest.mark.parametrize("spoilt", ["weight", "statistic", "average"])
def test_weights_that_are_not_finite_are_never_written(
    tmp_path: Path, state: RunState, spoilt: str
) -> None:
    save_state(tmp_path / "last.pt", state)
    network = state.average.module if spoilt == "average" else state.network
    values = network.buffers() if spoilt == "statistic" else network.parameters()
    with torch.no_grad():
        next(iter(values)).fill_(float("nan"))
    state.step = 7
    with pytest.raises(HtmdsepError, match=r"no longer finite at step 7.*last\.pt is not written"):
        save_state(tmp_path / "last.pt", state)
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 0


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(
    tmp_path: Path, state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path / "last.pt", state)

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    state.step = 1
    with pytest.raises(HtmdsepError, match=rf"{tmp_path}/last\.pt: No space left on device"):
        save_state(tmp_path / "last.pt", state)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
