"""The choices a user has, in one light module that the command line can afford to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

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
MIN_SAMPLE_RATE = 1_000  # Hz: less is a wrong unit
MAX_SAMPLE_RATE = 768_000
MAX_CHANNELS = 8
DEFAULT_RETRIES = 2  # of a song that failed, over all runs of a batch


@dataclass(frozen=True)
class FileOptions:
    """How stems are written; None stands for "as the source is"."""

    file_format: FileFormat = "wav"
    subtype: Subtype | None = None  # None: the depth that keeps what the source holds
    sample_rate: int | None = None  # Hz
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    clip_mode: ClipMode | None = None  # None: clamp for integers, none for floats
