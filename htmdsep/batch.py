"""Plan which files are separated into which, before any work is done."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from htmdsep.errors import HtmdsepError
from htmdsep.options import FileFormat, StemName

STANDARD_STREAM = "-"
# What is looked for in folders; a file named on the command line is tried whatever its ending.
SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".opus", ".spx", ".m4a", ".m4b", ".mp4", ".m4v",
    ".mov", ".aac", ".ac3", ".eac3", ".dts", ".wma", ".wmv", ".asf", ".webm", ".mkv", ".mka",
    ".avi", ".ape", ".wv", ".tta", ".tak", ".mpc", ".amr", ".3gp", ".flv", ".ts", ".mpg",
    ".mpeg", ".ra",
})  # fmt: skip
# Names in a template: ours, and what users of other separators know.
SYNONYMS = {"filename": "track", "instrument": "stem", "codec": "ext"}


class PlanError(HtmdsepError):
    """What is asked for cannot be done, whatever the files hold."""


@dataclass(frozen=True)
class Source:
    """An input file, and the folders below the output folder that mirror where it was found."""

    path: Path
    below: Path = Path()
    problem: str | None = None  # why it cannot be separated, if that is known already

    @property
    def label(self) -> str:
        """Return what messages call it."""
        return "standard input" if str(self.path) == STANDARD_STREAM else str(self.path)


@dataclass(frozen=True)
class Job:
    """A source and its output files."""

    source: Source
    targets: Mapping[StemName, Path]


def find_sources(inputs: Sequence[str], out: Path, *, recursive: bool) -> Iterator[Source]:
    """Yield every file to separate, each once: the inputs, and the audio files in folders.

    The output folder is not searched where it lies below an input folder: it holds stems.
    """
    seen: set[Path] = set()
    for source in _expand(inputs, out.resolve(), recursive=recursive):
        key = source.path.absolute()
        if key not in seen:
            seen.add(key)
            yield source


def _expand(inputs: Sequence[str], out: Path, *, recursive: bool) -> Iterator[Source]:
    for given in inputs:
        path = Path(given)
        if given == STANDARD_STREAM or not path.is_dir():
            yield Source(path)
            continue
        found = sorted(_audio_files(path, out, recursive=recursive))
        for file in found:
            yield Source(file, file.parent.relative_to(path))
        if not found:
            deeper = "" if recursive else "; --recursive looks into the folders below"
            yield Source(path, problem=f"no audio file in this folder{deeper}")


def _audio_files(folder: Path, out: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and Path(parent, name).resolve() != out
        ]
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(parent) / name


def plan_jobs(
    sources: Sequence[Source],
    out: Path,
    template: str,
    stems: Sequence[StemName],
    file_format: FileFormat,
) -> list[Job]:
    """Settle every output path.

    Raises PlanError for a template with unknown fields, for two outputs at one path, and for an
    output that would replace an input.
    """
    jobs = [
        Job(source, {stem: _target(source, out, template, stem, file_format) for stem in stems})
        for source in sources
    ]
    inputs = {_key(source.path): source for source in sources}
    owners: dict[str, Source] = {}
    for job in jobs:
        for target in job.targets.values():
            key = _key(target)
            if key in inputs:
                raise PlanError(f"{target} is an input; choose another --out or --filename")
            if key in owners:
                raise PlanError(
                    f"{owners[key].label} and {job.source.label} would both be written to "
                    f"{target}; separate them into different folders, or give --filename "
                    "with {trackext} or {stem}"
                )
            owners[key] = job.source
    return jobs


def _target(
    source: Source, out: Path, template: str, stem: StemName, file_format: FileFormat
) -> Path:
    track = "stdin" if str(source.path) == STANDARD_STREAM else source.path.stem
    fields = {
        "track": track if track.strip(".") else source.path.name,  # "..." and the like are no names
        "trackext": source.path.suffix.lstrip("."),
        "foldername": source.path.absolute().parent.name,
        "stem": stem,
        "ext": file_format,
    }
    fields.update({theirs: fields[ours] for theirs, ours in SYNONYMS.items()})
    try:
        name = string.Formatter().vformat(template, (), fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{field}}}" for field in fields if field not in SYNONYMS)
        raise PlanError(f"--filename {template!r}: {error}; known fields: {known}") from error
    if not name or name.endswith(("/", os.sep)):
        raise PlanError(f"--filename {template!r} names a folder; end it with {{stem}}.{{ext}}")
    return out / source.below / name


def _key(path: Path) -> str:
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100 (normcase works on strings)
