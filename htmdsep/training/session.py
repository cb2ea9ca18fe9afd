"""Build a run from arguments, and keep its log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from htmdsep.choice import has_bf16, pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.files import make_folder
from htmdsep.model import NetworkConfig, build_network
from htmdsep.training.arguments import Arguments
from htmdsep.training.batches import SongSegments
from htmdsep.training.ema import MovingAverage
from htmdsep.training.initial import draw_weights
from htmdsep.training.kernels import use_fast_kernels
from htmdsep.training.logbook import append_row, is_vocals_ratio, read_rows
from htmdsep.training.optimisers import FUSED_ON, optimise
from htmdsep.training.prepare import Prepared, prepare
from htmdsep.training.presets import network_config
from htmdsep.training.provenance import current_commit, describe_command
from htmdsep.training.settings import Preset, comparable
from htmdsep.training.stages import masking_stage
from htmdsep.training.start import start_from
from htmdsep.training.state import RunState, read_checkpoint, restore
from htmdsep.training.trainer import LAST, Report, Run, train
from htmdsep.training.world import World, join_world


@dataclass(frozen=True)
class Job:
    """What to train, on what, and where to."""

    config: NetworkConfig
    preset: Preset
    seed: int
    out: Path
    device: torch.device
    start: str | None = None  # weights to begin from, by name or path; None: drawn
    resume: bool = False
    compiled: bool = False
    tensorboard: bool = False


def train_with(arguments: Arguments) -> None:
    """Train as the options say; raise HtmdsepError for what a user can mend."""
    device = _device(arguments)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where autocast leaves float32
    preset = _with_precision(arguments.chosen_preset(), arguments.bf16, device)
    job = Job(
        config=network_config(preset, arguments.architecture, arguments.repeats),
        preset=preset,
        seed=arguments.seed,
        out=arguments.out,
        device=device,
        start=arguments.start_from,
        resume=arguments.resume,
        compiled=arguments.compiled,
        tensorboard=arguments.tensorboard,
    )
    if (job.out / LAST).exists() and not job.resume:
        raise HtmdsepError(f"{job.out / LAST} is there already; give --resume, or another --out")
    with join_world(device) as world:
        fit(job, _prepare(arguments, job.config.sample_rate, world), world)


def fit(job: Job, prepared: Prepared, world: World) -> RunState:
    """Train a job's network on a prepared library, and return where it ended."""
    make_folder(job.out)  # before hours are spent
    batches = prepared.batches(job.preset, job.seed, world)
    if isinstance(batches, SongSegments):
        job = replace(job, preset=_with_epochs(job.preset, batches.steps_per_epoch))
    state = _fresh_state(job)
    state.settings["data and held-out sets"] = prepared.digest()
    if job.resume:
        restore(state, read_checkpoint(job.out / LAST))
    masking = masking_stage(state.network)

    def learner(module: nn.Module) -> nn.Module:
        return world.parallel(torch.compile(module) if job.compiled else module)  # type: ignore[arg-type]

    train(
        Run(
            state=state,
            batches=batches,
            windows=prepared.windows() if world.is_chief else (),
            settings=job.preset.trainer,
            folder=job.out,
            report=reporter(job.out, tensorboard=job.tensorboard),
            forward=learner(state.network),
            masking=None if masking is None else learner(masking),
            world=world,
        )
    )
    return state


def _prepare(arguments: Arguments, sample_rate: int, world: World) -> Prepared:
    """Prepare the folder, the chief first, so that nothing is decoded twice."""
    for turn in (True, False):
        if world.is_chief == turn:
            prepared = prepare(
                arguments.folder,
                arguments.cache,
                arguments.held_out,
                sample_rate,
                progress=world.is_chief,
            )
        world.agree(0.0)
    return prepared


def _device(arguments: Arguments) -> torch.device:
    """Return the device, of several processes each its own."""
    device = torch.device(pick_device(arguments.device))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def _fresh_state(job: Job) -> RunState:
    torch.manual_seed(job.seed)
    network = build_network(job.config)
    draw_weights(network, job.seed, like_keras=job.preset.keras_weights)
    settings = comparable(job.preset, job.config, job.seed)
    provenance: dict[str, Any] = {
        "command": describe_command(sys.argv[1:]),
        "commit": current_commit(),
    }
    if job.start is not None:
        provenance["started_from"] = start_from(network, job.start)
        settings["started_from"] = provenance["started_from"]["sha256"]
    network.to(job.device)
    if job.device.type == "cpu":
        use_fast_kernels(network)
    return RunState(
        network=network,
        average=MovingAverage(network, job.preset.average_decay),
        optimiser=optimise(
            network, job.preset.optimiser, job.preset.betas, fused=job.device.type in FUSED_ON
        ),
        settings=settings,
        provenance=provenance,
    )


def _with_epochs(preset: Preset, steps_per_epoch: int) -> Preset:
    """Validate every epoch, and end after the preset's epochs unless steps are given."""
    trainer = replace(preset.trainer, epoch_steps=steps_per_epoch)
    if trainer.steps is None and preset.epochs is not None:
        trainer = replace(trainer, steps=preset.epochs * steps_per_epoch)
    return replace(preset, trainer=trainer)


def _with_precision(preset: Preset, wanted: bool | None, device: torch.device) -> Preset:
    bf16 = preset.trainer.bf16 and _has_fast_bf16(device) if wanted is None else wanted
    return replace(preset, trainer=replace(preset.trainer, bf16=bf16))


def _has_fast_bf16(device: torch.device) -> bool:
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else has_bf16()


def reporter(folder: Path, *, tensorboard: bool) -> Report:
    """Return what logs a row: CSV, picture where matplotlib is there, and standard error."""
    add_events = _event_writer(folder) if tensorboard else None

    def report(row: dict[str, float]) -> None:
        append_row(folder / "log.csv", row)
        _draw(folder)
        if add_events is not None:
            add_events(row)
        shown = ", ".join(
            f"{name} {value:g}"
            for name, value in row.items()
            if name in ("step", "minutes", "train_loss") or is_vocals_ratio(name)
        )
        tqdm.write(shown, file=sys.stderr)

    return report


def _draw(folder: Path) -> None:
    try:
        from htmdsep.training.curve import draw_curve

        draw_curve(read_rows(folder / "log.csv"), folder / "curve.png")
    except ImportError:
        pass  # matplotlib is an extra; the log holds the figures


def _event_writer(folder: Path) -> Callable[[dict[str, float]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise HtmdsepError("--tensorboard needs pip install 'htmdsep[tensorboard]'") from error
    writer = SummaryWriter(str(folder / "events"))

    def add(row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return add
