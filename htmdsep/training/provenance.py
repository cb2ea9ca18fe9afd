"""Where weights come from: command, commit, data and their credits."""

from __future__ import annotations

import csv
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from htmdsep.errors import HtmdsepError


def describe_command(arguments: Sequence[str]) -> str:
    """Return the command of arguments, without the folders of paths: they are nobody's business."""
    return shlex.join(["htmdsep-train", *map(_without_folder, arguments)])


def _without_folder(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)


def current_commit() -> str:
    """Return the commit that the package runs from, "unknown" outside a repository."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def read_credits(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with at least the columns source and licence, a row a source of audio."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HtmdsepError(f"cannot read the credits {path}: {error}") from error
    if not rows or not {"source", "licence"} <= rows[0].keys():
        raise HtmdsepError(f"{path} must be a CSV file with the columns source and licence")
    for number, row in enumerate(rows, 1):
        if not row["source"] or not row["licence"] or None in row:
            raise HtmdsepError(
                f"{path}, row {number}: give a source, a licence and as many cells as columns"
            )
    return rows
