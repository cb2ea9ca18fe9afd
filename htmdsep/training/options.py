"""The options of the training command, in the groups of its help."""

from __future__ import annotations

from pathlib import Path

import click

from htmdsep.training.grouped import grouped
from htmdsep.training.losses import VARIANTS
from htmdsep.training.presets import PRESETS

PATH = click.Path(path_type=Path)

data_options = grouped(
    "Data",
    (
        "--out",
        {"type": PATH, "required": True, "help": "Folder for checkpoints, log and curve."},
    ),
    (
        "--cache",
        {
            "type": PATH,
            "default": Path("cache"),
            "show_default": True,
            "help": "Folder for decoded audio, filled once: 160 MB an hour.",
        },
    ),
    (
        "--held-out",
        {
            "metavar": "NAME|FILE",
            "help": "What to validate on: musdb-3-1, musdb-86-14, open-corpus or a JSON file.  "
            "[default: musdb-3-1, or every seventh song]",
        },
    ),
)
recipe_options = grouped(
    "Recipe",
    (
        "--preset",
        {
            "type": click.Choice(sorted(PRESETS)),
            "default": "ours",
            "show_default": True,
            "help": "paper: the slides' protocol. ours: random mixing and augmentation.",
        },
    ),
    (
        "--architecture",
        {
            "type": click.Choice(["htmdnet", "convtasnet", "waveunet"]),
            "default": "htmdnet",
            "show_default": True,
            "help": "HTMD-Net, or one of the slides' two baselines.",
        },
    ),
    (
        "--loss",
        {
            "type": click.Choice(sorted(VARIANTS)),
            "help": "A variant of the slides: distance at the masked estimate, then at the "
            "output; mse and mae have no first.",
        },
    ),
    ("--learning-rate", {"type": click.FloatRange(0, min_open=True), "help": "The highest."}),
    (
        "--decay",
        {
            "type": click.Choice(["none", "cosine", "plateau"]),
            "help": "Of the learning rate: cosine ends with the run, plateau halves it after 5 "
            "validations without a better loss.",
        },
    ),
    (
        "--optimiser",
        {
            "type": click.Choice(["adam", "muon"]),
            "help": "muon: for the 1x1 convolutions steps that are made orthogonal, Adam's for the "
            "rest.",
        },
    ),
    (
        "--masking-share",
        {
            "type": click.FloatRange(0, 1),
            "help": "Share of the run, whose end must be given, in which HTMD-Net's masking "
            "network learns alone, faster than with the denoiser.",
        },
    ),
    ("--batch-size", {"type": click.IntRange(1), "help": "Segments a step and process."}),
    (
        "--segment-length",
        {"type": click.IntRange(1), "help": "Samples a segment, at 22 050 Hz."},
    ),
    (
        "--encoder",
        {
            "type": (click.IntRange(1), click.IntRange(1)),
            "metavar": "KERNEL STRIDE",
            "help": "Samples of the masking network's encoder: 16 8 as published.",
        },
    ),
    (
        "--repeats",
        {
            "type": click.IntRange(1),
            "help": "Of the masking network's nine blocks.  [default: htmdnet 1, convtasnet 3]",
        },
    ),
    (
        "--start-from",
        {
            "metavar": "NAME|FILE",
            "help": "Begin with these weights, of the same network or one with fewer repeats, "
            "instead of drawn ones.",
        },
    ),
    (
        "--seed",
        {"type": click.IntRange(0), "default": 0, "show_default": True, "help": "Of everything."},
    ),
)
length_options = grouped(
    "Length",
    ("--epochs", {"type": click.IntRange(1), "help": "Passes over the songs (preset paper)."}),
    ("--steps", {"type": click.IntRange(1), "help": "Batches in all, instead."}),
    (
        "--max-minutes",
        {
            "type": click.FloatRange(0, min_open=True),
            "help": "End within this time, resumed runs included; the decay of preset ours "
            "ends with it.",
        },
    ),
    ("--patience", {"type": click.IntRange(1), "help": "Validations without a better loss."}),
    (
        "--epoch-minutes",
        {"type": click.FloatRange(0, min_open=True), "help": "Time between validations."},
    ),
    (
        "--validation-stride",
        {"type": click.IntRange(1), "help": "Validate on every N-th window only."},
    ),
    ("--resume", {"is_flag": True, "help": "Go on from last.pt in --out."}),
)
machine_options = grouped(
    "Machine",
    (
        "--device",
        {"default": "auto", "show_default": True, "help": "auto, cpu, cuda or cuda:N."},
    ),
    ("--threads", {"type": click.IntRange(1), "help": "CPU threads of the network."}),
    (
        "--workers",
        {
            "type": click.IntRange(0),
            "default": 1,
            "show_default": True,
            "help": "Processes that prepare batches; 0: none of their own.",
        },
    ),
    (
        "--bf16/--no-bf16",
        {
            "default": None,
            "help": "Autocast to bfloat16.  [default: where the hardware has it, preset ours]",
        },
    ),
    (
        "--compile compiled",
        {
            "is_flag": True,
            "help": "torch.compile: twice as fast on the CPU measured, half a minute to start.",
        },
    ),
    ("--tensorboard", {"is_flag": True, "help": "Write TensorBoard events to --out, too."}),
)
