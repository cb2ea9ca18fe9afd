"""How the package's programs begin: how threads wait, and how signals end them."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait, unless the environment says otherwise.

    Spinning took 1.8 times as long on two cores, busy or idle (measured). OpenMP reads this when
    PyTorch is loaded, and processes that are started inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def end_on_signals() -> None:
    """Let SIGINT and SIGTERM end the program with status 130 and 143, by way of every `with`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)


def _exit_on_signal(number: int, _: FrameType | None) -> NoReturn:
    # Unwinds every `with`, so that temporary files are removed on the way out.
    raise SystemExit(128 + number)
