"""What is said about a finding: one sentence with numbers, and what to do, with numbers.

Covers words only. Whether something is wrong is decided in `memflow.analysis.detectors` and `memflow.analysis.growth`;
words must not claim more than was found: growth is a suspected leak, since a cache that still fills, or the results
that `process` collects for its caller, look the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from memflow.analysis.detectors import Finding, IssueKind, Stall, StallStep, Thresholds
from memflow.memory.readings import AllocatorReading
from memflow.units import format_bytes

__all__ = ["Situation", "advise", "advise_stall", "describe", "describe_stall", "why_resolved"]


@dataclass(frozen=True, slots=True)
class Situation:
    """What else is known when a finding is put into words."""

    operation: str | None
    """Whose work it was; None where it cannot be told."""
    thresholds: Thresholds
    """What is worth reporting."""
    rss_bytes: int
    """Resident pages of this process."""
    limit_bytes: int
    """The effective limit."""
    allocator: AllocatorReading | None
    """What the allocators last said."""
    gc_enabled: bool
    """True when the garbage collector runs by itself."""


def describe(finding: Finding, situation: Situation) -> str:
    """Say what was found, in one sentence."""
    if finding.kind is IssueKind.GROWTH:
        return _describe_growth(finding.evidence, situation)
    return _describe_use(finding, situation)


def _describe_use(finding: Finding, situation: Situation) -> str:
    evidence = finding.evidence
    used, limit = format_bytes(int(evidence["in_use_bytes"])), format_bytes(int(evidence["limit_bytes"]))
    near = finding.kind is IssueKind.NEAR_LIMIT
    setting = "near_limit_threshold" if near else "high_utilization_threshold"
    lasting = "" if near else f" for {evidence['high_for_s']:.1f} s" if evidence["high_for_s"] else ""
    during = f" while {situation.operation} runs" if situation.operation else ""
    return (
        f"{used} of {limit} ({evidence['utilization_pct']:.1f} %) are in use{during}, "
        f"over {setting}={evidence['threshold_pct']:g}{lasting}"
    )


def _describe_growth(evidence: Mapping[str, float], situation: Situation) -> str:
    whose = f" of {situation.operation}" if situation.operation else ""
    seen = f"{evidence['seen_s']:.0f} s"
    each = ""
    if "growth_bytes_per_item" in evidence:
        each = f" ({format_bytes(round(evidence['growth_bytes_per_item']))} an item{whose})"
        seen += f" and {evidence['seen_items']:,.0f} items"
    return (
        f"live memory has grown by {evidence['growth_mb_per_min']:.1f} MB/min{each} over {seen} and does not slow "
        "down: a suspected leak, unless it is a cache that still fills or results that are kept"
    )


def advise(finding: Finding, situation: Situation) -> tuple[str, ...]:
    """Say what to do about it."""
    if finding.kind is IssueKind.GROWTH:
        return tuple(_advise_growth(finding.evidence, situation))
    return tuple(_advise_use(finding.evidence, situation))


def _advise_use(evidence: Mapping[str, float], situation: Situation) -> Iterator[str]:
    in_use, limit = evidence["in_use_bytes"], evidence["limit_bytes"]
    leave_pct = situation.thresholds.leave_pct(evidence["threshold_pct"])
    surplus, wanted = in_use - limit * leave_pct / 100, in_use * 100 / leave_pct
    if surplus > 0:
        yield (
            f"free {format_bytes(round(surplus))}, or raise the limit from {format_bytes(int(limit))} "
            f"to {format_bytes(round(wanted))}, to get under {leave_pct:g} %"
        )
    yield from _advise_retained(situation)
    others = in_use - situation.rss_bytes
    if others > 0.2 * limit:
        yield (
            f"{format_bytes(round(others))} of it are outside this process's {format_bytes(situation.rss_bytes)}: "
            "look at what else runs under the same limit"
        )
    elif situation.operation:
        yield f"let fewer items of {situation.operation} run at once: lower max_concurrency or max_batch_size"


def _advise_retained(situation: Situation) -> Iterator[str]:
    free = situation.allocator.native_free_bytes if situation.allocator else None
    if free is not None and free > 0.05 * situation.limit_bytes:
        yield (
            f"{format_bytes(free)} are freed but still held by the allocator: MemoryManager.reclaim() hands back "
            "what it can, and memory_manager.trim=True does so under pressure"
        )


def _advise_growth(evidence: Mapping[str, float], situation: Situation) -> Iterator[str]:
    whose = situation.operation or "the work that ran"
    minutes = evidence["minutes_to_limit"]
    if minutes < 7 * 24 * 60:
        yield f"at this rate the limit of {format_bytes(situation.limit_bytes)} is reached in {_duration(minutes)}"
    if "blocks_per_min" in evidence:
        amount = (
            f"{evidence['blocks_per_item']:.3g} blocks an item"
            if "blocks_per_item" in evidence
            else f"{evidence['blocks_per_min']:,.0f} blocks a minute"
        )
        yield f"look for what {whose} keeps ({amount} stay): lists, dicts and caches without a bound, unfinished tasks"
    else:
        yield (
            f"Python objects do not grow, the C library's heap does: look at native buffers that {whose} keeps "
            f"({evidence['native_bytes_per_min'] / 1e6:.1f} MB/min): arrays, images, handles of C extensions"
        )
    yield "results that process() collects grow with the items too: stream() hands each on and keeps none"
    if not situation.gc_enabled:
        yield "the garbage collector is off, so cycles are never freed: call gc.enable(), or collect between batches"
    rate = situation.thresholds.growth_mb_per_min
    yield f"growth below {rate:g} MB/min is not reported; if this is meant, raise leak_threshold_rate={rate:g}"


def _duration(minutes: float) -> str:
    if minutes < 2:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def why_resolved(kind: IssueKind, utilization_pct: float, situation: Situation) -> str:
    """Say why an issue is over."""
    thresholds = situation.thresholds
    if kind is IssueKind.GROWTH:
        return f"growth has stopped, or fallen below {thresholds.growth_mb_per_min / 2:g} MB/min: no leak, or no longer"
    threshold_pct = thresholds.near_pct if kind is IssueKind.NEAR_LIMIT else thresholds.high_pct
    return f"use fell to {utilization_pct:.1f} % of the limit, below {thresholds.leave_pct(threshold_pct):g} %"


_NEXT = {
    StallStep.WAITING: "it goes on when what is in flight, or ahead of it, ends and leaves room",
    StallStep.RECLAIMING: "garbage is being collected and the heap trimmed",
    StallStep.SPLITTING: "the batch is made smaller",
    StallStep.ALONE: "it goes on by itself once others give memory back",
}


def describe_stall(stall: Stall) -> str:
    """Say what waits for what, who holds it as far as is known, and what comes next."""
    ours = (
        f"{stall.holders} of our batches are in flight with {format_bytes(stall.reserved_bytes)}"
        if stall.holders
        else "nothing of ours is in flight"
    )
    back = f", collecting gave back {format_bytes(stall.reclaimed_bytes)}" if stall.reclaimed_bytes else ""
    end = f", and gives up in {stall.gives_up_in_s:.0f} s" if stall.gives_up_in_s is not None else ""
    return (
        f"{stall.operation} has waited {stall.waited_s:.1f} s for {format_bytes(stall.requested_bytes)}: "
        f"{format_bytes(stall.in_use_bytes)} of {format_bytes(stall.limit_bytes)} ({stall.limit_source}) are in use, "
        f"{format_bytes(stall.others_bytes)} of it outside this process, and {ours}{back}; "
        f"step {stall.step.value}: {_NEXT[stall.step]}{end}"
    )


def advise_stall(stall: Stall) -> tuple[str, ...]:
    """Say what would let the work go on."""
    return tuple(_advise_stall(stall))


def _advise_stall(stall: Stall) -> Iterator[str]:
    if stall.requested_bytes > stall.limit_bytes:
        yield (
            f"one item needs more than the whole limit: raise the limit above {format_bytes(stall.requested_bytes)}, "
            "or make that item smaller"
        )
        return
    missing = stall.in_use_bytes + stall.requested_bytes - stall.limit_bytes
    most = "others" if stall.others_bytes > stall.rss_bytes else "this process"
    if missing > 0:
        yield f"free {format_bytes(missing)} or raise the limit by as much (most of what is in use is held by {most})"
    if stall.others_bytes > 0.2 * stall.limit_bytes:
        yield "look at what else runs under the same limit"
    if stall.holders:
        yield "set item_timeout_s if items may hang: they hold their memory until they end"
    else:
        yield "make single items smaller, or raise admission_timeout_s to wait longer"
