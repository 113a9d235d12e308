"""Admission by memory: a batch reserves what it is predicted to need before it starts, or waits.

Covers acting on admission's answers: waiting, reclaiming, splitting, giving up. The answers themselves are decided in
`memflow.sizing.admission`, from plain numbers.

The steps of a wait: read memory again; collect and trim, if that is due; wait until something of this call ends, or
for one sample interval; with nothing of ours in flight, go on with smaller batches, down to one item alone; and when
even that found no room for `admission_timeout_s`, raise `MemoryPressureError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

from memflow.exceptions import MemoryPressureError
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading
from memflow.processing.batch import Batch
from memflow.processing.bundle import MemoryBundle
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings
from memflow.sizing.admission import Refusal, RefusalReason, Reservation
from memflow.sizing.optimizer import CallSizer

__all__ = ["Gate"]

_ALONE_S = 5.0


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
        self._held: set[Reservation] = set()
        self._freed: list[anyio.Event] = []

    def try_enter(self, batch: Batch) -> bool:
        """Reserve for a batch without waiting; False when there is no room now."""
        if not self._watching:
            return True
        self._sampler.at_boundary(self._clock())
        return self._reserve(batch) is None

    def _reserve(self, batch: Batch, *, waiting: bool = False) -> Refusal | None:
        reading = self._state.reading
        assert reading is not None  # a call that watches memory begins with a reading
        sizer, predicted = self._sizer, self._predict(batch, reading)
        if self._state.level is PressureLevel.STOP and self._admission.holders:
            return Refusal(
                predicted,
                self._admission.reserved_bytes,
                reading.in_use_bytes,
                reading.limit_bytes,
                RefusalReason.BUDGET,
            )
        answer = self._admission.try_reserve(
            predicted,
            reading=reading,
            now_s=self._clock(),
            single=batch.size == 1,
            guard_bytes=sizer.guard_bytes,
            base_bytes=sizer.base_bytes,
            reusable_bytes=sizer.reusable_bytes,
            waiter=batch if waiting else None,
            alone=batch.alone,
        )
        if isinstance(answer, Refusal):
            return answer
        batch.reserved = answer
        self._held.add(answer)
        return None

    def _predict(self, batch: Batch, reading: MemoryReading) -> int:
        """Predict a batch's bytes.

        A single item is refused for good by its own hint alone. Where nothing is known of the item itself, what was
        learnt of others may be wrong (of a neighbour's memory, for instance): short of the last level it may try.
        """
        predicted = self._sizer.predict_bytes(batch.weight)
        if batch.size > 1:
            return predicted
        if batch.weights is not None and batch.weight > reading.limit_bytes:
            return max(predicted, int(batch.weight))
        tries = batch.weights is None and self._state.level < PressureLevel.STOP
        return min(predicted, max(1, reading.headroom_bytes) if tries else reading.limit_bytes)

    async def wait_enter(self, batch: Batch) -> bool:
        """Wait until a batch may start.

        One that is to run alone has the others wait until nothing is held. Where that takes longer than 5 s (items that
        take minutes, or an item that itself waits for this batch), it takes its chance like any other.

        Returns:
            True when it may; False when it should be split first, since nothing else is in flight.

        Raises:
            MemoryPressureError: it can never fit, or nothing made room for `admission_timeout_s`.
        """
        began_s = alone_since_s = self._clock()
        cleared = not self._sampler.settings.auto_gc
        self._totals.waits += 1
        try:
            while True:
                self._sampler.sample()
                if batch.alone and self._clock() - began_s >= _ALONE_S:
                    batch.alone = False
                if batch.alone and not (self._admission.holders or cleared):
                    # What its first try and all the others left behind: nothing else could make room for it.
                    cleared = True
                    await self._sampler.reclaim_in_thread()
                refusal = self._reserve(batch, waiting=True)
                if refusal is None:
                    return True
                now_s = self._clock()
                if self._admission.holders:
                    alone_since_s = now_s
                elif batch.size > 1:
                    return False
                if refusal.hopeless or now_s - alone_since_s >= self._timeout_s:
                    raise self._give_up(refusal, now_s - began_s)
                reclaims = self._sampler.settings.auto_gc
                if not reclaims or await self._sampler.reclaim_if_allowed() is None:
                    await self._wait_freed()
        finally:
            self._admission.forget(batch)
            self._totals.waited_s += self._clock() - began_s

    async def _wait_freed(self) -> None:
        event = anyio.Event()
        self._freed.append(event)
        with anyio.move_on_after(self._sampler.settings.sample_interval_s):
            await event.wait()

    def _give_up(self, refusal: Refusal, waited_s: float) -> MemoryPressureError:
        limit = self._state.limit
        return MemoryPressureError(
            operation=self._operation,
            requested_bytes=refusal.requested_bytes,
            in_use_bytes=refusal.in_use_bytes,
            limit_bytes=refusal.limit_bytes,
            limit_source=limit.source if limit is not None else "unknown",
            waited_s=waited_s,
        )

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
        """Give back what unfinished batches hold."""
        for reservation in self._held:
            reservation.release()
        self._held.clear()
