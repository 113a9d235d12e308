"""One call of `process` or its kin: where intake, crew and delivery meet.

Covers giving workers their batches, finishing, failing and ending. The loops that run the user's function are in
`memflow.processing.workers`.

Everything here runs on one event loop and never awaits between reading state and changing it, so no lock is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from memflow.exceptions import BatchFailed, MemoryPressureError, SourceFailed
from memflow.execution.base import AsyncFunction
from memflow.memory.work import OperationLoad
from memflow.processing.batch import Batch
from memflow.processing.cadence import Cadence
from memflow.processing.crew import Crew
from memflow.processing.delivery import AMPLE, Delivery
from memflow.processing.gate import Gate
from memflow.processing.guards import GaveUp
from memflow.processing.intake import Intake
from memflow.processing.journaled import JournaledRun
from memflow.processing.kept import KeptResults
from memflow.processing.loop_time import LoopClock
from memflow.processing.notes import CallNotes
from memflow.processing.outcome import ItemFailure
from memflow.processing.plan import CallPlan
from memflow.processing.rerun import AGAIN, ALONE, HALVED, Preempted, is_want_of_memory
from memflow.processing.source import Source
from memflow.processing.totals import Totals
from memflow.sizing.optimizer import CallSizer

__all__ = ["Call"]

_CRUMB = 8
_OFTEN_S = 2.0


class Call:
    """One running call.

    Args:
        plan: what it is to do.
        source: where items come from.
        function: runs an item or a batch, guards and all.
        work: the loop of one worker.
        sizer: how large and how many at once.
        gate: admission by memory.
        load: counts what is in flight.
        cadence: when to let others run.
        totals: the processor's counters.
        journaled: records what becomes of items, or None.
        loop_clock: what the sizer reads, to be closed with the call; or None.
        kept: counts what the results weigh that are collected for the caller; or None.

    Attributes:
        current: the batch that item workers are taking from.
        ended: True once nothing more will be delivered but what waits already.
        finished: set at that moment.
    """

    def __init__(
        self,
        plan: CallPlan,
        source: Source,
        function: AsyncFunction,
        work: Callable[[Call], Coroutine[Any, Any, None]],
        *,
        sizer: CallSizer,
        gate: Gate,
        load: OperationLoad,
        cadence: Cadence,
        totals: Totals,
        journaled: JournaledRun | None = None,
        loop_clock: LoopClock | None = None,
        kept: KeptResults | None = None,
    ) -> None:
        self.plan = plan
        self._loop_clock = loop_clock
        self.kept = kept
        self.journaled = journaled
        self.function = function
        self.sizer = sizer
        self.load = load
        self.cadence = cadence
        self.totals = totals
        self.delivery = Delivery(ordered=plan.ordered, keep=plan.keep)
        self.crew = Crew(lambda: self._worker(work), self.fail, load if plan.weighs_workers else None)
        self.current: Batch | None = None
        self.ended = False
        self.finished = anyio.Event()
        self._intake = Intake(plan, source, gate)
        noted = journaled is not None and journaled.plan.journal.path is not None
        self._notes = CallNotes(journaled.recorder, source.place) if journaled is not None and noted else None
        self._source = source
        self._gate = gate
        self._keeps = plan.keep
        self._noted_size = self._noted_calls = 0
        self._open_batches: set[Batch] = set()
        self._errors: list[tuple[Exception, tuple[int, ...]]] = []
        self._last_short_s = float("-inf")
        self._fatal: BaseException | None = None
        self._group: TaskGroup | None = None

    async def run(self) -> None:
        """Run the workers (and the feeder of an async source) until the call is over, then cancel what is left."""
        source = self._source
        source.on_arrival(self._arrived)
        async with anyio.create_task_group() as self._group:
            if source.is_fed:
                self._group.start_soon(source.feed, name="memflow source")
                if source.lingers:
                    self._group.start_soon(source.linger, name="memflow linger")
            self._hire()
            await self.finished.wait()
            self._group.cancel_scope.cancel()

    async def _worker(self, work: Callable[[Call], Coroutine[Any, Any, None]]) -> None:
        try:
            await work(self)
        finally:
            self._gate.nobody_follows()  # one that leaves, since there are too many, may have been about to

    def _hire(self) -> None:
        assert self._group is not None
        most, length = self.sizer.concurrency, self._source.length
        if length is not None:
            most = min(most, max(1, length - self._source.pulled))
        self.crew.hire(self._group, most)

    def _arrived(self) -> None:
        """Act on items that came, or on the source's end, when a worker had found nothing."""
        if self.crew.parked:
            self.crew.wake(1)

    def end(self) -> None:
        """Hand out no more work, and deliver no more than waits already."""
        if not self.ended:
            self.ended = True
            self.finished.set()
            self.crew.wake(len(self.crew.parked))
            self.delivery.tell()

    def drain(self) -> None:
        """Take nothing more from the source: the call ends once what was admitted has."""
        self._intake.let_go()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._intake.done and not self._open_batches:
            self.end()

    @property
    def _room(self) -> int:
        return self.delivery.room(self.sizer.concurrency * (1 if self.plan.kind == "items" else self.sizer.batch_size))

    @property
    def _crumb(self) -> int:
        """The least room worth acting on: waking a worker for each item would cost more than the item."""
        return self.sizer.batch_size if self.plan.kind == "batches" else min(_CRUMB, self.sizer.concurrency)

    @property
    def _waits_for_room(self) -> bool:
        """True while the consumer has no room for all of the batch admitted last; no other may take its place."""
        return self.current is not None and self.current.given < self.current.size

    def freed(self) -> None:
        """Wake a parked worker if the consumer has made room."""
        if self._room >= self._crumb:
            self.crew.wake(1)

    def next_batch(self) -> Batch | None:
        """Find a batch with items to take, or pull and admit one, without waiting; None when there is none now."""
        current = self.current
        if current is not None and (current.untaken or current.given < current.size):
            return current if current.untaken or self._hand_out(current) else None
        if self.ended:
            return None
        room = AMPLE
        if not self._keeps:
            room = self._room
            if room < self._crumb:
                return None
        if self._intake.waits_for_memory:
            waiting = self._intake.take_waiting()
            return None if waiting is None else self._open(waiting)
        try:
            batch = self._intake.pull(self.sizer.batch_size, room, self.sizer.most_weight)
        except Exception as error:
            self.fail(error)
            return None
        if batch is None:
            self._end_if_done()
            return None
        return self._open(batch)

    async def wait_batch(self) -> Batch | None:
        """Wait for a batch; None when there will be none, or there are too many workers."""
        patient = False
        self._gate.nobody_follows()
        while not self.ended:
            if self._intake.needs_admission and not self._waits_for_room and self._room >= self._crumb:
                batch = await self._wait_admitted()
            else:
                # Mostly the consumer is about to take what is ready: one round of the loop is a third of a park.
                if self._source.winded:
                    await self._source.breathe()
                else:
                    await (self.crew.park() if patient or self._intake.waits_for_memory else checkpoint())
                patient = True
                batch = self.next_batch()
            if batch is not None:
                return batch
            if self.crew.size > self.sizer.concurrency:
                return None
        return None

    async def _wait_admitted(self) -> Batch | None:
        began_s = self.cadence.clock()
        self.sizer.held_back(began_s)
        self.crew.rest()
        batch: Batch | None = None
        try:
            batch = await self._intake.wait_admitted()
        except Exception as error:
            refused = self._intake.given_up
            if refused is not None and self._fails_alone(refused, error):
                self._refuse(refused, error)
            else:
                self.fail(error)
            return None
        finally:
            now_s = self.cadence.clock()
            self.sizer.held_back(now_s)
            self.crew.rise()
            self.crew.wake(1)
            if self._notes is not None:
                self._notes.waited(batch, now_s - began_s)
        return None if batch is None else self._open(batch)

    def _fails_alone(self, batch: Batch, error: Exception) -> bool:
        """True for an item that exceeds the whole limit: no reason to end what else there is to do."""
        too_large = isinstance(error, MemoryPressureError) and error.requested_bytes > error.limit_bytes
        return too_large and self.plan.collect and batch.size == 1

    def _refuse(self, batch: Batch, error: Exception) -> None:
        """Put a failure in the place of an item that was never started."""
        self.delivery.expect(batch)
        self.delivery.handed += 1
        failure = ItemFailure.of(error, index=self._source.place(batch.start), attempts=0)
        self._record(failure, batch, 0)
        batch.results[0], batch.items, batch.left = failure, [], 0
        if not (self.plan.ordered or self.plan.keep):
            self.delivery.ready.append(failure)
        self.totals.items_in_flight += 1
        self.totals.batch_finished(1, 1)
        self.load.finish(1)
        self.delivery.tell()
        self._end_if_done()

    def _open(self, batch: Batch) -> Batch | None:
        """Start a batch that was admitted; None when the consumer has no room for any of its items yet."""
        batch.started_s = self.cadence.clock()
        self._open_batches.add(batch)
        self.totals.items_in_flight += batch.size
        self.delivery.expect(batch)
        if self._notes is not None:
            self._notes.started(batch)
        if self.plan.kind == "items":
            self.current = batch
            return batch if self._hand_out(batch) else None
        self.delivery.handed += batch.size
        if self.crew.parked:
            self.crew.wake(1 - self._would_only_wait)
        return batch

    def _hand_out(self, batch: Batch) -> bool:
        """Let workers take as many items of a batch as the consumer has room for."""
        room = AMPLE
        if not self._keeps:
            room = self._room
            if room < self._crumb:
                return False
        count = batch.hand_out(room)
        self.delivery.handed += count
        if self.crew.parked:  # for these items, and one to look for the next where there may be room
            self.crew.wake(count - self._would_only_wait)
        return True

    @property
    def _would_only_wait(self) -> bool:
        """True while there is no room for another batch, and somebody looks out for it already."""
        return self._gate.crowded and self._intake.looks_out

    def finish(self, batch: Batch) -> None:
        """Take note that the last item of a batch has its result."""
        now_s = self.cadence.clock()
        seconds = now_s - batch.started_s
        self._open_batches.discard(batch)
        if self._notes is not None:
            self._notes.ended(batch, seconds)
        self.totals.batch_finished(batch.size, batch.failed)
        if self.kept is not None:
            self.kept.finish(batch, now_s)
        else:
            self.load.finish(batch.size)
        # This worker is about to try for the intake's batch; for others that wait here, nobody does.
        tries = not self.plan.delay_s and self.crew.size <= self.sizer.concurrency
        tell = not tries or self._gate.waiting > self._intake.waiting
        self._gate.leave(batch, now_s, tell=tell, followed=not tell)
        self._resize(batch, seconds, now_s)
        if self._source.ended:
            self._end_if_done()

    def _resize(self, batch: Batch, seconds: float, now_s: float) -> None:
        sizer, items = self.sizer, self.plan.kind == "items"
        busy = self.crew.busy
        sizer.finished(
            items=batch.size,
            weight=batch.weight,
            seconds=seconds,
            full=batch.full and (not items or 2 * busy >= sizer.concurrency),
            in_flight=busy,
            now_s=now_s,
        )
        batch_size, calls = 1 if items else sizer.batch_size, sizer.concurrency
        if calls != self._noted_calls or batch_size != self._noted_size:
            self._noted_size, self._noted_calls = batch_size, calls
            self.totals.note_sizes(self.plan.operation, batch_size, calls, now_s)
            if self._notes is not None:
                self._notes.sized(batch_size, calls)
        if items:
            self._intake.pace(seconds, calls)
        if self.crew.size < calls and not self._source.ended:
            self._hire()

    def failed(
        self,
        batch: Batch,
        position: int,
        error: Exception,
        *,
        final: bool = False,
        attempts: int = 1,
        size: int | None = None,
    ) -> Any:
        """Judge an error of the user's function at one item, or at the first of a batch that failed whole.

        Args:
            batch: which.
            position: which of its items.
            error: what was raised.
            final: it is not run again, whatever the error.
            attempts: how often it was tried.
            size: items that failed together; by default the whole batch of a batch function.

        Returns:
            What stands in the item's place; `rerun.ALONE`, `rerun.AGAIN` or `rerun.HALVED` where it is to run again;
            None when the call is over.
        """
        if isinstance(error, Preempted):
            self.totals.items_preempted += self._failing(batch, size)
            return AGAIN
        if isinstance(error, GaveUp):
            attempts, error = attempts - 1 + error.attempts, error.error
        if is_want_of_memory(error):
            if self._notes is not None:
                self._notes.ran_short(batch.start + position)
            self._shrink()
            if self.plan.rerun and not final and not self.ended:
                return ALONE
            if final and isinstance(error, MemoryError) and not str(error):
                error = MemoryError("no memory for it, although nothing else was in flight; make the item smaller")
        if self.plan.isolate and not final and not self.ended and self._failing(batch, size) > 1:
            return HALVED
        place, first = self._source.place, batch.start + position
        if not self.plan.collect:
            size = self._failing(batch, size)
            self._errors.append((error, tuple(place(each) for each in range(first, first + size))))
            self.totals.items_failed += size
            self.end()
            return None
        if not self.ended:  # what ends later is not delivered, nor counted
            batch.failed += 1
        failure = ItemFailure.of(error, index=place(first), attempts=attempts)
        self._record(failure, batch, position)
        return failure

    def _record(self, failure: ItemFailure, batch: Batch, position: int) -> None:
        if self.journaled is not None and not self.ended:
            entry = batch.items[position]
            hinted = self.plan.kind == "items" and self.plan.hint is not None
            self.journaled.item_failed(failure, entry[0] if hinted else entry)

    def _shrink(self) -> None:
        """Make sizes smaller; of single items, not for the first that was larger than anybody could know."""
        now_s = self.cadence.clock()
        self._gate.misjudged(now_s)
        if self.plan.kind == "batches" or now_s - self._last_short_s < _OFTEN_S:
            self.sizer.shrink(now_s)
        self._last_short_s = now_s

    def _failing(self, batch: Batch, size: int | None) -> int:
        return 1 if self.plan.kind == "items" else size if size is not None else batch.size

    @property
    def is_alone(self) -> bool:
        """True when nothing but one batch is in flight."""
        return self._gate.holders <= 1

    def items_that_fit(self, batch: Batch) -> int:
        """Return how many of a batch's items, each as heavy as the average, memory has room for now; at least 1."""
        return self._gate.items_that_fit(batch)

    async def gate_enter(self, batch: Batch) -> bool:
        """Wait until a batch that is to run again may; False when it should be halved first.

        Raises:
            MemoryPressureError: nothing made room for it.
        """
        began_s = self.cadence.clock()
        self.sizer.held_back(began_s)
        entered = await self._gate.wait_enter(batch)
        now_s = self.cadence.clock()
        self.sizer.held_back(now_s)
        if self._notes is not None:
            self._notes.waited(batch if entered else None, now_s - began_s)
        return entered

    def gate_leave(self, batch: Batch) -> None:
        """Give back what a batch holds."""
        self._gate.leave(batch, self.cadence.clock())

    def fail(self, error: BaseException) -> None:
        """End the call with an error that is not the function's, or with a stray cancellation."""
        if not self.ended:
            self._fatal = error
        self.end()

    def raise_outcome(self) -> None:
        """Raise what the call failed with, if it did."""
        if self._fatal is not None or self._errors:
            self.delivery.take_results()  # nobody will ask for them
        if self._fatal is not None:
            raise self._fatal
        if self._errors:
            raise BatchFailed(self.plan.operation, [e for e, _ in self._errors], [i for _, i in self._errors])
        error = self._source.error
        if error is not None:
            results = self.delivery.take_results() if self.plan.keep else None
            raise SourceFailed(self.plan.operation, self._source.pulled, error, results) from error

    def release(self) -> None:
        """Give back what unfinished batches hold, and count what they got done: called once, after the workers."""
        self.end()
        self._gate.close()
        self.sizer.close()
        if self._loop_clock is not None:
            self._loop_clock.close()
        for batch in self._open_batches:
            ended = batch.size - batch.left
            self.totals.batch_broken_off(batch.size, ended, batch.failed)
            self.load.finish(ended)
        self._open_batches.clear()
        self._intake.let_go()
        self.current = None
        self.delivery.clear()
