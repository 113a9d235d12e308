"""What results weigh that a call collects: `memflow.processing.kept`."""

from __future__ import annotations

import gc
import sys

import anyio
import pytest

from memflow import BatchProcessor, BatchProcessorSettings, MemflowSettings
from memflow.memory.work import WorkLedger
from memflow.processing import kept
from memflow.processing.batch import Batch
from memflow.processing.kept import KeptResults

pytestmark = pytest.mark.anyio


def finished(start: int, size: int) -> Batch:
    batch = Batch(start, list(range(size)), None, full=True)
    for n in range(size):
        batch.results[n] = [str(start + n) * 4, (start + n) * 1000]
    batch.items = []
    return batch


@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_counts_what_the_allocator_says_and_lets_all_of_it_go(size: int) -> None:
    ledger, lists = WorkLedger(), []
    results = KeptResults(ledger.load("embed"))
    finished(0, size)
    gc.collect()
    before = sys.getallocatedblocks()
    for n in range(4_000 // size):
        batch = finished(1_000 + n * size, size)
        lists.append(batch.results)
        results.finish(batch, float(n))
    del batch
    taken = sys.getallocatedblocks() - before
    assert ledger.kept()[0] == pytest.approx(taken, rel=0.1)
    results.let_go()
    assert ledger.kept() == pytest.approx((0.0, 0.0), abs=1e-6)


def test_weighing_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    results, cost_s = KeptResults(WorkLedger().load("embed")), 0.0
    weighed: list[object] = []

    def weigh_slowly(result: object) -> tuple[float, float]:
        nonlocal cost_s
        weighed.append(result)
        cost_s += 0.01
        return 3.0, 0.0

    monkeypatch.setattr(kept, "weigh", weigh_slowly)
    monkeypatch.setattr(kept.time, "perf_counter", lambda: cost_s)
    for n in range(100):
        results.finish(finished(n, 1), float(n))
    assert len(weighed) == 20  # 0.01 s each, of 100


async def test_results_count_while_a_call_collects_them_and_not_once_the_caller_has_them() -> None:
    seen: list[float] = []

    async def work(item: int) -> list[str]:
        seen.append(processor.memory.state.work.kept()[0])
        await anyio.lowlevel.checkpoint()
        return [str(item) * 3]

    async with BatchProcessor(concurrency=4, auto_optimize=False) as processor:
        results = await processor.process(range(500), work)
        assert seen[-1] > 3 * 400  # a list, its table and a text, but for the last in flight
        assert processor.memory.state.work.kept() == pytest.approx((0.0, 0.0), abs=1e-6)
        async with processor.stream(range(500), work) as stream:
            async for _ in stream:
                assert processor.memory.state.work.kept() == pytest.approx((0.0, 0.0), abs=1e-6)
    assert len(results) == 500


async def test_a_call_that_fails_keeps_no_results_either() -> None:
    async def work(item: int) -> list[str]:
        await anyio.lowlevel.checkpoint()
        if item == 300:
            raise ValueError(item)
        return [str(item) * 3]

    async with BatchProcessor(concurrency=4) as processor:
        with pytest.raises(Exception, match="300"):
            await processor.process(range(500), work)
        assert processor.memory.state.work.kept() == pytest.approx((0.0, 0.0), abs=1e-6)


async def test_nothing_is_counted_without_monitoring() -> None:
    async def work(item: int) -> float:
        await anyio.lowlevel.checkpoint()
        return processor.memory.state.work.kept()[0]

    settings = MemflowSettings(batch_processor=BatchProcessorSettings(memory_monitoring=False))
    async with BatchProcessor(settings) as processor:
        assert set(await processor.process(range(100), work)) == {0.0}
