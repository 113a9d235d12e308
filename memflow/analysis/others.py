"""Verdicts on what is no growth of live memory: retention, growth of others, and how long the room lasts. *Pure*.

Covers functions of plain series that look once and remember nothing; several looks in a row must agree
(`memflow.analysis.growth_watch`).
"""

from __future__ import annotations

from math import inf

from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds
from memflow.analysis.growth import unexplained_mb_per_min
from memflow.analysis.growth_evidence import MB
from memflow.analysis.lows import MIN_ROWS, GrowthWindow
from memflow.analysis.trend import Series, floors, mann_kendall_z, theil_sen, theil_sen_interval
from memflow.analysis.trials import resident_free_bytes
from memflow.memory.readings import MemoryReading

__all__ = ["FORECAST_MINUTES", "oom_forecast", "retention", "unmanaged_growth"]

FORECAST_MINUTES = 10.0
"""Minutes to the limit from which a forecast is told."""
LEAST_SHARE = 0.02
"""Share of the limit that must have been gained, at least 64 MB."""
LEAST_BYTES = 64_000_000


def retention(
    window: GrowthWindow, free_bytes: int | None, reading: MemoryReading, thresholds: Thresholds
) -> Finding | None:
    """Find RSS that rises while live memory does not, as far as the C library holds as much that was freed."""
    if free_bytes is None or free_bytes < _least_bytes(reading):
        return None
    rate = unexplained_mb_per_min(window)
    if rate < thresholds.growth_mb_per_min:
        return None
    values = window.rss.values
    gained = values[-1] - min(values)
    if gained < _least_bytes(reading) or free_bytes < gained / 2:
        return None
    evidence = {
        "rss_growth_mb_per_min": rate,
        "gained_bytes": gained,
        "freed_bytes": float(free_bytes),
        "resident_bytes": float(resident_free_bytes(window, free_bytes)),
    }
    return Finding(IssueKind.RETENTION, Severity.INFO, evidence)


def unmanaged_growth(others: Series, reading: MemoryReading, thresholds: Thresholds) -> Finding | None:
    """Find what others hold under the same limit rising along time, without slowing down."""
    if len(others) < MIN_ROWS:
        return None
    lows = floors(others)
    ys, times_s = lows.values, lows.times_s
    half = len(ys) // 2
    gained = min(ys[half:]) - min(ys[:half])
    if gained < _least_bytes(reading) or mann_kendall_z(ys) <= 2.33 or mann_kendall_z(ys[half:]) <= 1.64:
        return None
    slope = theil_sen(times_s, ys)
    rate = slope * 60 / MB
    if rate < thresholds.growth_mb_per_min or theil_sen(times_s[half:], ys[half:]) < 0.8 * slope:
        return None
    earliest, latest = theil_sen_interval(times_s, ys)
    minutes = max(0.0, reading.headroom_bytes) / MB / rate
    evidence = {
        "growth_mb_per_min": rate,
        "least_mb_per_min": earliest * 60 / MB,
        "most_mb_per_min": latest * 60 / MB,
        "others_bytes": ys[-1],
        "minutes_to_limit": minutes,
        "seen_s": times_s[-1] - times_s[0],
    }
    severity = Severity.WARNING if minutes < 24 * 60 else Severity.INFO
    return Finding(IssueKind.UNMANAGED_GROWTH, severity, evidence)


def oom_forecast(growth: Finding | None, others: Finding | None, reading: MemoryReading) -> Finding | None:
    """Tell when the limit is reached, where that is minutes away at the rates that were found; None where it isn't.

    Only growth that passed its own tests counts: use that rises because batches do ends by itself.
    """
    rates = [each.evidence for each in (growth, others) if each is not None]
    rate = sum(each["growth_mb_per_min"] for each in rates)
    if rate <= 0:
        return None
    room_mb = max(0.0, reading.headroom_bytes) / MB
    minutes = room_mb / rate
    if minutes > FORECAST_MINUTES:
        return None
    most = sum(each.get("most_mb_per_min", each["growth_mb_per_min"]) for each in rates)
    least = sum(each.get("least_mb_per_min", each["growth_mb_per_min"]) for each in rates)
    evidence = {
        "minutes_to_limit": minutes,
        "earliest_minutes": room_mb / max(rate, most),
        "latest_minutes": room_mb / min(rate, least) if least > 0 else inf,
        "growth_mb_per_min": rate,
        "headroom_bytes": float(reading.headroom_bytes),
    }
    return Finding(IssueKind.OOM_FORECAST, Severity.CRITICAL, evidence)


def _least_bytes(reading: MemoryReading) -> float:
    return max(LEAST_BYTES, LEAST_SHARE * reading.limit_bytes)
