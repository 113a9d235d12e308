"""What is said about growth: one sentence with numbers, and what to do, with numbers.

Covers words only; they must not claim more than was found. Growth is a suspected leak, since a cache that still fills,
or the results that `process` collects for its caller, look the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from memflow.analysis.advice_trials import advise_collected, advise_trimmed, describe_trimmed
from memflow.analysis.attribution import LIKELIER, Attribution
from memflow.analysis.detectors import Finding, IssueKind, Thresholds
from memflow.analysis.growth_evidence import COUNTS
from memflow.analysis.others import FORECAST_MINUTES
from memflow.analysis.suspect import SITE, Suspect
from memflow.analysis.trials import TrimOutcome, verdict
from memflow.memory.readings import AllocatorReading
from memflow.units import format_bytes

__all__ = ["Situation", "advise_growth", "advise_retained", "describe_growth", "why_growth_resolved"]

_NAMES = {"descriptors": "open descriptors", "threads": "threads", "tasks": "asyncio tasks"}
_MOST_NAMES = 3
_VERDICTS = {
    IssueKind.SUSPECTED_LEAK: "a suspected leak, unless it is a cache that still fills or results that are kept",
    IssueKind.LEAK: "a leak: it has gone on ten times as long as it took to suspect one",
    IssueKind.CYCLIC_GARBAGE: "cyclic garbage: the collector is off, and collecting by hand found what had gathered",
    IssueKind.RESULTS_PILING_UP: "the results that are collected for the caller",
}


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
    suspects: tuple[Suspect, ...] = ()
    """Who seems to hold what grows."""
    trim: TrimOutcome | None = None
    """What trimming gave back, where it was tried for an issue that is open."""
    whose: Attribution | None = None
    """Whose growth it seems to be, and how sure that is."""
    candidates: tuple[str, ...] = ()
    """Operations of which any may be the cause, where none is named."""


def describe_growth(finding: Finding, situation: Situation) -> str:
    """Say what grows, how fast, who holds it and what that is called."""
    evidence = finding.evidence
    limit = format_bytes(situation.limit_bytes)
    if finding.kind is IssueKind.RETENTION:
        return (
            f"RSS has grown by {evidence['rss_growth_mb_per_min']:.1f} MB/min, "
            f"{format_bytes(int(evidence['gained_bytes']))} so far, while live memory has not: the allocator keeps "
            f"{format_bytes(int(evidence['freed_bytes']))} that were freed"
            + (f"; {describe_trimmed(situation.trim)}" if situation.trim else "")
        )
    if finding.kind is IssueKind.UNMANAGED_GROWTH:
        return (
            f"what others hold under the limit of {limit} has grown by {evidence['growth_mb_per_min']:.1f} MB/min over "
            f"{evidence['seen_s']:.0f} s, to {format_bytes(int(evidence['others_bytes']))}: it is not this process"
        )
    if finding.kind is IssueKind.OOM_FORECAST:
        latest = evidence["latest_minutes"]
        return (
            f"the limit of {limit} is reached in {duration(evidence['minutes_to_limit'])} at "
            f"{evidence['growth_mb_per_min']:.1f} MB/min (between {duration(evidence['earliest_minutes'])} and "
            f"{duration(latest) if isfinite(latest) else 'never'})"
        )
    return _describe_live(finding, situation)


def _describe_live(finding: Finding, situation: Situation) -> str:
    evidence = finding.evidence
    whose = f" of {situation.operation}" if situation.operation else ""
    seen = f"{evidence['seen_s']:.0f} s"
    if "growth_bytes_per_item" in evidence:
        seen += f" and {evidence.get('operation_items', evidence['seen_items']):,.0f} items"
    what = []
    if "blocks_per_min" in evidence or "native_bytes_per_min" in evidence:
        each = ""
        if "growth_bytes_per_item" in evidence:
            each = f" ({format_bytes(round(evidence['growth_bytes_per_item']))} an item{whose})"
        what.append(f"live memory has grown by {evidence['growth_mb_per_min']:.1f} MB/min{each}")
    what.extend(
        f"{_NAMES[name]} have grown by {evidence[f'{name}_per_min']:.1f} a minute"
        for name in COUNTS
        if f"{name}_per_min" in evidence
    )
    first = f"; first suspect: {situation.suspects[0]}" if situation.suspects else ""
    grown = f"{' and '.join(what)}{_where(situation)} over {seen}"
    return f"{grown} and does not slow down: {_VERDICTS[finding.kind]}{first}"


def _where(situation: Situation) -> str:
    """Say in whose work it is where several operations ran, and how sure that is."""
    found = situation.whose
    if found is None or found.is_alone:
        return ""
    if situation.operation is not None:
        return f" in operation {situation.operation} (sure: {found.sureness:.2f})"
    names = _listed(found.candidates)
    if found.sureness < LIKELIER:
        return f" in one of {names} (nobody can tell which)"
    likeliest = "others" if found.operation is None else found.operation
    return f" in one of {names} (likeliest {likeliest}: {found.sureness:.2f})"


def _listed(names: Sequence[str | None]) -> str:
    told = [name for name in names if name is not None][:_MOST_NAMES]
    more = "others" if len(told) < len(names) else ""
    return ", ".join([*told, *([more] if more else [])])


def advise_growth(finding: Finding, situation: Situation) -> Iterator[str]:
    """Say what to do about it."""
    if finding.kind is IssueKind.RETENTION:
        yield from advise_retained(situation)
        if situation.trim is None or verdict(situation.trim) != "hardly":
            yield "memory_manager.pin_mmap_threshold=True has large blocks go back to the kernel once they are freed"
    elif finding.kind is IssueKind.UNMANAGED_GROWTH:
        yield "look at what else runs under the same limit: other processes of the group, or of this machine"
    elif finding.kind is IssueKind.OOM_FORECAST:
        headroom = format_bytes(max(0, int(finding.evidence["headroom_bytes"])))
        yield f"{headroom} are left: save what must be kept, restart, or raise the limit; open issues say what grows"
    else:
        yield from _advise_live(finding, situation)


def _advise_live(finding: Finding, situation: Situation) -> Iterator[str]:
    evidence = finding.evidence
    whose = situation.operation or "the work that ran"
    minutes = evidence["minutes_to_limit"]
    if minutes < 7 * 24 * 60:
        yield f"at this rate the limit of {format_bytes(situation.limit_bytes)} is reached in {duration(minutes)}"
    if finding.kind is IssueKind.CYCLIC_GARBAGE:
        yield from advise_collected(evidence)
    if finding.kind is IssueKind.RESULTS_PILING_UP:
        yield "stream() hands each result on and keeps none"
        return
    if len(situation.candidates) > 1:
        yield (
            f"to tell which of {_listed(situation.candidates)} it is, run them one at a time for a while, or at rates "
            "that vary apart from each other"
        )
    suspects, sites = situation.suspects, [each for each in situation.suspects if each.kind == SITE]
    if len(sites) == len(suspects):
        yield from _advise_unnamed(evidence, whose)
    # The place in the code is what was asked for: it is told behind the holders too.
    yield from (f"look at {each}" for each in dict.fromkeys([*suspects[:3], *sites[:1]]))
    yield from _advise_counts(evidence, whose)
    if not situation.gc_enabled and finding.kind is not IssueKind.CYCLIC_GARBAGE:
        yield "the garbage collector is off, so cycles are never freed: call gc.enable(), or collect between batches"
    if evidence.get("growth_mb_per_min", 0.0) < situation.thresholds.growth_mb_per_min:
        return  # told for what is counted, whatever that weighs
    rate = situation.thresholds.growth_mb_per_min
    yield f"growth below {rate:g} MB/min is not reported; if this is meant, raise leak_threshold_rate={rate:g}"


def _advise_unnamed(evidence: Mapping[str, float], whose: str) -> Iterator[str]:
    if "blocks_per_min" in evidence:
        amount = (
            f"{evidence['blocks_per_item']:.3g} blocks an item"
            if "blocks_per_item" in evidence
            else f"{evidence['blocks_per_min']:,.0f} blocks a minute"
        )
        yield f"look for what {whose} keeps ({amount} stay): lists, dicts and caches without a bound, unfinished tasks"
    elif "native_bytes_per_min" in evidence:
        yield (
            f"Python objects do not grow, the C library's heap does: look at native buffers that {whose} keeps "
            f"({evidence['native_bytes_per_min'] / 1e6:.1f} MB/min): arrays, images, handles of C extensions"
        )


def _advise_counts(evidence: Mapping[str, float], whose: str) -> Iterator[str]:
    if "descriptors_per_min" in evidence:
        yield f"close files and sockets that {whose} opens: use `with`, and await the closing of connections"
    if "tasks_per_min" in evidence:
        yield f"tasks that {whose} starts do not end: await or cancel them, in a task group or with a timeout"
    if "threads_per_min" in evidence:
        yield f"threads that {whose} starts do not end: join them, or use one pool for all items"


def advise_retained(situation: Situation) -> Iterator[str]:
    """Say what the allocator gave back when that was tried, or could, where that is a good part of the limit."""
    if situation.trim is not None:
        yield from advise_trimmed(situation.trim)
        return
    free = situation.allocator.native_free_bytes if situation.allocator else None
    if free is not None and free > 0.05 * situation.limit_bytes:
        yield (
            f"{format_bytes(free)} are freed but still held by the allocator: MemoryManager.reclaim() hands back "
            "what it can, and memory_manager.trim=True does so under pressure"
        )


def why_growth_resolved(kind: IssueKind, situation: Situation) -> str:
    """Say why growth, or what follows from it, is over."""
    if kind is IssueKind.OOM_FORECAST:
        return f"at the present rate the limit is no longer within {FORECAST_MINUTES:g} minutes"
    rate = situation.thresholds.growth_mb_per_min
    if kind in (IssueKind.RETENTION, IssueKind.UNMANAGED_GROWTH):
        tried = situation.trim if kind is IssueKind.RETENTION else None
        return f"it no longer rises by {rate:g} MB/min" + (f"; {describe_trimmed(tried)}" if tried else "")
    if kind is IssueKind.CYCLIC_GARBAGE and situation.gc_enabled:
        return f"the garbage collector is on again, and growth has stopped, or fallen below {rate / 2:g} MB/min"
    return f"growth has stopped, or fallen below {rate / 2:g} MB/min: no leak, or no longer"


def duration(minutes: float) -> str:
    """Return minutes in words that fit their size."""
    if minutes < 2:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
