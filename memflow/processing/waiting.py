"""The batches of one call that wait for memory: their steps, what is told of them, and when they give up.

Covers bookkeeping. Trying, reclaiming and sleeping are `memflow.processing.gate`'s; which step comes next is decided in
`memflow.processing.response`.
"""

from __future__ import annotations

from collections.abc import Callable

from memflow.analysis.advice import advise_stall
from memflow.analysis.analyzer import HeapAnalyzer
from memflow.analysis.detectors import Stall, StallStep
from memflow.exceptions import MemoryPressureError
from memflow.memory.state import MemoryState
from memflow.processing.batch import Batch
from memflow.processing.response import Wait, choose_step, must_give_up
from memflow.processing.totals import Totals
from memflow.sizing.admission import Admission
from memflow.sizing.refusal import Refusal, RefusalReason

__all__ = ["WaitingLine"]


class WaitingLine:
    """Who waits at one gate.

    Args:
        operation: the call's operation, for messages.
        state: the limit and its source.
        admission: the ledger that refuses.
        totals: counts the waits.
        analyzer: told of waits that last; None where nobody wants to know.
        timeout_s: how long one item alone may wait.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        operation: str,
        state: MemoryState,
        admission: Admission,
        totals: Totals,
        *,
        analyzer: HeapAnalyzer | None,
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._operation = operation
        self._state = state
        self._admission = admission
        self._totals = totals
        self._analyzer = analyzer
        self._timeout_s = timeout_s
        self._clock = clock
        self._waits: dict[Batch, Wait] = {}
        self._split: dict[int, Wait] = {}
        self._most_limit_bytes = 0

    def __len__(self) -> int:
        return len(self._waits)

    def find(self, batch: Batch) -> Wait | None:
        """Return the wait of a batch, None where it does not wait (any more)."""
        return self._waits.get(batch)

    def saw_limit(self, limit_bytes: int) -> None:
        """Take note of the limit: one that was large enough before may rise again."""
        if limit_bytes > self._most_limit_bytes:
            self._most_limit_bytes = limit_bytes

    def begin(self, batch: Batch) -> Wait:
        """Begin a wait, or go on with that of the batch of which this one is the first part."""
        wait = self._split.pop(batch.start, None)
        if wait is None:
            wait = Wait(self._clock())
            self._totals.waits += 1
            self._totals.waiting[wait] = None
        self._waits[batch] = wait
        return wait

    def judge(self, wait: Wait, refusal: Refusal, batch: Batch) -> None:
        """Choose the next step, and tell of it.

        Raises:
            MemoryPressureError: there is none.
        """
        now_s, admission, totals = self._clock(), self._admission, self._totals
        step = choose_step(size=batch.size, holders=admission.holders, queued=refusal.reason is RefusalReason.QUEUED)
        wait.refused(step, admission.changes, now_s)
        totals.splits += step is StallStep.SPLITTING
        totals.waits_alone += wait.first_alone()
        stall = self._describe(wait, refusal, now_s)
        if step is not StallStep.SPLITTING and must_give_up(
            requested_bytes=refusal.requested_bytes,
            most_limit_bytes=self._most_limit_bytes,
            hopeless=refusal.hopeless,
            alone_for_s=wait.alone_for_s(now_s),
            timeout_s=self._timeout_s,
        ):
            wait.outcome = "it gave up"
            totals.waits_given_up += 1
            if wait.alone_for_s(now_s) >= self._timeout_s:  # and not for being larger than the whole limit
                totals.on_giving_up()
            raise MemoryPressureError(
                operation=self._operation,
                requested_bytes=stall.requested_bytes,
                in_use_bytes=stall.in_use_bytes,
                limit_bytes=stall.limit_bytes,
                limit_source=stall.limit_source,
                waited_s=stall.waited_s,
                advice="; ".join(advise_stall(stall)),
            )
        if self._analyzer is not None:
            self._analyzer.stalled(wait, stall, now_s=now_s)

    def _describe(self, wait: Wait, refusal: Refusal, now_s: float) -> Stall:
        reading, limit = self._state.reading, self._state.limit
        alone = wait.step is StallStep.ALONE
        return Stall(
            operation=self._operation,
            step=wait.step,
            waited_s=now_s - wait.began_s,
            quiet_s=wait.quiet_s(now_s),
            requested_bytes=refusal.requested_bytes,
            in_use_bytes=refusal.in_use_bytes,
            rss_bytes=reading.rss_bytes if reading is not None else 0,
            limit_bytes=refusal.limit_bytes,
            limit_source=limit.source if limit is not None else "unknown",
            reserved_bytes=refusal.reserved_bytes,
            holders=self._admission.holders,
            reclaimed_bytes=wait.reclaimed_bytes,
            gives_up_in_s=max(0.0, self._timeout_s - wait.alone_for_s(now_s)) if alone else None,
        )

    def split(self, batch: Batch) -> None:
        """Take a batch out, whose first part will go on with its wait."""
        wait = self._waits.pop(batch, None)
        if wait is not None:
            self._split[batch.start] = wait

    def admitted(self, batch: Batch) -> None:
        """Take a batch out that may start."""
        wait = self._waits.get(batch)
        if wait is not None:
            wait.outcome = "it was admitted"
            self.leave(batch)

    def leave(self, batch: Batch) -> None:
        """Take a batch out, however its wait has ended; nothing where it is out already."""
        wait = self._waits.pop(batch, None)
        if wait is not None:
            self._end(wait)

    def close(self) -> None:
        """End what was left between two halves."""
        for wait in self._split.values():
            self._end(wait)
        self._split.clear()

    def _end(self, wait: Wait) -> None:
        now_s, totals = self._clock(), self._totals
        lasted_s = now_s - wait.began_s
        self._admission.forget(wait)
        totals.waiting.pop(wait, None)
        totals.longest_wait_s = max(totals.longest_wait_s, lasted_s)
        if self._analyzer is not None:
            self._analyzer.stall_ended(wait, now_s=now_s, reason=f"{wait.outcome} after {lasted_s:.1f} s")
