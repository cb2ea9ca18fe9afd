from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from htmdsep.model import HTMDNet, HTMDNetConfig, build_network
from htmdsep.model.masking import TemporalBlock
from htmdsep.training.optimisers import (
    FLOOR,
    ITERATIONS,
    QUINTIC,
    UPDATE_RMS,
    Muon,
    Optimisers,
    optimise,
    orthogonalise,
)


def iterate_on_the_matrix(matrix: Tensor) -> Tensor:
    """The published iteration, X <- aX + (bA + cA^2)X with A = X X^T, from X / (norm + 1e-7)."""
    first, third, fifth = QUINTIC
    matrix = matrix / (matrix.norm() + FLOOR)
    for _ in range(ITERATIONS):
        gram = matrix @ matrix.T
        matrix = first * matrix + (third * gram + fifth * gram @ gram) @ matrix
    return matrix


@settings(deadline=None)
@given(rows=st.integers(1, 24), more=st.integers(0, 24), seed=st.integers(0, 2**31))
def test_working_on_gram_matrices_equals_the_published_iteration(
    rows: int, more: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randn(3, rows, rows + more, generator=generator, dtype=torch.float64)
    wanted = torch.stack([iterate_on_the_matrix(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), wanted, rtol=0, atol=1e-5)


def test_singular_values_come_near_one_in_single_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(64, 64, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(256, 64, generator=generator))
    matrix = left * torch.logspace(0, -1.5, 64) @ right.T
    values = torch.linalg.svdvals(orthogonalise(matrix[None])[0])
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(32, 8, 1), (8, 32, 1)])
def test_a_step_has_the_stated_size_whatever_the_gradient(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    for scale in (1e-4, 1.0, 1e4):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = scale * torch.randn(shape, generator=generator)
        Optimisers(Muon([weight])).step(1e-2)
        size = float(weight.detach().square().mean().sqrt())
        assert 0.7 < size / (1e-2 * UPDATE_RMS) < 1.3
        assert float((weight.detach() * weight.grad).sum()) < 0  # downhill


def test_weights_step_together_as_they_would_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = [(16, 4, 1), (4, 16, 1), (16, 4, 1), (8, 8, 1)]
    together = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    alone = [copy.deepcopy(weight) for weight in together]
    optimisers = [Muon(together), *(Muon([weight]) for weight in alone)]
    for _ in range(3):
        for weight, twin in zip(together, alone, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator)
            twin.grad = weight.grad.clone()
        Optimisers(*optimisers).step(1e-2)
    for weight, twin in zip(together, alone, strict=True):
        torch.testing.assert_close(weight, twin)


def test_muon_takes_the_matrices_and_adam_the_rest(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    muon, adam = optimise(network, "muon", (0.9, 0.99), fused=False).optimisers
    matrices = {id(weight) for group in muon.param_groups for weight in group["params"]}
    rest = {id(weight) for group in adam.param_groups for weight in group["params"]}
    assert matrices | rest == {id(weight) for weight in network.parameters()}
    assert not matrices & rest
    block = network.masking.blocks[0]
    assert isinstance(block, TemporalBlock)
    for layer in (block.expand[0], block.skip, block.residual, network.masking.mask[1]):
        assert isinstance(layer, nn.Conv1d)
        assert id(layer.weight) in matrices
    for kernel in (block.depthwise[0], network.masking.encoder, network.masking.decoder):
        assert id(kernel.weight) in rest


def test_without_matrices_or_by_name_adam_has_all(tiny_config: HTMDNetConfig) -> None:
    for network, name in (
        (build_network(tiny_config), "adam"),
        (nn.Sequential(nn.Conv1d(1, 4, 5), nn.Conv1d(4, 1, 1)), "muon"),
    ):
        (adam,) = optimise(network, name, (0.9, 0.99), fused=False).optimisers  # type: ignore[arg-type]
        assert isinstance(adam, torch.optim.Adam)
        assert len(adam.param_groups[0]["params"]) == len(list(network.parameters()))


def test_a_saved_state_goes_on_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(3)
    layer = nn.Conv1d(6, 10, 1)
    optimisers = optimise(layer, "muon", (0.9, 0.99), fused=False)
    gradients = [torch.randn(10, 6, 1, generator=generator) for _ in range(4)]

    def descend(network: nn.Conv1d, run: Optimisers, steps: list[Tensor]) -> None:
        for gradient in steps:
            network.weight.grad = gradient.clone()
            run.step(1e-2)

    descend(layer, optimisers, gradients[:2])
    twin = copy.deepcopy(layer)
    resumed = optimise(twin, "muon", (0.9, 0.99), fused=False)
    resumed.load_state_dict(copy.deepcopy(optimisers.state_dict()))
    descend(layer, optimisers, gradients[2:])
    descend(twin, resumed, gradients[2:])
    assert torch.equal(layer.weight, twin.weight)
