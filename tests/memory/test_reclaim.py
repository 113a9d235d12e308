"""When and how memory is given back: `memflow.memory.reclaim`."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory import reclaim
from memflow.memory.reclaim import ReclaimResult, ReclaimSchedule, collect_and_trim, trim_alone


class Cycle:
    def __init__(self) -> None:
        self.me = self


def run_of(*, freed: int = 0, seconds: float = 0.0) -> ReclaimResult:
    return ReclaimResult(freed, 0, False, seconds)


def test_collects_and_tells_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "trim", lambda: True)
    dead = weakref.ref(Cycle())
    sizes = iter([1000, 400])
    result = collect_and_trim(lambda: next(sizes))
    assert dead() is None
    assert result.freed_bytes == 600
    assert result.collected_objects >= 1
    assert result.trimmed
    assert result.seconds > 0


def test_growth_meanwhile_is_not_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "trim", lambda: False)
    sizes = iter([400, 1000])
    result = collect_and_trim(lambda: next(sizes))
    assert result.freed_bytes == 0
    assert not result.trimmed


def test_trimming_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "trim", lambda: pytest.fail("trimmed"))
    assert not collect_and_trim(lambda: 1, with_trim=False).trimmed


def test_really_trims() -> None:
    assert collect_and_trim(lambda: 1).trimmed in (True, False)
    assert gc.isenabled()


def test_due_from_the_threshold_on() -> None:
    schedule = ReclaimSchedule(threshold_pct=80)
    assert not schedule.due(79.9, 0.0)
    assert schedule.due(80, 0.0)


def test_a_run_that_gave_little_doubles_the_wait() -> None:
    schedule = ReclaimSchedule(min_wait_s=1, max_wait_s=6)
    waits = []
    for _ in range(4):
        schedule.record(run_of(freed=4), in_use_bytes=100, now_s=0.0)
        waits.append(next(t for t in range(100) if schedule.due(100, float(t))))
    assert waits == [2, 4, 6, 6]


def test_after_a_run_that_gave_little_the_next_is_due_late_and_allowed_for_who_waits() -> None:
    schedule = ReclaimSchedule(min_wait_s=0.5)
    schedule.record(run_of(freed=4, seconds=0.05), in_use_bytes=100, now_s=0.0)
    assert next(t / 10 for t in range(1_000) if schedule.allowed(t / 10)) == 1.0
    assert next(t / 10 for t in range(1_000) if schedule.due(100, t / 10)) == pytest.approx(10.0, abs=0.11)
    schedule.record(run_of(freed=4, seconds=1.0), in_use_bytes=100, now_s=100.0)
    assert next(t for t in range(1_000) if schedule.due(100, float(t))) == 160  # the longest wait
    schedule.record(run_of(freed=50, seconds=0.05), in_use_bytes=100, now_s=200.0)
    assert schedule.due(100, 201.0)


def test_a_run_that_paid_resets_the_wait() -> None:
    schedule = ReclaimSchedule(min_wait_s=1)
    schedule.record(run_of(), in_use_bytes=100, now_s=0.0)
    schedule.record(run_of(), in_use_bytes=100, now_s=10.0)
    schedule.record(run_of(freed=5), in_use_bytes=100, now_s=20.0)
    assert not schedule.allowed(20.9)
    assert schedule.allowed(21.0)


@given(st.floats(0, 100), st.floats(0.1, 100), st.integers(0, 1000))
def test_never_more_than_its_share_of_the_time(seconds: float, share_pct: float, freed: int) -> None:
    schedule = ReclaimSchedule(max_time_pct=share_pct, min_wait_s=0)
    schedule.record(run_of(freed=freed, seconds=seconds), in_use_bytes=100, now_s=0.0)
    rest_s = seconds * (100 / share_pct - 1)
    assert not schedule.allowed(rest_s * 0.999 - 1e-9)
    assert schedule.allowed(max(rest_s, 0.0))


def test_trimming_alone_collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "trim", lambda: True)
    monkeypatch.setattr(reclaim.gc, "collect", lambda: pytest.fail("collected"))
    sizes = iter([1000, 400])
    result = trim_alone(lambda: next(sizes))
    assert (result.freed_bytes, result.collected_objects, result.trimmed) == (600, 0, True)


def test_time_that_was_spent_otherwise_counts_and_leaves_the_wait_as_it_is() -> None:
    schedule = ReclaimSchedule(max_time_pct=5, min_wait_s=1)
    schedule.spend(1.0, 0.0)
    assert not schedule.allowed(18.9)
    assert schedule.allowed(19.0)
    schedule.spend(0.0, 5.0)
    assert not schedule.allowed(18.9)
    schedule.record(run_of(freed=5), in_use_bytes=100, now_s=20.0)
    assert schedule.allowed(21.0)


def test_what_counts_as_little_can_be_set() -> None:
    schedule = ReclaimSchedule(min_wait_s=1, least_share=0.25)
    schedule.record(run_of(freed=24), in_use_bytes=100, now_s=0.0)
    assert not schedule.allowed(1.9)
    schedule.record(run_of(freed=25), in_use_bytes=100, now_s=10.0)
    assert schedule.allowed(11.0)
