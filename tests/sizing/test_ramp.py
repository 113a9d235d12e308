from __future__ import annotations

import pytest

from memflow.sizing.concurrency import ConcurrencyPolicy
from memflow.sizing.decisions import Reason
from memflow.sizing.ramp import Ramp


def climb(rate_of, *, start: int = 8, most: int = 1000) -> list[int]:
    """Calls in flight after each round of a policy whose rounds end at `rate_of(calls)` calls a second."""
    policy = ConcurrencyPolicy(start=start, least=1, most=most, now_s=0.0, ramp=True)
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


def test_calls_that_only_wait_rise_fourfold_a_round_up_to_the_bound():
    assert climb(lambda calls: calls / 1.0, most=500) == [8, 16, 64, 256, 500, 500]


def test_where_calls_slow_each_other_a_little_the_climb_is_slower():
    assert climb(lambda calls: calls**0.8, most=100) == [8, 16, 32, 64, 100, 100]


@pytest.mark.parametrize("slots", [8, 20, 100])
def test_a_server_that_is_full_ends_the_climb_at_its_slots(slots):
    values = climb(lambda calls: min(calls, slots) / 0.1)
    assert slots <= values[-1] <= 1.6 * slots
    assert max(values) <= 4 * slots


def test_one_bad_round_is_given_another():
    rates = iter([100.0, 170.0, 210.0, 300.0, *[400.0] * 9])
    assert climb(lambda calls: next(rates))[:5] == [8, 16, 32, 32, 64]


def test_near_the_limit_the_climb_waits():
    policy = ConcurrencyPolicy(start=4, least=1, most=100, now_s=0.0, ramp=True)
    policy.finished(calls=4, items=4, started_s=0.0, in_flight=4, now_s=1.0)
    assert policy.climb(1.0, may_grow=False) is None
    assert policy.ramping
    policy.finished(calls=4, items=4, started_s=1.0, in_flight=4, now_s=2.0)
    change = policy.climb(2.0)
    assert change is not None
    assert (change.before, change.after, change.reason) == (4, 8, Reason.GROWTH_CAP)


def test_where_most_calls_stand_idle_more_of_them_are_no_use():
    policy = ConcurrencyPolicy(start=16, least=1, most=100, now_s=0.0, ramp=True)
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
    policy = ConcurrencyPolicy(start=64, least=1, most=100, now_s=0.0, ramp=True)
    policy.retreat(1.0, pause_s=1.0)
    assert not policy.ramping
    assert policy.value == 32
