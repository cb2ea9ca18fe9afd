"""Where stems go, and the format that their files' names ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from htmdsep.errors import ArgumentError
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.options import FORMATS, STEM_FILE, STEM_NAMES, FileFormat, RunOptions, StemName


def format_of(targets: Mapping[StemName, Path], asked: FileFormat) -> FileFormat:
    """Return the format that the targets' endings name, or that is asked for where they do not.

    Raises ArgumentError for other formats' endings, for two formats, and for two stems in one file.
    """
    endings = {_ending(path) for path in targets.values()} & (AUDIO_ENDINGS | set(FORMATS))
    unknown = endings - set(FORMATS)
    if unknown:
        known = ", ".join(FORMATS)
        raise ArgumentError(f"a stem's name may end in {known}, not in {min(unknown)}")
    formats = {FORMATS[ending] for ending in endings}
    if len(formats) > 1 or (asked != RunOptions.file_format and formats - {asked}):
        given = " and ".join(map(str, targets.values()))
        raise ArgumentError(f"{given} cannot all be {asked}; end their names in .{asked}")
    file_format = formats.pop() if formats else asked
    if file_format == STEM_FILE:
        if len(set(targets.values())) > 1 or len(targets) < len(STEM_NAMES):
            raise ArgumentError(f"a {STEM_FILE} holds both stems; name one file for both")
    elif len({os.path.realpath(path) for path in targets.values()}) < len(targets):
        raise ArgumentError(f"both stems would be written to {targets['vocals']}; name two files")
    return file_format


def _ending(path: Path) -> str:
    is_stem_file = path.name.lower().endswith(f".{STEM_FILE}")
    return f".{STEM_FILE}" if is_stem_file else path.suffix.lower()


def targets_in(folder: Path, file_format: FileFormat) -> dict[StemName, Path]:
    """Return where both stems go by default: into a folder, or into one file of its name."""
    if file_format == STEM_FILE:
        return dict.fromkeys(STEM_NAMES, folder.with_name(f"{folder.name}.{file_format}"))
    return {stem: folder / f"{stem}.{file_format}" for stem in STEM_NAMES}
