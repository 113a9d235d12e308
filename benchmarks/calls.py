"""What a call costs, and a sync function in a thread.

Covers `process` and `stream` of one item, a processor made for each call, and sync functions beside a pool written by
hand over the same threads. Costs of an item in a long call are `benchmarks.overhead`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from benchmarks.common import Scale, Spread, backends, in_fresh_process, print_table, rotated, timed
from benchmarks.rivals import Work, fixed_settings, suspending_work
from memflow import BatchProcessor

__all__ = ["child", "run"]

CALLS = 1_000
THREAD_ITEMS = 5_000
THREADS = 8

Repeat = Callable[[Work, int], Awaitable[None]]


async def _bare(work: Work, calls: int) -> None:
    for item in range(calls):
        await work(item)


async def _task_group(work: Work, calls: int) -> None:
    for item in range(calls):
        async with anyio.create_task_group() as group:
            group.start_soon(work, item)


async def _process(work: Work, calls: int) -> None:
    async with BatchProcessor() as processor:
        for item in range(calls):
            await processor.process([item], work)


async def _stream(work: Work, calls: int) -> None:
    async with BatchProcessor() as processor:
        for item in range(calls):
            async with processor.stream([item], work) as results:
                async for _ in results:
                    pass


async def _new_processor(work: Work, calls: int) -> None:
    for item in range(calls):
        async with BatchProcessor() as processor:
            await processor.process([item], work)


CALL_KINDS: dict[str, Repeat] = {
    "await work(item)": _bare,
    "task group with one task": _task_group,
    "process of one item": _process,
    "stream of one item": _stream,
    "BatchProcessor and process of one": _new_processor,
}


def _echo(item: int) -> int:
    return item


async def _threads_by_hand(items: int) -> None:
    results: list[Any] = [None] * items
    numbered = enumerate(range(items))
    limiter = anyio.CapacityLimiter(THREADS)

    async def worker() -> None:
        for position, item in numbered:
            results[position] = await anyio.to_thread.run_sync(_echo, item, limiter=limiter)

    async with anyio.create_task_group() as group:
        for _ in range(THREADS):
            group.start_soon(worker)


async def _threads_with_memflow(items: int, *, auto: bool) -> None:
    async with BatchProcessor(fixed_settings(auto=auto, concurrency=THREADS)) as processor:
        await processor.process(range(items), _echo)


THREAD_KINDS: dict[str, Callable[[int], Awaitable[None]]] = {
    "pool by hand over threads": _threads_by_hand,
    "process of a sync function, fixed": partial(_threads_with_memflow, auto=False),
    "process of a sync function, auto": partial(_threads_with_memflow, auto=True),
}


def child(spec: dict[str, Any]) -> Any:
    """Measure everything once: microseconds of CPU and wall for each call or item."""
    return anyio.run(_measure, spec, backend=spec["backend"])


async def _measure(spec: dict[str, Any]) -> dict[str, list[float]]:
    work, found = suspending_work(spec["backend"]), {}
    for name in rotated(list(CALL_KINDS), spec["turn"]):
        await CALL_KINDS[name](work, 20)
        timing = await timed(partial(CALL_KINDS[name], work, spec["calls"]))
        found[name] = [each / spec["calls"] * 1e6 for each in (timing.cpu_s, timing.wall_s)]
    for name in rotated(list(THREAD_KINDS), spec["turn"]):
        await THREAD_KINDS[name](20)
        timing = await timed(partial(THREAD_KINDS[name], spec["items"]))
        found[name] = [each / spec["items"] * 1e6 for each in (timing.cpu_s, timing.wall_s)]
    return found


def run(scale: Scale) -> None:
    """Measure on every event loop and print tables."""
    loops = backends()
    calls, items = scale.of(CALLS), scale.of(THREAD_ITEMS)
    rounds: dict[str, list[dict[str, list[float]]]] = {backend: [] for backend in loops}
    for turn in range(scale.rounds):
        for backend in loops:
            answer = in_fresh_process(__name__, backend=backend, calls=calls, items=items, turn=turn)
            rounds[backend].append(answer)
    for backend in loops:
        for title, names in (
            (f"{backend}: µs a call, {calls} calls one after another", CALL_KINDS),
            (
                f"{backend}: µs an item, sync function that returns at once, {items} items, {THREADS} threads",
                THREAD_KINDS,
            ),
        ):
            rows = [
                [name, *(f"{Spread.of(each[name][column] for each in rounds[backend]):.1f}" for column in (0, 1))]
                for name in names
            ]
            print_table(title, ["", "CPU", "wall"], rows)
