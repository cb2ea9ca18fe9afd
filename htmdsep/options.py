"""Every option of the command: its default, limits, help, and part in the hash of --resume."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from htmdsep.errors import ArgumentError
from htmdsep.files import is_safe_name

STANDARD_STREAM = "-"
StemName = Literal["vocals", "accompaniment"]
FileFormat = Literal["wav", "flac", "mp3", "opus", "m4a", "ogg", "stem.mp4"]
FORMATS: dict[str, FileFormat] = {f".{one}": one for one in get_args(FileFormat)}  # by ending
STEM_FILE: FileFormat = "stem.mp4"  # one file with the mixture and both stems
LOSSY: tuple[FileFormat, ...] = ("mp3", "opus", "m4a", "ogg", STEM_FILE)
Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]
ClipMode = Literal["clamp", "rescale", "none"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Existing = Literal["refuse", "skip", "overwrite", "resume"]  # what to do where outputs exist
EngineName = Literal["auto", "onnx", "openvino", "torch"]  # what computes on the CPU

STEM_NAMES: tuple[StemName, ...] = get_args(StemName)

# What Python may give for a field's type, and what it is called
ANYTHING: tuple[type, str] = (object, "")
KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a string"),
}

DEFAULT_WEIGHTS = "spectral"
DEFAULT_OVERLAP = 0.1  # share of a segment; 0.25 and 0.5 gain 0.05 dB at most (docs/speed.md)
MAX_OVERLAP = 0.9
MAX_SHIFTS = 3
MAX_SEGMENT_SECONDS = 600.0
MIN_SAMPLE_RATE = 1_000  # Hz: less is a wrong unit
MAX_SAMPLE_RATE = 768_000
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
    show_default: str | None  # what None comes to


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
    show_default: str | None = None,
) -> Any:
    """Return a dataclass field that is an option of a command, too; Flag says what each means."""
    numbers = (least, above, most)
    flag = Flag(help, names, group, metavar, *numbers, choices, flags or {}, show_default)
    return field(default=default, metadata={"flag": flag})


def plain_type(hint: Any) -> Any:
    """Return a field's type without its None."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (kept,) = (part for part in get_args(hint) if part is not NoneType)
    return kept


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the strings that a Literal, or a tuple of Literals, allows besides None; else none."""
    kind = plain_type(hint)
    if get_origin(kind) is Literal:
        return get_args(kind)
    parts = get_args(kind) if get_origin(kind) is tuple else ()
    return tuple(choice for part in parts for choice in choices_of(part))


def check_limits(options: Any) -> None:
    """Raise ArgumentError where a field has a value that its option would refuse."""
    hints = get_type_hints(type(options))
    for one in fields(options):
        flag, found = one.metadata.get("flag"), getattr(options, one.name)
        if flag is None or found is None:
            continue
        kind = plain_type(hints[one.name])
        choices = flag.choices or choices_of(kind)
        single = get_args(kind)[0] if get_origin(kind) is tuple else kind
        wanted, told = KINDS.get(single, ANYTHING)
        for value in found if isinstance(found, tuple) else (found,):
            if choices and value not in choices:
                raise ArgumentError(
                    f"{one.name} must be one of {', '.join(choices)}, not {value!r}"
                )
            if not isinstance(value, wanted) or (wanted is Integral and isinstance(value, bool)):
                raise ArgumentError(f"{one.name} must be {told}, not {value!r}")
            if isinstance(value, (int, float)) and not _fits(value, flag):
                raise ArgumentError(f"{one.name} must {_limits(flag)}, not {value!r}")


def _fits(value: float, flag: Flag) -> bool:
    return (
        math.isfinite(value)
        and (flag.least is None or value >= flag.least)
        and (flag.above is None or value > flag.above)
        and (flag.most is None or value <= flag.most)
    )


def _limits(flag: Flag) -> str:
    least = flag.above if flag.least is None else flag.least
    if least is not None and flag.most is not None:
        return f"lie between {least:g} and {flag.most:g}"
    limits = (("be at least", flag.least), ("be above", flag.above), ("be at most", flag.most))
    told = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
    return told[0] if told else "be a finite number"


NETWORK, BATCH, CLUSTER = "Network", "Batches and catalogues", "Cluster"
_output = partial(option, group="Output")
_network = partial(option, group=NETWORK)
_batch = partial(option, group=BATCH)
_cluster = partial(option, group=CLUSTER)

# What is settled when a network is loaded
NETWORK_OPTIONS = frozenset({
    "device", "shifts", "segment_seconds", "overlap", "batch_size", "precision", "engine",
    "threads",
})  # fmt: skip
# What the stems' content does not follow from, but for rounding
ROUNDING_OR_SPEED = frozenset({"device", "batch_size", "engine", "threads"})
# What --resume has always compared; a later option counts where it differs from its default.
ALWAYS_HASHED = frozenset({
    "file_format", "subtype", "sample_rate", "start_seconds", "duration_seconds", "clip_mode",
    "segment_seconds", "overlap", "precision",
})  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """How songs are separated, and their stems written; None is what suits source and machine."""

    file_format: FileFormat = option(
        "wav",
        "Format of the stems, which add up exactly in wav and flac; stem.mp4: one file for DJs.",
        names="-c --format",
        flags={"--flac": "flac", "--mp3": "mp3"},
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", names="-d --device")
    bitrate: int | None = _output(
        None,
        "Of mp3, opus, m4a, ogg or a stream of stem.mp4, in kbit/s.",
        names="-b --bitrate",
        least=16,
        most=512,
        metavar="KBITS",
        show_default="mp3 320, opus 192, others 256; mono half",
    )
    subtype: Subtype | None = _output(
        None,
        flags={
            "--int16": ("PCM_16", "16-bit stems, whatever the input has."),
            "--int24": ("PCM_24", "24-bit stems, whatever the input has."),
            "--float32": ("FLOAT", "Stems of 32-bit floats (WAV), whatever the input has."),
        },
    )
    sample_rate: int | None = _output(
        None,
        "Of the stems.",
        least=MIN_SAMPLE_RATE,
        most=MAX_SAMPLE_RATE,
        metavar="HZ",
        show_default="as input",
    )
    start_seconds: float = option(
        0.0, "Where to begin, as 90 or 1:30.", names="--start", least=0, metavar="TIME"
    )
    duration_seconds: float | None = option(
        None, "How much to separate.", names="--duration", above=0, metavar="TIME"
    )
    clip_mode: ClipMode | None = _output(
        None,
        "Beyond full scale: clamp both stems, rescale both by one gain, or (floats) none.",
        show_default="clamp; none for floats",
    )
    loudness: float | None = _output(
        None,
        "Of the stems' sum, by one gain for both.",
        least=-60,
        most=0,
        metavar="LUFS",
        show_default="as input",
    )
    shifts: int = _network(
        0, "Further passes at other pitches: better, slower.", least=0, most=MAX_SHIFTS, metavar="N"
    )
    segment_seconds: float | None = _network(
        None,
        "Length of the pieces the network sees.",
        names="--segment",
        above=0,
        most=MAX_SEGMENT_SECONDS,
        metavar="SECONDS",
        show_default="as trained",
    )
    overlap: float = _network(
        DEFAULT_OVERLAP, "Share of a piece that the next repeats.", least=0, most=MAX_OVERLAP
    )
    batch_size: int | None = _network(
        None, "Pieces at once.", least=1, metavar="N", show_default="what suits cores or GPU"
    )
    precision: Precision = _network(
        "auto", "Arithmetic; auto is fp32, or openvino's bf16 where that is faster."
    )
    engine: EngineName = _network(
        "auto", "What computes on CPUs; auto is onnx, or openvino (an extra) where faster."
    )
    threads: int | None = _network(
        None, "Processor threads.", least=1, metavar="N", show_default="as many as cores"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        is_lossy = self.file_format in LOSSY
        if is_lossy and self.subtype is not None:
            raise ArgumentError(
                f"{self.file_format} has no bit depth; leave --int24 and the like out"
            )
        if self.file_format == "flac" and self.subtype == "FLOAT":
            raise ArgumentError("FLAC holds no floats; use --int24, or --format wav")
        if self.clip_mode == "none" and self.subtype in ("PCM_16", "PCM_24"):
            raise ArgumentError("--clip-mode none needs --float32")
        if not is_lossy and self.bitrate is not None:
            raise ArgumentError(
                f"{self.file_format} has no bit rate; use --format {', '.join(LOSSY)}, or leave "
                "--bitrate out"
            )

    def sha256(self) -> str:
        """Return the hash of what the stems' content follows from, as manifests hold it."""
        known: dict[str, Any] = {"stereo": "channels"}  # an option of version 0.1.0
        for one in fields(self):
            value = getattr(self, one.name)
            is_new = one.name not in ALWAYS_HASHED
            if one.name not in ROUNDING_OR_SPEED and not (is_new and value == one.default):
                known[one.name] = value
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class ClusterOptions:
    """A Ray cluster, and the size of its workers."""

    ray_address: str | None = _cluster(
        None, "Where it is, or auto.", metavar="ADDRESS", show_default="$RAY_ADDRESS, or started"
    )
    actor_cpus: float = _cluster(1.0, "CPU cores of a Ray worker.", above=0, metavar="N")
    actor_gpus: float = _cluster(
        0.0, "GPUs, or the share of one, of a Ray worker.", least=0, metavar="N"
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class BatchOptions:
    """Which songs are separated, and where their stems go.

    `inputs` are files, folders, patterns, playlists, URLs, or "-" for standard input. Raises
    ArgumentError for values out of range.
    """

    inputs: tuple[str, ...] = ()
    out: str = option(
        "separated", "Folder for the stems; - is standard output.", names="-o --out", metavar="DIR"
    )
    stems: Literal[StemName, "both"] = option("both", "What to write.")
    recursive: bool = option(False, "Look into the folders below, too.", names="-r --recursive")
    filename: str = _output(
        "{track}/{stem}.{ext}",
        "Path below --out; {trackext} and {foldername} are known, too.",
        names="-f --filename",
        metavar="TEMPLATE",
    )
    stem_names: str = _output(
        ",".join(STEM_NAMES), "What {stem} stands for, as Vocals,Instrumental.", metavar="NAME,NAME"
    )
    existing: Existing = _batch(
        "refuse",
        flags={
            "--skip-existing": ("skip", "Pass over files whose stems exist."),
            "--overwrite": ("overwrite", "Replace stems that exist."),
            "--resume": (
                "resume",
                "Go on with a batch: redo what its manifest does not prove.",
            ),
        },
    )
    jobs: int | None = _batch(
        None,
        "Files at once; they share the cores.",
        names="-j --jobs",
        least=1,
        metavar="N",
        show_default="1; with Ray, what there is room for",
    )
    list_file: str | None = _batch(
        None, "Take inputs from a list, one a line, or a manifest.", names="--from", metavar="FILE"
    )
    base: str | None = _batch(
        None, "Mirror the folders below DIR, however the inputs are named.", metavar="DIR"
    )
    retries: int = _batch(
        DEFAULT_RETRIES, "How often --resume tries again what failed.", least=0, metavar="N"
    )
    verify: bool = _batch(False, "With --resume: read all bytes, whatever sizes and times say.")
    shard: str | None = _batch(
        None, "Do one of N parts of about equal duration, as array jobs do.", metavar="I/N"
    )
    cluster: ClusterOptions | None = None  # None: in this process
    always_manifest: bool = False  # also for one named file

    def __post_init__(self) -> None:
        check_limits(self)
        if isinstance(self.inputs, str) or not all(isinstance(one, str) for one in self.inputs):
            raise ArgumentError(f"inputs must be several strings, not {self.inputs!r}")
        names = self._stem_names()
        folded = {unicodedata.normalize("NFC", name).casefold() for name in names}
        if len(names) != len(STEM_NAMES) or len(folded) < len(names) or not all(names):
            raise ArgumentError(
                f"stem_names must be two different names, as Vocals,Instrumental, not "
                f"{self.stem_names!r}"
            )
        for name in names:
            if not is_safe_name(name):
                raise ArgumentError(f"{name!r} in stem_names is not safe in a file's name")

    def _stem_names(self) -> list[str]:
        return [name.strip() for name in self.stem_names.split(",")]

    def called_stems(self) -> dict[StemName, str]:
        """Return what is to be written, and what the names of files hold for it."""
        called = dict(zip(STEM_NAMES, self._stem_names(), strict=True))
        return called if self.stems == "both" else {self.stems: called[self.stems]}
