"""`BatchProcessor`: the front door.

Covers arguments, the life of a processor, and putting together what one call needs. The call itself runs in
`memflow.processing.call`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from memflow.analysis.channel import EventStream
from memflow.analysis.issues import IssueEvent
from memflow.exceptions import ProcessorClosedError
from memflow.processing.assembly import Assembly, OnError, merge_settings
from memflow.processing.bundle import MemoryBundle, shared_sampler
from memflow.processing.call import Call
from memflow.processing.figures import take_statistics
from memflow.processing.guards import RetryWrapper
from memflow.processing.hints import SizeHint
from memflow.processing.outcome import ItemFailure, ProcessorStatistics
from memflow.processing.plan import CallPlan
from memflow.processing.profiles import ProfileKeeper
from memflow.processing.stream import ResultStream, RunningCall
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings, MemflowSettings

__all__ = ["BatchProcessor"]

T = TypeVar("T")
R = TypeVar("R")
Items = Iterable[T] | AsyncIterable[T]


class BatchProcessor:
    """Runs functions over items, at a batch size and concurrency chosen from live memory.

    Reusable for many calls, also at the same time, under asyncio and trio. Use it as a context manager, or call
    `aclose()`; entering and leaving may happen in different tasks.

    Args:
        settings: a `BatchProcessorSettings` (the other sections then come from `MEMFLOW_…` variables), a whole
            `MemflowSettings`, or None for variables and defaults.
        bundle: shares state, analyzer and optimizer with others; see `create_memory_manager`.
        retry: wraps the (asynchronous, one-argument) function in retries of your own, in place of `attempts`.
        **overrides: single fields of `BatchProcessorSettings`, such as `batch_size=10`.

    Raises:
        pydantic.ValidationError: a setting is out of range, unknown, or contradicts another.

    Example:
        >>> import anyio
        >>> async def main() -> list[int]:
        ...     async with BatchProcessor(process_name="lengths") as processor:
        ...         return await processor.process(["a", "bb", ""], len)
        >>> anyio.run(main)
        [1, 2, 0]
    """

    def __init__(
        self,
        settings: BatchProcessorSettings | MemflowSettings | None = None,
        *,
        bundle: MemoryBundle | None = None,
        retry: RetryWrapper | None = None,
        **overrides: Any,
    ) -> None:
        whole = merge_settings(settings, bundle, overrides)
        self.settings = whole.batch_processor
        self._owns_bundle = bundle is None
        if bundle is None:
            bundle = MemoryBundle(whole, sampler=shared_sampler(whole.memory_manager))
        self._bundle = bundle
        self._collects_first = whole.batch_optimizer.pre_process_gc
        self._totals = Totals()
        self._assembly = Assembly(whole, bundle, self._totals, retry)
        self._profiles = ProfileKeeper(self.settings.cost_profile, bundle.optimizer)
        self._subscribers: set[EventStream[IssueEvent]] = set()
        self._closed = False

    # ---- the work ---------------------------------------------------------------------------------------------

    @overload
    async def process(
        self,
        items: Items[T],
        fn: Callable[[T], Awaitable[R]],
        *,
        operation: str | None = ...,
        size_hint: SizeHint | None = ...,
        preemptible: bool = ...,
        on_error: OnError | None = ...,
    ) -> list[R | ItemFailure]: ...

    @overload
    async def process(
        self,
        items: Items[T],
        fn: Callable[[T], R],
        *,
        operation: str | None = ...,
        size_hint: SizeHint | None = ...,
        preemptible: bool = ...,
        on_error: OnError | None = ...,
    ) -> list[R | ItemFailure]: ...

    async def process(
        self,
        items: Items[Any],
        fn: Callable[[Any], Any],
        *,
        operation: str | None = None,
        size_hint: SizeHint | None = None,
        preemptible: bool = False,
        on_error: OnError | None = None,
    ) -> list[Any]:
        """Run `fn` on every item and return the results in the order of the items.

        Args:
            items: an iterable or async iterable of any length; pulled lazily.
            fn: takes an item and returns its result. A sync function runs in a thread.
            operation: the name under which costs are learnt; by default the processor's and the function's.
            size_hint: takes an item and returns its size in bytes, as well as it is known.
            preemptible: `fn` (async) may be cancelled when memory runs out, and run again from the start later.
            on_error: overrides the setting for this call.

        Returns:
            One result (or, with `on_error="collect"`, one `ItemFailure`) for each item.

        Raises:
            BatchFailed: the function failed and `on_error` is "raise".
            SourceFailed: the source raised; `.results` holds what was finished.
            SizeHintError: a hint was no size.
            MemoryPressureError: no schedule fits the memory that is left.
            ProcessorClosedError: after `aclose()`.
        """
        self._require_open()
        plan = self._assembly.plan(
            "items", fn, operation=operation, hint=size_hint, preemptible=preemptible, on_error=on_error, keep=True
        )
        return await self._gather(plan, items, fn)

    async def process_batches(
        self,
        items: Items[T],
        fn: Callable[[list[T]], Awaitable[Sequence[R]] | Sequence[R]],
        *,
        operation: str | None = None,
        size_hint: SizeHint | None = None,
        preemptible: bool = False,
        on_error: OnError | None = None,
    ) -> list[Any]:
        """Run `fn` on batches of items and return the results in the order of the items.

        As `process`, but `fn` takes a list of items and returns a sequence of as many results.

        Raises:
            BatchFailed: with a `BatchResultError` inside when the number of results is wrong; else as `process`.
        """
        self._require_open()
        plan = self._assembly.plan(
            "batches", fn, operation=operation, hint=size_hint, preemptible=preemptible, on_error=on_error, keep=True
        )
        return await self._gather(plan, items, fn)

    def stream(
        self,
        items: Items[Any],
        fn: Callable[[Any], Any],
        *,
        ordered: bool = True,
        operation: str | None = None,
        size_hint: SizeHint | None = None,
        preemptible: bool = False,
        on_error: OnError | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Run `fn` on every item and hand out the results while working.

        At most 2 x concurrency + 16 items are ahead of the consumer. Leaving the context early cancels what is in
        flight. Errors are raised where results are taken, after what was finished before them.

        Args:
            items: as in `process`.
            fn: as in `process`.
            ordered: hand out in the order of the items; False: as completed.
            operation: as in `process`.
            size_hint: as in `process`.
            preemptible: as in `process`.
            on_error: as in `process`.

        Example:
            async with processor.stream(source(), fetch_title) as results:
                async for result in results:
                    print(result)
        """
        self._require_open()
        plan = self._assembly.plan(
            "items",
            fn,
            operation=operation,
            hint=size_hint,
            preemptible=preemptible,
            on_error=on_error,
            ordered=ordered,
        )
        return self._stream(plan, items, fn)

    def stream_batches(
        self,
        items: Items[Any],
        fn: Callable[[list[Any]], Any],
        *,
        ordered: bool = True,
        operation: str | None = None,
        size_hint: SizeHint | None = None,
        preemptible: bool = False,
        on_error: OnError | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Run `fn` on batches of items and hand out the results, one by one, while working. See `stream`."""
        self._require_open()
        plan = self._assembly.plan(
            "batches",
            fn,
            operation=operation,
            hint=size_hint,
            preemptible=preemptible,
            on_error=on_error,
            ordered=ordered,
        )
        return self._stream(plan, items, fn)

    def issues(self) -> AbstractAsyncContextManager[AsyncIterator[IssueEvent]]:
        """Subscribe to memory issues; the iteration ends when the processor is closed.

        Example:
            async with processor.issues() as issues:
                async for issue in issues:
                    log.warning("%s", issue)
        """
        self._require_open()
        return self._subscribed()

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[AsyncIterator[IssueEvent]]:
        async with self._bundle.analyzer.issues() as events:
            self._subscribers.add(events)
            try:
                yield events
            finally:
                self._subscribers.discard(events)

    def statistics(self) -> ProcessorStatistics:
        """Return a frozen snapshot."""
        return take_statistics(self.settings.process_name, self._totals, self._bundle, now_s=time.monotonic())

    @property
    def memory(self) -> MemoryBundle:
        """The parts behind this processor: manager, analyzer, optimizer and their state."""
        return self._bundle

    async def __aenter__(self) -> Self:
        self._require_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take no further calls, end the subscriptions made here, and save the cost profile. Idempotent.

        Calls that are running go on to their end, and a bundle that was given goes on: others may share it.
        """
        self._closed = True
        for events in tuple(self._subscribers):
            events.end()
        if self._owns_bundle:
            self._bundle.analyzer.close()
        await self._profiles.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ProcessorClosedError(self.settings.process_name)

    async def _gather(self, plan: CallPlan, items: Items[Any], fn: Callable[[Any], Any]) -> list[Any]:
        async with self._running(plan, items, fn) as call:
            await call.finished.wait()
        call.raise_outcome()
        return call.delivery.results()

    @asynccontextmanager
    async def _stream(
        self, plan: CallPlan, items: Items[Any], fn: Callable[[Any], Any]
    ) -> AsyncIterator[AsyncIterator[Any]]:
        async with self._running(plan, items, fn) as call:
            results = ResultStream(call)
            try:
                yield results
            finally:
                results.close()

    @asynccontextmanager
    async def _running(self, plan: CallPlan, items: Items[Any], fn: Callable[[Any], Any]) -> AsyncIterator[Call]:
        self._require_open()
        async with self._profiles.kept(plan.operation), self._watched(plan, items, fn) as call:
            yield call

    @asynccontextmanager
    async def _watched(self, plan: CallPlan, items: Items[Any], fn: Callable[[Any], Any]) -> AsyncIterator[Call]:
        sampler, totals = self._bundle.sampler, self._totals
        if self._collects_first:
            await sampler.reclaim_in_thread()
        watched = self.settings.memory_monitoring
        if watched:
            sampler.sample()  # nothing of this call is in flight yet: the reading to compare the others with
        call = self._assembly.call(plan, items, fn)
        totals.call_opened(time.monotonic())
        try:
            async with RunningCall(call, sampler if watched else None, lambda: totals.call_closed(time.monotonic())):
                yield call
            if watched:
                sampler.sample(boundary=True)
        finally:
            # What memory does between two calls is not the doing of the work whose weight the last reading saw.
            if self._bundle.state.work.drained:
                self._bundle.state.work.cut()
        if self.settings.force_gc_on_completion:
            await sampler.reclaim_in_thread()
