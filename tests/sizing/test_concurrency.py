"""The search for calls in flight, one measurement at a time. Whole runs are in `test_simulation`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.sizing.concurrency import ConcurrencyPolicy
from memflow.sizing.decisions import Reason


class Bench:
    """Plays rounds of calls whose rate depends on how many are in flight."""

    def __init__(self, rate, *, start=8, least=1, most=1000):
        self.rate = rate
        self.now_s = 0.0
        self.policy = ConcurrencyPolicy(start=start, least=least, most=most, now_s=0.0)
        self.said = []

    def play(self, rounds, *, may_grow=True, in_flight=None):
        for _ in range(rounds):
            policy = self.policy
            calls = policy.value
            step_s = 1 / self.rate(calls)
            for _ in range(calls):
                self.now_s += step_s
                started_s = self.now_s - calls * step_s + 1e-9
                policy.finished(calls=1, items=1, started_s=started_s, in_flight=in_flight or calls, now_s=self.now_s)
                if policy.ready:
                    change = policy.decide(self.now_s, may_grow=may_grow)
                    if change is not None:
                        self.said.append(change)
                        break
        return self.policy.value


def linear(calls):
    return 10.0 * calls


def flat(calls):
    return 80.0


def test_it_doubles_while_that_pays():
    bench = Bench(linear)
    assert bench.play(60) == 1000
    assert [each.after for each in bench.said if each.reason is Reason.PROBE] == [16, 32, 64, 128, 256, 512, 1000]


def test_it_steps_back_when_that_does_not_pay_and_waits_longer_each_time():
    bench = Bench(flat)
    bench.play(3000)
    assert bench.policy.best == 8
    assert {each.reason for each in bench.said} == {Reason.PROBE, Reason.DID_NOT_PAY}
    assert len(bench.said) < 40


def test_a_gain_of_less_than_a_twentieth_is_none():
    assert Bench(lambda calls: 80.0 if calls <= 8 else 83.0).play(20) <= 16
    assert Bench(lambda calls: 80.0 if calls <= 8 else 83.0).policy.best == 8
    bench = Bench(lambda calls: 80.0 if calls <= 8 else 85.0)
    bench.play(300)
    assert bench.policy.best == 16


def test_where_more_is_worse_less_is_tried():
    bench = Bench(lambda calls: 1000.0 / calls)
    bench.play(400)
    assert bench.policy.best == 1


def test_a_best_between_two_doublings_is_found():
    bench = Bench(lambda calls: 10.0 * calls if calls <= 20 else max(1.0, 200.0 - 10 * (calls - 20)))
    bench.play(400)
    assert 18 <= bench.policy.best <= 22


def test_after_a_small_step_that_paid_in_full_it_doubles_again():
    """A doubling that something else had spoilt costs one small step, not a climb of small steps."""
    bench = Bench(linear)
    bench.rate = lambda calls: 10.0 if calls == 16 and not bench.said[1:] else linear(calls)
    assert bench.play(60) == 1000
    tried = [each.after for each in bench.said if each.reason is Reason.PROBE]
    assert tried[:5] == [16, 4, 10, 20, 40]


def test_nothing_is_tried_upward_near_the_limit():
    bench = Bench(linear)
    assert bench.play(60, may_grow=False) == 8


def test_nothing_is_tried_while_half_the_calls_are_idle():
    bench = Bench(linear)
    assert bench.play(60, in_flight=3) == 8


def test_memory_takes_effect_at_once_and_is_not_exceeded_by_trying():
    bench = Bench(linear)
    bench.play(30)
    change = bench.policy.limit(40.7, bench.now_s)
    assert (change.after, change.reason) == (40, Reason.MEMORY)
    assert bench.play(60) == 40
    assert bench.policy.limit(38.0, bench.now_s) is None  # less than a tenth
    assert bench.policy.limit(0.0, bench.now_s).after == 1


def test_what_older_settings_started_is_not_counted():
    policy = ConcurrencyPolicy(start=4, least=1, most=100, now_s=100.0)
    for number in range(50):
        policy.finished(calls=1, items=1, started_s=99.0, in_flight=4, now_s=100.0 + number / 10)
    assert not policy.ready


def test_running_out_of_memory_halves_and_pauses():
    bench = Bench(linear)
    bench.play(30)
    before = bench.policy.value
    change = bench.policy.retreat(bench.now_s, 5.0)
    assert (change.before, change.after, change.reason) == (before, before // 2, Reason.PRESSURE)
    until_s = bench.now_s + 4.5
    while bench.now_s < until_s:
        bench.play(1)
    assert bench.policy.value == before // 2


def test_a_change_of_something_else_drops_what_is_being_tried():
    bench = Bench(linear)
    while not bench.policy.probing:
        bench.play(1)
    bench.policy.restart(bench.now_s)
    assert not bench.policy.probing
    assert bench.policy.value == bench.policy.best == 8


def test_a_rate_that_goes_on_moving_does_not_have_the_same_loss_tried_again_and_again():
    """It swings by a third twice a second; fewer calls lose a fifth of it, and more gain nothing."""

    def rate(calls):
        swing = 1.0 if bench.now_s % 1 < 0.5 else 1.33
        return 400.0 * swing * (1.0 if calls >= 16 else 0.8)

    bench = Bench(rate, start=16)
    lost_s, seen = 0.0, 0
    while bench.now_s < 120:
        before_s, tried = bench.now_s, bench.policy.probing and bench.policy.value < 16
        bench.play(1)
        lost_s += 0.2 * (bench.now_s - before_s) * tried
        seen += bench.policy.value < 16
    assert seen
    assert lost_s < 0.005 * bench.now_s


@pytest.mark.parametrize("factor", [0.4, 4.0])
def test_a_rate_that_moves_by_itself_makes_it_search_again(factor):
    bench = Bench(flat)
    bench.play(2000)  # long pauses by now
    tried = len(bench.said)
    bench.rate = lambda calls: factor * flat(calls)
    bench.play(40)
    assert len(bench.said) > tried


@given(
    start=st.integers(1, 50),
    least=st.integers(1, 5),
    most=st.integers(50, 300),
    rates=st.lists(st.floats(1, 1e4), min_size=1, max_size=20),
)
@settings(max_examples=60)
def test_bounds_hold_whatever_the_rates(start, least, most, rates):
    bench = Bench(lambda calls: rates[calls % len(rates)], start=max(start, least), least=least, most=most)
    for _ in range(30):
        assert least <= bench.play(1) <= most
    for change in (each for each in bench.said if each.reason is Reason.PROBE):
        assert change.after <= max(2 * change.before, change.before + 1)
