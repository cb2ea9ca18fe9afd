"""Plan which files are separated into which, before any work is done."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from htmdsep.batch import storage
from htmdsep.errors import PlanError
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.options import STANDARD_STREAM, STEM_FILE, BatchOptions, FileFormat, StemName

# Names in a template that users of other separators know: for track, stem and ext.
SYNONYMS = ("filename", "instrument", "codec")


class Track(NamedTuple):
    """A part of a file that is a song of its own, as a cue sheet tells."""

    name: str  # in place of the file's, safe in names of files
    start_seconds: float
    duration_seconds: float | None  # None: to the file's end
    tags: tuple[tuple[str, str], ...]  # names and texts, in place of the file's


class Source(NamedTuple):
    """An input, and the folders below the output folder that mirror where it was found.

    A tuple of strings, as a batch may hold a million of them.
    """

    name: str  # a path, a URL, or - for standard input
    below: str = ""
    problem: str | None = None  # why it cannot be separated, if that is known already
    track: Track | None = None  # None: all of it

    @property
    def label(self) -> str:
        """Return what messages call it."""
        name = "standard input" if self.name == STANDARD_STREAM else self.name
        return name if self.track is None else f"{name}, {self.track.name}"


@dataclass(frozen=True, slots=True)
class Job:
    """A source and its output files, by their names below the output folder."""

    source: Source
    out: str  # a path or a URL
    names: Mapping[StemName, str]
    overwrite: bool = True  # what is there when the stems are whole
    attempt: int = 1  # counts tries in a row that brought no result, this one included

    @property
    def targets(self) -> dict[StemName, str]:
        """Return the output files' paths or URLs."""
        return {stem: storage.join(self.out, name) for stem, name in self.names.items()}

    @property
    def folders(self) -> set[Path]:
        """Return the folders on disks that hold the output files."""
        targets = () if storage.is_url(self.out) else self.targets.values()
        return {Path(target).parent for target in targets}

    def portable(self) -> Job:
        """Return the job by names that mean the same in another process's folder."""
        source = self.source._replace(name=storage.absolute(self.source.name))
        return replace(self, source=source, out=storage.absolute(self.out))


@dataclass(frozen=True)
class Plan:
    """What becomes of every source. Jobs are made as they are asked for, and not kept."""

    sources: Sequence[Source]
    out: str
    template: str
    stems: Mapping[StemName, str]  # with what their files' names hold for {stem}
    file_format: FileFormat
    overwrite: bool = True

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs of the sources that have no problem."""
        return (self.job(source) for source in self.sources if source.problem is None)

    def job(self, source: Source) -> Job:
        """Settle a source's output names; raise PlanError for a template that has none."""
        fields = _fields(source, self.file_format)
        names: dict[StemName, str] = {}
        for stem, called in self.stems.items():
            fields["stem"] = fields["instrument"] = called
            names[stem] = self._name(source, fields)
        return Job(source, self.out, names, self.overwrite)

    def _name(self, source: Source, fields: Mapping[str, str]) -> str:
        try:
            name = self.template.format_map(fields)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = ", ".join(f"{{{field}}}" for field in fields if field not in SYNONYMS)
            raise PlanError(
                f"--filename {self.template!r}: {error}; known fields: {known}"
            ) from error
        if name.startswith(("/", os.sep)):
            raise PlanError(
                f"--filename {self.template!r} names {name!r} for {source.label}, which does not "
                "lie below --out; begin it with {track}"
            )
        if ".." in name.split("/"):
            raise PlanError(f"--filename {self.template!r} leads out of --out; leave .. out")
        if not name or name.endswith(("/", os.sep)):
            raise PlanError(
                f"--filename {self.template!r} names a folder; end it with {{stem}}.{{ext}}"
            )
        return f"{source.below}/{name}" if source.below else name


