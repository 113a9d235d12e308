"""`HeapAnalyzer`: watches a memory state, and tells what is wrong.

Covers feeding the detectors (`observe`), the report on request (`analyze`), statistics, and the events. What counts as
an issue is decided in `memflow.analysis.detectors` and `memflow.analysis.growth`; what they need between two looks is
kept in `memflow.analysis.watch`. Memory is read by `memflow.memory`: watching never makes it read more often.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from memflow.analysis.advice import Situation, advise, advise_stall, describe, describe_stall, why_resolved
from memflow.analysis.channel import EventHub, EventStream, Subscription
from memflow.analysis.detectors import (
    GROWTH_KINDS,
    Finding,
    IssueKind,
    Stall,
    high_utilization,
    near_limit,
)
from memflow.analysis.growth_watch import GrowthWatch
from memflow.analysis.inquiry import Inquiry
from memflow.analysis.issues import (
    AnalysisReport,
    EventsDropped,
    IssueEvent,
    IssueOpened,
    MemoryIssue,
    MemoryStatistics,
)
from memflow.analysis.lives import IssueLives, Words, make_issue
from memflow.analysis.loop_issues import LoopIssues
from memflow.analysis.report import advice_without_issue, limits_of_judgement, make_statistics
from memflow.analysis.suspect import SITE
from memflow.analysis.tried import Tried
from memflow.analysis.trimming import TrimTrial
from memflow.analysis.watch import Change, StallWatch, UseWatch
from memflow.analysis.wiring import make_sites, make_thresholds, read_once, weakly
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import HeapAnalyzerSettings, MemoryManagerSettings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

__all__ = ["AnalysisReport", "HeapAnalyzer", "MemoryStatistics"]

_log = logging.getLogger("memflow.analysis")

CLOCK_SLACK_S = 1.0
"""Seconds by which a reading may be older than the one before it; beyond that the clock was set back."""


class HeapAnalyzer:
    """Finds memory issues (high use, nearness to the limit, what looks like a leak, work that waits) and blocked loops.

    It listens to its state by itself, and stops with `close()` or when nobody holds it any more. `async with` it to
    have it read memory by itself too, in a service that runs no processor; `mark()` what is finished there.

    Args:
        settings: What is worth reporting.
        state: The memory state to watch; None makes one of its own, which is watched once somebody writes it.
        refresh: Takes a fresh reading into the state (a sampler's `sample`), before `analyze()` and
            `memory_statistics()`; None has them use the latest reading, or one of their own where there is none.
        watch: False listens to nothing by itself; `observe` can still be called.
        trim: Hands back what the allocator keeps and tells how much (a sampler's `try_trim`), for an issue of
            retention; called in a thread. None has nothing tried.

    Example:
        >>> analyzer = HeapAnalyzer()
        >>> analyzer.analyze().issues
        ()
    """

    def __init__(
        self,
        settings: HeapAnalyzerSettings | None = None,
        *,
        state: MemoryState | None = None,
        refresh: Callable[[], object] | None = None,
        watch: bool = True,
        trim: Callable[[], ReclaimResult | None] | None = None,
    ) -> None:
        self.settings = settings if settings is not None else HeapAnalyzerSettings()
        self.state = state if state is not None else MemoryState()
        self._thresholds = make_thresholds(self.settings)
        self._lock = RLock()
        self._hub: EventHub[IssueEvent] = EventHub(size=self.settings.channel_size, lost=EventsDropped)
        self._lives = IssueLives(update_interval_s=self.settings.update_interval_s, publish=self._publish)
        self._use = UseWatch(self._thresholds)
        self._stalls = StallWatch(self._thresholds)
        came = weakly(self, HeapAnalyzer._suspects_came)
        self._sites = make_sites(self.settings, self.state, told=came)
        self._inquiry = Inquiry(enabled=self.settings.find_suspects, told=came, pins=self.state.pins, sites=self._sites)
        self._growth = GrowthWatch(self._thresholds, self.state.allocator, inquiry=self._inquiry)
        told, failed = weakly(self, HeapAnalyzer._trim_was_tried), weakly(self, HeapAnalyzer._count_fault)
        self._tried = Tried(TrimTrial(trim, told=told, failed=failed))
        self._loops = LoopIssues(
            self.settings, self._lives, self._lock, operation=self._sole_operation, failed=self._count_fault
        )
        self._grown: Finding | None = None
        self._window: MemoryWindow | None = None
        self._now_s = float("-inf")
        self._faults = 0
        self._closed = False
        self._leave: Callable[[], None] | None = None
        self._refresh = refresh
        self._watches = watch
        # Held weakly by the state, so that an analyzer nobody closed does not outlive who used it.
        self._unsubscribe = self.state.subscribe(self.observe) if watch else lambda: None

    async def __aenter__(self) -> Self:
        """Watch by itself, in a thread, until the block ends: for services that run no processor."""
        if self._leave is not None or self._closed:
            raise RuntimeError("this analyzer is running, or was closed; make one for each `async with`")
        await anyio.lowlevel.checkpoint()
        if self._refresh is None:
            sampler = Sampler(MemoryManagerSettings(), state=self.state)
            self._refresh = sampler.sample
            self._tried.trial.use(sampler.try_trim)
        self._refresh()
        self._leave = self._loops.join(self._refresh)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leave is not None:
            self._leave()
        self.close()

    @contextmanager
    def watching_loop(self) -> Iterator[None]:
        """Tell when the event loop that runs this is blocked, until the block ends: for calls of a processor."""
        leave = self._loops.join() if self._watches and not self._closed else None
        try:
            yield
        finally:
            if leave is not None:
                leave()

    def mark(self, items: int = 1, *, operation: str = "requests") -> None:
        """Count items that are finished (requests, messages, jobs), so that growth is told for each of them.

        Without marks growth is judged along time. Cheap, from any thread.
        """
        self.state.work.load(operation).finish(items)

    def observe(self, window: MemoryWindow) -> None:
        """Take in a window: cheap, never waits, never raises; from any thread.

        The state calls this by itself. A window that comes twice counts once.
        """
        if window is self._window or self._closed:
            return
        self._window = window
        reading, use = window.reading, self._use
        now_s, before_s = reading.time_s, self._now_s
        self._now_s = now_s
        if (
            use.busy
            or self._growth.is_due(window)
            or reading.in_use_bytes >= use.high_share * reading.limit_bytes
            or now_s < before_s - CLOCK_SLACK_S
        ):
            self._look_closely(window, clock_went_back=now_s < before_s - CLOCK_SLACK_S)

    def _look_closely(self, window: MemoryWindow, *, clock_went_back: bool) -> None:
        try:
            with self._lock:
                if clock_went_back:
                    self._use.clock_went_back()
                    self._growth.clock_went_back()
                for change in self._changes(window):
                    self._apply(change, window)
        except Exception:
            self._count_fault()

    def _count_fault(self) -> None:
        """Count and tell what failed here: a fault of ours must stop neither the sampler nor the work."""
        self._faults += 1
        if self._faults == 1:
            _log.exception("an analysis of memory failed; the run goes on, and further failures are only counted")

    def stalled(self, waiter: Hashable, stall: Stall, *, now_s: float) -> None:
        """Take in how a wait for memory stands, every so often; `stall_ended` comes after. Cheap, never raises.

        Args:
            waiter: who waits.
            stall: how it stands.
            now_s: the time, in seconds of the readings' clock.
        """
        try:
            with self._lock:
                finding, further = self._stalls.look(waiter, stall)
                if finding is not None:
                    self._lives.found(
                        finding,
                        operation=stall.operation,
                        now_s=now_s,
                        words=lambda _: (describe_stall(stall), advise_stall(stall)),
                        at_once=further,
                    )
        except Exception:
            self._count_fault()

    def stall_ended(self, waiter: Hashable, *, now_s: float, reason: str) -> None:
        """Take note that a wait for memory is over, and why."""
        with self._lock:
            if self._stalls.ended(waiter):
                self._lives.resolve(IssueKind.ADMISSION_STALLED, now_s=now_s, reason=reason)

    def _changes(self, window: MemoryWindow) -> Iterator[Change]:
        yield from self._use.look(window.reading, drained=window.drained)
        if self._growth.is_due(window):
            yield from self._growth.sample(window)

    def _apply(self, change: Change, window: MemoryWindow) -> None:
        if isinstance(change, Finding):
            found = self._tried.look(change, window)
            operation = self._operation(found.kind)
            grows = found.kind in GROWTH_KINDS
            if grows:
                self._grown = found
            self._lives.found(
                found,
                operation=operation,
                now_s=window.reading.time_s,
                words=lambda whose: self._words(found, whose, window.reading),
                suspects=self._growth.suspects if grows else (),
                candidates=self._growth.whose.candidates if grows else (),
            )
        else:
            issue = self._lives.get(change)
            if issue is not None:
                self._resolve(issue, window)
            self._tried.forget(change)

    def _resolve(self, issue: MemoryIssue, window: MemoryWindow) -> None:
        situation, evidence = self._situation(None, window.reading), self._tried.look_back(issue, window)
        reason = why_resolved(issue.kind, window.reading.utilization_pct, situation, evidence)
        self._lives.resolve(issue.kind, now_s=window.reading.time_s, reason=reason)

    def _trim_was_tried(self) -> None:
        """Tell at once what trimming gave back, in the thread that has tried it."""
        with self._lock:
            issue, window = self._lives.get(IssueKind.RETENTION), self._window
            if issue is None or window is None or self._closed:
                return
            found = self._tried.again(issue)
            self._lives.found(
                found,
                operation=issue.operation,
                now_s=self._now_s,
                words=lambda whose: self._words(found, whose, window.reading),
                at_once=True,
            )

    def _suspects_came(self) -> None:
        """Tell at once who holds what grows, in the thread that has found out."""
        with self._lock:
            issue, grown, window = self._lives.get(IssueKind.SUSPECTED_LEAK), self._grown, self._window
            if issue is None or grown is None or window is None or self._closed:
                return
            found = self._growth.judged(grown)
            suspects = self._growth.suspects
            news = {each.kind == SITE for each in suspects} - {each.kind == SITE for each in issue.suspects}
            first = not issue.suspects or bool(news) or found.kind is not issue.kind
            self._lives.found(
                found,
                operation=self._operation(found.kind),
                now_s=self._now_s,
                words=lambda whose: self._words(found, whose, window.reading),
                at_once=first,
                suspects=suspects,
                candidates=self._growth.whose.candidates,
            )

    def _operation(self, kind: IssueKind) -> str | None:
        return self._growth.whose.operation if kind in GROWTH_KINDS else self._sole_operation()

    def _sole_operation(self) -> str | None:
        loads = self._window.loads if self._window is not None else {}
        return next(iter(loads)) if len(loads) == 1 else None

    def _words(self, finding: Finding, operation: str | None, reading: MemoryReading) -> Words:
        situation = self._situation(operation, reading)
        return describe(finding, situation), advise(finding, situation)

    def _situation(self, operation: str | None, reading: MemoryReading) -> Situation:
        return Situation(
            operation=operation,
            thresholds=self._thresholds,
            rss_bytes=reading.rss_bytes,
            limit_bytes=reading.limit_bytes,
            allocator=self._growth.allocator,
            gc_enabled=gc.isenabled(),
            suspects=self._growth.suspects,
            trim=self._tried.trim,
            whose=self._growth.whose.found,
            candidates=self._growth.whose.candidates,
        )

    def _publish(self, event: IssueEvent) -> None:
        if self.settings.debug:
            _log.debug("%s", event)
        self._hub.publish(event)

    def issues(self) -> AbstractAsyncContextManager[EventStream[IssueEvent]]:
        """Subscribe to the life of issues, under asyncio or trio.

        Every subscriber gets its own events, `channel_size` of them at most: when it reads too slowly, its oldest are
        dropped, and `EventsDropped` tells how many before the next one. One that comes late gets an `IssueOpened` for
        each issue that is open. The iteration ends after `close()`.

        Example:
            async with analyzer.issues() as issues:
                async for event in issues:
                    print(event)
        """
        return Subscription(self._hub, self._join)

    def _join(self) -> EventStream[IssueEvent]:
        with self._lock:  # nothing may open or close between the list of what is open and the joining
            return self._hub.join([IssueOpened(issue) for issue in self._lives.open_issues()])

    def analyze(self) -> AnalysisReport:
        """Judge now, with whatever history there is.

        Changes nothing and sends no event: what is wrong at this moment but was not for long enough to be opened has
        an id that ends with "-now".
        """
        reading, _ = self._latest()
        with self._lock:
            self._growth.allocator = self.state.allocator()
            issues = (*self._lives.open_issues(), *self._momentary(reading))
            advice = [each for issue in issues for each in issue.recommendations]
            return AnalysisReport(
                issues=issues,
                recommendations=tuple(dict.fromkeys([*advice, *advice_without_issue(self._growth, reading)])),
                notes=tuple(limits_of_judgement(self._growth, reading, faults=self._faults)),
                history_samples=self._growth.samples,
                history_span_s=self._growth.span_s(reading),
            )

    def _momentary(self, reading: MemoryReading) -> Iterator[MemoryIssue]:
        at_once = replace(self._thresholds, sustained_s=0.0)
        window = replace(self._use.window(reading), high_since_s=reading.time_s)
        for detect in (near_limit, high_utilization):
            finding = detect(window, at_once)
            if finding is not None and self._lives.get(finding.kind) is None:
                words = self._words(finding, None, reading)
                yield make_issue(finding, f"{finding.kind}-now", None, reading.time_s, words)

    def memory_statistics(self) -> MemoryStatistics:
        """Return memory, allocator and collector figures: of the state's latest reading, or of a fresh one without."""
        reading, source = self._latest()
        return make_statistics(
            reading,
            limit_source=source,
            peak_rss_bytes=self.state.peak_rss_bytes,
            allocator=self.state.allocator(),
        )

    def _latest(self) -> tuple[MemoryReading, str]:
        """The newest reading, and where its limit comes from.

        Never called with the lock held: a refresh comes back through `observe`, and so may another thread's.
        """
        state = self.state
        if self._refresh is not None:
            self._refresh()
        reading = state.reading or (self._window.reading if self._window else None)
        if reading is not None:
            return reading, state.limit.source if state.limit else "as given with the reading"
        return read_once()

    @property
    def open_issues(self) -> tuple[MemoryIssue, ...]:
        """Issues that are open, the gravest first."""
        with self._lock:
            return self._lives.open_issues()

    @property
    def events_dropped(self) -> int:
        """Events that subscribers lost because they read too slowly, all of them together."""
        return self._hub.dropped

    def close(self) -> None:
        """Stop watching, and end every subscriber's iteration behind what it has not read. Any number of times."""
        self._closed = True
        self._unsubscribe()
        if self._sites is not None:
            self._sites.close()
        self._hub.close()
