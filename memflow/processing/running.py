"""One call from its plan to its results: what must be open around it, and what is closed whatever happens.

Covers the cost profile, the journal, the readings before and after, and the tasks. What a plan is comes from
`memflow.processing.assembly`; the call itself runs in `memflow.processing.call`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import anyio.to_thread

from memflow.exceptions import JournalError, SourceFailed
from memflow.processing.assembly import Assembly
from memflow.processing.bundle import MemoryBundle
from memflow.processing.call import Call
from memflow.processing.critical_hook import CriticalHook
from memflow.processing.journaled import JournaledRun
from memflow.processing.notes import MemoryNotes
from memflow.processing.plan import CallPlan
from memflow.processing.profiles import ProfileKeeper
from memflow.processing.resumed import ResumedStream, merge_kept
from memflow.processing.stream import ResultStream, RunningCall
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings

__all__ = ["Runner"]


class Runner:
    """Runs the calls of one processor.

    Args:
        settings: the processor's.
        bundle: state, sampler, optimizer and ledger of reservations.
        totals: the processor's counters.
        assembly: makes calls.
        profiles: keeps what operations cost.
        critical: calls the user's function when memory is critical, or None.
    """

    def __init__(
        self,
        settings: BatchProcessorSettings,
        bundle: MemoryBundle,
        totals: Totals,
        assembly: Assembly,
        profiles: ProfileKeeper,
        critical: CriticalHook | None = None,
    ) -> None:
        self._settings = settings
        self._bundle = bundle
        self._totals = totals
        self._assembly = assembly
        self._profiles = profiles
        self._critical = critical

    async def gather(self, plan: CallPlan, items: Any, fn: Callable[[Any], Any]) -> list[Any]:
        """Run a call to its end, and return all results in input order."""
        async with self._profiles.kept(plan.operation), self._journaled(plan, items) as run:
            async with self._watched(plan, items, fn, run) as call:
                await call.finished.wait()
            failed: SourceFailed | None = None
            try:
                call.raise_outcome()
            except SourceFailed as error:
                if run is None or error.results is None:
                    raise
                failed = error
            if run is None:
                return call.delivery.take_results()
            if failed is not None:
                try:
                    failed.results = await anyio.to_thread.run_sync(merge_kept, run, failed.results or [])
                    raise failed
                finally:
                    failed = None  # a frame that its own traceback refers to would pin the results
            run.complete = True
            return await anyio.to_thread.run_sync(merge_kept, run, call.delivery.take_results())

    @asynccontextmanager
    async def stream(self, plan: CallPlan, items: Any, fn: Callable[[Any], Any]) -> AsyncIterator[AsyncIterator[Any]]:
        """Run a call while its results are taken."""
        async with (
            self._profiles.kept(plan.operation),
            self._journaled(plan, items) as run,
            self._watched(plan, items, fn, run) as call,
        ):
            results = ResultStream(call)
            try:
                yield results if run is None else ResumedStream(results, run, ordered=plan.ordered)
            finally:
                results.close()

    @asynccontextmanager
    async def _journaled(self, plan: CallPlan, items: Any) -> AsyncIterator[JournaledRun | None]:
        if plan.journal is None:
            yield None
            return
        from memflow.processing.journal_opening import open_run  # SQLite and all that take time to load

        state = self._bundle.state
        if self._settings.memory_monitoring and state.limit is None:
            self._bundle.sampler.sample()

        def begin() -> JournaledRun:
            return open_run(plan, items, max_deaths=self._settings.max_deaths, limit=state.limit)

        run = await _opened(begin)
        notes = MemoryNotes(run.recorder, self._bundle.sampler)
        end = state.subscribe(notes.take) if plan.journal.journal.path is not None else _nothing
        try:
            yield run
        except BaseException as error:
            try:
                await _close(run)
            except JournalError as unwritten:
                if unwritten is not error:
                    error.add_note(f"beside that: {unwritten}")
            raise
        else:
            await _close(run)
        finally:
            end()

    @asynccontextmanager
    async def _watched(
        self, plan: CallPlan, items: Any, fn: Callable[[Any], Any], run: JournaledRun | None
    ) -> AsyncIterator[Call]:
        bundle, totals = self._bundle, self._totals
        sampler = bundle.sampler
        if self._assembly.collects_first:
            await sampler.reclaim_in_thread()
        watched = self._settings.memory_monitoring
        if watched:
            sampler.sample()  # nothing of this call is in flight yet: the reading to compare the others with
        call = self._assembly.call(plan, items, fn, run)
        if run is not None:
            run.fail = call.fail
        totals.call_opened(sampler.clock())
        try:
            with bundle.analyzer.watching_loop() if watched else nullcontext():
                async with (
                    nullcontext() if self._critical is None else self._critical.serving(),
                    RunningCall(call, sampler if watched else None, lambda: totals.call_closed(sampler.clock())),
                ):
                    yield call
            if watched:
                sampler.sample(boundary=True)
        finally:
            if call.kept is not None:
                call.kept.let_go()
            if run is not None:
                run.fail = None  # a call is a cycle of objects, and the run need not be part of it
            # What memory does between two calls is not the doing of the work whose weight the last reading saw.
            if bundle.state.work.drained:
                bundle.state.work.cut()
        if self._settings.force_gc_on_completion:
            await sampler.reclaim_in_thread()


async def _opened(begin: Callable[[], JournaledRun]) -> JournaledRun:
    """Open in a thread; where asyncio cancels the task meanwhile, whom nobody waits for any more closes again."""
    from memflow.processing.journal_opening import close_run

    lock, gone = threading.Lock(), False

    def begin_for_somebody() -> JournaledRun:
        run = begin()
        with lock:
            if gone:
                close_run(run)
        return run

    try:
        return await anyio.to_thread.run_sync(begin_for_somebody)
    except BaseException:
        with lock:
            gone = True
        raise


async def _close(run: JournaledRun) -> None:
    from memflow.processing.journal_opening import close_run

    with anyio.CancelScope(shield=True):
        try:
            await anyio.to_thread.run_sync(close_run, run)
        except RuntimeError:  # no room for another thread
            close_run(run)


def _nothing() -> None:
    """Stand in where there is nothing to end."""
