"""The page to listen on, told: a bar, what cannot be heard, where the page is."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm

from htmdsep.batch.storage import is_url, settled
from htmdsep.cli.output import print_line
from htmdsep.console import end_if_asked
from htmdsep.errors import PlanError
from htmdsep.options import STANDARD_STREAM
from htmdsep.page.write import PAGE, check_page, write_page


def check_place(out: str) -> Path:
    """Return the folder that is to have a page; raise PlanError, or as `check_page`, if none can.

    It need not be there.
    """
    if out == STANDARD_STREAM or is_url(out):
        raise PlanError("a page stands in a folder on this machine; name one with --out")
    folder = Path(settled(out))
    if folder.exists():
        check_page(folder)
    return folder


def print_page(out: str, *, quiet: bool) -> int:
    """Write the page of a folder; return 1 where stems cannot be read, else 0."""
    folder, status = check_place(out), 0
    songs = write_page(folder)
    shown = sys.stderr.isatty() and not quiet
    bar = tqdm(songs, "page", unit="song", file=sys.stderr, leave=False, disable=not shown)
    for song, error in bar:
        end_if_asked()
        if error is not None and song.status == "done":
            print_line(f"htmdsep: {song.name}: {error}")
            status = 1
    if not quiet:
        print_line(str(folder / PAGE))
    return status
