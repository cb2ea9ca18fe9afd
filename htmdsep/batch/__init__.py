"""Many songs: find them, plan their stems, resume where a run ended, record what is done."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `run_batch`, and with it the network's world, when it is first asked for."""
    if name != "run_batch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from htmdsep.batch.run import run_batch

    return run_batch
