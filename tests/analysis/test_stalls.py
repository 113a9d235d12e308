"""Work that waits for memory, as an issue: found, worded, followed, told. Who waits is `memflow.processing`'s."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis import HeapAnalyzer, IssueKind, IssueOpened, IssueResolved, IssueUpdated, Severity
from memflow.analysis.advice import advise_stall, describe_stall
from memflow.analysis.detectors import Stall, StallStep, Thresholds, admission_stalled
from memflow.analysis.watch import StallWatch
from memflow.settings import HeapAnalyzerSettings

MIB = 2**20
STALL = Stall(
    operation="embed",
    step=StallStep.ALONE,
    waited_s=3.25,
    quiet_s=3.0,
    requested_bytes=100 * MIB,
    in_use_bytes=1000 * MIB,
    rss_bytes=200 * MIB,
    limit_bytes=1024 * MIB,
    limit_source="cgroup v2 memory.max of /app",
    reserved_bytes=0,
    holders=0,
    reclaimed_bytes=0,
    gives_up_in_s=56.75,
)
BUSY = replace(STALL, step=StallStep.WAITING, holders=2, reserved_bytes=300 * MIB, gives_up_in_s=None)
THRESHOLDS = Thresholds(stall_s=2.0)


def test_a_wait_with_nothing_of_ours_in_flight_is_found_after_the_threshold() -> None:
    assert admission_stalled(replace(STALL, quiet_s=1.99), THRESHOLDS) is None
    found = admission_stalled(replace(STALL, quiet_s=2.0), THRESHOLDS)
    assert found is not None
    assert (found.kind, found.severity) == (IssueKind.ADMISSION_STALLED, Severity.WARNING)
    assert found.evidence["others_bytes"] == 800 * MIB
    assert found.evidence["gives_up_in_s"] == 56.75


def test_a_wait_for_work_of_ours_is_found_late_and_is_no_warning() -> None:
    assert admission_stalled(replace(BUSY, quiet_s=19.9), THRESHOLDS) is None
    found = admission_stalled(replace(BUSY, quiet_s=20.0), THRESHOLDS)
    assert found is not None
    assert found.severity is Severity.INFO
    assert "gives_up_in_s" not in found.evidence


def test_what_was_told_lasts_as_long_as_the_wait() -> None:
    assert admission_stalled(replace(STALL, quiet_s=0.0), THRESHOLDS, is_open=True) is not None


@given(st.floats(0, 1e6), st.integers(0, 2**50), st.integers(0, 2**50), st.integers(0, 5))
def test_evidence_is_finite_and_what_others_hold_never_negative(quiet_s, rss, in_use, holders) -> None:
    found = admission_stalled(
        replace(STALL, quiet_s=quiet_s, rss_bytes=rss, in_use_bytes=in_use, holders=holders), THRESHOLDS, is_open=True
    )
    assert found is not None
    assert all(math.isfinite(value) and value >= 0 for value in found.evidence.values())


def test_the_message_says_who_waits_for_what_who_holds_it_and_what_comes_next() -> None:
    assert describe_stall(STALL) == (
        "embed has waited 3.2 s for 100 MiB: 1000 MiB of 1 GiB (cgroup v2 memory.max of /app) are in use, 800 MiB of "
        "it outside this process, and nothing of ours is in flight; step alone: it goes on by itself once others give "
        "memory back, and gives up in 57 s"
    )
    busy = describe_stall(replace(BUSY, reclaimed_bytes=5 * MIB))
    assert "2 of our batches are in flight with 300 MiB, collecting gave back 5 MiB; step waiting: " in busy
    assert "gives up" not in busy


@pytest.mark.parametrize("step", StallStep)
def test_every_step_has_its_words(step: StallStep) -> None:
    assert f"step {step.value}: " in describe_stall(replace(STALL, step=step))


def test_advice_fits_the_cause() -> None:
    assert advise_stall(STALL) == (
        "free 76 MiB or raise the limit by as much (most of what is in use is held by others)",
        "look at what else runs under the same limit",
        "make single items smaller, or raise admission_timeout_s to wait longer",
    )
    ours = advise_stall(replace(BUSY, rss_bytes=990 * MIB))
    assert ours == (
        "free 76 MiB or raise the limit by as much (most of what is in use is held by this process)",
        "set item_timeout_s if items may hang: they hold their memory until they end",
    )
    (hopeless,) = advise_stall(replace(STALL, requested_bytes=2048 * MIB))
    assert hopeless.startswith("one item needs more than the whole limit: raise the limit above 2 GiB")


def test_one_wait_is_followed_at_a_time() -> None:
    watch = StallWatch(THRESHOLDS)
    assert watch.look("a", STALL)[0] is not None
    assert watch.look("b", STALL) == (None, False)
    assert not watch.ended("b")
    assert watch.ended("a")
    assert not watch.ended("a")
    assert watch.look("b", STALL)[0] is not None


@given(st.lists(st.sampled_from(StallStep), min_size=1, max_size=60))
def test_steps_are_told_at_once_only_when_they_go_further(steps: list[StallStep]) -> None:
    """However a wait goes to and fro between reclaiming and waiting, subscribers aren't flooded."""
    watch, told = StallWatch(THRESHOLDS), []
    for step in steps:
        _, further = watch.look("a", replace(STALL, step=step))
        if further:
            told.append(list(StallStep).index(step))
    assert told[0] == list(StallStep).index(steps[0])
    assert max(told) == max(list(StallStep).index(step) for step in steps)
    assert all(before < after for before, after in pairwise(told))


