"""The errors htmdsep raises for what a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class HtmdsepError(Exception):
    """A failure whose message names the cause and the remedy, in one line."""


class ArgumentError(HtmdsepError, ValueError):
    """An argument that is none of those possible."""


class DiskError(HtmdsepError):
    """A file cannot be written, which is a matter of its disk and not of the song."""


class PlanError(HtmdsepError):
    """What is asked for cannot be done, whatever the files hold."""


@contextmanager
def explained(
    what: str,
    remedy: str = "",
    *,
    of: type[Exception] | tuple[type[Exception], ...] = OSError,
    kind: type[HtmdsepError] = HtmdsepError,
) -> Iterator[None]:
    """Turn errors into a line: what cannot be done, the cause, and the remedy."""
    try:
        yield
    except of as error:
        cause = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
        raise kind("; ".join(filter(None, (f"{what}: {cause}", remedy)))) from error
