"""How the package's programs begin and end: waiting threads, signals, errors."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from htmdsep.errors import HtmdsepError

# What asks a program to end; Windows has no hangups.
ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def begin() -> None:
    """Prepare a program's process: standard error, waiting threads, signals."""
    if sys.stderr is None:  # closed, as some launchers do
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    _wait_without_spinning()
    _end_on_signals()


def _wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait, unless the environment says otherwise.

    Spinning took 1.8 times as long on two cores, busy or idle (measured). OpenMP reads this when
    PyTorch is loaded, and processes that are started inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _end_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the program by way of every `with`, with status 128 + n.

    One that is ignored stays so, as hangups are under nohup and SIGINT is where a script goes on.
    """
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit_on_signal)


def _exit_on_signal(number: int, _: FrameType | None) -> NoReturn:
    # Unwinds every `with`, so that temporary files are removed on the way out.
    raise SystemExit(128 + number)


@contextmanager
def errors_told(program: str) -> Iterator[None]:
    """Turn what a user can mend into a line on standard error, and exit status 1."""
    try:
        yield
    except HtmdsepError as error:
        message = str(error)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # click ends quietly, with status 1
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        return
    print(f"{program}: {message}", file=sys.stderr)
    raise SystemExit(1)
