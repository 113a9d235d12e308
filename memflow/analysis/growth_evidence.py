"""What growth that was found means in numbers: how fast, over what, for how long the room lasts. *Pure*.

Covers turning lows that rise into a finding. Whether they rise is decided in `memflow.analysis.growth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.lows import GrowthWindow, Lows, newest
from memflow.analysis.trend import mann_kendall_z, theil_sen, theil_sen_interval

__all__ = ["BYTES_PER_BLOCK", "COUNTS", "MB", "growth_finding", "mb_per_min", "steady_slope"]

BYTES_PER_BLOCK, LEAST_BYTES_PER_BLOCK = 64, 16
"""What a block of CPython's allocator is taken to hold where RSS does not show it, and the least it can; in bytes."""
NO_MB_PER_MIN = 1e-9
"""Less is no rise: a byte in 16 hours."""
COUNTS = ("descriptors", "threads", "tasks")
"""Signals whose rise is reported whatever it weighs."""
MB = 1_000_000
"""Bytes of the MB in `leak_threshold_rate`."""
CRITICAL_MINUTES, WARNING_MINUTES = 10.0, 24 * 60.0
"""Minutes to the limit, at the present rate, at which growth becomes that severe."""


def growth_finding(
    window: GrowthWindow, rising: Mapping[str, Lows], rss: Lows | None, least_mb_per_min: float
) -> Finding | None:
    """Turn signals that rise into evidence, or None where the rate is not worth reporting."""
    if not rising:
        return None
    per_s = {name: theil_sen(each.series.times_s, each.ys) for name, each in rising.items()}
    native, blocks, resident = per_s.get("native_bytes", 0.0), per_s.get("blocks", 0.0), steady_slope(rss)
    estimate = native + BYTES_PER_BLOCK * blocks
    # Blocks are counted, not weighed: RSS weighs them, unless what leaks fills up memory that was freed before. The C
    # library's heap is weighed already: what RSS gains beyond it is not live.
    certain = max(resident if blocks > 0 else 0.0, native + LEAST_BYTES_PER_BLOCK * blocks)
    rate = mb_per_min(certain if resident > 0 else estimate)
    rate = rate if rate >= NO_MB_PER_MIN else 0.0
    counted = any(name in per_s for name in COUNTS)
    if not counted and (rate <= 0 or rate < least_mb_per_min):
        return None
    minutes_left = max(0.0, window.headroom_bytes) / MB / rate if rate > 0 else inf
    evidence = {
        "growth_mb_per_min": rate,
        "live_growth_mb_per_min": mb_per_min(estimate),
        "rss_growth_mb_per_min": mb_per_min(resident),
        "minutes_to_limit": minutes_left,
        "mann_kendall_z": max(mann_kendall_z(each.ys) for each in rising.values()),
    }
    evidence |= {f"{name}_per_min": 60 * slope for name, slope in per_s.items()}
    evidence |= _bounds(rising, rate)
    severity = max(_growth_severity(minutes_left), Severity.WARNING if counted else Severity.INFO)
    return Finding(IssueKind.SUSPECTED_LEAK, severity, evidence | _extent(rising, rate))


def _bounds(rising: Mapping[str, Lows], rate: float) -> dict[str, float]:
    """Between what the rate lies with 95 %, as sure as the slope of the signal that tells best."""
    best = max(rising.values(), key=lambda each: mann_kendall_z(each.ys))
    slope = theil_sen(best.series.times_s, best.ys)
    if slope <= 0:
        return {}
    low, high = theil_sen_interval(best.series.times_s, best.ys)
    return {"least_mb_per_min": max(0.0, rate * low / slope), "most_mb_per_min": rate * high / slope}


def _extent(rising: Mapping[str, Lows], mb_per_min: float) -> dict[str, float]:
    """Over how much time and how many items the growth was seen, and how much of it falls to one item."""
    longest = max(rising.values(), key=lambda each: len(each.series))
    times_s, items = longest.series.times_s, longest.series.items[-1] - longest.series.items[0]
    seen_s = times_s[-1] - times_s[0]
    gained_bytes = mb_per_min * MB / 60 * seen_s
    found = {"seen_s": seen_s, "seen_items": items, "seen_floors": float(len(times_s)), "gained_bytes": gained_bytes}
    if not longest.by_items or items <= 0:
        return found
    per_item = {f"{name}_per_item": theil_sen(each.xs, each.ys) for name, each in rising.items()}
    return found | per_item | {"growth_bytes_per_item": gained_bytes / items}


def mb_per_min(bytes_per_s: float) -> float:
    """Turn bytes a second into MB a minute."""
    return bytes_per_s * 60 / MB


def steady_slope(rss: Lows | None) -> float:
    """Slope of RSS in bytes a second where RSS bears the rise out, else 0.0 (freed memory may be filling up again)."""
    if rss is None or mann_kendall_z(rss.ys) <= 1.64:
        return 0.0
    times_s, last = rss.series.times_s, newest(rss)
    slope = theil_sen(times_s, rss.ys)
    return slope if theil_sen(last.series.times_s, last.ys) >= 0.5 * slope else 0.0


def _growth_severity(minutes_left: float) -> Severity:
    if minutes_left <= CRITICAL_MINUTES:
        return Severity.CRITICAL
    return Severity.WARNING if minutes_left <= WARNING_MINUTES else Severity.INFO
