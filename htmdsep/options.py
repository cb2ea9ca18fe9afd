"""The choices a user has, in one light module that the command line can afford to import."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from htmdsep.errors import HtmdsepError

StemName = Literal["vocals", "accompaniment"]
FileFormat = Literal["wav", "flac"]
Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]
ClipMode = Literal["clamp", "rescale", "none"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Existing = Literal["refuse", "skip", "overwrite", "resume"]  # what to do where outputs exist
EngineName = Literal["auto", "onnx", "openvino", "torch"]  # what computes on the CPU
RunOn = Literal["local", "ray"]

STEM_NAMES: tuple[StemName, ...] = get_args(StemName)
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
SUBTYPES: tuple[Subtype, ...] = get_args(Subtype)
CLIP_MODES: tuple[ClipMode, ...] = get_args(ClipMode)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PLACES_TO_RUN: tuple[RunOn, ...] = get_args(RunOn)

DEFAULT_WEIGHTS = "spectral"
DEFAULT_OVERLAP = 0.1  # share of a segment; 0.25 and 0.5 gain 0.05 dB at most (docs/speed.md)
MAX_OVERLAP = 0.9
MAX_SHIFTS = 3
MAX_SEGMENT_SECONDS = 600.0
MAX_SAMPLE_RATE = 768_000  # Hz
MAX_CHANNELS = 8
DEFAULT_RETRIES = 2  # of a song that failed, over all runs of a batch


class Flag(NamedTuple):
    """What a command line says about a field of options; `option` fills it."""

    help: str
    names: str  # as "-d --device"; empty: made of the field's name, unless there are `flags`
    group: str  # the title it has in the help
    metavar: str | None
    least: float | None  # numbers below are refused
    above: float | None  # numbers up to this one are refused
    most: float | None  # numbers beyond are refused
    choices: Sequence[str]  # where the type is no Literal
    flags: Mapping[str, Any]  # a flag a value: (value, help), or a value, which the help leaves out
    show_default: bool | str  # a string says what None comes to
    hidden: bool


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    names: str = "",
    group: str = "Options",
    metavar: str | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    choices: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    show_default: bool | str = True,
    hidden: bool = False,
) -> Any:
    """Return a dataclass field that is an option of a command, too; Flag says what each means.

    Without a default the option is required, and its dataclass must be `kw_only`.
    """
    numbers = (least, above, most)
    flag = Flag(help, names, group, metavar, *numbers, choices, flags or {}, show_default, hidden)
    return field(default=default, metadata={"flag": flag})


def plain_type(hint: Any) -> Any:
    """Return a field's type without its None."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kept = tuple(part for part in get_args(hint) if part is not type(None))
    return kept[0] if len(kept) == 1 else Union[kept]  # noqa: UP007


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the strings that a Literal, a union or a tuple of Literals, allows; else none."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType, tuple):
        return tuple(choice for part in get_args(hint) for choice in choices_of(part))
    return ()


def check_limits(options: Any) -> None:
    """Raise HtmdsepError where a field has a value that its option would refuse."""
    hints = get_type_hints(type(options))
    for one in fields(options):
        flag, found = one.metadata.get("flag"), getattr(options, one.name)
        if flag is None or found is None:
            continue
        choices = flag.choices or choices_of(hints[one.name])
        for value in found if isinstance(found, tuple) else (found,):
            if choices and value not in choices:
                raise HtmdsepError(f"{one.name} must be one of {', '.join(choices)}, not {value!r}")
            if isinstance(value, (int, float)) and not _fits(value, flag):
                raise HtmdsepError(f"{one.name} must {_limits(flag)}, not {value!r}")


def _fits(value: float, flag: Flag) -> bool:
    return (
        math.isfinite(value)
        and (flag.least is None or value >= flag.least)
        and (flag.above is None or value > flag.above)
        and (flag.most is None or value <= flag.most)
    )


def _limits(flag: Flag) -> str:
    limits = (("be at least", flag.least), ("be above", flag.above), ("be at most", flag.most))
    told = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
    return " and ".join(told) or "be a finite number"


@dataclass(frozen=True)
class FileOptions:
    """How stems are written; None stands for "as the source is"."""

    file_format: FileFormat = "wav"
    subtype: Subtype | None = None  # None: the depth that keeps what the source holds
    sample_rate: int | None = None  # Hz
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    clip_mode: ClipMode | None = None  # None: clamp for integers, none for floats
