"""The frozen snapshot behind `BatchProcessor.statistics()`.

Covers bringing together counters, memory and issues; the value itself is `memflow.processing.outcome`'s.
"""

from __future__ import annotations

from memflow.processing.bundle import MemoryBundle
from memflow.processing.outcome import ProcessorStatistics
from memflow.processing.totals import Totals

__all__ = ["take_statistics"]


def take_statistics(process_name: str, totals: Totals, bundle: MemoryBundle, *, now_s: float) -> ProcessorStatistics:
    """Return a processor's figures as they are now; reads no memory.

    Args:
        process_name: the processor's name.
        totals: its counters.
        bundle: its memory.
        now_s: seconds of the clock that `totals` was told.
    """
    state, analyzer = bundle.state, bundle.analyzer
    reading, limit = state.reading, state.limit
    elapsed_s = totals.elapsed_s(now_s)
    ended = totals.items_done + totals.items_failed
    stalled, stalled_s = totals.present_wait(now_s)
    return ProcessorStatistics(
        process_name=process_name,
        items_done=totals.items_done,
        items_failed=totals.items_failed,
        items_in_flight=totals.items_in_flight,
        batches_done=totals.batches_done,
        calls_open=totals.calls_open,
        batch_size=totals.batch_size,
        concurrency=totals.concurrency,
        retries=totals.retries,
        items_rerun=totals.items_rerun,
        items_preempted=totals.items_preempted,
        waits=totals.waits,
        waited_s=totals.waited_s,
        longest_wait_s=max(totals.longest_wait_s, stalled_s),
        waits_alone=totals.waits_alone,
        waits_given_up=totals.waits_given_up,
        splits=totals.splits,
        stalled=stalled,
        stalled_s=stalled_s,
        reclaims=bundle.sampler.reclaims,
        level=state.level.name.lower(),
        rss_bytes=reading.rss_bytes if reading is not None else 0,
        in_use_bytes=reading.in_use_bytes if reading is not None else 0,
        limit_bytes=reading.limit_bytes if reading is not None else 0,
        limit_source=limit.source if limit is not None else "",
        peak_bytes=state.peak_in_use_bytes,
        elapsed_s=elapsed_s,
        items_per_s=ended / elapsed_s if elapsed_s > 0 else 0.0,
        size_changes=tuple(totals.size_changes),
        issues_open=len(analyzer.open_issues),
        issues_dropped=analyzer.events_dropped,
    )
