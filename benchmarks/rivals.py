"""Who is measured: pools written by hand, memflow with default gating and accounting, and peers.

Covers running an async function over `range(items)` with so many at once, and counting the results. Batches are
`benchmarks.batching`'s; measuring is `benchmarks.overhead`'s and others'.

The pools are the limit: workers that pull from one shared iterator, with nothing else. They neither bound what is
kept, nor read memory, nor survive an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from benchmarks.common import is_installed
from memflow import BatchProcessor, MemflowSettings

__all__ = ["PEERS", "Strategy", "Work", "fixed_settings", "strategies", "suspending_work"]

Work = Callable[[int], Coroutine[Any, Any, int]]
Strategy = Callable[[Work, int, int], Awaitable[int]]
"""(work, items, concurrency) -> number of results."""

PEERS = ("streamable", "aiometer")


async def _asyncio_work(item: int) -> int:
    await asyncio.sleep(0)
    return item


def suspending_work(backend: str) -> Work:
    """Return a function that does nothing but let others run once."""
    if backend == "asyncio":
        return _asyncio_work
    import trio

    checkpoint = trio.lowlevel.checkpoint

    async def work(item: int) -> int:
        await checkpoint()
        return item

    return work


async def asyncio_pool(work: Work, items: int, concurrency: int) -> int:
    """Run a worker pool in plain asyncio."""
    results: list[Any] = [None] * items
    numbered = enumerate(range(items))

    async def worker() -> None:
        for position, item in numbered:
            results[position] = await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return len(results)


async def trio_pool(work: Work, items: int, concurrency: int) -> int:
    """Run a worker pool in plain trio."""
    import trio

    results: list[Any] = [None] * items
    numbered = enumerate(range(items))

    async def worker() -> None:
        for position, item in numbered:
            results[position] = await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(worker)
    return len(results)


def fixed_settings(
    *, auto: bool, concurrency: int, batch_size: int | None = None, auto_batch: bool = False
) -> MemflowSettings:
    """Return settings that differ from the defaults only in size.

    Args:
        auto: whether sizes adapt.
        concurrency: calls in flight to start with, and the most there may be.
        batch_size: items of a batch to start with.
        auto_batch: hold the batch size there although sizes adapt.
    """
    bounds: dict[str, int] = {"max_concurrency": concurrency, "default_concurrency": min(8, concurrency)}
    if auto_batch and batch_size is not None:
        bounds |= {"min_batch_size": batch_size, "default_batch_size": batch_size, "max_batch_size": batch_size}
    start = {"concurrency": concurrency, "batch_size": batch_size, "auto_optimize": auto}
    return MemflowSettings(batch_optimizer=bounds, batch_processor=start)


async def memflow_stream(work: Work, items: int, concurrency: int, *, ordered: bool, auto: bool) -> int:
    """Stream results of memflow to a consumer that counts them."""
    count = 0
    settings = fixed_settings(auto=auto, concurrency=concurrency)
    async with (
        BatchProcessor(settings) as processor,
        processor.stream(range(items), work, ordered=ordered) as results,
    ):
        async for _ in results:
            count += 1
    return count


async def memflow_process(work: Work, items: int, concurrency: int, *, auto: bool) -> int:
    """Have memflow return a list."""
    async with BatchProcessor(fixed_settings(auto=auto, concurrency=concurrency)) as processor:
        return len(await processor.process(range(items), work))


async def streamable_map(work: Work, items: int, concurrency: int, *, as_completed: bool) -> int:
    """Stream results of streamable."""
    from streamable import stream

    count = 0
    async for _ in stream(range(items)).map(work, concurrency=concurrency, as_completed=as_completed):
        count += 1
    return count


async def aiometer_amap(work: Work, items: int, concurrency: int) -> int:
    """Stream results of aiometer, as completed."""
    import aiometer

    count = 0
    async with aiometer.amap(work, range(items), max_at_once=concurrency) as results:
        async for _ in results:
            count += 1
    return count


def strategies(backend: str) -> dict[str, Strategy]:
    """Return who runs on an event loop, the hand-written pool first; peers that are missing are left out."""
    found: dict[str, Strategy] = {"pool by hand": asyncio_pool if backend == "asyncio" else trio_pool}
    for auto in (False, True):
        sizes = "auto" if auto else "fixed"
        found[f"memflow stream ordered, {sizes}"] = partial(memflow_stream, ordered=True, auto=auto)
        found[f"memflow stream unordered, {sizes}"] = partial(memflow_stream, ordered=False, auto=auto)
        found[f"memflow process, {sizes}"] = partial(memflow_process, auto=auto)
    if backend == "asyncio" and is_installed("streamable"):  # it knows asyncio only
        found["streamable ordered"] = partial(streamable_map, as_completed=False)
        found["streamable as completed"] = partial(streamable_map, as_completed=True)
    if is_installed("aiometer"):
        found["aiometer.amap"] = aiometer_amap
    return found
