"""What estimators take and give: segments as a network's inputs, its outputs as estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple, TypeVar

import numpy as np

from htmdsep.errors import HtmdsepError

T = TypeVar("T")
Note = Callable[[str], None]  # takes what a user should know, a line


class Estimate(NamedTuple):
    """A segment's vocals, and what share of the mixture above the network's band is theirs.

    Both are (time, channels) float32; the second is None where the network does not tell.
    """

    vocals: np.ndarray
    high_gain: np.ndarray | None = None


# Maps (segment_length, channels) float32 mixtures to their vocals, in order; threads may share it.
# Segments are taken ahead of the estimates: work goes on while those are used. Notes are of this
# stream. Raises HtmdsepError where an estimate is not finite, and where memory does not suffice.
Estimates = Callable[[Iterable[np.ndarray], Note], Iterator[Estimate]]


def submit(pool: Executor, run: Callable[..., T], *arguments: Any) -> Future[T]:
    """Let a pool run a function, or do it here: pools take no more once the main thread is over."""
    try:
        return pool.submit(run, *arguments)
    except RuntimeError:
        done: Future[T] = Future()
        done.set_result(run(*arguments))
        return done


def network_inputs(segment: np.ndarray, network_channels: int) -> np.ndarray:
    """Return a segment (time, channels) as a network's inputs, (inputs, network_channels, time).

    A last channel that has no other beside it is put in twice.
    """
    rows = segment.T
    missing = -len(rows) % network_channels
    if missing:
        rows = np.concatenate([rows, rows[-1:].repeat(missing, axis=0)])
    return np.ascontiguousarray(rows).reshape(-1, network_channels, segment.shape[0])


def as_estimate(outputs: np.ndarray, channels: int, device: object = "cpu") -> Estimate:
    """Return what a network made of a segment's inputs as its estimate, of so many channels.

    Outputs are (fields of Estimate, inputs, network_channels, time). A channel that was put in
    twice gets the mean. Raises HtmdsepError for vocals that are not finite.
    """
    if not np.isfinite(outputs[0]).all():
        raise HtmdsepError(
            f"the network's output on {device} is not finite; use --device cpu, or other weights"
        )
    rows = outputs.reshape(len(outputs), -1, outputs.shape[-1])
    if rows.shape[1] > channels:
        last = rows[:, channels - 1 :].mean(axis=1, keepdims=True)
        rows = np.concatenate([rows[:, : channels - 1], last], axis=1)
    return Estimate(*rows.transpose(0, 2, 1))
