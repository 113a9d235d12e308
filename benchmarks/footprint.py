"""How much a long stream keeps: growth of RSS from the 100,000th item to the millionth.

Covers streams of items that are done at their first suspension, with default monitoring, in a fresh process each. The
source is a generator and results are dropped, so that whatever grows is memflow's. Results ahead of a slow consumer are
`benchmarks.backpressure`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import anyio
import psutil

from benchmarks.common import Scale, Spread, in_fresh_process, print_goal, print_table
from benchmarks.rivals import fixed_settings, suspending_work
from memflow import BatchProcessor

__all__ = ["child", "run"]

EARLY_ITEMS = 100_000
ITEMS = 1_000_000
CONCURRENCY = 100
MIB = 1 << 20
GOAL_MB = 1.0


def child(spec: dict[str, Any]) -> Any:
    """Run one stream and return RSS in MB: early, at the end, and the most it was in between."""
    return anyio.run(_measure, spec)


def _numbers(count: int) -> Iterator[int]:
    yield from range(count)


async def _measure(spec: dict[str, Any]) -> dict[str, float]:
    process, items, early_items = psutil.Process(), spec["items"], spec["early_items"]
    early = most = count = 0
    settings = fixed_settings(auto=spec["auto"], concurrency=CONCURRENCY)
    async with BatchProcessor(settings) as processor:
        source = _numbers(items)
        async with processor.stream(source, suspending_work("asyncio"), ordered=spec["ordered"]) as results:
            async for _ in results:
                count += 1
                if count == early_items:
                    gc.collect()
                    early = most = process.memory_info().rss
                elif count > early_items and count % 10_000 == 0:
                    most = max(most, process.memory_info().rss)
        gc.collect()
        late, exact = process.memory_info().rss, processor.memory.state.peak_rss_bytes
    if count != items:
        raise RuntimeError(f"{count} results for {items} items")
    return {"early": early / MIB, "late": late / MIB, "most": max(most, late, exact) / MIB}


def run(scale: Scale) -> None:
    """Measure streams in both orders, print a table and the goal."""
    items, early_items = scale.of(ITEMS, least=200), scale.of(EARLY_ITEMS)
    kinds = [(ordered, auto) for ordered in (True, False) for auto in (False, True)]
    rounds: dict[tuple[bool, bool], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(max(1, scale.rounds // 2)):
        for ordered, auto in kinds:
            answer = in_fresh_process(__name__, items=items, early_items=early_items, ordered=ordered, auto=auto)
            rounds[ordered, auto].append(answer)
    names = {
        kind: f"stream {'ordered' if kind[0] else 'unordered'}, {'auto' if kind[1] else 'fixed'}" for kind in kinds
    }
    print_table(
        f"RSS in MB, one stream of {items} items, asyncio, {CONCURRENCY} at once",
        ["", f"after {early_items}", f"after {items}", "growth", "peak of the process"],
        [[names[kind], *_cells(rounds[kind])] for kind in kinds],
    )
    for kind in kinds:
        growth = Spread.of(each["late"] - each["early"] for each in rounds[kind])
        print_goal(f"{names[kind]}, MB gained, the worst of all rounds", max(growth.values), GOAL_MB)


def _cells(rounds: list[dict[str, float]]) -> list[str]:
    spreads = [
        Spread.of(each["early"] for each in rounds),
        Spread.of(each["late"] for each in rounds),
        Spread.of(each["late"] - each["early"] for each in rounds),
        Spread.of(each["most"] for each in rounds),
    ]
    return [f"{each:.2f}" for each in spreads]
