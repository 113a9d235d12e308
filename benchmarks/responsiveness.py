"""How long others wait for their turn while memflow runs functions that never suspend.

Covers the gaps between the turns of a task that does nothing but let others run (a heartbeat), while items that are
done at once go through. A pool written by hand holds the loop to the end; memflow lets others run about once a
millisecond. Nothing is asserted: collections of garbage and other processes are in the gaps too.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from benchmarks.common import Scale, Spread, backends, in_fresh_process, print_table, rotated
from benchmarks.rivals import Work, asyncio_pool, fixed_settings, memflow_process, memflow_stream, trio_pool
from memflow import BatchProcessor

__all__ = ["child", "run"]

ITEMS = 100_000
CONCURRENCY = 100
BATCH_SIZE = 100

Run = Callable[[int], Awaitable[Any]]


async def at_once(item: int) -> int:
    """Return the item without suspending."""
    return item


async def _batches_at_once(batch: list[int]) -> list[int]:
    return batch


async def _stream_batches(items: int) -> None:
    settings = fixed_settings(auto=False, concurrency=8, batch_size=BATCH_SIZE)
    async with (
        BatchProcessor(settings) as processor,
        processor.stream_batches(range(items), _batches_at_once) as results,
    ):
        async for _ in results:
            pass


def runs(backend: str) -> dict[str, Run]:
    """Return what is run beside the heartbeat."""
    work: Work = at_once
    pool = asyncio_pool if backend == "asyncio" else trio_pool
    ordered, unordered = (partial(memflow_stream, ordered=each, auto=True) for each in (True, False))
    return {
        "pool by hand": lambda items: pool(work, items, CONCURRENCY),
        "memflow stream ordered": lambda items: ordered(work, items, CONCURRENCY),
        "memflow stream unordered": lambda items: unordered(work, items, CONCURRENCY),
        "memflow process": lambda items: memflow_process(work, items, CONCURRENCY, auto=True),
        f"memflow stream_batches of {BATCH_SIZE}": _stream_batches,
    }


def child(spec: dict[str, Any]) -> Any:
    """Measure everything once: the worst gap and the typical one, in milliseconds, by run."""
    return anyio.run(_measure, spec, backend=spec["backend"])


async def _measure(spec: dict[str, Any]) -> dict[str, list[float]]:
    every, found = runs(spec["backend"]), {}
    for name in rotated(list(every), spec["turn"]):
        await every[name](100)
        found[name] = await _gaps(partial(every[name], spec["items"]))
    return found


async def _gaps(run: Callable[[], Awaitable[Any]]) -> list[float]:
    gaps: list[float] = []

    async def beat() -> None:
        last_s = time.perf_counter()
        while True:
            await anyio.lowlevel.checkpoint()
            now_s = time.perf_counter()
            gaps.append((now_s - last_s) * 1e3)
            last_s = now_s

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await anyio.lowlevel.checkpoint()
        await run()
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return [max(gaps), _typical(gaps)]


def _typical(gaps: list[float]) -> float:
    """Return the gap that somebody finds who comes at any moment: the median, each gap counting by its length."""
    half, passed = sum(gaps) / 2, 0.0
    for gap in sorted(gaps):
        passed += gap
        if passed >= half:
            return gap
    return 0.0


def run(scale: Scale) -> None:
    """Measure on every event loop and print tables."""
    loops, items = backends(), scale.of(ITEMS)
    rounds: dict[str, list[dict[str, list[float]]]] = {backend: [] for backend in loops}
    for turn in range(scale.rounds):
        for backend in loops:
            rounds[backend].append(in_fresh_process(__name__, backend=backend, items=items, turn=turn))
    for backend in loops:
        print_table(
            f"{backend}: ms between two turns of another task, {items} items that never suspend, sizes adapt",
            ["", "worst", "typical"],
            [
                [name, *(f"{Spread.of(each[name][column] for each in rounds[backend]):.2f}" for column in (0, 1))]
                for name in runs(backend)
            ],
        )
