"""Levels: `memflow.memory.pressure`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.pressure import PressureGauge, PressureLevel

NORMAL, HOLD, SHRINK, STOP = PressureLevel

percents = st.floats(0, 200, allow_nan=False)


def gauge(cooldown_s: float = 0.0) -> PressureGauge:
    return PressureGauge(hold_pct=70, shrink_pct=80, stop_pct=90, hysteresis_pct=5, cooldown_s=cooldown_s)


@pytest.mark.parametrize(
    ("use", "level"),
    [(0, NORMAL), (69.9, NORMAL), (70, HOLD), (79.9, HOLD), (80, SHRINK), (90, STOP), (100, STOP), (500, STOP)],
)
def test_rises_at_once_to_the_level_of_the_watermark(use: float, level: PressureLevel) -> None:
    assert gauge(cooldown_s=60).update(use, 0.0) is level


def test_rises_further_within_the_cooldown() -> None:
    g = gauge(cooldown_s=60)
    assert [g.update(use, 0.0) for use in (75, 85, 95)] == [HOLD, SHRINK, STOP]


def test_falls_only_below_the_watermark_less_the_hysteresis() -> None:
    g = gauge()
    g.update(95, 0)
    assert g.update(85, 1) is STOP
    assert g.update(84.9, 2) is SHRINK


def test_falls_one_step_at_a_time() -> None:
    g = gauge()
    g.update(95, 0)
    assert [g.update(1, t) for t in (1, 2, 3, 4)] == [SHRINK, HOLD, NORMAL, NORMAL]


def test_stays_for_the_cooldown() -> None:
    g = gauge(cooldown_s=1)
    g.update(75, 10)
    assert g.update(0, 10.9) is HOLD
    assert g.update(0, 11) is NORMAL


def test_each_step_down_waits_for_a_cooldown_of_its_own() -> None:
    g = gauge(cooldown_s=1)
    g.update(95, 0)
    assert [g.update(use, t) for use, t in ((84, 1), (74, 1.5), (74, 2), (0, 3))] == [SHRINK, SHRINK, HOLD, NORMAL]


def test_what_has_fallen_far_waits_for_no_cooldown() -> None:
    g = gauge(cooldown_s=1)
    g.update(95, 0)
    assert g.update(75, 0.1) is STOP  # the watermark beneath, less the hysteresis
    assert g.update(74.9, 0.2) is SHRINK
    assert [g.update(0, t) for t in (0.3, 0.4, 1.3)] == [HOLD, HOLD, NORMAL]


def test_a_clock_that_goes_back_only_restarts_the_cooldown() -> None:
    g = gauge(cooldown_s=1)
    g.update(75, 1000)
    assert g.update(0, 5) is HOLD
    assert g.update(0, 5.9) is HOLD
    assert g.update(0, 6) is NORMAL


def test_use_between_both_thresholds_never_flaps() -> None:
    g = gauge()
    g.update(70, 0)
    assert {g.update(use, 1.0 + n) for n, use in enumerate([66, 69, 65, 71, 65.1] * 20)} == {HOLD}


@given(st.lists(st.tuples(percents, st.floats(0, 10)), min_size=1, max_size=60))
def test_the_level_is_never_below_what_is_reached_and_never_far_above(steps: list[tuple[float, float]]) -> None:
    g, now_s, enter = gauge(cooldown_s=0.5), 0.0, (0, 70, 80, 90)
    before = g.level
    for use, after_s in steps:
        now_s += after_s
        level = g.update(use, now_s)
        assert use < enter[min(level + 1, 3)] or level is STOP
        assert level >= before - 1
        assert level is g.level
        before = level


@given(percents)
def test_any_use_settles_at_one_level(use: float) -> None:
    g = gauge()
    settled = [g.update(use, float(t)) for t in range(10)][-1]
    assert all(g.update(use, 10.0 + t) is settled for t in range(10))
