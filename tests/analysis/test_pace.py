"""A look gives way after each turn, and ends with its budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.pace import GIVE, TAKING_TIMES, TURN_S, Pace


class Turns:
    """A thread that uses the processor in turns, and a clock that goes on while it sleeps."""

    def __init__(self, budget_s: float) -> None:
        self.used_s = self.now_s = self.slept_s = 0.0
        self.pace = Pace(budget_s, used=lambda: self.used_s, clock=lambda: self.now_s, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_s += seconds

    def work(self, seconds: float, *, waited_s: float = 0.0) -> None:
        self.used_s += seconds
        self.now_s += seconds + waited_s
        self.pace.give_way()


@given(turns=st.lists(st.floats(0.0, 0.4), min_size=1, max_size=50))
def test_others_have_their_share_of_the_time_whatever_a_turn_takes(turns: list[float]) -> None:
    of = Turns(1e9)
    for seconds in turns:
        of.work(seconds)
    assert GIVE * (of.used_s - TURN_S) - 1e-6 < of.slept_s < GIVE * of.used_s + 1e-6


def test_short_slices_make_one_turn() -> None:
    of, sleeps = Turns(1.0), 0
    for _ in range(100):
        before_s = of.slept_s
        of.work(TURN_S / 10 + 1e-9)
        sleeps += of.slept_s > before_s
    assert sleeps == 10


def test_it_is_over_once_its_budget_is_used_and_not_by_sleeping() -> None:
    of = Turns(1.0)
    for _ in range(9):
        of.work(0.1)
        assert not of.pace.is_over
    of.work(0.11)
    assert of.pace.is_over


def test_where_the_machine_is_too_busy_the_wall_ends_it() -> None:
    of = Turns(1.0)
    of.work(0.01, waited_s=7.0)
    assert not of.pace.is_over
    of.work(0.01, waited_s=1.0)
    assert of.pace.is_over


def test_without_a_budget_it_is_over_at_once() -> None:
    assert Turns(0.0).pace.is_over


@given(taking_s=st.floats(0.0, 0.5))
def test_a_turn_lasts_as_long_as_taking_the_objects_in_hand_is_worth(taking_s: float) -> None:
    of = Turns(1e9)
    of.used_s += taking_s
    of.pace.took()
    assert not of.pace.turn_is_over
    of.used_s += max(TURN_S - taking_s, TAKING_TIMES * taking_s) + 1e-9
    assert of.pace.turn_is_over


def test_a_turn_is_over_with_the_budget() -> None:
    of = Turns(0.01)
    of.used_s += 0.009
    of.pace.took()
    assert not of.pace.turn_is_over
    of.used_s += 0.002
    assert of.pace.turn_is_over


def test_what_is_left_may_be_used_in_one_turn_and_no_more() -> None:
    of = Turns(1.0)
    of.used_s = 0.4
    pace = of.pace.breathless()
    pace.took()
    of.used_s += 0.59
    assert not pace.turn_is_over
    of.used_s += 0.02
    assert pace.turn_is_over
    assert pace.is_over
