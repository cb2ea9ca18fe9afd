"""From options to a trained network: device, data, a fresh or resumed state, the loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from htmdsep.engines.choice import has_bf16, pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.files import lock, make_folder, remove_abandoned, remove_empty
from htmdsep.networks.build import build_network
from htmdsep.networks.config import HTMDNetConfig, NetworkConfig, SpectralConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.batches import SongSegments
from htmdsep.training.cpu_layers import use_cpu_layers
from htmdsep.training.export import current_commit, describe_command
from htmdsep.training.initial import draw_weights, start_from
from htmdsep.training.log import reporter
from htmdsep.training.options import TrainOptions
from htmdsep.training.prepare import Prepared, prepare
from htmdsep.training.processes import World, join_processes
from htmdsep.training.recipe import Recipe, network_config, resume_settings
from htmdsep.training.state import RunState, fresh_state, read_checkpoint, restore
from htmdsep.training.trainer import LAST, TrainingRun, train
from htmdsep.weights.catalogue import find_weights
from htmdsep.weights.file import read_info


def train_with(options: TrainOptions) -> int | None:
    """Train as the options say; return the signal that ended the run, None without one."""
    device = _device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where autocast leaves float32
    recipe = options.recipe()
    if options.bf16 is None:
        is_fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_bf16()
        recipe = replace(recipe, bf16=recipe.bf16 and is_fast)
    known = None
    if options.start_from is not None:
        known = read_info(find_weights(options.start_from).path).config
    config = network_config(recipe, options.repeats, known)
    if recipe.keep_norms and options.start_from is None:
        raise HtmdsepError(
            "preset spectral keeps batch norm's statistics, of which drawn weights have none; give "
            "--start-from spectral, or --preset ours --architecture spectral"
        )
    if options.epochs is not None and recipe.random_mixes and not options.resume:
        raise HtmdsepError(
            "mixes drawn at random have no epochs; give --steps or --max-minutes, or --preset paper"
        )
    if (options.out / LAST).exists() and not options.resume:
        raise HtmdsepError(
            f"{options.out / LAST} is there already; give --resume, or another --out"
        )
    wanted = options.folder, options.cache, options.held_out, config
    with join_processes(device) as world, _own_folder(options.out, world):
        if not world.is_main:
            world.broadcast(0.0)  # the main process is the first to decode, so that none does twice
        prepared = prepare(*wanted, progress=world.is_main)
        if world.is_main:
            world.broadcast(0.0)
        _, ended_by = fit(options, recipe, config, prepared, device, world)
    return ended_by


def fit(
    options: TrainOptions,
    recipe: Recipe,
    config: NetworkConfig,
    prepared: Prepared,
    device: torch.device,
    world: World,
) -> tuple[RunState, int | None]:
    """Train a network on a prepared library; return where it ended, and by which signal if any."""
    batches = prepared.batches(recipe, options.seed, world)
    if isinstance(batches, SongSegments):  # validated every epoch
        epoch, steps = batches.steps_per_epoch, recipe.steps
        if steps is None and recipe.epochs is not None:
            steps = recipe.epochs * epoch
        recipe = replace(recipe, epoch_steps=epoch, steps=steps)
    state = _initial_state(options, recipe, config, device)
    state.settings["data and held-out sets"] = prepared.digest()
    if options.resume:
        restore(state, read_checkpoint(options.out / LAST))
    network, masking = state.network, None

    def trained(module: nn.Module) -> nn.Module:
        return world.parallel(torch.compile(module) if options.compiled else module)  # type: ignore[arg-type]

    if isinstance(network, HTMDNet) and isinstance(config, HTMDNetConfig):
        masking = trained(network.masking)
    ended_by = train(
        TrainingRun(
            state=state,
            batches=batches,
            windows=prepared.windows(recipe.validation_stride) if world.is_main else (),
            recipe=recipe,
            folder=options.out,
            report=reporter(options.out, tensorboard=options.tensorboard and world.is_main),
            forward=trained(network),
            masking=masking,
            world=world,
        )
    )
    return state, ended_by


@contextmanager
def _own_folder(folder: Path, world: World) -> Iterator[None]:
    """Make the folder of a run, before hours are spent, and keep other runs off until the end.

    The main process locks it, where its disk can, and removes what a killed run was writing.
    """
    if not world.is_main:
        yield
        return
    with ExitStack() as ending:
        for one in make_folder(folder):
            ending.callback(remove_empty, one)
        if os.name != "nt":  # Windows opens no folders
            descriptor = os.open(folder, os.O_RDONLY)
            ending.callback(os.close, descriptor)
            if lock(descriptor, wait=False) is False:
                raise HtmdsepError(
                    f"another run is training into {folder}; wait for it, or give another --out"
                )
        remove_abandoned(folder)
        yield


def _device(name: str) -> torch.device:
    """Return the device, of several processes each its own."""
    device = torch.device(pick_device(name))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def _initial_state(
    options: TrainOptions, recipe: Recipe, config: NetworkConfig, device: torch.device
) -> RunState:
    torch.manual_seed(options.seed)
    network = build_network(config)
    if device.type == "cpu":
        use_cpu_layers(network)
    draw_weights(network, options.seed, like_keras=recipe.keras_weights)
    if isinstance(config, SpectralConfig):  # its steps take 7 % less time on a CPU
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = resume_settings(recipe, config, options.seed)
    provenance: dict[str, Any] = {
        "command": describe_command(sys.argv[1:]),
        "commit": current_commit(),
    }
    if options.start_from is not None:
        origin = start_from(network, options.start_from)
        provenance["started_from"], settings["started_from"] = origin, origin["sha256"]
    state = fresh_state(network.to(device), recipe, settings)
    state.provenance = provenance
    return state
