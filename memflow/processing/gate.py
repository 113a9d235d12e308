"""Admission by memory: a batch reserves what it is predicted to need before it starts, or waits.

Covers acting on admission's answers: waiting, reclaiming, splitting, giving up, and telling of it. The answers
themselves are decided in `memflow.sizing.admission`, the steps of a wait in `memflow.processing.response`.

The steps of a wait: read memory again; collect and trim, if that is due; wait until something of this call ends, or
for one sample interval; with nothing of ours in flight, go on with smaller batches, down to one item alone; and when
even that found no room for `admission_timeout_s`, raise `MemoryPressureError`. A wait that lasts is an issue of the
kind "admission_stalled".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from memflow.analysis.advice import advise_stall
from memflow.analysis.detectors import Stall, StallStep
from memflow.exceptions import MemoryPressureError
from memflow.memory.datalimit import data_limit_bytes, original_data_limit
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading
from memflow.memory.reclaim import ReclaimResult
from memflow.processing.batch import Batch
from memflow.processing.bundle import MemoryBundle
from memflow.processing.response import Wait, choose_step, must_give_up
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings
from memflow.sizing.admission import Refusal, RefusalReason, Reservation
from memflow.sizing.optimizer import CallSizer

__all__ = ["Gate"]

_ALONE_S = 5.0
_WARY_S = 5.0
_LARGE_SHARE = 0.05
_MOST_POLL_S = 0.25


class Gate:
    """Lets one call's batches in.

    Args:
        operation: the call's operation, for messages.
        bundle: state, sampler and the ledger of reservations, which other calls share.
        sizer: predicts what a batch needs.
        totals: counts the waits.
        settings: whether memory is watched, and how long to wait.
        clock: seconds of a monotonic clock; replaced in tests.
    """

    def __init__(
        self,
        operation: str,
        bundle: MemoryBundle,
        sizer: CallSizer,
        totals: Totals,
        settings: BatchProcessorSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._operation = operation
        self._state = bundle.state
        self._sampler = bundle.sampler
        self._admission = bundle.admission
        self._sizer = sizer
        self._totals = totals
        self._watching = settings.memory_monitoring
        self._timeout_s = settings.admission_timeout_s
        self._clock = clock
        self._analyzer = bundle.analyzer if settings.detect_memory_issues else None
        self._most_limit_bytes = 0
        self._wary_until_s = float("-inf")
        self._split: dict[int, Wait] = {}
        self._held: set[Reservation] = set()
        self._freed: list[anyio.Event] = []

    def try_enter(self, batch: Batch) -> bool:
        """Reserve for a batch without waiting; False when there is no room now."""
        if not self._watching:
            return True
        self._sampler.at_boundary(self._clock())
        return self._reserve(batch) is None

    def _reserve(self, batch: Batch, wait: Wait | None = None) -> Refusal | None:
        reading = self._state.reading
        assert reading is not None  # a call that watches memory begins with a reading
        if reading.limit_bytes > self._most_limit_bytes:
            self._most_limit_bytes = reading.limit_bytes
        sizer, room = self._sizer, None
        if batch.size == 1 and not self._admission.holders and original_data_limit() is not None:
            # Beyond this the item would only meet a MemoryError, however long memory is somebody else's.
            room = data_limit_bytes(
                rss_bytes=0, untouched_bytes=0, in_use_bytes=reading.in_use_bytes, limit_bytes=reading.limit_bytes
            )
        answer = self._admission.try_reserve(
            self._predict(batch, reading, reading.headroom_bytes if room is None else room),
            reading=reading,
            now_s=self._clock(),
            single=batch.size == 1,
            guard_bytes=sizer.guard_bytes,
            base_bytes=sizer.base_bytes,
            reusable_bytes=self._reusable(batch, reading),
            waiter=wait,
            alone=batch.alone,
            stopped=self._state.level is PressureLevel.STOP,
            room_bytes=room,
        )
        if isinstance(answer, Refusal):
            return answer
        batch.reserved = answer
        self._held.add(answer)
        return None

    def misjudged(self, now_s: float) -> None:
        """Take note that an admitted batch found no room: for a while, large ones don't count on freed heap.

        What was freed in pieces of another size is no room for them until it is trimmed.
        """
        self._wary_until_s = now_s + _WARY_S
        self._sampler.expect_retention()

    def _reusable(self, batch: Batch, reading: MemoryReading) -> int:
        if self._clock() < self._wary_until_s:
            large = self._sizer.predict_bytes(batch.weight) > _LARGE_SHARE * reading.limit_bytes
            return 0 if large else self._sizer.reusable_bytes
        return self._sizer.reusable_bytes

    def _predict(self, batch: Batch, reading: MemoryReading, room_bytes: int) -> int:
        """Predict a batch's bytes.

        A single item is refused for good by its own hint alone. Where nothing is known of the item itself, what was
        learnt of others may be wrong (of a neighbour's memory, for instance, or by an earlier run): short of the last
        level it may try.
        """
        predicted = self._sizer.predict_bytes(batch.weight)
        if batch.size > 1:
            return predicted
        if batch.weights is not None and batch.weight > reading.limit_bytes:
            return max(predicted, int(batch.weight))
        tries = (batch.weights is None or self._sizer.guesses) and self._state.level < PressureLevel.STOP
        return min(predicted, max(1, room_bytes) if tries else reading.limit_bytes)

    async def wait_enter(self, batch: Batch) -> bool:
        """Wait until a batch may start.

        One that is to run alone has the others wait until nothing is held. Where that takes longer than 5 s (items that
        take minutes, or an item that itself waits for this batch), it takes its chance like any other.

        Returns:
            True when it may; False when it should be split first, since nothing else is in flight.

        Raises:
            MemoryPressureError: it can never fit, or nothing made room for `admission_timeout_s`.
        """
        wait, resumed_s = self._begin(batch), self._clock()
        cleared = not self._sampler.settings.auto_gc
        split = False
        try:
            while True:
                self._sampler.sample()
                if batch.alone and self._clock() - resumed_s >= _ALONE_S:
                    batch.alone = False
                if batch.alone and not (self._admission.holders or cleared):
                    # What its first try and all the others left behind: nothing else could make room for it.
                    cleared = True
                    await self._reclaim(wait, self._sampler.reclaim_in_thread)
                refusal = self._reserve(batch, wait)
                if refusal is None:
                    wait.outcome = "it was admitted"
                    return True
                self._judge(wait, refusal, batch)
                split = wait.step is StallStep.SPLITTING
                if split:
                    return False
                reclaim = partial(self._sampler.reclaim_if_allowed, refusal.requested_bytes)
                if not self._sampler.settings.auto_gc or not await self._reclaim(wait, reclaim):
                    await self._wait_freed()
        finally:
            self._totals.waited_s += self._clock() - resumed_s
            if split:
                self._split[batch.start] = wait
            else:
                self._end(wait)

    def _begin(self, batch: Batch) -> Wait:
        """Begin a wait, or go on with that of the batch of which this one is the first part."""
        wait = self._split.pop(batch.start, None)
        if wait is None:
            wait = Wait(self._clock())
            self._totals.waits += 1
            self._totals.waiting[wait] = None
        return wait

    def _judge(self, wait: Wait, refusal: Refusal, batch: Batch) -> None:
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

    async def _reclaim(self, wait: Wait, reclaim: Callable[[], Awaitable[ReclaimResult | None]]) -> bool:
        """Collect and trim; False when it was not allowed now."""
        before, wait.step = wait.step, StallStep.RECLAIMING
        try:
            result = await reclaim()
        except RuntimeError:
            # RLIMIT_DATA may leave no room for the stack of a thread. Here, nobody is held up for long.
            wait.reclaimed_bytes += self._sampler.reclaim().freed_bytes
            return False
        finally:
            wait.step = before
        if result is None:
            return False
        wait.reclaimed_bytes += result.freed_bytes
        return True

    async def _wait_freed(self) -> None:
        event = anyio.Event()
        self._freed.append(event)
        # However seldom memory is read otherwise: whoever asks less than once a second loses its turn.
        with anyio.move_on_after(min(self._sampler.settings.sample_interval_s, _MOST_POLL_S)):
            await event.wait()

    def _end(self, wait: Wait) -> None:
        now_s, totals = self._clock(), self._totals
        lasted_s = now_s - wait.began_s
        self._admission.forget(wait)
        totals.waiting.pop(wait, None)
        totals.longest_wait_s = max(totals.longest_wait_s, lasted_s)
        if self._analyzer is not None:
            self._analyzer.stall_ended(wait, now_s=now_s, reason=f"{wait.outcome} after {lasted_s:.1f} s")

    def leave(self, batch: Batch, now_s: float) -> None:
        """Take a reading at the end of a batch, and give its reservation back."""
        if not self._watching:
            return
        self._sampler.at_boundary(now_s)
        reservation: Reservation | None = batch.reserved
        if reservation is not None:
            batch.reserved = None
            self._held.discard(reservation)
            reservation.release()
        if self._freed:
            for event in self._freed:
                event.set()
            self._freed.clear()

    def close(self) -> None:
        """Give back what unfinished batches hold, and end what was left between two halves."""
        for wait in self._split.values():
            self._end(wait)
        self._split.clear()
        for reservation in self._held:
            reservation.release()
        self._held.clear()
