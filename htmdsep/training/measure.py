"""What the networks cost: parameters, multiply-adds, training speed, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from htmdsep.console import peak_rss_bytes
from htmdsep.model import Network, NetworkConfig, build_network, parameter_count
from htmdsep.training.losses import VARIANTS, supervise
from htmdsep.training.state import FUSED_ON

WARMUP_STEPS = 1
TIMED_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Costs of training; `multiply_adds` are a forward pass's, a second of audio."""

    parameters: int
    multiply_adds: float
    audio_seconds_per_second: float
    audio_seconds_per_core_second: float  # of processor time: other programs do not matter
    peak_gigabytes: float | None  # None where the system does not say


def multiply_adds(network: Network) -> int:
    """Count the multiplications of convolutions and LSTMs over one second of audio."""
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        if isinstance(module, nn.ConvTranspose1d):
            counted += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Conv1d):
            counted += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.LSTM):
            counted += inputs[0].shape[1] * sum(value.numel() for value in module.parameters())

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    length = network.config.segment_length
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 1, length))
    for hook in hooks:
        hook.remove()
    return round(counted * network.config.sample_rate / length)


def measure(
    config: NetworkConfig, batch_size: int, device: torch.device, *, bf16: bool, compiled: bool
) -> Cost:
    """Train a few steps on noise, as `htmdsep-train run` does, and return what they cost."""
    network = build_network(config)
    cost = multiply_adds(network)
    network.to(device).train()
    forward = torch.compile(network) if compiled else network
    optimiser = torch.optim.Adam(network.parameters(), fused=device.type in FUSED_ON)
    audio = torch.randn(2, batch_size, 1, config.segment_length, device=device) / 10
    for step in range(WARMUP_STEPS + TIMED_STEPS):
        if step == WARMUP_STEPS:
            started, worked = _now(device), time.process_time()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = forward(audio[0])
        supervise(output, audio[0], audio[1], VARIANTS["mae-mae"]).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    seconds, core_seconds = _now(device) - started, time.process_time() - worked
    audio_seconds = TIMED_STEPS * batch_size * config.segment_length / config.sample_rate
    return Cost(
        parameters=parameter_count(network),
        multiply_adds=cost,
        audio_seconds_per_second=audio_seconds / seconds,
        audio_seconds_per_core_second=audio_seconds / core_seconds,
        peak_gigabytes=_peak_gigabytes(device),
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_gigabytes(device: torch.device) -> float | None:
    on_cuda = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) if on_cuda else peak_rss_bytes()
    return None if peak is None else peak / 1e9
