"""What is said about a finding: one sentence with numbers, and what to do, with numbers.

Covers use and waiting; growth has its own words, in `memflow.analysis.advice_growth`. Whether something is wrong is
decided in `memflow.analysis.detectors` and `memflow.analysis.growth`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memflow.analysis.advice_growth import (
    Situation,
    advise_growth,
    advise_retained,
    describe_growth,
    why_growth_resolved,
)
from memflow.analysis.advice_trials import advise_less_work, tell_less_work
from memflow.analysis.detectors import Finding, IssueKind, Stall, StallStep
from memflow.units import format_bytes

__all__ = ["Situation", "advise", "advise_stall", "describe", "describe_stall", "why_resolved"]


def describe(finding: Finding, situation: Situation) -> str:
    """Say what was found, in one sentence."""
    if finding.kind in (IssueKind.HIGH_UTILIZATION, IssueKind.NEAR_LIMIT):
        return _describe_use(finding, situation)
    return describe_growth(finding, situation)


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


def advise(finding: Finding, situation: Situation) -> tuple[str, ...]:
    """Say what to do about it."""
    if finding.kind in (IssueKind.HIGH_UTILIZATION, IssueKind.NEAR_LIMIT):
        return tuple(_advise_use(finding.evidence, situation))
    return tuple(advise_growth(finding, situation))


def _advise_use(evidence: Mapping[str, float], situation: Situation) -> Iterator[str]:
    in_use, limit = evidence["in_use_bytes"], evidence["limit_bytes"]
    leave_pct = situation.thresholds.leave_pct(evidence["threshold_pct"])
    surplus, wanted = in_use - limit * leave_pct / 100, in_use * 100 / leave_pct
    if surplus > 0:
        yield (
            f"free {format_bytes(round(surplus))}, or raise the limit from {format_bytes(int(limit))} "
            f"to {format_bytes(round(wanted))}, to get under {leave_pct:g} %"
        )
    yield from advise_retained(situation)
    others = in_use - situation.rss_bytes
    if others > 0.2 * limit:
        yield (
            f"{format_bytes(round(others))} of it are outside this process's {format_bytes(situation.rss_bytes)}: "
            "look at what else runs under the same limit"
        )
    else:
        yield from advise_less_work(evidence, situation.operation)


def why_resolved(
    kind: IssueKind, utilization_pct: float, situation: Situation, evidence: Mapping[str, float] | None = None
) -> str:
    """Say why an issue is over, and what has helped as far as its last evidence tells."""
    thresholds = situation.thresholds
    if kind not in (IssueKind.HIGH_UTILIZATION, IssueKind.NEAR_LIMIT):
        return why_growth_resolved(kind, situation)
    threshold_pct = thresholds.near_pct if kind is IssueKind.NEAR_LIMIT else thresholds.high_pct
    helped = tell_less_work(evidence or {})
    return f"use fell to {utilization_pct:.1f} % of the limit, below {thresholds.leave_pct(threshold_pct):g} %" + (
        f": {helped}" if helped else ""
    )


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
