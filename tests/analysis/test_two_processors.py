"""Two processors in one process, of which one leaks: whose growth it is. In virtual time, over scripted memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from memflow import BatchProcessor, MemflowSettings
from memflow.analysis.detectors import GROWTH_KINDS
from memflow.analysis.issues import MemoryIssue
from memflow.memory.readings import AllocatorReading, MemoryReading
from memflow.memory.sampler import Sampler
from memflow.memory.signals import ProcessSignals
from memflow.processing.bundle import MemoryBundle
from memflow.testing import ScriptedProbe

BLOCK_BYTES = 100
ITEM_BLOCKS = 40
RUN_S = 40


class Site:
    """Two processors that share a sampler, as those with equal settings do, and the memory that they fill."""

    def __init__(self) -> None:
        self.kept = 0
        settings = MemflowSettings(
            memory_manager={"data_limit": False, "trim": False},
            heap_analyzer={"find_suspects": False},
            batch_processor={"batch_size": 5, "concurrency": 2, "detect_memory_issues": True},
        )
        probe = ScriptedProbe(self.read, limit="2GiB")
        self.sampler = Sampler(settings.memory_manager, probe=probe, clock=anyio.current_time)
        self.sampler.state.allocator = self.allocator  # type: ignore[method-assign]  # a scripted heap
        self.bundles = [MemoryBundle(settings, sampler=self.sampler) for _ in range(2)]
        for bundle in self.bundles:
            bundle.analyzer._watches = False  # no thread asks the loop in virtual time
            bundle.analyzer._growth._count = lambda: ProcessSignals(10, 1, 10)
            bundle.analyzer._growth._cost_clock = lambda: 0.0

    def read(self, now_s: float) -> MemoryReading:
        rss = 100_000_000 + BLOCK_BYTES * ITEM_BLOCKS * self.kept
        return MemoryReading(now_s, rss, rss, rss, 0)

    def allocator(self) -> AllocatorReading:
        return AllocatorReading(100_000 + ITEM_BLOCKS * self.kept, None, None)

    async def leak(self, _: int) -> None:
        await anyio.sleep(0.01)
        self.kept += 1

    async def keep_nothing(self, _: int) -> None:
        await anyio.sleep(0.01)

    async def run(self, processor: BatchProcessor, function: Any, rates: Callable[[], float]) -> None:
        """Call a processor again and again for a while, at rates that change every two seconds."""
        ends_s = anyio.current_time() + RUN_S
        while anyio.current_time() < ends_s:
            rests_s, until_s = rates(), anyio.current_time() + 2
            while anyio.current_time() < until_s:
                await processor.process(range(10), function, operation=function.__name__)
                await anyio.sleep(rests_s)


def beside(run_virtual: Any, rates: Callable[[int], Callable[[], float]]) -> list[MemoryIssue]:
    """Run both, and return the growth that each processor's analyzer says is open."""
    found = []

    async def main() -> None:
        site = Site()
        first, second = (BatchProcessor(bundle=bundle) for bundle in site.bundles)
        async with first, second, anyio.create_task_group() as group:
            group.start_soon(site.run, first, site.leak, rates(1))
            group.start_soon(site.run, second, site.keep_nothing, rates(2))
        for bundle in site.bundles:
            found.extend(each for each in bundle.analyzer.open_issues if each.kind in GROWTH_KINDS)

    run_virtual(main)
    return found


def test_each_names_the_one_that_leaks(run_virtual):
    """Whoever's analyzer it is: both see what both finish."""

    def rates(seed):
        rng = random.Random(seed)
        return lambda: rng.uniform(0.05, 0.4)

    issues = beside(run_virtual, rates)
    assert [each.operation for each in issues] == ["leak", "leak"]
    for each in issues:
        assert each.evidence["operation_sureness"] >= 0.95
        assert each.evidence["growth_bytes_per_item"] == pytest.approx(BLOCK_BYTES * ITEM_BLOCKS, rel=0.1)


def test_where_both_go_in_step_neither_is_named_by_either(run_virtual):
    def rates(_):
        rng = random.Random(1)  # the same for both
        return lambda: rng.uniform(0.05, 0.4)

    issues = beside(run_virtual, rates)
    assert [each.operation for each in issues] == [None, None]
    for each in issues:
        assert set(each.candidates) == {"leak", "keep_nothing"}
        assert each.evidence["operation_sureness"] < 0.95
