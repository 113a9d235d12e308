from __future__ import annotations

import itertools
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.concurrency import ConcurrencyPolicy
from memflow.sizing.decisions import Reason
from memflow.sizing.ramp import Ramp


def climb(rate_of, *, start: int = 8, most: int = 1000, factor: int = 4) -> list[int]:
    """Calls in flight after each round of a policy whose rounds end at `rate_of(calls)` calls a second."""
    policy = ConcurrencyPolicy(start=start, least=1, most=most, now_s=0.0, ramp=factor)
    now_s, values = 0.0, [start]
    for _ in range(30):
        began_s, calls = now_s, policy.value
        now_s += calls / rate_of(calls)
        policy.finished(calls=calls, items=calls, started_s=began_s, in_flight=calls, now_s=now_s)
        policy.climb(now_s)
        values.append(policy.value)
        if not policy.ramping:
            break
    return values


FACTORS = pytest.mark.parametrize("factor", [2, 4])


@FACTORS
def test_calls_that_only_wait_rise_fourfold_a_round_up_to_the_bound(factor):
    """Only the first step is smaller where each call is one of many items."""
    first = {2: [8, 16, 64, 256], 4: [8, 32, 128]}[factor]
    assert climb(lambda calls: calls / 1.0, most=500, factor=factor) == [*first, 500, 500]


def test_where_calls_slow_each_other_the_climb_is_slower():
    # Four times the calls do 4^0.75 = 2.83 times as much, 0.71 of what they could: hardly in each other's way.
    assert climb(lambda calls: calls**0.75, most=500) == [8, 32, 128, 500, 500]
    # 4^0.68 is 0.64 of it (twice), and 2^0.68 is 0.80 (four times).
    assert climb(lambda calls: calls**0.68, most=1000) == [8, 32, 64, 256, 512, 1000, 1000]
    # 4^0.6 is 0.57, and that ends it, where it would give as much if none slowed another.
    assert climb(lambda calls: calls**0.6) == [8, 32, 32, 19]


@FACTORS
@pytest.mark.parametrize("slots", [8, 20, 100])
def test_a_server_that_is_full_ends_the_climb_at_its_slots(slots, factor):
    values = climb(lambda calls: min(calls, slots) / 0.1, factor=factor)
    assert slots <= values[-1] <= 1.6 * slots
    assert max(values) <= 4 * slots / 0.75  # fourfold only where three quarters of the calls were of use


@FACTORS
@given(
    rates=st.lists(st.floats(0.1, 1e4), min_size=1, max_size=12),
    start=st.integers(1, 60),
    most=st.integers(60, 2000),
)
def test_whatever_the_rates_the_climb_stays_in_its_bounds_and_ends(factor, rates, start, most):
    rounds = itertools.cycle(rates)
    values = climb(lambda calls: next(rounds), start=start, most=most, factor=factor)
    assert len(values) <= 31
    assert all(1 <= each <= most for each in values)
    assert values[1] <= factor * start
    assert all(after <= 4 * before for before, after in itertools.pairwise(values))
    assert all(after >= before for before, after in itertools.pairwise(values[:-1]))  # only its end steps back


def test_one_bad_round_is_given_another():
    # 0.64 of what twice the calls could do; then 0.61; then all of it.
    rates = iter([100.0, 128.0, 156.0, 300.0, *[400.0] * 9])
    assert climb(lambda calls: next(rates), factor=2)[:5] == [8, 16, 32, 32, 128]


def overdue_at(rate_before: float, calls_before: int, calls: int) -> float:
    """When a round of so many calls, begun at 0, is overdue: twice the time in which a paying one would have ended."""
    paying = 0.625 * rate_before * calls / calls_before
    return 2 * calls / paying


@pytest.mark.parametrize("ended", [1, 7, 31])
def test_a_round_that_is_overdue_ends_the_climb_without_another(ended):
    policy = ConcurrencyPolicy(start=8, least=1, most=100, now_s=-0.8, ramp=4)
    policy.finished(calls=8, items=8, started_s=-0.8, in_flight=8, now_s=0.0)
    policy.climb(0.0)
    assert policy.value == 32
    late_s = overdue_at(10.0, 8, 32)
    policy.finished(calls=ended, items=ended, started_s=0.0, in_flight=32, now_s=1.0)
    assert policy.climb(late_s - 0.001) is None
    assert (policy.value, policy.ramping) == (32, True)
    change = policy.climb(late_s)
    assert change is not None
    assert (change.before, change.reason, policy.ramping) == (32, Reason.DID_NOT_PAY, False)
    # As many as give this rate, if each took as long as it did before; and no fewer than what paid before.
    assert change.after == policy.value == max(8, ceil(8 * ended / late_s / 10.0))


def test_memory_that_allows_fewer_than_what_paid_has_the_last_word():
    policy = ConcurrencyPolicy(start=8, least=1, most=100, now_s=-0.8, ramp=4)
    policy.finished(calls=8, items=8, started_s=-0.8, in_flight=8, now_s=0.0)
    policy.climb(0.0)
    assert policy.limit(5.0, 0.0) is not None
    policy.finished(calls=1, items=1, started_s=0.0, in_flight=5, now_s=9.0)
    policy.climb(9.0)
    assert (policy.value, policy.ramping) == (5, False)


def test_a_round_of_which_nothing_has_ended_is_not_overdue_and_neither_is_the_first():
    ramp = Ramp(4, 0.0)
    ramp.add(1)
    assert not ramp.is_overdue(1e6)
    ramp.add(3)
    assert ramp.pays(1.0)
    ramp.climb(16)
    assert not ramp.is_overdue(1e6)
    ramp.add(1)
    assert ramp.is_overdue(1e6)


@pytest.mark.parametrize(("factor", "after"), [(2, 8), (4, 16)])
def test_near_the_limit_the_climb_waits(factor, after):
    policy = ConcurrencyPolicy(start=4, least=1, most=100, now_s=0.0, ramp=factor)
    policy.finished(calls=4, items=4, started_s=0.0, in_flight=4, now_s=1.0)
    assert policy.climb(1.0, may_grow=False) is None
    assert policy.ramping
    policy.finished(calls=4, items=4, started_s=1.0, in_flight=4, now_s=2.0)
    change = policy.climb(2.0)
    assert change is not None
    assert (change.before, change.after, change.reason) == (4, after, Reason.GROWTH_CAP)


def test_without_a_factor_there_is_no_climb():
    policy = ConcurrencyPolicy(start=4, least=1, most=100, now_s=0.0, ramp=0)
    policy.finished(calls=4, items=4, started_s=0.0, in_flight=4, now_s=1.0)
    assert not policy.ramping
    assert policy.climb(1.0) is None
    assert policy.value == 4


def test_where_most_calls_stand_idle_more_of_them_are_no_use():
    policy = ConcurrencyPolicy(start=16, least=1, most=100, now_s=0.0, ramp=4)
    for _ in range(16):
        policy.finished(calls=1, items=1, started_s=0.0, in_flight=3, now_s=1.0)
    assert policy.climb(1.0) is None
    assert not policy.ramping
    assert policy.value == 16


def test_what_memory_held_back_is_no_round():
    ramp = Ramp(4, 0.0)
    ramp.add(4)
    ramp.pause(1.0)
    assert not ramp.round_ended(5.0)


def test_running_out_of_memory_ends_the_climb():
    policy = ConcurrencyPolicy(start=64, least=1, most=100, now_s=0.0, ramp=4)
    policy.retreat(1.0, pause_s=1.0)
    assert not policy.ramping
    assert policy.value == 32
