"""Whether the loop has time left: `memflow.sizing.saturation`, and what the search makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.concurrency import ConcurrencyPolicy
from memflow.sizing.decisions import Reason
from memflow.sizing.saturation import LoopTime, LoopUse

SECONDS = st.floats(0.001, 100)


def use_of(*, ran_s: float, waited_s: float, slept_s: float) -> LoopUse:
    use = LoopUse()
    use.note(5.0, LoopTime(2.0, 1.0))
    use.note(5.0 + ran_s + waited_s + slept_s, LoopTime(2.0 + ran_s, 1.0 + waited_s))
    return use


@given(SECONDS, SECONDS)
def test_a_loop_that_never_sleeps_is_known_however_little_of_the_processor_it_gets(ran_s: float, waited_s: float):
    share = use_of(ran_s=ran_s, waited_s=waited_s, slept_s=0.0).own_share(ran_s + waited_s)
    assert share == pytest.approx(ran_s / (ran_s + waited_s), rel=1e-6, abs=1e-8)


@given(SECONDS, SECONDS)
def test_one_that_sleeps_a_tenth_of_its_own_time_has_time_left(ran_s: float, waited_s: float):
    use = use_of(ran_s=ran_s, waited_s=waited_s, slept_s=ran_s / 9)
    assert use.own_share(ran_s + waited_s + ran_s / 9) is None


def test_nobody_can_tell_from_one_look_nor_from_a_short_one():
    use = LoopUse()
    assert use.own_share(1.0) is None
    use.note(0.0, LoopTime(0.0, 0.0))
    assert use.own_share(1.0) is None
    use.note(0.4, LoopTime(0.4, 0.0))
    assert use.own_share(1.0) is None
    assert use.own_share(0.5) == 1.0
    use.restart()
    assert use.own_share(0.5) is None
    use.note(0.9, LoopTime(0.65, 0.25))
    assert use.own_share(0.5) == 0.5


class Loop:
    """A loop on which each item takes processor time, and each call some more; 128 items are in flight at most."""

    def __init__(self, *, per_item_s=0.001, per_call_s=0.0, latency_s=0.0, got=lambda now_s: 1.0):
        self.per_item_s, self.per_call_s, self.latency_s, self.got = per_item_s, per_call_s, latency_s, got
        self.now_s = self.ran_s = self.waited_s = 0.0
        self.policy = ConcurrencyPolicy(start=8, least=1, most=128, now_s=0.0)
        self.said = []

    def play(self, until_s):
        while self.now_s < until_s:
            calls = self.policy.value
            items = 128 // calls
            began_s = self.now_s
            busy_s = calls * (items * self.per_item_s + self.per_call_s)
            wall_s = busy_s / self.got(self.now_s)
            length_s = max(wall_s, self.latency_s)
            for number in range(calls):
                self.now_s = began_s + length_s * (number + 1) / calls
                self.ran_s += busy_s / calls
                self.waited_s += (wall_s - busy_s) / calls
                self.policy.finished(calls=1, items=items, started_s=began_s + 1e-9, in_flight=calls, now_s=self.now_s)
                self.policy.note_loop(self.now_s, LoopTime(self.ran_s, self.waited_s))
            if self.policy.ready:
                change = self.policy.decide(self.now_s)
                if change is not None:
                    self.said.append(change)
        return self


def tried_upward(loop):
    return [each for each in loop.said if each.reason is Reason.PROBE and each.after > each.before]


def test_nothing_is_tried_upward_while_the_loop_has_no_time_left():
    loop = Loop().play(60.0)
    assert not tried_upward(loop)
    assert loop.policy.best == 8


def test_fewer_calls_are_tried_and_kept_where_each_costs_the_loop_much():
    loop = Loop(per_call_s=0.004).play(60.0)
    assert not tried_upward(loop)
    assert loop.policy.best <= 4


def test_a_loop_that_sleeps_is_given_more():
    loop = Loop(per_item_s=1e-5, latency_s=0.05)
    loop.play(10.0)
    assert tried_upward(loop)


def test_what_others_take_of_the_processor_changes_nothing():
    """The loop gets half of the processor for a second, then all of it for one: rates move twofold by themselves."""
    loop = Loop(got=lambda now_s: 0.5 if int(now_s) % 2 else 1.0).play(60.0)
    assert not tried_upward(loop)
    assert loop.policy.best == 8
    assert len(loop.said) < 30
