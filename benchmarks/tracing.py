"""What a window of traced allocations costs the program meanwhile: a part of `benchmarks.analyzer`.

Covers programs that leak while they compute, build small objects, or copy buffers: what a batch takes while its
allocations are traced, over the whole window with its rests, and else, in one run. And what each tracer keeps for a
block that lives, with the reading of it. Whether the place is named is shown beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import anyio
import psutil

from benchmarks.common import Scale, Spread, in_fresh_process, is_installed, print_goal, print_table
from memflow import BatchProcessor, HeapAnalyzerSettings, MemflowSettings
from memflow.analysis.tracers import make_tracer

__all__ = ["child", "run_tracing"]

GOAL_TIMES = 1.5
WINDOW_S = 9.0
MOST_S = 40.0
BLOCKS = 100_000
KEPT: list[Any] = []


def compute(item: int) -> None:
    """Compute, and keep three objects."""
    sum(range(20_000))
    for number in range(3_000):
        item ^= number
    KEPT.append({"item": item, "blob": b"x" * 20_000, "list": [item]})


def build(item: int) -> None:
    """Build 2,000 small objects, and keep one buffer."""
    rows = [{"number": number, "name": str(number)} for number in range(item, item + 500)]
    KEPT.append(b"x" * 40 * len(rows))


def copy(item: int) -> None:
    """Copy buffers of 20 kB, and keep one."""
    for _ in range(100):
        bytes(20_000)
    KEPT.append(b"x" * 20_000)


LOADS: dict[str, Callable[[int], None]] = {"computes": compute, "builds small objects": build, "copies buffers": copy}


def child(spec: dict[str, Any]) -> Any:
    """Measure one of the two and return its figures."""
    return _room(spec["tracer"]) if spec["what"] == "room" else anyio.run(_window, spec)


async def _window(spec: dict[str, Any]) -> dict[str, float]:
    load = LOADS[spec["load"]]

    async def work(item: int) -> None:
        load(item)
        await anyio.lowlevel.checkpoint()

    settings = HeapAnalyzerSettings(
        leak_threshold_rate=0.1,
        find_suspects=False,  # its cost is measured by itself
        allocation_sites=spec["tracer"],
        allocation_window_s=spec["window_s"],
    )
    took: dict[str, list[float]] = {"traced": [], "open": [], "else": []}
    async with BatchProcessor(
        MemflowSettings(heap_analyzer=settings), concurrency=10, auto_optimize=False
    ) as processor:
        sites = processor.memory.analyzer._sites
        stops_s = time.monotonic() + spec["most_s"]
        while time.monotonic() < stops_s:
            before, began_s = (sites.is_open, sites.is_tracing), time.perf_counter()
            await processor.process(range(10), work)
            lasted_ms = 1000 * (time.perf_counter() - began_s)
            after = (sites.is_open, sites.is_tracing)
            if any(after) and not took["open"]:  # as long after it as it takes
                stops_s = min(stops_s, time.monotonic() + 2 * spec["window_s"])
            took["open" if before[0] or after[0] else "else"].append(lasted_ms)
            if before[1] and after[1]:
                took["traced"].append(lasted_ms)
    means = {f"{name}_ms": statistics.fmean(values or [0.0]) for name, values in took.items()}
    named = bool(sites.suspects) and f"in {load.__name__}" in sites.suspects[0].what
    return {**means, "worst_ms": max(took["open"], default=0.0), "named": named}


def _room(name: Literal["tracemalloc", "memray"]) -> dict[str, float]:
    """Return what a tracer keeps for each block that lives, and what reading that takes."""
    process, tracer = psutil.Process(), make_tracer(name, frames=4)
    tracer.begin(10**10)
    tracer.stop()  # what it loads only once it begins is no part of it
    kept, before = [], process.memory_info().rss
    kept.extend(bytes(600) for _ in range(BLOCKS))
    plain, before_traced = process.memory_info().rss - before, process.memory_info().rss
    tracer.begin(10**10)
    kept.extend(bytes(600) for _ in range(BLOCKS))
    traced = process.memory_info().rss - before_traced
    began_s = time.perf_counter()
    tracer.read()
    read_s = time.perf_counter() - began_s
    return {"bytes": (traced - plain) / BLOCKS, "read_ms": 1000 * read_s}


def run_tracing(scale: Scale) -> None:
    """Measure both, print tables and goals."""
    tracers = [name for name in ("tracemalloc", "memray") if name == "tracemalloc" or is_installed(name)]
    rounds, share = max(1, scale.rounds // 3), max(scale.share, 0.12)
    rows, times = [], {}
    for load in LOADS:
        for tracer in tracers:
            spec = {"load": load, "tracer": tracer, "window_s": WINDOW_S * share, "most_s": MOST_S * scale.share}
            found = [in_fresh_process(__name__, what="window", **spec) for _ in range(rounds)]
            whole = [each for each in found if each["open_ms"] and each["else_ms"]]
            if whole:
                times[load, tracer] = Spread.of(each["open_ms"] / each["else_ms"] for each in whole)
                within = [each["traced_ms"] / each["else_ms"] for each in whole if each["traced_ms"]]
                traced = f"{Spread.of(within):.2f}" if within else "no batch in a look"
                cells = [f"{Spread.of(each[key] for each in whole):.1f}" for key in ("else_ms", "worst_ms")]
                named = f"{sum(each['named'] for each in whole)} of {len(whole)}"
                rows.append([f"{load}, {tracer}", *cells, traced, f"{times[load, tracer]:.2f}", named])
    print_table(
        f"a batch of 10 items that leak, while allocations are traced, in one window of {WINDOW_S * share:.1f} s",
        ["", "ms else", "worst ms", "times as long traced", "over the window", "line named"],
        rows,
    )
    for (load, tracer), spread in times.items():
        print_goal(f"times as long over the window, {load}, {tracer}", spread.median, GOAL_TIMES)
    figures = {name: [in_fresh_process(__name__, what="room", tracer=name) for _ in range(rounds)] for name in tracers}
    print_table(
        f"what a tracer keeps for each of {BLOCKS} blocks that live, and reading that",
        ["", "bytes a block", "ms"],
        [
            [name, *(f"{Spread.of(each[key] for each in found):.0f}" for key in ("bytes", "read_ms"))]
            for name, found in figures.items()
        ],
    )
