"""A call over scripted memory that others share, in virtual time; for tests of stalls and of fairness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from memflow.analysis.issues import IssueEvent, IssueKind
from memflow.memory.readings import MemoryReading
from memflow.processing.bundle import MemoryBundle
from memflow.processing.figures import take_statistics
from memflow.processing.gate import Gate
from memflow.processing.outcome import ProcessorStatistics
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings
from memflow.testing import ScriptedProbe
from tests.processing.parts import GIB, MIB, FakeSizer, bundle_with, call_of, results_of


class Site:
    """A call over memory that others share, in the time of the running backend."""

    def __init__(
        self,
        *,
        each: int = 20 * MIB,
        batch_size: int = 8,
        concurrency: int = 3,
        sample_interval_s: float = 0.05,
        **settings: Any,
    ) -> None:
        self.ours = self.others = 0
        self.began_s = anyio.current_time()
        self.probe = ScriptedProbe(self.read, limit=GIB, source="the script")
        self.bundle: MemoryBundle = bundle_with(
            self.probe, clock=anyio.current_time, limit_refresh_s=1e-9, sample_interval_s=sample_interval_s
        )
        self.bundle.sampler.sample()
        self.totals = Totals()
        self.settings = BatchProcessorSettings(**settings)
        self.sizer = FakeSizer(batch_size=batch_size, concurrency=concurrency, bytes_each=each)
        self.each = each
        self.events: list[IssueEvent] = []
        self.bundle.analyzer._hub.publish = self.events.append  # type: ignore[method-assign]
        self.holding_s = 0.5
        self.ran: list[int] = []

    def read(self, now_s: float) -> MemoryReading:
        rss = 50 * MIB + self.ours
        return MemoryReading(now_s, rss, rss, rss + self.others, 0)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return anyio.current_time() - self.began_s

    @property
    def figures(self) -> ProcessorStatistics:
        return take_statistics("site", self.totals, self.bundle, now_s=anyio.current_time())

    async def work(self, item: Any) -> Any:
        items = item if isinstance(item, list) else [item]
        self.ran += items
        self.ours += self.each * len(items)
        try:
            await anyio.sleep(self.holding_s)
        finally:
            self.ours -= self.each * len(items)
        return item

    def call(self, items: Any, kind: str = "items", **changes: Any) -> Any:
        return call_of(
            items,
            self.work,
            kind=kind,
            sizer=self.sizer,
            bundle=self.bundle,
            totals=self.totals,
            settings=self.settings,
            clock=anyio.current_time,
            **changes,
        )

    def gate(self, operation: str, *, size_mib: int) -> Gate:
        """A gate of its own, for batches of this size."""
        sizer: Any = FakeSizer(bytes_each=size_mib * MIB)
        return Gate(operation, self.bundle, sizer, self.totals, self.settings, clock=anyio.current_time)

    async def run(self, items: Any, kind: str = "items", *, meanwhile: Callable[[], Any] | None = None) -> list[Any]:
        """Run a call, and `meanwhile` beside it, to the end of both."""
        call = self.call(items, kind, keep=True)
        async with anyio.create_task_group() as group:
            if meanwhile is not None:
                group.start_soon(meanwhile)
            failure, results = await caught(results_of(call))
        if failure is not None:
            raise failure
        assert (self.bundle.admission.holders, self.bundle.admission.reserved_bytes) == (0, 0)
        assert not self.bundle.admission.waiters
        assert (self.figures.stalled, self.figures.stalled_s) == ("", 0)
        return results

    def told(self) -> list[type]:
        """The life of stalls, in short."""
        return [type(event) for event in self.stalls()]

    def stalls(self) -> list[Any]:
        return [each for each in self.events if each.issue and each.issue.kind is IssueKind.ADMISSION_STALLED]


async def caught(running: Any) -> tuple[Exception | None, list[Any]]:
    """What it raises, kept out of the group that runs it."""
    try:
        return None, await running
    except Exception as error:
        return error, []
