"""One run from the first item to the exit status.

Covers the tasks of a run: the work, the writer, the display, the issues, the interruption; and how each way of
ending is told. Options are `run`'s, items `feed`'s, records `sink`'s, pictures `memflow.observe`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio

from memflow.cli.feed import Feed, line_of
from memflow.cli.interrupt import Interrupts
from memflow.cli.journaling import RunJournal
from memflow.cli.run import RunSettings
from memflow.cli.sink import Sink
from memflow.exceptions import JournalError, RecordError
from memflow.observe.snapshot import Display, IssueBoard, RunSnapshot
from memflow.observe.summary import RunSummary
from memflow.processing.processor import BatchProcessor

__all__ = ["Job"]


class Job:
    """A run: call `run` once, then look at what it left.

    Args:
        settings: The options of the run.
        function: What runs over the items.
        feed: Where items come from.
        make_sink: Makes where results go, inside the event loop.
        hint: Tells an item's size, or None.
        display: Shows the run meanwhile, or None.
        interrupts: Tells of Ctrl-C.
        journal: Keeps what was finished, or None.

    Attributes:
        sink: where results go, with its counts; there once the run has begun.
        error: what ended the run early, or None.
        skipped: bad records that were passed over.
    """

    sink: Sink

    def __init__(
        self,
        settings: RunSettings,
        *,
        function: Callable[[Any], Any],
        feed: Feed,
        make_sink: Callable[[], Sink],
        hint: Callable[[Any], float] | None,
        display: Display | None,
        interrupts: Interrupts,
        journal: RunJournal | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._results: Any = None
        self._function = function
        self._feed = feed
        self._make_sink = make_sink
        self._hint = hint
        self._display = display
        self._interrupts = interrupts
        self._board = IssueBoard()
        self._processor = BatchProcessor(settings)
        self.error: BaseException | None = None
        self.skipped = journal.written.skipped if journal is not None else 0
        feed.on_bad_record = self._skip
        feed.keep_items = settings.failures is not None

    async def run(self) -> None:
        """Run to the end, whichever it is; what the run meets is left in `error`.

        Raises:
            BaseException: The function raised what is no Exception, such as SystemExit; see `end_abruptly`.
        """
        self.sink = self._make_sink()
        async with self._processor as processor, anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_issues, processor)
            tasks.start_soon(self._show, processor)
            await self._work_and_write(processor)
            tasks.cancel_scope.cancel()

    def end_abruptly(self, error: BaseException) -> None:
        """Write what was finished, when `run` was torn down by what the function raised."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.error = error
        try:
            self.sink.write_pending()
        except (RecordError, JournalError) as write_error:
            self.error = write_error

    async def _work_and_write(self, processor: BatchProcessor) -> None:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                # Not below the scope: what was finished is written also when the work is cancelled.
                tasks.start_soon(self._write, scope)
                tasks.start_soon(self._await_interrupt, scope)
                try:
                    await self._work(processor)
                except Exception as error:
                    self.error = self.error or error
            self.sink.finish()
            await self.sink.written_all.wait()
            tasks.cancel_scope.cancel()

    async def _work(self, processor: BatchProcessor) -> None:
        settings, sink, feed = self._settings, self.sink, self._feed
        explicit = "on_error" in settings.batch_processor.model_fields_set
        open_stream = (
            partial(processor.stream_batches, isolate_failures=settings.isolate_failures)
            if settings.batched
            else processor.stream
        )
        async with open_stream(
            feed.items(),
            self._function,
            ordered=True,
            size_hint=self._hint,
            on_error=settings.batch_processor.on_error if explicit else "collect",
            journal=self._journal,
            keep_results=None if self._journal is None else True,
        ) as results:
            self._results = results
            async for result in results:
                name, item = feed.take_next()
                sink.put(result, name=name, item=item, line=line_of(name) if self._journal is not None else 0)
                if not sink.has_room:
                    await sink.wait_room()

    async def _write(self, scope: anyio.CancelScope) -> None:
        try:
            await self.sink.run()
        except (RecordError, JournalError) as error:
            self.error = error
            scope.cancel()

    async def _await_interrupt(self, scope: anyio.CancelScope) -> None:
        await self._interrupts.wait_received()
        if self._display is not None:
            self._display.close()
        grace_s = self._settings.grace_s
        wait = f"what is in flight has {grace_s:g} s to end; " if grace_s else ""
        print(f"memflow: ending; {wait}press Ctrl-C again to end at once", file=sys.stderr)
        if self._results is not None and grace_s:
            self._results.drain()
            await anyio.sleep(grace_s)
        scope.cancel()

    async def _show(self, processor: BatchProcessor) -> None:
        display = self._display
        while display is not None:
            await anyio.sleep(display.interval_s)
            if self._interrupts.received is None:
                display.show(self._snapshot(processor))

    def _snapshot(self, processor: BatchProcessor) -> RunSnapshot:
        return RunSnapshot(
            title=self._settings.title,
            statistics=processor.statistics(),
            total_items=self._feed.total_items,
            read_fraction=self._feed.read_fraction,
            skipped_records=self.skipped,
            issues=self._board.open,
        )

    async def _watch_issues(self, processor: BatchProcessor) -> None:
        async with processor.issues() as events:
            async for event in events:
                self._board.take(event)

    def _skip(self, error: RecordError) -> None:
        self.skipped += 1
        self.sink.report_bad_record(error)

    def summarize(self) -> RunSummary:
        """Sum the run up, once it is over."""
        settings, sink, processor = self._settings, self.sink, self._processor
        interrupted = self._interrupts.received is not None
        return RunSummary(
            title=settings.title,
            statistics=processor.statistics(),
            outcome="interrupted" if interrupted else "stopped" if self.error is not None else "done",
            succeeded=sink.succeeded,
            failed=sink.failed,
            skipped_records=self.skipped,
            output="" if settings.output == "-" else settings.output,
            failures_file=settings.failures or "",
            named_failures=tuple(str(each) for each in sink.named),
            issues=self._board.seen,
            advice=tuple(self._advise()),
        )

    def _advise(self) -> list[str]:
        """What the sizing recommends, and a limit where there is none but the machine's."""
        processor = self._processor
        advice = list(processor.memory.optimizer.batch_statistics().recommendations)
        limit = processor.memory.state.limit
        if limit is not None and limit.kind == "host":
            advice.append("no limit but the machine's own memory was found; --memory-manager.limit 80% leaves room")
        return advice
