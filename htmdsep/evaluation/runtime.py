"""What the three architectures cost to run: Results III, measured in turn in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from htmdsep.evaluation.slides import ARCHITECTURES, RUNTIMES
from htmdsep.model import (
    ConvTasNetConfig,
    HTMDNetConfig,
    Network,
    NetworkConfig,
    WaveUNetConfig,
    build_network,
)
from htmdsep.model.cost import multiply_adds, parameter_count

SEGMENTS = 4  # of 16 384 samples a timing: 3 s of audio
ROUNDS = 7
CONFIGS: tuple[NetworkConfig, ...] = (ConvTasNetConfig(), WaveUNetConfig(), HTMDNetConfig())


@dataclass(frozen=True)
class Cost:
    """What a network costs on one device; times are seconds a second of audio."""

    architecture: str
    device: str
    parameters: int
    multiply_adds: int  # a second of audio
    median: float
    quartiles: tuple[float, float]
    rounds: int


def measure_runtime(
    devices: Sequence[str], rounds: int = ROUNDS, configs: Sequence[NetworkConfig] = CONFIGS
) -> list[Cost]:
    """Time the networks with random weights, each round all of them in turn, after a warm-up.

    On the CPU a segment at a time, as htmdsep separates; on a GPU all segments at once.
    """
    costs = []
    for device in devices:
        networks = [build_network(config).to(device).eval() for config in configs]
        times: list[list[float]] = [[] for _ in networks]
        for turn in range(rounds + 1):
            for network, taken in zip(networks, times, strict=True):
                seconds = _time(network, torch.device(device))
                if turn:
                    taken.append(seconds)
        for network, taken in zip(networks, times, strict=True):
            quartiles = statistics.quantiles(taken, n=4) if rounds > 1 else taken * 3
            costs.append(
                Cost(
                    architecture=network.config.architecture,
                    device=device,
                    parameters=parameter_count(network),
                    multiply_adds=multiply_adds(network.to("cpu")),
                    median=statistics.median(taken),
                    quartiles=(quartiles[0], quartiles[2]),
                    rounds=rounds,
                )
            )
    return costs


@torch.inference_mode()
def _time(network: Network, device: torch.device) -> float:
    """Return the seconds that a second of noise takes."""
    length = network.config.segment_length
    generator = torch.Generator().manual_seed(0)
    audio = (torch.randn(SEGMENTS, 1, length, generator=generator) / 10).to(device)
    batches = torch.split(audio, 1 if device.type == "cpu" else SEGMENTS)
    _synchronise(device)
    started = time.perf_counter()
    for batch in batches:
        network(batch)
    _synchronise(device)
    return (time.perf_counter() - started) / (SEGMENTS * length / network.config.sample_rate)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def runtime_markdown(costs: Sequence[Cost], threads: int) -> str:
    """Return Results III: our times and ratios, the slides' in a second line."""
    ours = {(cost.architecture, torch.device(cost.device).type): cost for cost in costs}
    lines = [
        "## Results III: cost",
        "",
        "Times are milliseconds a second of audio: median (quartiles) of "
        f"{costs[0].rounds} rounds in which the networks took turns, random weights, the paper's "
        f"sizes, {threads} CPU threads. In brackets, times over Wave-U-Net's: the slides give no "
        "unit, so these compare.",
        "",
        "| network | parameters | multiply-adds a second | CPU | GPU |",
        "| --- | --- | --- | --- | --- |",
    ]
    for architecture, (million, cpu, gpu) in RUNTIMES.items():
        some = next((cost for cost in costs if cost.architecture == architecture), None)
        if some is None:
            continue
        times = [_cell(ours, architecture, kind) for kind in ("cpu", "cuda")]
        cells = [
            ARCHITECTURES[architecture],
            f"{some.parameters / 1e6:.1f} M",
            f"{some.multiply_adds / 1e9:.2f} G",
            *times,
        ]
        lines.append(f"| {' | '.join(cells)} |")
        base = RUNTIMES["waveunet"]
        lines.append(
            f"| *slides* | *{million} M* | | *{cpu} [{cpu / base[1]:.1f}]* "
            f"| *{gpu} [{gpu / base[2]:.1f}]* |"
        )
    return "\n".join(lines)


def _cell(ours: dict[tuple[str, str], Cost], architecture: str, kind: str) -> str:
    cost, base = ours.get((architecture, kind)), ours.get(("waveunet", kind))
    if cost is None:
        return "not measured"
    lower, upper = (1000 * value for value in cost.quartiles)
    shown = f"{1000 * cost.median:.3g} ({lower:.3g}, {upper:.3g})"
    return shown if base is None else f"{shown} [{cost.median / base.median:.1f}]"
