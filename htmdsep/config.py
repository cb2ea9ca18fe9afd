"""Frozen descriptions of the three networks, and their form in a weights file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import lcm
from typing import Any, ClassVar, Literal

from htmdsep.errors import HtmdsepError

Activation = Literal["tanh", "linear"]
RecurrentActivation = Literal["sigmoid", "hard_sigmoid"]

_CHOICES = {
    "activation": ("tanh", "linear"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid"),
}


@dataclass(frozen=True)
class _Common:
    """What every network states: its rate, the segments it was trained on, Keras's constants."""

    sample_rate: int = 22_050  # Hz, mono (slides)
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
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _CHOICES:
                if value not in _CHOICES[field.name]:
                    known = " or ".join(repr(choice) for choice in _CHOICES[field.name])
                    raise HtmdsepError(f"{field.name} must be {known}, not {value!r}")
            elif field.name == "input_level":
                if value is not None and not -100 <= value <= 0:
                    raise HtmdsepError(f"input_level must lie between -100 and 0, not {value!r}")
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise HtmdsepError(f"{field.name} must be a positive number, not {value!r}")
            elif isinstance(field.default, int) and not isinstance(value, int):
                raise HtmdsepError(f"{field.name} must be a whole number, not {value!r}")
        if self.segment_length % self.length_multiple:
            raise HtmdsepError(
                f"segment_length must be a multiple of {self.length_multiple}, "
                f"not {self.segment_length}"
            )


@dataclass(frozen=True)
class _Masking(_Common):
    """The Conv-TasNet-like masking network (authors' scripts)."""

    encoder_channels: int = 512
    encoder_kernel: int = 16  # 16/8 as published; 32/16 halves the masker's work
    encoder_stride: int = 8
    bottleneck_channels: int = 128
    block_channels: int = 512
    block_kernel: int = 3
    blocks: int = 9  # dilations 1, 2, ..., 256
    repeats: int = 1

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
class HTMDNetConfig(_Masking):
    """HTMD-Net: a masking network, then a denoising network with an LSTM bottleneck."""

    architecture: ClassVar[str] = "htmdnet"

    denoiser_levels: int = 11  # the slides count the LSTM level as a twelfth
    denoiser_channels: int = 12  # level i has 12 * (i + 1) channels
    first_kernel: int = 5
    down_kernel: int = 15
    up_kernel: int = 5
    lstm_size: int = 168
    lstm_layers: int = 2
    activation: Activation = "tanh"  # the authors' networks: "linear"
    recurrent_activation: RecurrentActivation = "sigmoid"

    @property
    def length_multiple(self) -> int:
        return lcm(2**self.denoiser_levels, self.encoder_stride)


@dataclass(frozen=True)
class ConvTasNetConfig(_Masking):
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


NetworkConfig = HTMDNetConfig | ConvTasNetConfig | WaveUNetConfig


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Return the config as plain values, with the architecture's name."""
    return {"architecture": config.architecture, **asdict(config)}


def config_from_dict(values: dict[str, Any]) -> NetworkConfig:
    """Rebuild a config from `config_to_dict`; raise HtmdsepError for anything it does not know."""
    values = dict(values)
    architecture = values.pop("architecture", None)
    for kind in (HTMDNetConfig, ConvTasNetConfig, WaveUNetConfig):
        if kind.architecture == architecture:
            unknown = sorted(set(values) - {field.name for field in fields(kind)})
            if unknown:
                raise HtmdsepError(f"the {architecture} config has unknown fields: {unknown}")
            return kind(**values)
    raise HtmdsepError(
        f"unknown architecture {architecture!r}; known: htmdnet, convtasnet, waveunet"
    )
