"""What counts as a memory issue: functions from a bounded window of plain numbers to a finding. *Pure*.

Covers the values that all detectors share, the detectors of use (`near_limit` and `high_utilization`), and that of
work that waits for memory (`admission_stalled`). Growth has its own module, `memflow.analysis.growth`. A
detector looks once and remembers nothing: how often it is asked, how many findings in a row make an issue, and how long
that issue lives, is decided in `memflow.analysis.analyzer`; what is said about it in `memflow.analysis.advice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = [
    "GROWTH_KINDS",
    "Finding",
    "IssueKind",
    "Severity",
    "Stall",
    "StallStep",
    "Thresholds",
    "UseWindow",
    "admission_stalled",
    "high_utilization",
    "near_limit",
]

_BUSY_FACTOR = 10


class IssueKind(StrEnum):
    """What is wrong."""

    SUSPECTED_LEAK = "suspected_leak"
    """What is live (memory, descriptors, tasks, threads) rises with the items or with time, and does not slow down. A
    cache that still fills looks the same; it is taken back when growth stops."""
    LEAK = "leak"
    """A suspected leak that has gone on ten times as long as it took to suspect it."""
    CYCLIC_GARBAGE = "cyclic_garbage"
    """Live memory rises while the garbage collector is off, and collecting found what had gathered."""
    RESULTS_PILING_UP = "results_piling_up"
    """Live memory rises by the results that a processor collects for its caller."""
    RETENTION = "retention"
    """RSS rises while live memory does not: the allocator keeps what was freed."""
    UNMANAGED_GROWTH = "unmanaged_growth"
    """What others hold under the same limit rises."""
    OOM_FORECAST = "oom_forecast"
    """At the present rate of an open issue, the limit is reached within minutes."""
    HIGH_UTILIZATION = "high_utilization"
    """Use has stayed over `high_utilization_threshold`."""
    NEAR_LIMIT = "near_limit"
    """Use has reached `near_limit_threshold`."""
    EVENT_LOOP_BLOCKED = "event_loop_blocked"
    """The event loop gives no sign of life: some function holds it."""
    ADMISSION_STALLED = "admission_stalled"
    """Work waits for memory, and nothing of ours that ends would make room soon."""


GROWTH_KINDS = frozenset(
    {IssueKind.SUSPECTED_LEAK, IssueKind.LEAK, IssueKind.CYCLIC_GARBAGE, IssueKind.RESULTS_PILING_UP}
)
"""Verdicts on one and the same growth: an issue keeps its id when its verdict becomes another of these."""


class Severity(IntEnum):
    """How soon somebody should look."""

    INFO = 10
    """Worth knowing."""
    WARNING = 20
    """Look today."""
    CRITICAL = 30
    """The process may be killed within minutes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector saw."""

    kind: IssueKind
    """What is wrong."""
    severity: Severity
    """How soon somebody should look."""
    evidence: Mapping[str, float]
    """The numbers it rests on; each name says its unit."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is worth reporting."""

    high_pct: float = 85.0
    """Use, in per cent of the limit, from which it is high."""
    near_pct: float = 95.0
    """Use, in per cent of the limit, from which it is near the limit."""
    hysteresis_pct: float = 5.0
    """Points below its threshold to which use must fall before a finding ends."""
    sustained_s: float = 1.0
    """Seconds for which use must have been high."""
    growth_mb_per_min: float = 5.0
    """Growth, in MB a minute, from which it is reported."""
    min_window_s: float = 3.0
    """Seconds of history below which growth is not judged."""
    stall_s: float = 1.0
    """Seconds without progress from which a wait for memory is reported."""

    def leave_pct(self, threshold_pct: float) -> float:
        """Use, in per cent, below which a finding at this threshold ends; never so low that it could not end."""
        return threshold_pct - min(self.hysteresis_pct, threshold_pct / 2)


@dataclass(frozen=True, slots=True)
class UseWindow:
    """Use of the limit now, and since when it has been high."""

    now_s: float
    """When use was read, in seconds of a monotonic clock."""
    high_since_s: float | None
    """Since when every reading was at or over the threshold of high use; None while below it."""
    in_use_bytes: int
    """What counts against the limit, in bytes."""
    limit_bytes: int
    """The effective limit, in bytes."""

    @property
    def utilization_pct(self) -> float:
        """Use in per cent of the limit; may exceed 100."""
        return 100.0 * self.in_use_bytes / self.limit_bytes if self.limit_bytes > 0 else 100.0

    @property
    def high_for_s(self) -> float:
        """For how long use has been high, in seconds."""
        return 0.0 if self.high_since_s is None else max(0.0, self.now_s - self.high_since_s)


