"""Admission by memory: a batch reserves what it is predicted to need before it starts, or waits.

Covers acting on admission's answers: waiting, reclaiming, splitting, giving up, and telling of it. The answers
themselves are decided in `memflow.sizing.admission`, the steps of a wait in `memflow.processing.response`; who waits is
kept in `memflow.processing.waiting`.

The steps of a wait: read memory again; collect and trim, if that is due; wait until something of this call ends, or
for one sample interval; with nothing of ours in flight, go on with smaller batches, down to one item alone, which is
let in against its prediction where there will be no more room than now; and when even that found no room for
`admission_timeout_s`, raise `MemoryPressureError`. A wait that lasts is an issue of the kind "admission_stalled".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import anyio

from memflow.analysis.detectors import StallStep
from memflow.memory.datalimit import data_limit_bytes, original_data_limit
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.retained import MAPPED_SHARE
from memflow.processing.batch import Batch
from memflow.processing.bundle import MemoryBundle
from memflow.processing.handover import Handover
from memflow.processing.response import Wait
from memflow.processing.totals import Totals
from memflow.processing.waiting import WaitingLine
from memflow.settings import BatchProcessorSettings
from memflow.sizing.admission import Reservation
from memflow.sizing.optimizer import CallSizer
from memflow.sizing.refusal import Refusal

__all__ = ["Gate"]

_EARLY_S = 2.0
_ALONE_S = 5.0
_WARY_S = 5.0
_LARGE_SHARE = 0.05
_LEAST_SHARE = 0.1
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

    Attributes:
        crowded: no other batch like the one that asked last would fit: nobody need be woken to try.
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
        self._state = bundle.state
        self._sampler = bundle.sampler
        self._admission = bundle.admission
        self._sizer = sizer
        self._totals = totals
        self._watching = settings.memory_monitoring
        self._clock = clock
        self._began_s = clock()
        self._line = WaitingLine(
            operation,
            bundle.state,
            bundle.admission,
            totals,
            analyzer=bundle.analyzer if settings.detect_memory_issues else None,
            timeout_s=settings.admission_timeout_s,
            clock=clock,
        )
        self._wary_until_s = float("-inf")
        self._handover = Handover(
            bundle.admission, bundle.state, lambda batch, reading: self._predict(batch, reading, reading.headroom_bytes)
        )
        self._held: set[Reservation] = set()
        self._freed: list[anyio.Event] = []
        self._plugged = False
        self._least_in_use_bytes = bundle.state.reading.in_use_bytes if bundle.state.reading is not None else inf
        self.crowded = False

    def try_enter(self, batch: Batch) -> bool:
        """Reserve for a batch without waiting; False when there is no room now."""
        if not self._watching:
            return True
        now_s = self._clock()
        if self._handover.kept is not None:  # a reading was taken when that was left
            if self._follows(batch, None, now_s):
                return True
        elif now_s >= self._sampler.spacing.next_s:
            self._sampler.at_boundary(now_s)
        return self._reserve(batch) is None

    def try_take(self, batch: Batch) -> bool:
        """Reserve for a batch that waits, in its turn but without waking who waits for it; False where that fails."""
        wait = self._line.find(batch)
        if wait is None:
            return self.try_enter(batch)
        now_s = self._clock()
        self._sampler.at_boundary(now_s)
        if not self._follows(batch, wait, now_s) and self._reserve(batch, wait) is not None:
            if not self._admission.holders:
                self.tell()  # smaller steps are for who waits to take
            return False
        self._line.admitted(batch)
        return True

    def _follows(self, batch: Batch, wait: Wait | None, now_s: float) -> bool:
        """Let a batch take the place of one that has just ended; False where it has to ask."""
        batch.reserved = kept = self._handover.take(batch, wait, now_s=now_s)
        if kept is None:
            self.nobody_follows()
            return False
        self.crowded = self._admission.spare_bytes < kept.bytes
        return True

    def nobody_follows(self) -> None:
        """Give back what was kept for a batch that would follow at once."""
        kept = self._handover.drop()
        if kept is not None:
            self._held.discard(kept)
            kept.release(now_s=self._clock())
            self.tell()

    @property
    def limit_bytes(self) -> float:
        """The effective limit, inf where memory is not watched."""
        reading = self._state.reading
        return reading.limit_bytes if self._watching and reading is not None else inf

    @property
    def waiting(self) -> int:
        """Batches that wait here."""
        return len(self._line)

    @property
    def holders(self) -> int:
        """Batches that hold a reservation, of whichever call."""
        return self._admission.holders

    def items_that_fit(self, batch: Batch) -> int:
        """Return how many of the items of a batch that was refused, each of average weight, would have fitted."""
        predicted = self._sizer.predict_bytes(batch.weight)
        if predicted <= 0:
            return batch.size
        return max(1, int(batch.size * (1 + self._admission.spare_bytes / predicted)))

    def tell(self) -> None:
        """Wake who waits here: something has changed."""
        if self._freed:
            for event in self._freed:
                event.set()
            self._freed.clear()

    def _reserve(self, batch: Batch, wait: Wait | None = None) -> Refusal | None:
        reading = self._state.reading
        assert reading is not None  # a call that watches memory begins with a reading
        self._line.saw_limit(reading.limit_bytes)
        if reading.in_use_bytes < self._least_in_use_bytes:
            self._least_in_use_bytes = reading.in_use_bytes
        sizer = self._sizer
        room = self._room_alone(reading) if batch.size == 1 and not self._admission.holders else None
        # For one large block, neither what lies free in the heap is room, nor what has just been freed to it.
        mapped = batch.size == 1 and sizer.predict_bytes(batch.weight) > MAPPED_SHARE * reading.limit_bytes
        answer = self._admission.try_reserve(
            self._predict(batch, reading, reading.headroom_bytes if room is None else room),
            reading=reading,
            now_s=self._clock(),
            single=batch.size == 1,
            guard_bytes=sizer.guard_bytes,
            base_bytes=sizer.base_bytes,
            reusable_bytes=0 if mapped else self._reusable(batch, reading),
            waiter=wait,
            alone=batch.alone,
            stopped=self._state.level is PressureLevel.STOP,
            room_bytes=room,
            pinned=mapped or self._state.pins.holding > 0,
        )
        self.crowded = self._admission.spare_bytes < (
            answer.requested_bytes if isinstance(answer, Refusal) else answer.bytes
        )
        if isinstance(answer, Refusal):
            return answer
        batch.reserved = answer
        self._held.add(answer)
        self._handover.admitted(reading)
        return None

    @staticmethod
    def _room_alone(reading: MemoryReading) -> int | None:
        """Return what one item alone can get before it meets a `MemoryError`, in bytes; None where nothing stops it.

        Beyond this, however long memory is somebody else's, there is no more.
        """
        if original_data_limit() is None:
            return None
        return data_limit_bytes(
            private_bytes=0, untouched_bytes=0, in_use_bytes=reading.in_use_bytes, limit_bytes=reading.limit_bytes
        )

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
        level it may try. So may one that is to run alone, if it has all the room that it says it needs.
        """
        predicted = self._sizer.predict_bytes(batch.weight)
        if batch.size > 1:
            return predicted
        if batch.weights is not None and batch.weight > reading.limit_bytes:
            return max(predicted, int(batch.weight))
        guesses = batch.weights is None or self._sizer.guesses or (batch.alone and batch.weight <= room_bytes)
        tries = guesses and self._state.level < PressureLevel.STOP
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
        wait, resumed_s = self._line.begin(batch), self._clock()
        try:
            while True:
                self._look()
                if self._line.find(batch) is None:
                    return True  # somebody else saw to it
                self.nobody_follows()  # or they would have done so by now
                if batch.alone and self._clock() - resumed_s >= _ALONE_S:
                    batch.alone = False
                if batch.alone and await self._clear_for(wait):
                    continue
                refusal = self._reserve(batch, wait)
                if refusal is None:
                    self._line.admitted(batch)
                    if batch.alone and batch.size == 1:
                        self._plugged = True
                        self._sampler.plug_holes()
                    return True
                if self._is_worth_clearing(batch, refusal) and await self._clear_for(wait):
                    continue  # and look whether it waits still
                if self._is_last_chance(batch, wait):
                    batch.alone = True
                    continue
                self._line.judge(wait, refusal, batch)
                if wait.step is StallStep.SPLITTING:
                    self._line.split(batch)
                    return False
                reclaim = partial(self._sampler.reclaim_if_allowed, refusal.requested_bytes)
                if not self._may_reclaim(refusal) or not await self._reclaim(wait, reclaim):
                    await self._wait_freed()
        finally:
            self._totals.waited_s += self._clock() - resumed_s
            self._line.leave(batch)

    def _may_reclaim(self, refusal: Refusal) -> bool:
        """False where what is in use is what the batches in flight were promised, and nothing else to be had."""
        base = self._sizer.base_bytes
        if not self._sampler.settings.auto_gc or base is None:
            return self._sampler.settings.auto_gc
        unexplained = refusal.in_use_bytes - base - refusal.reserved_bytes
        return not self._admission.holders or unexplained >= refusal.requested_bytes

    @staticmethod
    def _is_worth_clearing(batch: Batch, refusal: Refusal) -> bool:
        """False for one item that is small, or that never fits: each would have all collected, whatever that takes."""
        large = refusal.requested_bytes >= _LARGE_SHARE * refusal.limit_bytes
        return batch.size > 1 or (large and not refusal.hopeless)

    def _is_last_chance(self, batch: Batch, wait: Wait) -> bool:
        """True for one item that should be let in against its prediction, which may be wrong: to wait on is no use.

        So it is where nothing else is in flight, what could be freed was, and as little is in use as ever was.
        RLIMIT_DATA sees to it that at worst this item fails.
        """
        if batch.size > 1 or batch.alone or not wait.cleared or self._admission.holders:
            return False
        reading = self._state.reading
        assert reading is not None
        room = self._room_alone(reading)
        if room is None or batch.weight > room or self._state.level >= PressureLevel.STOP:
            return False  # it would only keep others waiting
        return reading.in_use_bytes - self._least_in_use_bytes <= _LEAST_SHARE * reading.limit_bytes

    async def _clear_for(self, wait: Wait) -> bool:
        """Collect and trim with nothing in flight, once in a wait: what all the others left behind may be all there is.

        Making a batch smaller, or failing an item, for want of what is merely kept would be a pity.
        """
        if self._admission.holders or wait.cleared or not self._sampler.settings.auto_gc:
            return False
        wait.cleared = True
        return await self._reclaim(wait, self._sampler.reclaim_in_thread)

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

    def _look(self) -> None:
        """Read memory for one that waits: in the first seconds of a call in full each time, since each reading teaches.

        Later, as at the end of a batch. What batches give back is known without a reading, and what others take or give
        back, the next tick shows.
        """
        now_s = self._clock()
        if now_s - self._began_s < _EARLY_S:
            self._sampler.sample()
        else:
            self._sampler.at_boundary(now_s)

    async def _wait_freed(self) -> None:
        event = anyio.Event()
        self._freed.append(event)
        # However seldom memory is read otherwise: whoever asks less than once a second loses its turn.
        with anyio.move_on_after(min(self._sampler.settings.sample_interval_s, _MOST_POLL_S)):
            await event.wait()

    def leave(self, batch: Batch, now_s: float, *, tell: bool = True, followed: bool = False) -> None:
        """Take a reading at the end of a batch, and give its reservation back.

        Args:
            batch: Which.
            now_s: Monotonic time, seconds.
            tell: Wake who waits here; False where the caller will try for them at once.
            followed: The caller will try for another batch at once: its bytes may pass on to that one.
        """
        if not self._watching:
            return
        if now_s >= self._sampler.spacing.next_s:
            self._sampler.at_boundary(now_s)
        reservation: Reservation | None = batch.reserved
        if reservation is not None:
            batch.reserved = None
            if self._plugged and batch.alone:
                self._unplug()
            elif followed and not batch.alone and self._handover.keep(reservation):
                return
            self._held.discard(reservation)
            reservation.release(now_s=now_s)
        if tell:
            self.tell()

    def close(self) -> None:
        """Give back what unfinished batches hold, and end what was left between two halves."""
        self._line.close()
        if self._plugged:
            self._unplug()
        for reservation in self._held:
            reservation.release()
        self._held.clear()

    def _unplug(self) -> None:
        self._plugged = False
        self._sampler.unplug_holes()
