"""The options of `htmdsep-train run`, in the groups of its help, and the recipe they come to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from htmdsep.options import option
from htmdsep.training.losses import VARIANTS
from htmdsep.training.recipe import PRESETS, Architecture, Decay, Recipe

_data = partial(option, group="Data")
_recipe = partial(option, group="Recipe")
_length = partial(option, group="Length")
_machine = partial(option, group="Machine")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What to train, on what, and where; None leaves a value to the preset."""

    folder: Path
    out: Path = _data(help="Folder for checkpoints, log and curve.")
    cache: Path = _data(Path("cache"), "Folder for decoded audio, filled once: 160 MB an hour.")
    held_out: str | None = _data(
        None,
        "What to validate on: musdb-3-1, musdb-86-14, open-corpus or a JSON file.",
        metavar="NAME|FILE",
        show_default="musdb-3-1, or every seventh song",
    )

    preset: str = _recipe(
        "ours",
        "paper: the slides' protocol. ours: random mixing and augmentation. spectral: the same, to "
        "tune the default network, with --start-from.",
        choices=tuple(sorted(PRESETS)),
    )
    architecture: Architecture | None = _recipe(
        None,
        "HTMD-Net, the spectral network, or one of the slides' two baselines.",
        show_default="htmdnet, preset spectral: spectral",
    )
    loss: str | None = _recipe(
        None,
        "A variant of the slides: distance at the masked estimate, then at the output; mse and "
        "mae have no first.",
        choices=tuple(sorted(VARIANTS)),
    )
    learning_rate: float | None = _recipe(None, "The highest.", above=0)
    decay: Decay | None = _recipe(None, "Of the learning rate: cosine ends with the run.")
    masking_share: float | None = _recipe(
        None,
        "Share of the run, whose end must be given, in which HTMD-Net's masking network learns "
        "alone, faster than with the denoiser.",
        least=0,
        most=1,
    )
    batch_size: int | None = _recipe(None, "Segments a step and process.", least=1)
    segment_length: int | None = _recipe(None, "Samples a segment, at 22 050 Hz.", least=1)
    encoder: tuple[int, int] | None = _recipe(
        None,
        "Samples of the masking network's encoder: 16 8 as published.",
        metavar="KERNEL STRIDE",
        least=1,
    )
    repeats: int | None = _recipe(
        None,
        "Of the masking network's nine blocks.",
        least=1,
        show_default="htmdnet 1, convtasnet 3",
    )
    start_from: str | None = _recipe(
        None,
        "Begin with these weights, of the same network, instead of drawn ones.",
        metavar="NAME|FILE",
    )
    seed: int = _recipe(0, "Of everything.", least=0)

    epochs: int | None = _length(None, "Passes over the songs (preset paper).", least=1)
    steps: int | None = _length(None, "Batches in all, instead.", least=1)
    max_minutes: float | None = _length(
        None,
        "End within this time, resumed runs included; the decay of preset ours ends with it.",
        above=0,
    )
    patience: int | None = _length(None, "Validations without a better loss.", least=1)
    epoch_minutes: float | None = _length(None, "Time between validations.", above=0)
    validation_stride: int | None = _length(None, "Validate on every N-th window only.", least=1)
    resume: bool = _length(False, "Go on from last.pt in --out.")

    device: str = _machine("auto", "auto, cpu, cuda or cuda:N.")
    threads: int | None = _machine(None, "CPU threads of the network.", least=1)
    workers: int = _machine(1, "Processes that prepare batches; 0: none of their own.", least=0)
    bf16: bool | None = _machine(
        None,
        "Autocast to bfloat16.",
        names="--bf16/--no-bf16",
        show_default="where the hardware has it, preset ours",
    )
    compiled: bool = _machine(
        False,
        "torch.compile: twice as fast on the CPU measured, half a minute to start.",
        names="--compile",
    )
    tensorboard: bool = _machine(False, "Write TensorBoard events to --out, too.")

    def recipe(self) -> Recipe:
        """Return the preset with every option that was given."""
        given = {field.name: getattr(self, field.name, None) for field in fields(Recipe)}
        given["loss"] = None if self.loss is None else VARIANTS[self.loss]
        given["encoder_kernel"], given["encoder_stride"] = self.encoder or (None, None)
        return replace(PRESETS[self.preset], **{k: v for k, v in given.items() if v is not None})
