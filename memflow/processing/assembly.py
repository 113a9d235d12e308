"""Putting a call together: from what the user passed to a `Call`.

Covers checking arguments, merging settings, and choosing parts. Running is `memflow.processing.call`'s, the public
face `memflow.processing.processor`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from memflow.exceptions import ConfigurationError
from memflow.execution.base import is_async
from memflow.execution.inline import LoopExecutor
from memflow.execution.threads import ThreadExecutor
from memflow.processing.bundle import MemoryBundle
from memflow.processing.cadence import Cadence
from memflow.processing.call import Call
from memflow.processing.gate import Gate
from memflow.processing.guards import RetryWrapper, guard
from memflow.processing.hints import SizeHint
from memflow.processing.journal_plan import JournalPath, plan_journal
from memflow.processing.journaled import JournaledRun, over_entries
from memflow.processing.kept import KeptResults
from memflow.processing.loop_time import LoopClock
from memflow.processing.plan import CallPlan, Kind
from memflow.processing.preemption import preemption_of
from memflow.processing.recording import record
from memflow.processing.resuming import ResumingSource
from memflow.processing.source import Source, open_source
from memflow.processing.totals import Totals
from memflow.processing.workers import check_results, track_weights, work_batches, work_items
from memflow.settings import BatchProcessorSettings, MemflowSettings

__all__ = ["Assembly", "merge_settings"]

OnError = Literal["raise", "collect"]


class Assembly:
    """Makes the calls of one processor.

    Args:
        settings: all sections, merged.
        bundle: state, sampler, optimizer and ledger of reservations.
        totals: the processor's counters.
        retry: the user's own wrapper for retries, or None.
    """

    def __init__(
        self, settings: MemflowSettings, bundle: MemoryBundle, totals: Totals, retry: RetryWrapper | None
    ) -> None:
        self._settings = settings.batch_processor
        self.collects_first = settings.batch_optimizer.pre_process_gc
        self._auto = self._settings.auto_optimize and settings.batch_optimizer.auto_adjust
        self._bundle = bundle
        self._totals = totals
        self._retry = retry

    def plan(
        self,
        kind: Kind,
        fn: Callable[[Any], Any],
        *,
        operation: str | None,
        hint: SizeHint | None,
        on_error: OnError | None,
        preemptible: bool = False,
        ordered: bool = True,
        keep: bool = False,
        journal: JournalPath = None,
        key: Callable[[Any], Any] | None = None,
        keep_results: bool | None = None,
        isolate: bool = False,
    ) -> CallPlan:
        """Check what the user passed.

        Raises:
            ConfigurationError: something cannot be meant so.
        """
        if not callable(fn):
            raise ConfigurationError(f"fn must be callable, not {type(fn).__name__}; pass the function itself")
        if hint is not None and not callable(hint):
            raise ConfigurationError(f"size_hint must be callable, not {type(hint).__name__}, such as size_hint=len")
        if on_error not in (None, "raise", "collect"):
            raise ConfigurationError(f'on_error must be "raise" or "collect", not {on_error!r}')
        if preemptible and not is_async(fn):
            raise ConfigurationError(
                "preemptible=True needs an async function, since a thread can't be interrupted; leave it out, or make "
                f"{_name(fn)} async"
            )
        return CallPlan(
            operation=operation if operation is not None else f"{self._settings.process_name}.{_name(fn)}",
            kind=kind,
            hint=hint,
            ordered=ordered,
            keep=keep,
            collect=(on_error or self._settings.on_error) == "collect",
            preemptible=preemptible and self._settings.memory_monitoring,
            rerun=self._settings.rerun_on_memory_error and self._settings.memory_monitoring,
            delay_s=self._settings.delay_between_batches_s,
            journal=plan_journal(
                journal,
                key=key,
                keep_results=keep_results,
                gathers=keep,
                synchronous=self._settings.journal_synchronous,
            ),
            isolate=isolate,
        )

    def call(self, plan: CallPlan, items: Any, fn: Callable[[Any], Any], journaled: JournaledRun | None = None) -> Call:
        """Make the call that `plan` describes.

        Raises:
            ConfigurationError: the items can't be iterated, or retries need a package that isn't there.
        """
        sampler = self._bundle.sampler
        settings, cadence, loop_clock = self._settings, Cadence(clock=sampler.clock), LoopClock()
        source: Source = open_source(items, cadence=cadence, linger_s=settings.linger_s)
        if journaled is not None:
            source = ResumingSource(source, journaled, cadence)
            plan = over_entries(plan)
        executor = LoopExecutor() if is_async(fn) else ThreadExecutor(abandon=settings.item_timeout_s is not None)
        if executor.in_threads:
            sampler.expect_retention(threads=True)

        def threads_in_flight() -> int:
            sampler.expect_threads(sizer.concurrency)
            return sizer.concurrency

        load = self._bundle.state.work.load(plan.operation)
        function = guard(
            executor.bind(fn, max_in_flight=threads_in_flight),
            operation=plan.operation,
            settings=settings,
            retry=self._retry,
            on_retry=self._totals.count_retry,
        )
        if plan.preemptible:
            function = preemption_of(self._bundle.state).bind(function)
        if journaled is not None:
            check = functools.partial(check_results, plan.operation)
            function = record(journaled, function, plan.kind, check)
        # Last of what may fail, since a call that was opened must be closed.
        sizer = self._bundle.optimizer.open_call(
            plan.operation,
            kind=plan.kind,
            batch_size=settings.batch_size,
            concurrency=settings.concurrency,
            auto=self._auto,
            threads=executor.in_threads,
            hinted=plan.hint is not None,
            now_s=cadence.clock(),
            loop_time=loop_clock.read,
        )
        if plan.kind == "items" and plan.hint is not None:
            function = track_weights(function, load)
        return Call(
            plan,
            source,
            function,
            work_items if plan.kind == "items" else work_batches,
            sizer=sizer,
            gate=Gate(plan.operation, self._bundle, sizer, self._totals, settings, clock=sampler.clock),
            load=load,
            cadence=cadence,
            totals=self._totals,
            journaled=journaled,
            loop_clock=loop_clock,
            kept=KeptResults(load) if plan.keep and settings.memory_monitoring else None,
        )


def merge_settings(
    settings: BatchProcessorSettings | MemflowSettings | None, bundle: MemoryBundle | None, overrides: Mapping[str, Any]
) -> MemflowSettings:
    """Bring the ways to give settings together, validated as one.

    Raises:
        ConfigurationError: `settings` is neither kind of settings.
        pydantic.ValidationError: a field is out of range, unknown, or contradicts another.
    """
    if isinstance(settings, MemflowSettings):
        whole = settings
    elif settings is None or isinstance(settings, BatchProcessorSettings):
        whole = bundle.settings if bundle is not None else MemflowSettings()
    else:
        raise ConfigurationError(
            f"settings must be BatchProcessorSettings or MemflowSettings, not {type(settings).__name__}; "
            "single options go by name, as in BatchProcessor(batch_size=10)"
        )
    if not isinstance(settings, BatchProcessorSettings) and not overrides:
        return whole
    section = settings if isinstance(settings, BatchProcessorSettings) else whole.batch_processor
    fields = {name: getattr(section, name) for name in section.model_fields_set} | dict(overrides)
    return MemflowSettings(
        memory_manager=whole.memory_manager,
        heap_analyzer=whole.heap_analyzer,
        batch_optimizer=whole.batch_optimizer,
        batch_processor=BatchProcessorSettings(**fields),
    )


def _name(fn: Callable[[Any], Any]) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__name__", type(fn).__name__).strip("<>")
