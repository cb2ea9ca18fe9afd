from __future__ import annotations

import pytest

from htmdsep.model import (
    ConvTasNetConfig,
    HTMDNetConfig,
    NetworkConfig,
    WaveUNetConfig,
    build_network,
)
from htmdsep.model.cost import multiply_adds, time_in_turn


@pytest.mark.parametrize(
    ("config", "billions"),
    [(HTMDNetConfig(), 5.96), (ConvTasNetConfig(), 14.97), (WaveUNetConfig(), 3.29)],
)
def test_multiply_adds_of_the_published_networks(config: NetworkConfig, billions: float) -> None:
    assert multiply_adds(build_network(config)) / 1e9 == pytest.approx(billions, rel=0.01)


def test_cases_take_turns_and_fill_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []

    def case(name: str, seconds: float) -> None:
        calls.append(name)
        clock[0] += seconds

    monkeypatch.setattr("htmdsep.model.cost.time.perf_counter", lambda: clock[0])
    found = time_in_turn([lambda: case("long", 1.0), lambda: case("short", 0.075)], 2)
    assert found == [pytest.approx([1.0, 1.0]), pytest.approx([0.075, 0.075])]
    once = ["long"] * 2 + ["short"] * 4  # one to warm up, then 0.2 s
    assert calls == once * 2