class Told:
    """An analyzer that is told of stalls, and what it sent."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[Any] = []
        self.analyzer = HeapAnalyzer(HeapAnalyzerSettings(stall_threshold_s=2, **settings))
        self.analyzer._hub.publish = self.events.append  # type: ignore[method-assign]

    def stall(self, now_s: float, waiter: str = "w", **changes: Any) -> None:
        self.analyzer.stalled(waiter, replace(STALL, **changes), now_s=now_s)

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]


def test_a_stall_is_opened_updated_and_resolved() -> None:
    told = Told(update_interval_s=10)
    told.stall(1.0, quiet_s=1.0)
    assert told.events == []
    told.stall(2.0, step=StallStep.WAITING)
    told.stall(3.0, step=StallStep.WAITING)
    told.stall(4.0)
    told.stall(5.0)
    told.stall(14.5)
    assert told.kinds == [IssueOpened, IssueUpdated, IssueUpdated]
    assert [each.issue.updated_at_s for each in told.events] == [2.0, 4.0, 14.5]
    assert told.analyzer.open_issues[0].id == "admission_stalled-embed-1"
    assert told.analyzer.analyze().issues[0].operation == "embed"
    told.analyzer.stall_ended("w", now_s=15.0, reason="it was admitted after 14.0 s")
    assert told.kinds[-1] is IssueResolved
    assert told.analyzer.open_issues == ()
    assert str(told.events[-1]) == ("resolved admission_stalled-embed-1 after 13.0 s: it was admitted after 14.0 s")


def test_a_wait_that_was_never_told_ends_in_silence() -> None:
    told = Told()
    told.stall(1.0, quiet_s=0.5)
    told.analyzer.stall_ended("w", now_s=1.5, reason="it was admitted after 1.0 s")
    assert told.events == []


def test_the_next_in_line_is_told_under_its_own_name() -> None:
    told = Told()
    told.stall(1.0, "a")
    told.stall(1.0, "b", operation="parse")
    told.analyzer.stall_ended("a", now_s=2.0, reason="it gave up after 60.0 s")
    told.stall(3.0, "b", operation="parse")
    assert [event.issue.id for event in told.events] == [
        "admission_stalled-embed-1",
        "admission_stalled-embed-1",
        "admission_stalled-parse-1",
    ]


def test_a_fault_of_ours_does_not_reach_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr(told.analyzer._stalls, "look", lambda *_: 1 / 0)
    told.stall(1.0)
    assert any("fail" in note for note in told.analyzer.analyze().notes)