def near_limit(window: UseWindow, thresholds: Thresholds, *, is_open: bool = False) -> Finding | None:
    """Find use at the limit, at once. With `is_open`, until it has fallen clear of the threshold."""
    least_pct = thresholds.leave_pct(thresholds.near_pct) if is_open else thresholds.near_pct
    if window.utilization_pct < least_pct:
        return None
    return _use_finding(IssueKind.NEAR_LIMIT, Severity.CRITICAL, window, thresholds.near_pct)


def high_utilization(window: UseWindow, thresholds: Thresholds, *, is_open: bool = False) -> Finding | None:
    """Find use that has been high for long enough. With `is_open`, until it has fallen clear of the threshold."""
    least_pct = thresholds.leave_pct(thresholds.high_pct) if is_open else thresholds.high_pct
    lasted = is_open or (window.high_since_s is not None and window.high_for_s >= thresholds.sustained_s)
    if not lasted or window.utilization_pct < least_pct:
        return None
    return _use_finding(IssueKind.HIGH_UTILIZATION, Severity.WARNING, window, thresholds.high_pct)


def _use_finding(kind: IssueKind, severity: Severity, window: UseWindow, threshold_pct: float) -> Finding:
    evidence = {
        "utilization_pct": window.utilization_pct,
        "threshold_pct": threshold_pct,
        "in_use_bytes": float(window.in_use_bytes),
        "limit_bytes": float(window.limit_bytes),
        "high_for_s": window.high_for_s,
    }
    return Finding(kind, severity, evidence)


class StallStep(StrEnum):
    """How far the response to a refused admission has come, the mildest first."""

    WAITING = "waiting"
    """Something of ours is in flight, and may make room when it ends."""
    RECLAIMING = "reclaiming"
    """Garbage is collected and the heap trimmed."""
    SPLITTING = "splitting"
    """Nothing of ours is in flight: the batch is made smaller."""
    ALONE = "alone"
    """One item is left, with nothing of ours in flight: only others can make room."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A batch that waits for memory, at one moment."""

    operation: str
    """Whose batch."""
    step: StallStep
    """How far the response has come."""
    waited_s: float
    """For how long it has waited, in seconds."""
    quiet_s: float
    """For how long it has waited without any batch starting or ending, in seconds."""
    requested_bytes: int
    """What it is predicted to need."""
    in_use_bytes: int
    """What counts against the limit."""
    rss_bytes: int
    """Resident pages of this process."""
    limit_bytes: int
    """The effective limit."""
    limit_source: str
    """Where that came from, in words."""
    reserved_bytes: int
    """What is promised to batches in flight."""
    holders: int
    """Batches of ours in flight."""
    reclaimed_bytes: int
    """What collecting and trimming gave back meanwhile."""
    gives_up_in_s: float | None
    """Seconds until it gives up if nothing changes; None while something of ours is in flight."""

    @property
    def others_bytes(self) -> int:
        """What seems to be held by other processes: use less our RSS."""
        return max(0, self.in_use_bytes - self.rss_bytes)


def admission_stalled(stall: Stall, thresholds: Thresholds, *, is_open: bool = False) -> Finding | None:
    """Find work that waits without progress. With `is_open`, for as long as it waits.

    Waiting for our own work is how a full budget looks, so it is told only after ten times as long, as worth knowing.
    """
    least_s = thresholds.stall_s * (_BUSY_FACTOR if stall.holders else 1)
    if not is_open and stall.quiet_s < least_s:
        return None
    evidence = {
        "waited_s": stall.waited_s,
        "quiet_s": stall.quiet_s,
        "requested_bytes": float(stall.requested_bytes),
        "in_use_bytes": float(stall.in_use_bytes),
        "limit_bytes": float(stall.limit_bytes),
        "others_bytes": float(stall.others_bytes),
        "reserved_bytes": float(stall.reserved_bytes),
        "batches_in_flight": float(stall.holders),
        "reclaimed_bytes": float(stall.reclaimed_bytes),
    }
    if stall.gives_up_in_s is not None:
        evidence["gives_up_in_s"] = stall.gives_up_in_s
    return Finding(IssueKind.ADMISSION_STALLED, Severity.INFO if stall.holders else Severity.WARNING, evidence)
