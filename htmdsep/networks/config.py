"""Frozen descriptions of the networks, and their form in a weights file."""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, fields
from math import lcm
from typing import Any, ClassVar, Literal, get_type_hints

from htmdsep.errors import HtmdsepError
from htmdsep.options import choices_of

Activation = Literal["tanh", "linear"]
RecurrentActivation = Literal["sigmoid", "hard_sigmoid"]

_MAY_BE_ZERO = ("denoiser_levels", "dense_narrowing", "least_share")
HIGH_BAND_HERTZ = (9_000, 11_000)  # whose masks speak for what lies above the network's band
VOICE_BAND_HERTZ = (200, 4_000)  # in which it is told whether anybody sings
# For new networks: of the energy there, and of all the energy that a temporal network's encoder has
# (docs/trials/presence.csv)
LEAST_SHARE, TEMPORAL_LEAST_SHARE = 0.02, 0.001
DENSE_NARROWING = 4  # for new networks


@dataclass(frozen=True)
class _Common:
    """What every network states: its rate, the segments it was trained on, Keras's constants."""

    input_channels: ClassVar[int] = 1  # of a mixture, that the network hears together

    sample_rate: int = 22_050  # Hz (slides)
    segment_length: int = 16_384  # samples; the length to infer at (authors' scripts)
    leaky_slope: float = 0.3  # Keras default
    batchnorm_eps: float = 1e-3  # Keras default
    batchnorm_momentum: float = 0.01  # 1 - Keras's default of 0.99
    # dBFS RMS that segments are brought to before the network hears them; None: as they are
    input_level: float | None = None

    @property
    def length_multiple(self) -> int:
        """Number of samples that every input length must be a multiple of."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            value = getattr(self, field.name)
            if wanted := _wanted(field, hints[field.name], value):
                raise HtmdsepError(f"{field.name} must {wanted}, not {value!r}")
        if self.segment_length % self.length_multiple:
            raise HtmdsepError(
                f"segment_length must be a multiple of {self.length_multiple}, "
                f"not {self.segment_length}"
            )


@dataclass(frozen=True)
class _TemporalMasking(_Common):
    """The Conv-TasNet-like masking network (authors' scripts)."""

    encoder_channels: int = 512
    encoder_kernel: int = 16  # 16/8 as published; 32/16 halves the masker's work
    encoder_stride: int = 8
    bottleneck_channels: int = 128
    block_channels: int = 512
    block_kernel: int = 3
    blocks: int = 9  # dilations 1, 2, ..., 256
    repeats: int = 1
    least_share: float = 0.0  # as the spectral network's, of the encoder's energy

    def __post_init__(self) -> None:
        super().__post_init__()
        overhang = self.encoder_kernel - self.encoder_stride
        if overhang < 0 or overhang % 2:
            raise HtmdsepError(
                "encoder_kernel minus encoder_stride must be even and not negative, not "
                f"{self.encoder_kernel} - {self.encoder_stride}"
            )
        if self.block_kernel % 2 == 0:
            raise HtmdsepError(f"block_kernel must be odd, not {self.block_kernel}")

    @property
    def length_multiple(self) -> int:
        return self.encoder_stride


@dataclass(frozen=True)
class _Denoising(_Common):
    """The Wave-U-Net-like denoising network with an LSTM bottleneck; of no levels: none."""

    denoiser_levels: int = 11  # the slides count the LSTM level as a twelfth
    denoiser_channels: int = 12  # level i has 12 * (i + 1) channels
    first_kernel: int = 5
    down_kernel: int = 15
    up_kernel: int = 5
    lstm_size: int = 168
    lstm_layers: int = 2
    activation: Activation = "tanh"  # the authors' networks: "linear"
    recurrent_activation: RecurrentActivation = "sigmoid"


@dataclass(frozen=True)
class HTMDNetConfig(_Denoising, _TemporalMasking):
    """HTMD-Net: the temporal masking network, then the denoising network."""

    architecture: ClassVar[str] = "htmdnet"

    @property
    def length_multiple(self) -> int:
        return lcm(2**self.denoiser_levels, self.encoder_stride)


@dataclass(frozen=True)
class SpectralConfig(_Denoising):
    """A masking network on spectrograms, with or without the denoising network behind it.

    A U-Net of 5x5 convolutions, after Spleeter's (Hennequin et al., JOSS 5(50), 2154, 2020), whose
    windows of 4096 samples at 44 100 Hz are 2048 here.
    """

    architecture: ClassVar[str] = "spectral"

    segment_length: int = 131_072  # 5.94 s; SDR is the same from there on (docs/recipe.md)
    leaky_slope: float = 0.2
    denoiser_levels: int = 0
    input_channels: Literal[1, 2] = 2  # type: ignore[misc]
    window_length: int = 2_048  # samples, Hann
    hop_length: int = 512
    bins: int = 1_024  # that have a mask of their own; those above have the last one's
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # channels of the levels
    # How many times narrower than a level's bins dense layers across them are inside; 0: no such
    # layers. They hear a voice's partials together, which lie too far apart for convolutions.
    dense_narrowing: int = 0
    magnitude_scale: float = 2.0  # brings the windows' magnitudes to those of twice the length
    # Of the energy that a voice could be in. Where the masks keep less of it, over half a second,
    # nobody sings, and they fall by as much as that is less; 0: they never do.
    least_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_length % self.hop_length or not self.bins <= self.window_length // 2 + 1:
            raise HtmdsepError(
                "hop_length must divide window_length, and bins be at most half of that and one, "
                f"not {self.hop_length}, {self.window_length}, {self.bins}"
            )
        if self.bins % 2 ** len(self.widths):
            raise HtmdsepError(f"bins must be a multiple of 2**levels, not {self.bins}")

    def bins_of(self, band_hertz: tuple[int, int]) -> tuple[int, int]:
        """Return the first of a band's bins that have a mask, and the one after the last."""
        hertz = self.sample_rate / self.window_length  # from bin to bin
        first, last = (min(self.bins, round(edge / hertz)) for edge in band_hertz)
        return min(first, self.bins - 1), max(last, first + 1)

    @property
    def length_multiple(self) -> int:
        return lcm(self.hop_length * int(2 ** len(self.widths)), int(2**self.denoiser_levels))


@dataclass(frozen=True)
class ConvTasNetConfig(_TemporalMasking):
    """Conv-TasNet*, the slides' masking baseline: three repeats of the masking network."""

    architecture: ClassVar[str] = "convtasnet"

    repeats: int = 3


@dataclass(frozen=True)
class WaveUNetConfig(_Common):
    """Wave-U-Net, the slides' denoising baseline."""

    architecture: ClassVar[str] = "waveunet"

    levels: int = 12
    channels: int = 24  # level i has 24 * (i + 1) channels
    down_kernel: int = 15
    up_kernel: int = 5

    @property
    def length_multiple(self) -> int:
        return int(2**self.levels)


def _wanted(field: Field[Any], hint: Any, value: Any) -> str:
    """Say what a field's value must be where it is something else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if choices := choices_of(hint):
        return "" if value in choices else f"be {' or '.join(map(repr, choices))}"
    if field.name == "input_level":
        fits = value is None or (is_number and -100 <= value <= 0)
        return "" if fits else "lie between -100 and 0"
    if field.name == "widths":
        fits = isinstance(value, tuple) and len(value) > 1
        fits = fits and all(isinstance(width, int) and width > 0 for width in value)
        return "" if fits else "be two or more positive whole numbers"
    if not is_number or not (value > 0 or (value == 0 and field.name in _MAY_BE_ZERO)):
        return "be a positive number"
    is_whole = isinstance(value, int) or not isinstance(field.default, int)
    return "" if is_whole else "be a whole number"


NetworkConfig = HTMDNetConfig | SpectralConfig | ConvTasNetConfig | WaveUNetConfig
_KINDS = (HTMDNetConfig, SpectralConfig, ConvTasNetConfig, WaveUNetConfig)


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Return the config as plain values, with the architecture's name."""
    return {"architecture": config.architecture, **asdict(config)}


def config_from_dict(values: dict[str, Any]) -> NetworkConfig:
    """Rebuild a config from `config_to_dict`; raise HtmdsepError for anything it does not know."""
    values = dict(values)
    architecture = values.pop("architecture", None)
    for kind in _KINDS:
        if kind.architecture == architecture:
            unknown = sorted(set(values) - {field.name for field in fields(kind)})
            if unknown:
                raise HtmdsepError(f"the {architecture} config has unknown fields: {unknown}")
            lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
            return kind(**{**values, **lists})
    known = ", ".join(kind.architecture for kind in _KINDS)
    raise HtmdsepError(f"unknown architecture {architecture!r}; known: {known}")
