from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.networks.config import config_to_dict
from htmdsep.networks.cost import parameter_count
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import (
    FORMAT,
    WeightsInfo,
    count_parameters,
    load_weights,
    read_info,
    save_weights,
)
from tests.tiny import TINY


def _metadata(**changes: str) -> dict[str, str]:
    return {
        "format": FORMAT,
        "name": "tiny",
        "config": json.dumps(config_to_dict(TINY)),
        "licence": "CC0",
        "provenance": "{}",
        **changes,
    }


def test_weights_survive_the_file(tiny_network: HTMDNet, tiny_weights: Path) -> None:
    network, info = WeightsFile("tiny", tiny_weights, sha256(tiny_weights)).load()
    assert info == WeightsInfo("tiny", TINY, "CC0", {"data": "none"})
    mixture = torch.randn(1, 1, 2048)
    found, expected = network(mixture), tiny_network(mixture)
    assert torch.equal(found.estimate, expected.estimate)
    assert torch.equal(found.masked_estimate, expected.masked_estimate)


def test_half_precision_halves_the_file_and_stays_close(
    tmp_path: Path, tiny_network: HTMDNet, tiny_weights: Path
) -> None:
    half = tmp_path / "half.safetensors"
    digest = save_weights(half, tiny_network, read_info(tiny_weights), torch.float16)
    assert digest == sha256(half)
    network, _ = load_weights(half)
    mixture = torch.randn(1, 1, 2048)
    torch.testing.assert_close(
        network(mixture).estimate, tiny_network(mixture).estimate, atol=1e-3, rtol=1e-2
    )
    assert next(network.parameters()).dtype == torch.float32


def test_damaged_file_is_refused(tiny_weights: Path) -> None:
    expected = sha256(tiny_weights)
    data = bytearray(tiny_weights.read_bytes())
    data[-1] ^= 1
    tiny_weights.write_bytes(data)
    with pytest.raises(HtmdsepError, match=f"is damaged: its SHA-256 is .*expected {expected}"):
        WeightsFile("tiny", tiny_weights, expected).load()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (_metadata(format="other"), "not a weights file of htmdsep"),
        (_metadata(config="{"), "unusable metadata"),
        (_metadata(config='{"architecture": "unet"}'), "unknown architecture 'unet'"),
        (_metadata(config="[1]"), "unusable metadata"),
        (_metadata(config="[" * 100_000), "unusable metadata"),
        (_metadata(provenance="[1]"), "unusable metadata"),
        ({"format": FORMAT}, "unusable metadata"),
    ],
)
def test_wrong_metadata_is_refused(
    tmp_path: Path, tiny_weights: Path, metadata: dict[str, str], message: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file(load_file(tiny_weights), path, metadata)
    with pytest.raises(HtmdsepError, match=message):
        load_weights(path)


def test_tensors_that_do_not_fit_the_config_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    tensors = load_file(tiny_weights)
    path = tmp_path / "wrong.safetensors"
    save_file(
        {name: t for name, t in tensors.items() if "mask.1.bias" not in name}, path, _metadata()
    )
    with pytest.raises(HtmdsepError, match=r"1 differ, first masking\.mask\.1\.bias"):
        load_weights(path)
    tensors["masking.mask.1.bias"][0] = torch.nan
    save_file(tensors, path, _metadata())
    with pytest.raises(HtmdsepError, match="not finite"):
        load_weights(path)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("no weights here")
    with pytest.raises(HtmdsepError, match="cannot read the weights"):
        load_weights(path)
    with pytest.raises(HtmdsepError, match="cannot read the weights"):
        load_weights(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("header", ['{"__metadata__": []}', '{"a": 1}', "[1]", "[" * 100_000])
def test_a_header_of_another_form_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    for read in (read_info, count_parameters):
        with pytest.raises(HtmdsepError, match="cannot read the weights"):
            read(path)


@pytest.mark.parametrize("tensor", ["{}", '{"shape": 3}', '{"shape": ["3"]}'])
def test_a_tensor_without_a_shape_cannot_be_counted(tmp_path: Path, tensor: str) -> None:
    path, header = tmp_path / "odd.safetensors", f'{{"a": {tensor}}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    with pytest.raises(HtmdsepError, match="cannot read the weights"):
        count_parameters(path)


def test_parameters_are_counted_in_the_file(tiny_weights: Path, tiny_network: HTMDNet) -> None:
    assert count_parameters(tiny_weights) == parameter_count(tiny_network)
