from __future__ import annotations

import pytest

from htmdsep.training.schedule import Schedule


def test_the_rate_warms_up_linearly_and_stays() -> None:
    schedule = Schedule(1e-3, warmup_steps=10)
    rates = [schedule.at(step, 0.0, 0) for step in range(12)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[4] == pytest.approx(5e-4)
    assert rates[9:] == [pytest.approx(1e-3)] * 3
    assert Schedule(1e-4).at(0, 0.0, 0) == pytest.approx(1e-4)


def test_the_cosine_falls_to_its_final_share() -> None:
    schedule = Schedule(1.0, decay="cosine", final_share=0.02)
    rates = [schedule.at(5, progress / 10, 0) for progress in range(11)]
    assert rates[0] == pytest.approx(1.0)
    assert rates[5] == pytest.approx(0.51)
    assert rates[10] == pytest.approx(0.02)
    assert rates == sorted(rates, reverse=True)
    assert schedule.at(5, 1.5, 0) == pytest.approx(0.02)


def test_a_plateau_halves_the_rate_for_good() -> None:
    schedule = Schedule(1.0, decay="plateau", plateau_patience=3)
    assert [schedule.is_spent(stale) for stale in range(7)] == [
        False, False, False, True, False, False, True,
    ]  # fmt: skip
    assert [schedule.at(0, 0.0, reductions) for reductions in range(3)] == [1.0, 0.5, 0.25]
    assert Schedule(1.0).at(0, 0.9, 2) == 1.0
