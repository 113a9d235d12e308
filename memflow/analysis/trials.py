"""What was tried against an issue, and what came of it. *Pure*.

Covers when trimming is worth a try, and the numbers that a try adds to an issue. Trying is
`memflow.analysis.trimming`'s, putting it into words that of `memflow.analysis.advice_trials`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from memflow.analysis.detectors import Finding
from memflow.analysis.lows import GrowthWindow

__all__ = ["TrimOutcome", "resident_free_bytes", "verdict", "with_outcome", "worth_trimming"]

LEAST_BYTES = 64_000_000
"""Bytes that must lie free and resident for trimming to be worth a try: it locks the heap for 50 ms a GB and more."""
LEAST_SHARE = 0.05
"""The same as a share of the limit; the larger of the two counts."""
HELPED, HARDLY = 0.5, 0.25
"""Share of it that must come back for trimming to have helped, and below which it did not."""


@dataclass(frozen=True, slots=True)
class TrimOutcome:
    """What one trim gave back."""

    tried_bytes: int
    """What seemed to lie free and resident before it."""
    given_back_bytes: int
    """RSS before less RSS after."""
    took_ms: float
    """How long it took, in milliseconds."""
    at_pct: float
    """Use before it, in per cent of the limit."""
    trims: int = 1
    """How often it was tried since the issue began, this one included."""


def resident_free_bytes(window: GrowthWindow, free_bytes: int) -> int:
    """Return what the heap keeps and what of that seems to be resident, in bytes: at most what a trim could give back.

    The C library counts pages that it has given back as free for ever after. What is resident and not live is the
    program's own, which was there at the least of it, and what the heap keeps.
    """
    live, rss = window.live.get("native_bytes"), window.rss
    if live is None or not len(rss) or len(live) != len(rss):
        return 0
    others = [resident - held for resident, held in zip(rss.values, live.values, strict=True)]
    return max(0, min(free_bytes, round(others[-1] - min(others))))


def worth_trimming(resident_free: float, limit_bytes: int) -> bool:
    """Tell whether enough seems to lie free and resident to lock the heap for it."""
    return resident_free >= max(LEAST_BYTES, LEAST_SHARE * limit_bytes)


def verdict(outcome: TrimOutcome) -> Literal["helped", "partly", "hardly"]:
    """Tell whether what came back was a good part of what seemed to be there."""
    if outcome.given_back_bytes >= HELPED * outcome.tried_bytes:
        return "helped"
    return "partly" if outcome.given_back_bytes >= HARDLY * outcome.tried_bytes else "hardly"


def with_outcome(finding: Finding, outcome: TrimOutcome | None) -> Finding:
    """Return a finding with the numbers of the last try among its evidence."""
    if outcome is None:
        return finding
    numbers = {
        "trims": float(outcome.trims),
        "trim_tried_bytes": float(outcome.tried_bytes),
        "trim_gave_back_bytes": float(outcome.given_back_bytes),
        "trim_took_ms": outcome.took_ms,
        "trim_at_pct": outcome.at_pct,
    }
    return replace(finding, evidence={**finding.evidence, **numbers})
