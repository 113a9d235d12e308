"""Whether less work at once brought use down: use and the work in flight when an issue of use began, and now. *Pure*.

Covers the comparison. Finding high use is `memflow.analysis.detectors`', putting it into words that of
`memflow.analysis.advice_trials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from memflow.analysis.detectors import Finding, IssueKind

__all__ = ["Relief", "left_in_flight_pct", "less_work"]

CUT_PCT = 75.0
"""Work left in flight, in per cent of that at first, from which less work counts as tried."""
FALL_SHARE = 0.02
"""Share of the limit by which use must have fallen for that to have helped."""

_KINDS = (IssueKind.HIGH_UTILIZATION, IssueKind.NEAR_LIMIT)


@dataclass(frozen=True, slots=True)
class _First:
    in_use_bytes: float
    loads: Mapping[str, float]


class Relief:
    """Remembers how an issue of use began."""

    def __init__(self) -> None:
        self._first: dict[IssueKind, _First] = {}

    def look(self, finding: Finding, loads: Mapping[str, float]) -> Finding:
        """Return a finding of use with what was different when it was found first; others as they are."""
        if finding.kind not in _KINDS:
            return finding
        in_use = finding.evidence["in_use_bytes"]
        first = self._first.setdefault(finding.kind, _First(in_use, dict(loads)))
        left_pct = left_in_flight_pct(first.loads, loads)
        if left_pct is None:
            return finding
        numbers = {"in_use_at_first_bytes": first.in_use_bytes, "in_flight_left_pct": left_pct}
        return replace(finding, evidence={**finding.evidence, **numbers})

    def forget(self, kind: IssueKind) -> None:
        """Drop it: the issue is over."""
        self._first.pop(kind, None)


def left_in_flight_pct(first: Mapping[str, float], now: Mapping[str, float]) -> float | None:
    """Return what is left of the work in flight, in per cent: of the operation of which most is left.

    None where it cannot be compared: nothing was in flight at first, or another operation is now.
    """
    if not first or any(each not in first for each in now):
        return None
    return max(100.0 * now.get(name, 0.0) / weight for name, weight in first.items() if weight > 0)


def less_work(evidence: Mapping[str, float]) -> Literal["helped", "did not help"] | None:
    """Tell from an issue's evidence whether use fell once less was in flight; None where that was not tried.

    Work that has ended altogether says nothing about how much of it should run at once.
    """
    left_pct = evidence.get("in_flight_left_pct")
    if left_pct is None or not 0 < left_pct <= CUT_PCT:
        return None
    fell = evidence["in_use_at_first_bytes"] - evidence["in_use_bytes"]
    return "helped" if fell >= FALL_SHARE * evidence["limit_bytes"] else "did not help"
