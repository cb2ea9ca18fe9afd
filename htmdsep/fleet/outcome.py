"""A job's try and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from htmdsep.batch import Job
from htmdsep.errors import HtmdsepError
from htmdsep.fleet.work import Done
from htmdsep.stems import FileReport

# What ends one song and lets the others go on; PyAV's errors are OSErrors or ValueErrors.
FAILURES = (HtmdsepError, OSError, RuntimeError, ValueError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class Task:
    """A job that is to be tried."""

    job: Job
    attempt: int = 1  # counts tries in a row without result, this one included


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    job: Job
    wall_seconds: float
    done: Done | None = None  # of a job that is done
    error: Exception | None = None  # of one that failed; neither for one that was skipped

    @property
    def status(self) -> Literal["done", "skipped", "failed"]:
        if self.error is not None:
            return "failed"
        return "skipped" if self.done is None else "done"

    @property
    def report(self) -> FileReport | None:
        """Return what was done with the file."""
        return None if self.done is None else self.done.report


def cause(error: Exception) -> str:
    """Return an error's message in one line, with its type where it is not one of ours."""
    message = " ".join(str(error).split())
    return message if isinstance(error, HtmdsepError) else f"{type(error).__name__}: {message}"
