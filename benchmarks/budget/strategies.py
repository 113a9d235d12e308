"""How many at once: memflow, and what people do by hand or with peers.

Covers one function for each, `(workload, pieces, setting, count) -> figures`; `count` is told how many are done.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.budget.workloads import CALLS, Piece, Workload, work, work_batch

__all__ = ["HINTED", "STRATEGIES"]

Count = Callable[[int], None]
Strategy = Callable[[Workload, list[Piece], int, Count], Awaitable[dict[str, Any]]]

HINTED = ("memflow hints", "memflow rough hints")
_GOAL_SHARE = 0.7
_KNEE = 0.05


async def memflow(
    workload: Workload, pieces: list[Piece], setting: int, count: Count, hints: str = ""
) -> dict[str, Any]:
    """Everything by default."""
    from memflow import BatchProcessor

    chance = random.Random(99)
    rough = {}
    if hints == "rough":
        rough = {id(piece): piece.size * 2.718281828 ** chance.uniform(-0.7, 0.7) for piece in pieces}
    hint = {"exact": lambda piece: piece.size, "rough": lambda piece: rough[id(piece)]}.get(hints)

    async def one(piece: Piece) -> Any:
        result = await work(piece)
        count(1)
        return result

    batch = work_batch(workload)
    sizes: list[tuple[int, int]] = []

    async def many(some: list[Piece]) -> list[Any]:
        sizes.append((some[0].size, len(some)))
        results = await batch(some)
        count(len(some))
        return results

    kinds = sorted({piece.operation for piece in pieces})
    processors = [BatchProcessor(on_error="collect", process_name=kind) for kind in kinds]
    kept: list[Any] = []

    async def run(processor: BatchProcessor, kind: str) -> None:
        mine = [piece for piece in pieces if piece.operation == kind]
        if workload.kind == "batches":
            kept.append(await processor.process_batches(mine, many, size_hint=hint))
        else:
            kept.append(await processor.process(mine, one, size_hint=hint))

    await asyncio.gather(*(run(*each) for each in zip(processors, kinds, strict=True)))
    figures = [processor.statistics() for processor in processors]
    for processor in processors:
        await processor.aclose()
    return {
        "failed": [str(result) for results in kept for result in results if not result],
        "rerun": sum(each.items_rerun for each in figures),
        "waits": sum(each.waits for each in figures),
        "sizes": sizes,
    }


async def fixed(workload: Workload, pieces: list[Piece], setting: int, count: Count) -> dict[str, Any]:
    """A pool of workers by hand; of batches, one after another."""
    if workload.kind == "batches":
        calls, size = divmod(setting, CALLS) if setting >= CALLS else (1, setting)
        return await _batches(workload, pieces, count, lambda: size, lambda size, seconds: None, calls)
    kept: list[Any] = []
    source = iter(pieces)

    async def worker() -> None:
        for piece in source:
            kept.append(await work(piece))
            count(1)

    await asyncio.gather(*(worker() for _ in range(setting)))
    return {}


async def aimd(workload: Workload, pieces: list[Piece], setting: int, count: Count) -> dict[str, Any]:
    """One more while RSS is below 70 % of the limit, half above: what many do by hand."""
    most, value = _GOAL_SHARE * _limit_bytes(), 10.0

    def adjust(*_: Any) -> None:
        nonlocal value
        value = max(1.0, value / 2) if _rss_bytes() > most else value + (5 if workload.kind == "batches" else 1)

    if workload.kind == "batches":
        return await _batches(workload, pieces, count, lambda: int(value), adjust, 1)
    return await _items(pieces, count, lambda: int(value), adjust)


async def beam(workload: Workload, pieces: list[Piece], setting: int, count: Count) -> dict[str, Any]:
    """Apache Beam's rule for batches: a line through their times; as large as makes the fixed cost 5 % of it."""
    points: list[tuple[int, float]] = []
    size = 10

    def adjust(items: int, seconds: float) -> None:
        nonlocal size
        points.append((items, seconds))
        del points[:-100]
        goal = size * 2.0
        count_, sum_x, sum_y = len(points), sum(x for x, _ in points), sum(y for _, y in points)
        spread = sum(x * x for x, _ in points) - sum_x**2 / count_
        if spread > 0:
            slope = (sum(x * y for x, y in points) - sum_x * sum_y / count_) / spread
            start = (sum_y - slope * sum_x) / count_
            if slope > 0:
                goal = min(goal, max(10.0, start / slope * (1 - _KNEE) / _KNEE))
        size = int(goal * random.uniform(0.8, 1.0))

    return await _batches(workload, pieces, count, lambda: size, adjust, 1)


async def aiometer(workload: Workload, pieces: list[Piece], setting: int, count: Count) -> dict[str, Any]:
    """The peer, with the best fixed setting given to it."""
    import aiometer as peer

    async def one(piece: Piece) -> Any:
        result = await work(piece)
        count(1)
        return result

    async with peer.amap(one, pieces, max_at_once=setting) as results:
        async for _ in results:
            pass
    return {}


async def _items(
    pieces: list[Piece], count: Count, value: Callable[[], int], adjust: Callable[[], None]
) -> dict[str, Any]:
    running: set[asyncio.Task[Any]] = set()
    for piece in pieces:
        while len(running) >= value():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            count(len(done))
            adjust()
        running.add(asyncio.create_task(work(piece)))
    if running:
        await asyncio.wait(running)
        count(len(running))
    return {}


async def _batches(
    workload: Workload,
    pieces: list[Piece],
    count: Count,
    size: Callable[[], int],
    ended: Callable[[int, float], None],
    calls: int,
) -> dict[str, Any]:
    batch, at = work_batch(workload), 0

    def cut() -> Iterator[list[Piece]]:
        nonlocal at
        while at < len(pieces):
            some = pieces[at : at + size()]
            at += len(some)
            yield some

    source = cut()

    async def worker() -> None:
        for some in source:
            began_s = time.perf_counter()
            await batch(some)
            ended(len(some), time.perf_counter() - began_s)
            count(len(some))

    await asyncio.gather(*(worker() for _ in range(calls)))
    return {}


def _rss_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _limit_bytes() -> int:
    return int(os.environ["MEMFLOW_BUDGET_LIMIT"])


def _hinted(hints: str) -> Strategy:
    return lambda workload, pieces, setting, count: memflow(workload, pieces, setting, count, hints)


STRATEGIES: dict[str, Strategy] = {
    "memflow": memflow,
    "memflow hints": _hinted("exact"),
    "memflow rough hints": _hinted("rough"),
    "fixed": fixed,
    "default 10": fixed,
    "aimd on rss": aimd,
    "beam": beam,
    "aiometer": aiometer,
}
"""By name."""
