"""What the three architectures cost to run: Results III, measured in turn in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from htmdsep.evaluation.slides import ARCHITECTURES, RUNTIMES
from htmdsep.evaluation.tables import italic, titled
from htmdsep.networks.build import Network, build_network
from htmdsep.networks.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig, WaveUNetConfig
from htmdsep.networks.cost import multiply_adds, parameter_count, time_in_turn

SEGMENTS = 4  # of 16 384 samples a timing: 3 s of audio
ROUNDS = 7
CONFIGS: tuple[NetworkConfig, ...] = (ConvTasNetConfig(), WaveUNetConfig(), HTMDNetConfig())


@dataclass(frozen=True)
class RuntimeCost:
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
) -> list[RuntimeCost]:
    """Time networks of random weights in turn: on a CPU a segment at once, on a GPU all."""
    costs = []
    for device in map(torch.device, devices):
        networks = [build_network(config).to(device).eval() for config in configs]
        timings = time_in_turn([_case(network, device) for network in networks], rounds)
        for network, taken in zip(networks, timings, strict=True):
            audio_seconds = SEGMENTS * network.config.segment_length / network.config.sample_rate
            seconds = [one / audio_seconds for one in taken]
            lower, median, upper = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
            costs.append(
                RuntimeCost(
                    architecture=network.config.architecture,
                    device=str(device),
                    parameters=parameter_count(network),
                    multiply_adds=multiply_adds(network.to("cpu")),
                    median=median,
                    quartiles=(lower, upper),
                    rounds=rounds,
                )
            )
    return costs


def _case(network: Network, device: torch.device) -> Callable[[], None]:
    """Return what runs a network over noise, and waits for it."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(SEGMENTS, 1, network.config.segment_length, generator=generator) / 10
    batches = torch.split(audio.to(device), 1 if device.type == "cpu" else SEGMENTS)

    @torch.inference_mode()
    def run() -> None:
        for batch in batches:
            network(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def runtime_markdown(costs: Sequence[RuntimeCost]) -> str:
    """Return Results III: our times and ratios, the slides' in a second line."""
    measured = {(cost.architecture, torch.device(cost.device).type): cost for cost in costs}
    sizes = {cost.architecture: cost for cost in costs}
    rows = []
    for architecture, (million, *times) in RUNTIMES.items():
        if (size := sizes.get(architecture)) is None:
            continue
        ours = [
            _time(measured.get((architecture, kind)), measured.get(("waveunet", kind)))
            for kind in ("cpu", "cuda")
        ]
        counts = f"{size.parameters / 1e6:.1f} M", f"{size.multiply_adds / 1e9:.2f} G"
        rows.append([ARCHITECTURES[architecture], *counts, *ours])
        base = zip(times, RUNTIMES["waveunet"][1:], strict=True)
        ratios = italic(f"{time} [{time / least:.1f}]" for time, least in base)
        rows.append([*italic(["slides", f"{million} M"]), "", *ratios])
    threads = torch.get_num_threads()
    return titled(
        "Results III: cost",
        "Times are milliseconds a second of audio: median (quartiles) of "
        f"{costs[0].rounds} rounds in which the networks took turns, random weights, the paper's "
        f"sizes, {threads} CPU thread{'s' * (threads > 1)}. In brackets, times over Wave-U-Net's: "
        "the slides give no unit, so these compare.",
        ["network", "parameters", "multiply-adds a second", "CPU", "GPU"],
        rows,
    )


def _time(cost: RuntimeCost | None, base: RuntimeCost | None) -> str:
    if cost is None:
        return "not measured"
    middle, lower, upper = (1000 * value for value in (cost.median, *cost.quartiles))
    shown = f"{middle:.3g} ({lower:.3g}, {upper:.3g})"
    return shown if base is None else f"{shown} [{cost.median / base.median:.1f}]"
