"""What estimators take and give: segments as a network's inputs, its outputs as estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from htmdsep.errors import HtmdsepError

T = TypeVar("T")
Note = Callable[[str], None]  # takes what a user should know, a line


def ignore(_: str) -> None:
    """Take a note of which nobody wants to know."""


class Estimate(NamedTuple):
    """Vocals, and what share of the mixture above the network's band is theirs, both float32.

    Of a segment they are (time, channels); of a network's inputs (inputs, network_channels, time).
    The second is None where the network does not tell.
    """

    vocals: np.ndarray
    high_gain: np.ndarray | None = None

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Return both as a function changes them."""
        gain = self.high_gain
        return Estimate(change(self.vocals), None if gain is None else change(gain))


class Estimator(Protocol):
    """Anything that estimates the vocals of segments; threads may share one."""

    def estimates(self, segments: Iterable[np.ndarray], note: Note = ignore) -> Iterator[Estimate]:
        """Map (segment_length, channels) float32 mixtures to their vocals, in order.

        Segments are taken ahead of the estimates: work goes on while those are used. `note` is
        given what a user should know of this stream, a line each. Raises
        HtmdsepError where an estimate is not finite, and where memory does not suffice.
        """
        ...


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


def joined(outputs: Sequence[Estimate]) -> Estimate:
    """Join what a network made of parts of its inputs; one part is all as it is."""
    if len(outputs) == 1:
        return outputs[0]
    gains = [one.high_gain for one in outputs if one.high_gain is not None]
    vocals = np.concatenate([one.vocals for one in outputs])
    return Estimate(vocals, np.concatenate(gains) if gains else None)


def as_estimate(outputs: Estimate, channels: int, device: object = "cpu") -> Estimate:
    """Return what a network made of its inputs as the estimate of a segment of so many channels.

    A channel that was put in twice gets the mean. Raises HtmdsepError for vocals that are not
    finite.
    """
    if not np.isfinite(outputs.vocals).all():
        raise HtmdsepError(
            f"the network's output on {device} is not finite; use --device cpu, or other weights"
        )
    return outputs.map(partial(_channels_of, channels=channels))


def _channels_of(found: np.ndarray, channels: int) -> np.ndarray:
    rows = found.reshape(-1, found.shape[-1])
    if len(rows) > channels:
        last = rows[channels - 1 :].mean(axis=0, keepdims=True)
        rows = np.concatenate([rows[: channels - 1], last])
    return rows.T