def plan_jobs(sources: Sequence[Source], batch: BatchOptions, file_format: FileFormat) -> Plan:
    """Settle every output path.

    Raises PlanError for a template with unknown fields or another format's ending, for two outputs
    at one path, and for an output that would replace an input.
    """
    template, stems = batch.filename, batch.called_stems()
    suffix = os.path.splitext(template)[1].lower()  # noqa: PTH122
    if suffix in AUDIO_ENDINGS and not template.lower().endswith(f".{file_format}"):
        raise PlanError(
            f"--filename {template!r} ends in {suffix}, and the stems' format is {file_format}; "
            "end it in {ext}, or give --format"
        )
    if file_format == STEM_FILE:  # both into one
        stems = dict.fromkeys(stems, "stems")
        template = "{track}.{ext}" if template == BatchOptions.filename else template
    plan = Plan(sources, batch.out, template, stems, file_format, batch.existing != "refuse")
    checked = replace(plan, stems={"vocals": "stems"}) if file_format == STEM_FILE else plan
    out = storage.absolute(batch.out)
    # Hashes, as names of a million songs' stems need 300 MB, and these 24.
    hashes = array("q", (hash(_key(source.name)) for source in sources))
    for job in replace(checked, out=out):
        hashes.extend(hash(_key(target)) for target in job.targets.values())
    found, times = np.unique(np.array(hashes), return_counts=True)
    doubtful = set(found[times > 1].tolist())
    if doubtful:
        _check_doubtful(checked, doubtful, ignores_case=_ignores_case(out))
    return plan


def _ignores_case(folder: str) -> bool:
    """Tell whether the disk of a folder, which need not be there yet, takes a and A for one."""
    if storage.is_url(folder):
        return False
    place = next(path for path in (Path(folder), *Path(folder).parents) if path.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".htmdsep-a") as file:
            return Path(file.name).with_name(Path(file.name).name.upper()).exists()
    except OSError:
        return False  # nothing can be written there, as will be told


def _check_doubtful(plan: Plan, doubtful: set[int], *, ignores_case: bool) -> None:
    """Look at the names whose hashes occur twice, and raise PlanError where the names do, too."""
    names = (source.name for source in plan.sources if hash(_key(source.name)) in doubtful)
    inputs = {_key(name) if ignores_case else storage.absolute(name) for name in names}
    owners: dict[str, Source] = {}
    for job in plan:
        for target in job.targets.values():
            if hash(_key(target)) not in doubtful:
                continue
            key = _key(target) if ignores_case else storage.absolute(target)
            if key in inputs:
                raise PlanError(f"{target} is an input; choose another --out or --filename")
            if key in owners:
                raise PlanError(
                    f"{owners[key].label} and {job.source.label} would both be written to "
                    f"{target}; separate them into different folders, mirror their folders with "
                    "--base, or give --filename with {trackext} or {stem}"
                )
            owners[key] = job.source


def _fields(source: Source, file_format: FileFormat) -> dict[str, str]:
    path = source.name if os.sep == "/" else source.name.replace(os.sep, "/")
    folder, _, last = path.rpartition("/")
    if last == STANDARD_STREAM:
        last = "stdin"
    track, _, suffix = last.rpartition(".")
    if not track.strip("."):
        track, suffix = last, ""  # ".mp3" has no ending, and "..." and the like are no names
    if not folder and not path.startswith("/"):
        folder = os.getcwd().replace(os.sep, "/")  # noqa: PTH109
    if source.track is not None:
        track = source.track.name
    parent = folder.rpartition("/")[2]
    if parent in (".", ".."):
        parent = Path(folder).resolve().name
    return {
        "track": track,
        "trackext": suffix,
        "foldername": parent,
        "ext": file_format,
        "filename": track,
        "codec": file_format,
    }


def _key(name: str) -> str:
    """Return what names have in common that some disk takes for one."""
    return unicodedata.normalize("NFC", storage.absolute(name)).casefold()
