"""Fakes for tests of code that uses memflow: memory that follows a script, and issue events that were gathered.

Covers what a user's own tests need, without real memory being filled: `ScriptedProbe` in place of the machine,
`make_processor` around it, `collect_events` beside the code under test, `assert_no_leak` around a function that must
not hold on to anything. Nothing here is imported by memflow itself;
real readings are `memflow.memory.probe`'s.

Example:
    from memflow.testing import ScriptedProbe, collect_events, make_processor

    async def test_the_job_waits_for_memory():
        probe = ScriptedProbe(["100MiB", "950MiB", "100MiB"], limit="1GiB")
        async with make_processor(probe, concurrency=4) as processor, collect_events(processor) as events:
            assert await processor.process(range(10), double) == [2 * n for n in range(10)]
        assert processor.statistics().level == "normal"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from threading import Lock
from typing import Any, Protocol

import anyio
from anyio.lowlevel import checkpoint

from memflow.analysis.assertion import assert_no_leak, assert_no_leak_async
from memflow.analysis.issues import IssueEvent
from memflow.exceptions import ConfigurationError, MemflowError
from memflow.memory.readings import LimitCandidate, MemoryLimit, MemoryReading
from memflow.processing.bundle import create_memory_manager
from memflow.processing.critical_hook import OnMemoryCritical
from memflow.processing.guards import RetryWrapper
from memflow.processing.processor import BatchProcessor
from memflow.settings import (
    BatchOptimizerSettings,
    BatchProcessorSettings,
    HeapAnalyzerSettings,
    MemflowSettings,
    MemoryManagerSettings,
)
from memflow.units import parse_bytes

__all__ = [
    "IssueSource",
    "ScriptedProbe",
    "Step",
    "assert_no_leak",
    "assert_no_leak_async",
    "collect_events",
    "make_processor",
]

Step = int | str | MemoryReading | Exception
"""What one reading gives: bytes in use (`104857600`, `"100MiB"`), a whole reading, or an error that it raises."""

_SETTLED = 8


class ScriptedProbe:
    """A `MemoryProbe` that reads a script in place of memory.

    Args:
        script: what the readings give, one after another. A single step is given for ever; a list or any other
            iterable is gone through once, and its last step is given from then on; a callable gets the time in
            seconds and returns a step. RSS, its peak and use are all the bytes of the step; a `MemoryReading` sets
            each by itself (its time and its limit are replaced).
        limit: the effective limit in bytes, or as text.
        source: where the limit comes from, in words.
        exact_peaks: what `exact_peaks` says.

    Attributes:
        limit_bytes: the limit in bytes; set it to move the limit.
        reads: readings taken so far.
        boundary_reads: how many of them were taken at a batch boundary.
        limits: how often the limit was looked up.

    Example:
        >>> probe = ScriptedProbe(["1KiB", "3KiB"], limit="4KiB")
        >>> [probe.read(0.0).in_use_bytes for _ in range(3)]
        [1024, 3072, 3072]
        >>> probe.set("2KiB")
        >>> probe.read(0.0).utilization_pct
        50.0
    """

    def __init__(
        self,
        script: Step | Iterable[Step] | Callable[[float], Step] = "100MiB",
        *,
        limit: int | str = "1GiB",
        source: str = "a script",
        exact_peaks: bool = True,
    ) -> None:
        self.exact_peaks = exact_peaks
        self.limit_bytes = _to_bytes(limit)
        self.reads = self.boundary_reads = self.limits = 0
        self._source = source
        self._lock = Lock()
        self._closed = False
        self.set(script)

    def set(self, script: Step | Iterable[Step] | Callable[[float], Step]) -> None:
        """Read this script from now on."""
        if isinstance(script, int | str | MemoryReading | Exception):
            script = [script]
        next_step = script if callable(script) else _follow(script)
        with self._lock:
            self._next_step = next_step

    def read(self, now_s: float, *, boundary: bool = False) -> MemoryReading:
        """Take the script's next step; see `memflow.memory.probe.MemoryProbe.read`.

        Raises:
            MemflowError: the probe is closed.
            Exception: the step is an error.
        """
        with self._lock:
            self._require_open()
            self.reads += 1
            self.boundary_reads += boundary
            step = self._next_step(now_s)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, MemoryReading):
            return MemoryReading(now_s, step.rss_bytes, step.peak_rss_bytes, step.in_use_bytes, self.limit_bytes)
        in_use = _to_bytes(step)
        return MemoryReading(now_s, in_use, in_use, in_use, self.limit_bytes)

    def limit(self, now_s: float) -> MemoryLimit:
        """Return the limit as it is set now; see `memflow.memory.probe.MemoryProbe.limit`.

        Raises:
            MemflowError: the probe is closed.
        """
        with self._lock:
            self._require_open()
            self.limits += 1
            candidate = LimitCandidate("setting", self._source, self.limit_bytes)
            return MemoryLimit(self.limit_bytes, self._source, "setting", (candidate,))

    def close(self) -> None:
        """Take no more readings; closing twice is fine."""
        with self._lock:
            self._closed = True

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def _require_open(self) -> None:
        if self._closed:
            raise MemflowError("this memory probe is closed; make a new ScriptedProbe")


def _follow(script: Iterable[Step]) -> Callable[[float], Step]:
    steps = iter(script)
    try:
        last = next(steps)
    except StopIteration:
        raise ConfigurationError("the script is empty; give at least one reading") from None
    upcoming = [last]

    def next_step(now_s: float) -> Step:
        nonlocal last
        last = upcoming.pop() if upcoming else next(steps, last)
        return last

    return next_step


def _to_bytes(size: int | str) -> int:
    return parse_bytes(size) if isinstance(size, str) else size


class IssueSource(Protocol):
    """Whatever hands out issue events: a `BatchProcessor` or a `HeapAnalyzer`."""

    def issues(self) -> AbstractAsyncContextManager[AsyncIterator[IssueEvent]]:
        """Subscribe to memory issues."""
        ...


@asynccontextmanager
async def collect_events(source: IssueSource) -> AsyncIterator[list[IssueEvent]]:
    """Gather issue events while inside; on leaving, whatever was sent before is in the list.

    What the body raises arrives bare, not in an exception group.

    Args:
        source: a `BatchProcessor` or a `HeapAnalyzer`.

    Example:
        async with collect_events(processor) as events:
            await processor.process(items, fn)
        assert [event.issue.kind for event in events] == ["high_utilization"]
    """
    events: list[IssueEvent] = []
    failure: Exception | None = None
    async with source.issues() as issues, anyio.create_task_group() as group:
        group.start_soon(_gather, issues, events, name="memflow collect_events")
        try:
            yield events
        except Exception as error:
            failure = error  # raised below, where no task group wraps it
        await _settle(events)
        group.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # a frame that its own traceback refers to would pin what the body held


async def _gather(issues: AsyncIterator[IssueEvent], events: list[IssueEvent]) -> None:
    async for event in issues:
        events.append(event)


async def _settle(events: list[IssueEvent]) -> None:
    """Wait until the gathering task has found nothing new for a few rounds of the loop."""
    quiet, seen = 0, len(events)
    while quiet < _SETTLED:
        await checkpoint()
        quiet = quiet + 1 if len(events) == seen else 0
        seen = len(events)


def make_processor(
    probe: ScriptedProbe | None = None,
    *,
    settings: MemflowSettings | None = None,
    retry: RetryWrapper | None = None,
    on_memory_critical: OnMemoryCritical | None = None,
    **overrides: Any,
) -> BatchProcessor:
    """Make a processor that shares no state with others and reads memory through `probe` alone.

    Args:
        probe: what it takes for memory; by default 100 MiB of 1 GiB are in use, for ever.
        settings: all sections. By default memflow's defaults (no `MEMFLOW_…` variable counts), but with a reading at
            every batch boundary, so that each takes one step of the script.
        retry: as for `BatchProcessor`.
        on_memory_critical: as for `BatchProcessor`.
        **overrides: single fields of `BatchProcessorSettings`, such as `concurrency=4`.

    Raises:
        pydantic.ValidationError: a setting is out of range, unknown, or contradicts another.
    """
    if settings is None:
        settings = MemflowSettings(
            memory_manager=MemoryManagerSettings(boundary_interval_s=0),
            heap_analyzer=HeapAnalyzerSettings(),
            batch_optimizer=BatchOptimizerSettings(),
            batch_processor=BatchProcessorSettings(),
        )
    bundle = create_memory_manager(settings, probe=probe if probe is not None else ScriptedProbe())
    return BatchProcessor(bundle=bundle, retry=retry, on_memory_critical=on_memory_critical, **overrides)
