"""What is said about things that were tried: trimming, a collection, less work at once. With numbers of what came.

Covers words only. When something is tried is decided in `memflow.analysis.trials` and `memflow.analysis.relief`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import floor

from memflow.analysis.relief import less_work
from memflow.analysis.trials import TrimOutcome, verdict
from memflow.units import format_bytes

__all__ = ["advise_collected", "advise_less_work", "advise_trimmed", "describe_trimmed", "tell_less_work"]

SOONEST_PCT = 50
"""Use, in per cent of the limit, below which no earlier trim is advised."""


def describe_trimmed(outcome: TrimOutcome) -> str:
    """Say what trimming gave back."""
    often = "" if outcome.trims == 1 else f" the last of {outcome.trims} times"
    return f"trimming gave back {format_bytes(outcome.given_back_bytes)} in {outcome.took_ms:.0f} ms{often}"


def advise_trimmed(outcome: TrimOutcome) -> Iterator[str]:
    """Say what follows from it: have it done, or do without."""
    back, tried = format_bytes(outcome.given_back_bytes), format_bytes(outcome.tried_bytes)
    what = f"trimming gave back {back} of the {tried} that seemed to lie free, in {outcome.took_ms:.0f} ms"
    came = verdict(outcome)
    if came == "hardly":
        yield f"{what}: it does not help here, since what was freed lies between what is still in use"
    else:
        sooner = (
            f"and gc_threshold_pct={floor(outcome.at_pct)} would have done so here"
            if outcome.at_pct >= SOONEST_PCT
            else f"and use was at {outcome.at_pct:.0f} %, so there is no hurry"
        )
        yield (
            f"{what}: memory_manager.trim=True does so by itself once use reaches gc_threshold_pct, {sooner}; "
            "MemoryManager.reclaim() does so when called"
        )
    if came != "helped":
        yield (
            "what keeps less of it: MALLOC_ARENA_MAX=2 where threads allocate, MALLOC_MMAP_THRESHOLD_=131072 for large "
            "blocks (both in the environment, before the start), or another allocator such as jemalloc"
        )


def advise_collected(evidence: Mapping[str, float]) -> Iterator[str]:
    """Say what collecting by hand has found and given back."""
    freed = ""
    if evidence.get("collected_bytes"):
        freed = f" and freed about {format_bytes(round(evidence['collected_bytes']))}"
    cost = f" in {evidence['collect_took_ms']:.0f} ms" if "collect_took_ms" in evidence else ""
    yield (
        f"collecting by hand found {evidence['collected_objects']:,.0f} objects{freed}{cost}: call gc.enable(), or "
        "gc.collect() between batches"
    )


def tell_less_work(evidence: Mapping[str, float]) -> str:
    """Say what use did once less was in flight, as the rest of a sentence; "" where that was not tried."""
    came = less_work(evidence)
    if came is None:
        return ""
    left_pct = evidence["in_flight_left_pct"]
    fell = evidence["in_use_at_first_bytes"] - evidence["in_use_bytes"]
    if came == "helped":
        return f"use fell by {format_bytes(round(fell))} once the work in flight was cut to {left_pct:.0f} %"
    return f"the work in flight was cut to {left_pct:.0f} %, and use has hardly fallen"


def advise_less_work(evidence: Mapping[str, float], operation: str | None) -> Iterator[str]:
    """Advise less work at once, or something else where that was tried and did not help."""
    came, told = less_work(evidence), tell_less_work(evidence)
    whose = f" of {operation}" if operation else ""
    if came == "helped":
        yield f"{told}: keep it there, with a lower max_concurrency or max_batch_size"
    elif came == "did not help":
        yield (
            f"{told}: fewer items{whose} at once will not help; look for what is kept once items are finished: "
            "results, caches, memory that the allocator holds"
        )
    elif operation:
        yield f"let fewer items of {operation} run at once: lower max_concurrency or max_batch_size"
