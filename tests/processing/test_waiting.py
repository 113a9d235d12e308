"""Who waits at one gate: begun, split, ended, each once. Waits as a whole are in `test_gate` and `test_stalls`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memflow.analysis.detectors import StallStep
from memflow.exceptions import MemoryPressureError
from memflow.memory.state import MemoryState
from memflow.processing.batch import Batch
from memflow.processing.response import Wait
from memflow.processing.totals import Totals
from memflow.processing.waiting import WaitingLine
from memflow.sizing.admission import Admission
from memflow.sizing.refusal import Refusal, RefusalReason


class Hall:
    """A line, in time that is set, and what is told about it."""

    def __init__(self, *, timeout_s: float = 10.0) -> None:
        self.now_s = 0.0
        self.totals, self.admission = Totals(), Admission()
        self.told: list[tuple[Wait, StallStep]] = []
        self.ended: list[tuple[Wait, str]] = []
        self.line = WaitingLine(
            "embed",
            MemoryState(),
            self.admission,
            self.totals,
            analyzer=self,  # type: ignore[arg-type]
            timeout_s=timeout_s,
            clock=lambda: self.now_s,
        )

    def stalled(self, wait: Wait, stall: Any, *, now_s: float) -> None:
        self.told.append((wait, stall.step))

    def stall_ended(self, wait: Wait, *, now_s: float, reason: str) -> None:
        self.ended.append((wait, reason))

    def refuse(self, wait: Wait, batch: Batch, *, requested: int = 100, reason: Any = RefusalReason.BUDGET) -> None:
        self.line.judge(wait, Refusal(requested, 0, 900, 1000, reason), batch)


def batch(size: int, start: int = 0) -> Batch:
    return Batch(start, [None] * size, None, full=True)


def test_a_wait_is_counted_once_and_told_how_it_ended() -> None:
    hall, of = Hall(), batch(1)
    wait = hall.line.begin(of)
    assert hall.line.find(of) is wait
    assert list(hall.totals.waiting) == [wait]
    hall.now_s = 2.5
    hall.line.admitted(of)
    hall.line.admitted(of)
    hall.line.leave(of)
    assert hall.line.find(of) is None
    assert hall.ended == [(wait, "it was admitted after 2.5 s")]
    assert (hall.totals.waits, hall.totals.longest_wait_s, len(hall.totals.waiting)) == (1, 2.5, 0)


def test_who_leaves_before_has_not_been_admitted() -> None:
    hall, of = Hall(), batch(1)
    wait = hall.line.begin(of)
    hall.line.leave(of)
    assert hall.ended == [(wait, "the call ended after 0.0 s")]


def test_the_first_part_of_a_batch_goes_on_with_its_wait_and_the_rest_begins_one() -> None:
    hall, whole = Hall(), batch(8, start=40)
    wait = hall.line.begin(whole)
    hall.refuse(wait, whole)
    assert wait.step is StallStep.SPLITTING
    hall.line.split(whole)
    hall.line.leave(whole)  # it is out already
    assert hall.ended == []
    first, rest = whole.split(3)
    assert hall.line.begin(rest) is not wait
    assert hall.line.begin(first) is wait
    assert (hall.totals.waits, hall.totals.splits) == (2, 1)


def test_what_was_left_between_two_halves_is_ended_at_the_close() -> None:
    hall, whole = Hall(), batch(8)
    wait = hall.line.begin(whole)
    hall.line.split(whole)
    hall.line.close()
    hall.line.close()
    assert [each for each, _ in hall.ended] == [wait]
    assert not hall.totals.waiting


def test_steps_are_told_and_time_alone_runs_out() -> None:
    hall, of = Hall(timeout_s=10), batch(1)
    given_up: list[float] = []
    hall.totals.on_giving_up = lambda: given_up.append(hall.now_s)
    wait = hall.line.begin(of)
    hall.refuse(wait, of, reason=RefusalReason.QUEUED)
    hall.now_s = 5.0
    hall.refuse(wait, of, reason=RefusalReason.QUEUED)  # behind somebody else it does not count
    hall.now_s = 14.9
    hall.refuse(wait, of)
    assert [step for _, step in hall.told] == [StallStep.WAITING, StallStep.WAITING, StallStep.ALONE]
    hall.now_s = 15.0
    with pytest.raises(MemoryPressureError, match="embed"):
        hall.refuse(wait, of)
    assert given_up == [15.0]
    hall.line.leave(of)
    assert hall.ended == [(wait, "it gave up after 15.0 s")]
    assert (hall.totals.waits_given_up, hall.totals.waits_alone) == (1, 1)


def test_what_exceeds_the_limit_waits_where_the_limit_was_large_enough_before() -> None:
    hall, of = Hall(), batch(1)
    wait = hall.line.begin(of)
    hall.line.saw_limit(2000)
    hall.line.saw_limit(1000)
    hall.refuse(wait, of, requested=1500, reason=RefusalReason.TOO_LARGE)
    with pytest.raises(MemoryPressureError):
        hall.refuse(wait, of, requested=2001, reason=RefusalReason.TOO_LARGE)


class Line(RuleBasedStateMachine):
    """Whatever becomes of batches, each wait is begun once, ended once, and shown in between."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall()
        self.waits: list[Wait] = []
        self.inside: list[tuple[Batch, Wait]] = []
        self.halves: list[tuple[Batch, Wait]] = []
        self.start = 0

    @rule(size=st.integers(1, 8))
    def begin(self, size: int) -> None:
        of = batch(size, self.start)
        self.start += size
        wait = self.hall.line.begin(of)
        self.waits.append(wait)
        self.inside.append((of, wait))

    @rule(data=st.data(), how=st.sampled_from(["admitted", "leave", "split"]))
    def end(self, data: Any, how: str) -> None:
        if self.inside:
            of, wait = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
            getattr(self.hall.line, how)(of)
            self.hall.line.leave(of)
            if how == "split":
                self.halves.append((of, wait))

    @rule()
    def go_on(self) -> None:
        if self.halves:
            of, wait = self.halves.pop()
            first = batch(max(1, of.size // 2), of.start)
            assert self.hall.line.begin(first) is wait
            self.inside.append((first, wait))

    @invariant()
    def each_is_shown_until_it_has_ended(self) -> None:
        open_now = [wait for _, wait in self.inside + self.halves]
        assert set(self.hall.totals.waiting) == set(open_now)
        ended = [wait for wait, _ in self.hall.ended]
        assert len(ended) == len(set(ended))
        assert set(ended) | set(open_now) == set(self.waits)
        assert self.hall.totals.waits == len(self.waits)

    def teardown(self) -> None:
        for of, _ in self.inside:
            self.hall.line.leave(of)
        self.hall.line.close()
        assert not self.hall.totals.waiting
        assert len(self.hall.ended) == len(self.waits)


TestLine = Line.TestCase
