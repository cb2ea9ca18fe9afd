"""The options of `htmdsep-train run`, in the groups of its help, and the recipe they come to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from htmdsep.options import option
from htmdsep.training.losses import VARIANTS
from htmdsep.training.recipe import PRESETS, Architecture, Decay, Recipe

DATA, RECIPE, LENGTH, MACHINE = "Data", "Recipe", "Length", "Machine"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What to train, on what, and where; None leaves a value to the preset."""

    folder: Path
    out: Path = option(help="Folder for checkpoints, log and curve.", group=DATA)
    cache: Path = option(
        Path("cache"), "Folder for decoded audio, filled once: 160 MB an hour.", group=DATA
    )
    held_out: str | None = option(
        None,
        "What to validate on: musdb-3-1, musdb-86-14, open-corpus or a JSON file.",
        group=DATA,
        metavar="NAME|FILE",
        show_default="musdb-3-1, or every seventh song",
    )

    preset: str = option(
        "ours",
        "paper: the slides' protocol. ours: random mixing and augmentation. spectral: the same, to "
        "tune the default network, with --start-from.",
        group=RECIPE,
        choices=tuple(sorted(PRESETS)),
    )
    architecture: Architecture | None = option(
        None,
        "HTMD-Net, the spectral network, or one of the slides' two baselines.",
        group=RECIPE,
        show_default="htmdnet, preset spectral: spectral",
    )
    loss: str | None = option(
        None,
        "A variant of the slides: distance at the masked estimate, then at the output; mse and "
        "mae have no first.",
        group=RECIPE,
        choices=tuple(sorted(VARIANTS)),
    )
    learning_rate: float | None = option(None, "The highest.", group=RECIPE, above=0)
    decay: Decay | None = option(
        None, "Of the learning rate: cosine ends with the run.", group=RECIPE
    )
    masking_share: float | None = option(
        None,
        "Share of the run, whose end must be given, in which HTMD-Net's masking network learns "
        "alone, faster than with the denoiser.",
        group=RECIPE,
        least=0,
        most=1,
    )
    batch_size: int | None = option(None, "Segments a step and process.", group=RECIPE, least=1)
    segment_length: int | None = option(
        None, "Samples a segment, at 22 050 Hz.", group=RECIPE, least=1
    )
    encoder: tuple[int, int] | None = option(
        None,
        "Samples of the masking network's encoder: 16 8 as published.",
        group=RECIPE,
        metavar="KERNEL STRIDE",
        least=1,
    )
    repeats: int | None = option(
        None,
        "Of the masking network's nine blocks.",
        group=RECIPE,
        least=1,
        show_default="htmdnet 1, convtasnet 3",
    )
    start_from: str | None = option(
        None,
        "Begin with these weights, of the same network, instead of drawn ones.",
        group=RECIPE,
        metavar="NAME|FILE",
    )
    seed: int = option(0, "Of everything.", group=RECIPE, least=0)

    epochs: int | None = option(
        None, "Passes over the songs (preset paper).", group=LENGTH, least=1
    )
    steps: int | None = option(None, "Batches in all, instead.", group=LENGTH, least=1)
    max_minutes: float | None = option(
        None,
        "End within this time, resumed runs included; the decay of preset ours ends with it.",
        group=LENGTH,
        above=0,
    )
    patience: int | None = option(None, "Validations without a better loss.", group=LENGTH, least=1)
    epoch_minutes: float | None = option(None, "Time between validations.", group=LENGTH, above=0)
    validation_stride: int | None = option(
        None, "Validate on every N-th window only.", group=LENGTH, least=1
    )
    resume: bool = option(False, "Go on from last.pt in --out.", group=LENGTH)

    device: str = option("auto", "auto, cpu, cuda or cuda:N.", group=MACHINE)
    threads: int | None = option(None, "CPU threads of the network.", group=MACHINE, least=1)
    workers: int = option(
        1, "Processes that prepare batches; 0: none of their own.", group=MACHINE, least=0
    )
    bf16: bool | None = option(
        None,
        "Autocast to bfloat16.",
        names="--bf16/--no-bf16",
        group=MACHINE,
        show_default="where the hardware has it, preset ours",
    )
    compiled: bool = option(
        False,
        "torch.compile: twice as fast on the CPU measured, half a minute to start.",
        names="--compile",
        group=MACHINE,
    )
    tensorboard: bool = option(False, "Write TensorBoard events to --out, too.", group=MACHINE)

    def recipe(self) -> Recipe:
        """Return the preset with every option that was given."""
        preset = PRESETS[self.preset]
        given = {field.name: getattr(self, field.name, None) for field in fields(Recipe)}
        given["loss"] = None if self.loss is None else VARIANTS[self.loss]
        given["encoder_kernel"], given["encoder_stride"] = self.encoder or (None, None)
        return replace(preset, **{name: v for name, v in given.items() if v is not None})
