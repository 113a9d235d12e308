"""`BatchProcessor`: the front door.

Covers arguments, the life of a processor, and putting together what one call needs. The call itself runs in
`memflow.processing.call`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from memflow.analysis.channel import EventStream
from memflow.analysis.issues import IssueEvent
from memflow.exceptions import ProcessorClosedError
from memflow.processing.assembly import Assembly, OnError, merge_settings
from memflow.processing.bundle import MemoryBundle, shared_sampler
from memflow.processing.critical_hook import OnMemoryCritical, make_hook
from memflow.processing.figures import take_statistics
from memflow.processing.guards import RetryWrapper
from memflow.processing.hints import SizeHint
from memflow.processing.journal_plan import JournalPath
from memflow.processing.outcome import ItemFailure, ProcessorStatistics
from memflow.processing.plan import CallPlan
from memflow.processing.profiles import ProfileKeeper
from memflow.processing.running import Runner
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
        on_memory_critical: a function, sync or async, that is called with a `MemoryCritical` once each time memory
            becomes critical while a call runs (use reaches `near_limit_threshold`; the level is STOP for
            `sustained_s`; a call gives up with `MemoryPressureError`), so that a service can save its state. It runs
            beside the work (a sync one in a thread), never twice at the same time, and again only once use was below
            both thresholds. The call ends after it. What it raises is logged.
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
        on_memory_critical: OnMemoryCritical | None = None,
        **overrides: Any,
    ) -> None:
        whole = merge_settings(settings, bundle, overrides)
        self.settings = whole.batch_processor
        self._owns_bundle = bundle is None
        if bundle is None:
            bundle = MemoryBundle(whole, sampler=shared_sampler(whole.memory_manager))
        self._bundle = bundle
        self._totals = totals = Totals()
        name = self.settings.process_name

        def figures() -> ProcessorStatistics:
            return take_statistics(name, totals, bundle, now_s=bundle.sampler.clock())

        critical = make_hook(on_memory_critical, whole, bundle.state, figures)
        if critical is not None:
            totals.on_giving_up = critical.gives_up
        self._assembly = Assembly(whole, bundle, self._totals, retry)
        self._profiles = ProfileKeeper(self.settings.cost_profile, bundle.optimizer)
        self._runner = Runner(self.settings, bundle, self._totals, self._assembly, self._profiles, critical)
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
        journal: JournalPath = ...,
        key: Callable[[T], Any] | None = ...,
        keep_results: bool | None = ...,
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
        journal: JournalPath = ...,
        key: Callable[[T], Any] | None = ...,
        keep_results: bool | None = ...,
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
        journal: JournalPath = None,
        key: Callable[[Any], Any] | None = None,
        keep_results: bool | None = None,
    ) -> list[Any]:
        """Run `fn` on every item and return the results in the order of the items.

        Args:
            items: an iterable or async iterable of any length; pulled lazily.
            fn: takes an item and returns its result. A sync function runs in a thread.
            operation: the name under which costs are learnt; by default the processor's and the function's.
            size_hint: takes an item and returns its size in bytes, as well as it is known.
            preemptible: `fn` (async) may be cancelled when memory runs out, and run again from the start later.
            on_error: overrides the setting for this call.
            journal: a path (or a journal): what is finished is recorded there, and a call with the same journal,
                operation and items goes on where the last one ended, however it ended.
            key: takes an item and returns what tells it from all others (a text, a number, bytes, or a tuple of
                those), also when the input is in another order or has grown. None: its position.
            keep_results: record results, too, and deliver them again; False puts `FINISHED_EARLIER` in the places of
                items that an earlier run finished.

        Returns:
            One result (or, with `on_error="collect"`, one `ItemFailure`) for each item.

        Raises:
            BatchFailed: the function failed and `on_error` is "raise".
            SourceFailed: the source raised; `.results` holds what was finished.
            SizeHintError: a hint was no size.
            MemoryPressureError: no schedule fits the memory that is left.
            JournalError: the journal is of another run, in use, or cannot be read or written; or a result cannot be
                recorded. What was finished before stays recorded.
            ProcessorClosedError: after `aclose()`.
        """
        self._require_open()
        plan = self._assembly.plan(
            "items",
            fn,
            operation=operation,
            hint=size_hint,
            preemptible=preemptible,
            on_error=on_error,
            keep=True,
            journal=journal,
            key=key,
            keep_results=keep_results,
        )
        return await self._runner.gather(plan, items, fn)

    async def process_batches(
        self,
        items: Items[T],
        fn: Callable[[list[T]], Awaitable[Sequence[R]] | Sequence[R]],
        *,
        operation: str | None = None,
        size_hint: SizeHint | None = None,
        preemptible: bool = False,
        on_error: OnError | None = None,
        journal: JournalPath = None,
        key: Callable[[Any], Any] | None = None,
        keep_results: bool | None = None,
        isolate_failures: bool = False,
    ) -> list[Any]:
        """Run `fn` on batches of items and return the results in the order of the items.

        As `process`, but `fn` takes a list of items and returns a sequence of as many results. With
        `isolate_failures=True`, a batch that fails is run again in halves, down to the items that fail by themselves;
        with "collect" only those fail, and with "raise" the error names them.

        Raises:
            BatchFailed: with a `BatchResultError` inside when the number of results is wrong; else as `process`.
        """
        self._require_open()
        plan = self._assembly.plan(
            "batches",
            fn,
            operation=operation,
            hint=size_hint,
            preemptible=preemptible,
            on_error=on_error,
            keep=True,
            journal=journal,
            key=key,
            keep_results=keep_results,
            isolate=isolate_failures,
        )
        return await self._runner.gather(plan, items, fn)

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
        journal: JournalPath = None,
        key: Callable[[Any], Any] | None = None,
        keep_results: bool | None = None,
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
            journal: as in `process`.
            key: as in `process`.
            keep_results: record results, too, and hand them out again in their places. False (default) hands out the
                rest alone: an item counts as finished once its consumer asks for the next result.

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
            journal=journal,
            key=key,
            keep_results=keep_results,
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
        journal: JournalPath = None,
        key: Callable[[Any], Any] | None = None,
        keep_results: bool | None = None,
        isolate_failures: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Run `fn` on batches of items and hand out the results, one by one, while working.

        See `stream`; and `process_batches` for `isolate_failures`.
        """
        self._require_open()
        plan = self._assembly.plan(
            "batches",
            fn,
            operation=operation,
            hint=size_hint,
            preemptible=preemptible,
            on_error=on_error,
            ordered=ordered,
            journal=journal,
            key=key,
            keep_results=keep_results,
            isolate=isolate_failures,
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
        now_s = self._bundle.sampler.clock()
        return take_statistics(self.settings.process_name, self._totals, self._bundle, now_s=now_s)

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

    @asynccontextmanager
    async def _stream(
        self, plan: CallPlan, items: Items[Any], fn: Callable[[Any], Any]
    ) -> AsyncIterator[AsyncIterator[Any]]:
        self._require_open()
        async with self._runner.stream(plan, items, fn) as results:
            yield results
