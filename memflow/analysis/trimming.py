"""Tries whether trimming gives back what the allocator keeps, in a thread, where that is worth it.

Covers when it is tried again and doing it off the event loop. What a try says is `memflow.analysis.trials`'; trimming
under pressure, which needs no issue, is `memflow.memory.sampler`'s.

Off the loop does not mean for nothing: while an arena of the C library's is trimmed, whoever allocates from it waits:
50 ms for a GB in pieces of 100 kB, a quarter of a second where it lies in pieces of 1 kB. So there are 30 seconds
between two tries at least, and twice as many after each one that gave little.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Callable

from memflow.analysis.detectors import Finding
from memflow.analysis.trials import HARDLY, TrimOutcome, with_outcome, worth_trimming
from memflow.memory.readings import MemoryReading
from memflow.memory.reclaim import ReclaimResult, ReclaimSchedule

__all__ = ["TrimTrial"]

_MIN_WAIT_S, _MAX_WAIT_S = 30.0, 3600.0
_TIME_PCT = 0.5


class TrimTrial:
    """Has the heap trimmed for an issue, at most one trim at a time.

    Args:
        trim: Trims and tells what came back, or None where that is not to be done now; None has nothing tried.
        told: Called in that thread once there is an outcome.
        failed: Called in that thread, inside the `except`, when trimming raised; nothing is tried any more.
        clock: Seconds of a monotonic clock.
        start: Runs a function in a thread of its own; replaced in tests.

    Attributes:
        outcome: what came of the last try of the present issue; None before the first.
    """

    def __init__(
        self,
        trim: Callable[[], ReclaimResult | None] | None,
        *,
        told: Callable[[], None],
        failed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.outcome: TrimOutcome | None = None
        self._trim = trim
        self._told = told
        self._failed = failed
        self._clock = clock
        self._start = start if start is not None else _start_thread
        self._schedule = ReclaimSchedule(
            min_wait_s=_MIN_WAIT_S, max_wait_s=_MAX_WAIT_S, max_time_pct=_TIME_PCT, least_share=HARDLY
        )
        self._running = False
        self._issues = 0

    def use(self, trim: Callable[[], ReclaimResult | None]) -> None:
        """Have it tried this way from now on."""
        self._trim = trim

    def look(self, finding: Finding, reading: MemoryReading) -> Finding:
        """Have trimming tried if that is worth it and due; return the finding with what is known by now."""
        resident = round(finding.evidence["resident_bytes"])
        due = not self._running and self._schedule.allowed(self._clock())
        if self._trim is not None and due and worth_trimming(resident, reading.limit_bytes):
            self._begin(self._trim, resident, reading)
        return with_outcome(finding, self.outcome)

    def _begin(self, trim: Callable[[], ReclaimResult | None], resident: int, reading: MemoryReading) -> None:
        issue = self._issues

        def run() -> None:
            try:
                self._run(trim, resident, reading.utilization_pct, issue)
            except Exception:
                self._trim = None
                self._failed()
            finally:
                self._running = False

        self._running = True
        try:
            self._start(run)
        except RuntimeError:  # no room for a thread
            self._running = False

    def _run(self, trim: Callable[[], ReclaimResult | None], resident: int, at_pct: float, issue: int) -> None:
        result = trim()
        now_s = self._clock()
        if result is None:  # the time for giving memory back is spent: not now
            self._schedule.spend(0.0, now_s + 1.0)
            return
        self._schedule.record(result, in_use_bytes=resident, now_s=now_s)
        if issue != self._issues:  # it is over, and what came back is no news to the next
            return
        before = self.outcome.trims if self.outcome is not None else 0
        took_ms = result.seconds * 1000
        self.outcome = TrimOutcome(resident, result.freed_bytes, took_ms, at_pct, before + 1)
        self._told()

    def forget(self) -> None:
        """Drop what came of it: the issue is over. When it may be tried again stays as it is."""
        self.outcome = None
        self._issues += 1


def _start_thread(run: Callable[[], None]) -> None:
    # Not `threading.Thread`, whose `start` waits for the thread to come up, which it never does without memory.
    _thread.start_new_thread(run, ())
