from __future__ import annotations

import signal

import pytest

from htmdsep.terminal import ENDING_SIGNALS
from htmdsep.training.stopping import Stop


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_run_is_asked_to_end_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stop().listening() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_ignored() -> None:
    """As a hangup is under nohup."""
    number = ENDING_SIGNALS[-1]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Stop().listening() as stop:
            signal.raise_signal(number)
            assert not stop.asked
    finally:
        signal.signal(number, before)
