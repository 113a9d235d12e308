"""What detectors need between two looks: since when use is high, and which wait for memory is told about.

Covers `UseWatch`, which turns readings into changes (something was found, something is over), and `StallWatch`, which
picks the one wait for memory that is told about. They tell nobody: that is `memflow.analysis.analyzer`'s. What growth
needs is kept in `memflow.analysis.growth_watch`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from memflow.analysis.detectors import (
    Finding,
    IssueKind,
    Stall,
    StallStep,
    Thresholds,
    UseWindow,
    admission_stalled,
    high_utilization,
    near_limit,
)
from memflow.memory.readings import MemoryReading

__all__ = ["Change", "StallWatch", "UseWatch"]

Change = Finding | IssueKind
"""A finding: it is there. A kind: the open issue of that kind is over."""

USE_INTERVAL_S = 0.05
"""Least seconds between two looks at high use; reaching the limit is looked at at once."""

_STEPS = tuple(StallStep)


class UseWatch:
    """Watches use of the limit."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.high_share = thresholds.high_pct / 100
        self._near_share = thresholds.near_pct / 100
        self.busy = False
        """True while use is high or was found to be: then every reading is to be looked at."""
        self._high_since_s: float | None = None
        self._calm_since_s: dict[IssueKind, float | None] = {}
        self._next_look_s = float("-inf")

    def look(self, reading: MemoryReading, *, drained: bool) -> Iterator[Change]:
        """Judge a reading; an open issue that it is clear of ends after `sustained_s`, or at once when work is over."""
        high = reading.in_use_bytes >= self.high_share * reading.limit_bytes
        if not high:
            self._high_since_s = None
        elif self._high_since_s is None:
            self._high_since_s = reading.time_s
        near_share = self.thresholds.near_pct / 100
        nearer = (
            reading.in_use_bytes >= near_share * reading.limit_bytes and IssueKind.NEAR_LIMIT not in self._calm_since_s
        )
        if nearer or drained or reading.time_s >= self._next_look_s:
            self._next_look_s = reading.time_s + USE_INTERVAL_S
            yield from self._judge(self.window(reading), drained=drained)
        self.busy = high or bool(self._calm_since_s)

    def window(self, reading: MemoryReading) -> UseWindow:
        """Return what the detectors of use look at."""
        return UseWindow(reading.time_s, self._high_since_s, reading.in_use_bytes, reading.limit_bytes)

    def _judge(self, window: UseWindow, *, drained: bool) -> Iterator[Change]:
        for kind, detect in ((IssueKind.NEAR_LIMIT, near_limit), (IssueKind.HIGH_UTILIZATION, high_utilization)):
            is_open = kind in self._calm_since_s
            finding = detect(window, self.thresholds, is_open=is_open)
            if finding is not None:
                self._calm_since_s[kind] = None
                yield finding
            elif is_open and self._has_calmed(kind, window.now_s, drained=drained):
                del self._calm_since_s[kind]
                yield kind

    def _has_calmed(self, kind: IssueKind, now_s: float, *, drained: bool) -> bool:
        since_s = self._calm_since_s[kind]
        if since_s is None:
            since_s = self._calm_since_s[kind] = now_s
        return drained or now_s - since_s >= self.thresholds.sustained_s

    def clock_went_back(self) -> None:
        """Forget every time that was noted."""
        self._high_since_s, self._next_look_s = None, float("-inf")
        self._calm_since_s = dict.fromkeys(self._calm_since_s)


class StallWatch:
    """Follows one wait for memory at a time: the first that lasts too long, until that one is over."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._followed: Hashable = None
        self._furthest = -1

    def look(self, waiter: Hashable, stall: Stall) -> tuple[Finding | None, bool]:
        """Judge a wait: what was found, and whether it has come to a further step than ever told."""
        if self._followed not in (None, waiter):
            return None, False
        finding = admission_stalled(stall, self.thresholds, is_open=self._followed == waiter)
        if finding is None:
            return None, False
        self._followed = waiter
        rank = _STEPS.index(stall.step)
        further, self._furthest = rank > self._furthest, max(rank, self._furthest)
        return finding, further

    def ended(self, waiter: Hashable) -> bool:
        """Note that a wait is over; True when it was the one that was told about."""
        if self._followed is None or self._followed != waiter:
            return False
        self._followed, self._furthest = None, -1
        return True
