"""The errors htmdsep raises for what a user can mend."""

from __future__ import annotations


class HtmdsepError(Exception):
    """A failure whose message names the cause and the remedy, in one line."""


class ArgumentError(HtmdsepError, ValueError):
    """An argument that is none of those possible."""


class DiskError(HtmdsepError):
    """A file cannot be written, which is a matter of its disk and not of the song."""


class PlanError(HtmdsepError):
    """What is asked for cannot be done, whatever the files hold."""
