"""The steps of a wait, as decisions: `memflow.processing.response`."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import StallStep
from memflow.processing.response import Wait, choose_step, must_give_up


@pytest.mark.parametrize(
    ("size", "holders", "queued", "step"),
    [
        (8, 1, False, StallStep.WAITING),
        (1, 3, False, StallStep.WAITING),
        (8, 0, True, StallStep.WAITING),
        (1, 0, True, StallStep.WAITING),
        (8, 0, False, StallStep.SPLITTING),
        (2, 0, False, StallStep.SPLITTING),
        (1, 0, False, StallStep.ALONE),
    ],
)
def test_each_refusal_has_its_step(size: int, holders: int, queued: bool, step: StallStep) -> None:
    assert choose_step(size=size, holders=holders, queued=queued) is step


def give_up(**changes) -> bool:
    plain = {"requested_bytes": 100, "most_limit_bytes": 1000, "hopeless": False, "alone_for_s": 0.0, "timeout_s": 60.0}
    return must_give_up(**plain | changes)


def test_time_alone_ends_a_wait_and_no_sooner() -> None:
    assert not give_up(alone_for_s=59.9)
    assert give_up(alone_for_s=60.0)


def test_what_never_fitted_is_over_at_once() -> None:
    assert give_up(hopeless=True, requested_bytes=1001)


def test_what_fitted_under_an_earlier_limit_waits_for_it_to_come_back() -> None:
    assert not give_up(hopeless=True, requested_bytes=900)
    assert give_up(hopeless=True, requested_bytes=900, alone_for_s=60.0)


def test_time_counts_from_when_nothing_of_ours_could_make_room() -> None:
    wait = Wait(10.0)
    wait.refused(StallStep.WAITING, 1, 15.0)
    assert (wait.alone_for_s(17.0), wait.quiet_s(17.0)) == (2.0, 2.0)
    wait.refused(StallStep.ALONE, 1, 20.0)
    assert wait.alone_for_s(25.0) == 10.0


def test_whatever_starts_or_ends_is_progress() -> None:
    wait = Wait(0.0)
    wait.refused(StallStep.WAITING, 7, 0.0)
    wait.refused(StallStep.WAITING, 7, 4.0)
    assert wait.quiet_s(5.0) == 5.0
    wait.refused(StallStep.WAITING, 8, 5.0)
    assert wait.quiet_s(5.5) == 0.5


def test_being_alone_counts_once_a_wait() -> None:
    wait = Wait(0.0)
    wait.refused(StallStep.SPLITTING, 0, 0.0)
    assert not wait.first_alone()
    wait.refused(StallStep.ALONE, 0, 0.0)
    assert [wait.first_alone(), wait.first_alone()] == [True, False]


@given(
    st.lists(st.tuples(st.sampled_from(StallStep), st.integers(0, 3), st.floats(0, 5)), min_size=1, max_size=40),
    st.floats(0.1, 20),
)
def test_a_wait_is_bounded_by_the_time_that_others_take(steps, timeout_s: float) -> None:
    """However steps alternate: after the last one in which ours could make room, only the timeout is left."""
    wait, now_s, last_ours_s = Wait(0.0), 0.0, 0.0
    for step, changes, pause_s in steps:
        now_s += pause_s
        wait.refused(step, changes, now_s)
        last_ours_s = now_s if step is StallStep.WAITING else last_ours_s
        over = give_up(alone_for_s=wait.alone_for_s(now_s), timeout_s=timeout_s)
        assert over == (now_s - last_ours_s >= timeout_s)


@given(st.integers(2, 10**6))
def test_splitting_comes_down_to_one_item(size: int) -> None:
    sizes = [size]
    while choose_step(size=sizes[-1], holders=0, queued=False) is StallStep.SPLITTING:
        sizes.append(sizes[-1] // 2)
    assert sizes[-1] == 1
    assert all(after < before for before, after in pairwise(sizes))
    assert len(sizes) <= 20
