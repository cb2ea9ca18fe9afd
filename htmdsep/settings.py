"""What the command line was told, and which combinations make no sense."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from htmdsep.batch import STANDARD_STREAM
from htmdsep.options import (
    ClipMode,
    EngineName,
    Existing,
    FileFormat,
    Precision,
    RunOn,
    StemName,
    Subtype,
)


@dataclass(frozen=True)
class Settings:
    """The command line's arguments; FileOptions and Separator say what each means."""

    inputs: tuple[str, ...]
    out: str
    filename: str
    recursive: bool
    name: str | None
    weights: Path | None
    device: str
    segment_seconds: float | None
    overlap: float
    batch_size: int | None
    precision: Precision
    engine: EngineName
    jobs: int | None
    shifts: int
    stems: StemName | Literal["both"]
    file_format: FileFormat
    subtype: Subtype | None
    sample_rate: int | None
    start_seconds: float
    duration_seconds: float | None
    clip_mode: ClipMode | None
    existing: Existing | None
    list_file: str | None
    base: str | None
    retries: int
    verify: bool
    shard: str | None
    run_on: RunOn
    ray_address: str | None
    actor_cpus: float
    actor_gpus: float
    report_on: str | None
    merge_in: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    list_models: bool
    keras_file: Path | None
    self_test: bool


def check_settings(settings: Settings) -> None:
    """Refuse combinations that make no sense, with exit status 2."""
    actions = (
        settings.list_models,
        settings.self_test,
        *(x is not None for x in (settings.keras_file, settings.report_on, settings.merge_in)),
    )
    if not settings.inputs and settings.list_file is None and not any(actions):
        raise click.UsageError("nothing to separate; name files or folders (see --help)")
    if settings.file_format == "flac" and settings.subtype == "FLOAT":
        raise click.UsageError("FLAC holds no floats; use --int24, or --format wav")
    if settings.clip_mode == "none" and settings.subtype in ("PCM_16", "PCM_24"):
        raise click.UsageError("--clip-mode none needs --float32")
    if settings.name and settings.weights:
        raise click.UsageError("give --name or --weights, not both")
    if settings.ray_address and settings.run_on != "ray":
        raise click.UsageError("--ray-address needs --on ray")
    if settings.run_on == "ray" and STANDARD_STREAM in (settings.out, *settings.inputs):
        raise click.UsageError("--on ray takes files and folders, not standard input or output")
    if settings.list_file == STANDARD_STREAM and STANDARD_STREAM in settings.inputs:
        raise click.UsageError("standard input is a list (--from -) or audio (-), not both")
    if settings.out == STANDARD_STREAM:
        if settings.stems == "both" or settings.as_json:
            raise click.UsageError(
                "standard output takes one stem and nothing else; give --stems and drop --json"
            )
        if sys.stdout is None:
            raise click.UsageError("standard output is closed; redirect it to a file or pipe")
        if sys.stdout.isatty():
            raise click.UsageError("standard output is a terminal; redirect it to a file or pipe")
