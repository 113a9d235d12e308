"""What the analyzer keeps over a long run, and what looking for suspects costs the program meanwhile.

Covers batches that do nothing, for what is kept: sizes of all that is reached from the analyzer, again and again up to
the millionth batch. And a program that computes and leaks, for the look: what a batch takes while one is going on,
beside the others of the same run, on a small heap and a large one; it needs the interpreter's lock all the time, so
that every turn of the look is taken from it. What tracing allocations costs is measured by `benchmarks.tracing`, which
this runs too. How well leaks are found is `benchmarks.leaks`.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from types import BuiltinFunctionType, FrameType, FunctionType, ModuleType
from typing import Any

import anyio

from benchmarks.common import Scale, Spread, in_fresh_process, print_goal, print_table
from benchmarks.tracing import run_tracing
from memflow import BatchProcessor, HeapAnalyzerSettings, MemflowSettings

__all__ = ["child", "run"]

BATCHES = (10_000, *range(100_000, 1_000_001, 25_000))
HEAPS = (20_000, 500_000)
LOOK_S = 12.0
KB = 1_000
GOAL_KB = 4.0
GOAL_TIMES = 1.5
_PROGRAM = (type, ModuleType, FunctionType, BuiltinFunctionType, FrameType)


def child(spec: dict[str, Any]) -> Any:
    """Measure one of the two and return its figures."""
    return anyio.run(_keeps if spec["what"] == "keeps" else _looks, spec)


async def _keeps(spec: dict[str, Any]) -> list[float]:
    async def work(batch: list[int]) -> list[int]:
        await anyio.lowlevel.checkpoint()
        return batch

    kept, done = [], 0
    async with BatchProcessor(concurrency=8, batch_size=1, auto_optimize=False) as processor:
        for batches in spec["batches"]:
            async with processor.stream_batches(range(done, batches), work) as results:
                async for _ in results:
                    pass
            done = batches
            kept.append(_size_below(processor.memory.analyzer) / KB)
    return kept


def _size_below(root: object) -> int:
    """Return the bytes of all objects that lead from one, but for what belongs to the program."""
    gc.collect()
    size, seen, level = 0, set(), [root]
    while level:
        fresh = {id(each): each for each in level if id(each) not in seen and not isinstance(each, _PROGRAM)}
        seen.update(fresh)
        size += sum(sys.getsizeof(each) for each in fresh.values())
        level = gc.get_referents(*fresh.values())
    return size


async def _looks(spec: dict[str, Any]) -> dict[str, float]:
    heap = [{"number": number, "list": [number]} for number in range(spec["heap"])]
    kept: list[Any] = []

    async def work(item: int) -> None:
        sum(range(20_000))
        for number in range(3_000):
            item ^= number
        kept.append({"item": item, "blob": b"x" * 20_000, "list": [item]})
        await anyio.lowlevel.checkpoint()

    settings = MemflowSettings(heap_analyzer=HeapAnalyzerSettings(leak_threshold_rate=0.1))
    took: dict[bool, list[float]] = {False: [], True: []}
    async with BatchProcessor(settings, concurrency=10, auto_optimize=False) as processor:
        inquiry, began_s = processor.memory.analyzer._inquiry, time.perf_counter()
        while time.perf_counter() - began_s < spec["seconds"]:
            looking, before_s = inquiry._running, time.perf_counter()
            await processor.process(range(10), work)
            took[looking or inquiry._running].append(time.perf_counter() - before_s)
        named = bool(inquiry.suspects)
    del heap
    return {
        "looking_s": sum(took[True]),
        "looking_ms": 1000 * statistics.fmean(took[True] or [0.0]),
        "worst_ms": 1000 * max(took[True], default=0.0),
        "else_ms": 1000 * statistics.fmean(took[False] or [0.0]),
        "used_s": inquiry.spent_s,
        "named": named,
    }


def run(scale: Scale) -> None:
    """Measure all, print tables and goals."""
    batches = [scale.of(each) for each in BATCHES]
    kept = [in_fresh_process(__name__, what="keeps", batches=batches) for _ in range(max(1, scale.rounds // 3))]
    # A history has half its rows just after it was thinned out, so that only the most of many looks can be compared.
    middle = 1 + len(batches) // 2
    shown = (0, 1, middle, len(batches) - 1)
    print_table(
        "kB that are reached from the analyzer, batches of 1 that do nothing, 8 at once",
        ["", *(f"after {batches[n]} batches" for n in shown)],
        [["stream_batches", *(f"{Spread.of(each[n] for each in kept):.1f}" for n in shown)]],
    )
    growth = max(max(each[middle:]) - max(each[1:middle]) for each in kept)
    what = f"kB that the most after batch {batches[middle]} is above the most between {batches[1]} and it"
    print_goal(f"{what}, the worst round", growth, GOAL_KB)
    rows, times = [], {}
    for heap in HEAPS:
        size = scale.of(heap)
        spec = {"what": "looks", "heap": size, "seconds": LOOK_S * max(scale.share, 0.02)}
        found = [in_fresh_process(__name__, **spec) for _ in range(max(1, scale.rounds // 2))]
        times[size] = Spread.of(each["looking_ms"] / each["else_ms"] for each in found if each["looking_ms"])
        columns = ("else_ms", "looking_ms", "worst_ms", "looking_s", "used_s")
        named = sum(each["named"] for each in found)
        cells = (f"{Spread.of(each[key] for each in found):.1f}" for key in columns)
        rows.append([f"{size} dicts live", *cells, f"{named} of {len(found)}"])
    print_table(
        f"ms a batch of 10 items that compute and leak, in {LOOK_S:g} s, while suspects are looked for and else",
        ["", "ms else", "ms looking", "worst", "s looking", "s of CPU", "suspects found"],
        rows,
    )
    for size, spread in times.items():
        if spread.values:
            print_goal(f"times as long while looking, {size} dicts live", spread.median, GOAL_TIMES)
    run_tracing(scale)
