"""What is told of a file while it is separated, and once its stems stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from htmdsep.options import StemName, Subtype

Progress = Callable[[float, float | None], None]  # takes the seconds done, and in all if known
# Is given the stems' finished files, under temporary names; what it raises keeps them from
# appearing under their own.
Check = Callable[[Mapping[StemName, Path]], None]


@dataclass
class StemReport:
    """Where a stem is, and its level (full scale at 1)."""

    path: str
    peak: float
    rms: float


@dataclass
class FileReport:
    """What was done with one file."""

    seconds: float
    sample_rate: int
    channels: int
    subtype: Subtype
    mixture_peak: float
    stems: dict[str, StemReport]
    clipped_samples: int  # of the mixture, beyond full scale
    clipped_stem_samples: int  # where a stem would be beyond it, and the other took the rest
    gain: float  # applied to both stems, for a loudness and by clip mode "rescale"
    closure: bool | None  # whether the files read back add up to the mixture; None for one stem
    # and for lossy formats
    vocals_share: float  # of 0.1 s windows whose vocals are above -45 dBFS RMS
    weights: str | None = None
    weights_sha256: str | None = None
    device: str | None = None
    precision: str | None = None  # of the network's arithmetic
    engine: str | None = None  # what computed it on the CPU
    shifts: int = 0  # further passes at other pitches
    loudness: float | None = None  # LUFS of the mixture before the gain, where one is asked for
    notes: list[str] = field(default_factory=list)
