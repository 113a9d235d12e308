"""Room for what no prediction covers. How it goes with what is learnt is in `test_cost`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.surprises import Surprises


class Foretold:
    """So much for each unit of weight."""

    def __init__(self, each: float = 10.0) -> None:
        self.each = each

    def __call__(self, loads: Mapping[str, float], calls: Mapping[str, float]) -> float:
        return self.each * sum(loads.values())


def fed(used: list[float], foretold: Foretold) -> Surprises:
    found = Surprises(foretold)
    for each in used:
        found.add(each, {"work": 10.0}, {})
    return found


def test_what_was_foretold_is_no_surprise() -> None:
    assert fed([100.0] * 64, Foretold()).guard_bytes == 0


def test_the_first_windows_are_learnt_from_and_no_surprise() -> None:
    assert fed([500.0, 100.0] * 5 + [100.0] * 22, Foretold()).guard_bytes == 0


def test_half_as_much_again_as_a_jump_is_kept_free() -> None:
    assert fed([100.0] * 15 + [180.0], Foretold()).guard_bytes == pytest.approx(1.5 * 80)


def test_one_that_stays_high_has_jumped_once() -> None:
    found = fed([100.0] * 11 + [180.0] * 300, Foretold())
    assert found.guard_bytes == 0  # one in 256 windows, and none once it has left them


def test_what_is_foretold_by_now_is_none_any_more_as_soon_as_that_is_judged() -> None:
    foretold = Foretold()
    found = fed([100.0] * 15 + [180.0], foretold)
    foretold.each = 15.0
    assert found.guard_bytes == pytest.approx(120)
    found.judge()
    assert found.guard_bytes == pytest.approx(1.5 * 30)  # of 180, 150 are foretold
    foretold.each = 18.0
    found.judge()
    assert found.guard_bytes == 0


def test_what_is_foretold_less_than_it_was_makes_no_larger_jump() -> None:
    foretold = Foretold()
    found = fed([100.0] * 15 + [180.0], foretold)
    foretold.each = 1.0
    found.judge()
    assert found.guard_bytes == pytest.approx(120)


def test_where_prediction_falls_with_the_load_and_use_does_not_nothing_has_jumped() -> None:
    found = Surprises(Foretold())
    for window in range(64):
        found.add(100.0, {"work": 10.0 if window % 2 else 1.0}, {})
    assert found.guard_bytes == 0


def test_after_a_rest_what_is_there_at_once_is_a_jump() -> None:
    found = fed([100.0] * 12 + [180.0] * 3, Foretold())
    found.rest()
    found.add(190.0, {"work": 10.0}, {})
    assert found.guard_bytes == pytest.approx(1.5 * 90)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=300), st.floats(0, 1e10), st.floats(0, 1e10))
def test_the_guard_is_never_negative_and_learning_more_never_makes_it_larger(used, before, more) -> None:
    foretold = Foretold(before)
    found = fed(used, foretold)
    found.judge()
    first = found.guard_bytes
    foretold.each += more
    found.judge()
    assert 0 <= found.guard_bytes <= first <= 1.5 * max(used)
