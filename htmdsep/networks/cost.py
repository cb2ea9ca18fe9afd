"""What networks cost: parameters, multiply-adds, and time, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from htmdsep.networks.build import Network

LEAST_SECONDS = 0.2  # of wall time that one measurement takes


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable values (Keras's total adds the batch-norm statistics)."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.inference_mode()
def multiply_adds(network: Network) -> int:
    """Count multiplications of convolutions and LSTMs over a second of audio; ends in eval mode."""
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
            counted += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            counted += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.LSTM):
            counted += inputs[0].shape[1] * sum(value.numel() for value in module.parameters())

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    length = network.config.segment_length
    network.eval()(torch.zeros(1, network.config.input_channels, length))
    for hook in hooks:
        hook.remove()
    return round(counted * network.config.sample_rate / length)


def time_in_turn(cases: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the wall seconds that each case took in each round; a round goes through all cases.

    A figure is the mean of as many runs as fill 0.2 s, after one to warm up.
    """
    taken: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for case, seconds in zip(cases, taken, strict=True):
            seconds.append(_seconds(case))
    return taken


def _seconds(case: Callable[[], object]) -> float:
    case()
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < LEAST_SECONDS:
        case()
        count += 1
    return elapsed / count
