"""What is told on request: statistics, advice that belongs to no issue, and what limits the judgement.

Covers putting figures together. Judging them is the work of `memflow.analysis.detectors` and `memflow.analysis.growth`,
joining it all to a report that of `memflow.analysis.analyzer`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

from memflow.analysis.growth import unexplained_mb_per_min
from memflow.analysis.growth_watch import LOOKS_IN_A_ROW, GrowthWatch
from memflow.analysis.issues import MemoryStatistics
from memflow.analysis.lows import MIN_ROWS
from memflow.memory.readings import AllocatorReading, MemoryReading

__all__ = ["advice_without_issue", "limits_of_judgement", "make_statistics"]

MANY_WAITING = 100_000
"""Objects that wait for a collector that is off, from which it is worth a word."""


def make_statistics(
    reading: MemoryReading, *, limit_source: str, peak_rss_bytes: int, allocator: AllocatorReading
) -> MemoryStatistics:
    """Put a reading, the allocators' figures and the collector's together."""
    collected = gc.get_stats()
    return MemoryStatistics(
        limit_bytes=reading.limit_bytes,
        limit_source=limit_source,
        available_bytes=reading.headroom_bytes,
        in_use_bytes=reading.in_use_bytes,
        utilization_pct=reading.utilization_pct,
        rss_bytes=reading.rss_bytes,
        peak_rss_bytes=max(reading.peak_rss_bytes, peak_rss_bytes),
        allocator_blocks=allocator.blocks,
        native_live_bytes=allocator.native_live_bytes,
        native_free_bytes=allocator.native_free_bytes,
        gc_counts=gc.get_count(),
        gc_collections=sum(each["collections"] for each in collected),
        gc_uncollectable=sum(each["uncollectable"] for each in collected),
        gc_enabled=gc.isenabled(),
    )


def advice_without_issue(watch: GrowthWatch, reading: MemoryReading) -> Iterator[str]:
    """Say what is worth knowing though nothing is wrong: RSS that rises by itself, a collector that is off."""
    rate = unexplained_mb_per_min(watch.window(reading))
    if rate >= watch.thresholds.growth_mb_per_min:
        yield (
            f"RSS rises by {rate:.1f} MB/min while live memory does not: freed memory stays with the allocator, or is "
            "mapped past it; MemoryManager.reclaim() shows how much can be handed back"
        )
    waiting = gc.get_count()[0]
    if not gc.isenabled() and waiting >= MANY_WAITING:
        yield f"the garbage collector is off and {waiting:,} objects wait for it: call gc.enable() or gc.collect()"


def limits_of_judgement(watch: GrowthWatch, reading: MemoryReading, *, faults: int) -> Iterator[str]:
    """Say what the judgement could not rest on."""
    rows, seconds, needed_s = watch.samples, watch.span_s(reading), watch.thresholds.min_window_s
    if rows < MIN_ROWS or seconds < needed_s:
        yield (
            f"growth cannot be judged yet: there are {rows} samples over {seconds:.1f} s, "
            f"and it takes {MIN_ROWS} over {needed_s:g} s (min_window_s)"
        )
    if watch.agreeing:
        yield f"growth was seen in the last {watch.agreeing} looks; {LOOKS_IN_A_ROW} in a row make an issue"
    if watch.allocator is not None and watch.allocator.native_live_bytes is None:
        yield "the C library does not tell what its heap holds, so native growth shows in RSS alone and makes no issue"
    yield from watch.inquiry.notes
    if faults:
        yield f"{faults} analyses failed; the logger memflow.analysis has the first traceback"
