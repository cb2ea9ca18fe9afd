"""Muon for the matrices of a network and Adam for the rest, as one optimiser."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor, nn

OptimiserName = Literal["adam", "muon"]

# K. Jordan et al., "Muon", 2024: an odd quintic whose iterates carry singular values of 0.01 to 1
# to between 0.7 and 1.2 in five steps.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Root mean square of an update, in learning rates: 0.2 is Adam's (J. Liu et al., "Muon is scalable
# for LLM training", 2025); twice that learned faster here (docs/recipe.md).
UPDATE_RMS = 0.4
FLOOR = 1e-7  # of a gradient's norm
# Devices with Adam in one piece: on a CPU, 5 ms a step of HTMD-Net instead of 16 (measured).
FUSED_ON = ("cpu", "cuda")


@torch.no_grad()
def orthogonalise(matrices: Tensor) -> Tensor:
    """Return (batch, rows, columns), rows <= columns, with all singular values near 1.

    The polynomial runs on the Gram matrices alone, which are the smaller ones: of X' = Q X, Q a
    polynomial of G = X X^T, the Gram matrix is Q G Q, and all of these commute.
    """
    matrices = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + FLOOR)
    first, third, fifth = QUINTIC
    gram = matrices @ matrices.mT
    identity = torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)
    product = identity.expand_as(gram)
    for _ in range(ITERATIONS):
        factor = first * identity + third * gram + fifth * (gram @ gram)
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ matrices


class Muon(torch.optim.Optimizer):
    """Momentum whose step for every 1x1 convolution's weight is made orthogonal.

    Takes weights of (out, in, 1); those of one shape, up to transposition, are worked on together.
    """

    def __init__(self, weights: Iterable[Tensor], momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": 1e-3, "momentum": momentum})

    @torch.no_grad()
    def step(self, _closure: None = None) -> None:  # type: ignore[override]
        """Take a step; needs no closure."""
        for group in self.param_groups:
            alike = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[tuple(sorted(weight.shape[:2]))].append(weight)
            for (_, columns), weights in alike.items():
                steps = [self._averaged(weight, group["momentum"]) for weight in weights]
                size = group["lr"] * UPDATE_RMS * math.sqrt(columns)
                directions = orthogonalise(torch.stack([_wide(step) for step in steps]))
                for weight, direction in zip(weights, directions, strict=True):
                    _wide(weight[:, :, 0]).sub_(direction, alpha=size)

    def _averaged(self, weight: Tensor, momentum: float) -> Tensor:
        """Return the gradient with Nesterov's momentum, (out, in)."""
        assert weight.grad is not None
        gradient = weight.grad[:, :, 0]
        state = self.state[weight]
        if "average" not in state:
            state["average"] = torch.zeros_like(gradient)
        average: Tensor = state["average"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


class Optimisers:
    """Several optimisers of one network's parameters, stepped and saved together."""

    def __init__(self, *optimisers: torch.optim.Optimizer) -> None:
        self.optimisers = optimisers

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Take a step of all at one learning rate."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Return their states, in order."""
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Put back what `state_dict` gave."""
        for optimiser, state in zip(self.optimisers, states, strict=True):
            optimiser.load_state_dict(state)


def optimise(
    network: nn.Module, name: OptimiserName, betas: tuple[float, float], *, fused: bool
) -> Optimisers:
    """Return the optimisers of a network: Adam for all, or Muon where there are matrices."""
    matrices = _matrices(network) if name == "muon" else []
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in network.parameters() if id(weight) not in chosen]
    adam = torch.optim.Adam(rest, betas=betas, fused=fused)
    return Optimisers(Muon(matrices), adam) if matrices else Optimisers(adam)


def _matrices(network: nn.Module) -> list[Tensor]:
    """Return the weights of the 1x1 convolutions between more than one channel each."""
    return [module.weight for module in network.modules() if _is_matrix(module)]


def _is_matrix(module: nn.Module) -> TypeGuard[nn.Conv1d]:
    return (
        isinstance(module, nn.Conv1d)
        and module.kernel_size == (1,)
        and module.groups == 1
        and min(module.weight.shape[:2]) > 1
    )
