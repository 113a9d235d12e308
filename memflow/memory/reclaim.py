"""Giving memory back: collecting garbage, then trimming the C library's heap.

Covers when it is worth it, and doing it. `collect_and_trim` blocks: asynchronous callers run it in a thread
(trimming releases the interpreter lock, a collection does not, so it stops the loop as long as it takes;
that is why its share of time is capped). Trimming locks one of the C library's arenas after the other: a thread that
allocates from one of them waits meanwhile, the loop's own too.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

from memflow.memory.allocator import trim

__all__ = ["ReclaimResult", "ReclaimSchedule", "collect_and_trim", "trim_alone"]


@dataclass(frozen=True, slots=True)
class ReclaimResult:
    """What one collection and trim gave back."""

    freed_bytes: int
    """RSS before less RSS after, in bytes; never negative."""
    collected_objects: int
    """Objects that the garbage collector found unreachable."""
    trimmed: bool
    """True when the C library handed memory back to the kernel."""
    seconds: float
    """How long it took."""


def collect_and_trim(rss: Callable[[], int], *, with_trim: bool = True) -> ReclaimResult:
    """Collect garbage and hand freed memory back to the kernel. Blocks.

    Args:
        rss: returns this process's RSS in bytes.
        with_trim: also trim the C library's heap, where it can (44 ms for each GB given back).
    """
    start_s, before = time.perf_counter(), rss()
    collected = gc.collect()
    trimmed = trim() if with_trim else False
    return ReclaimResult(max(0, before - rss()), collected, trimmed, time.perf_counter() - start_s)


def trim_alone(rss: Callable[[], int]) -> ReclaimResult:
    """Hand freed memory back to the kernel, and collect nothing. Blocks.

    Args:
        rss: returns this process's RSS in bytes.
    """
    start_s, before = time.perf_counter(), rss()
    trimmed = trim()
    return ReclaimResult(max(0, before - rss()), 0, trimmed, time.perf_counter() - start_s)


_VAIN_PCT = 0.5
"""Of the time, for runs that nobody waits for, after one that gave back next to nothing."""


class ReclaimSchedule:
    """Decides when to reclaim: only under pressure, only while it pays, never more than a share of the time. Pure.

    After a run of d seconds the next waits for d * (100 / max_time_pct - 1) seconds at least. A run that gave back
    less than 5 % of what was in use (`least_share`) doubles the wait, up to `max_wait_s`; one that gave more resets it
    (the rule of OpenTelemetry's memory limiter). Where nothing waits for memory, and the last run gave back as little,
    the next takes 0.5 % of the time at most: use that stays near the limit is how a limit is made use of.
    """

    __slots__ = (
        *("_least_share", "_max_time_pct", "_max_wait_s"),
        *("_min_wait_s", "_not_before_s", "_not_due_before_s", "_threshold_pct", "_wait_s"),
    )

    def __init__(
        self,
        *,
        threshold_pct: float = 80,
        max_time_pct: float = 5,
        min_wait_s: float = 0.5,
        max_wait_s: float = 60,
        least_share: float = 0.05,
    ) -> None:
        self._least_share = least_share
        self._threshold_pct = threshold_pct
        self._max_time_pct = max_time_pct
        self._min_wait_s = self._wait_s = min_wait_s
        self._max_wait_s = max_wait_s
        self._not_before_s = self._not_due_before_s = float("-inf")

    def due(self, utilization_pct: float, now_s: float) -> bool:
        """Tell whether to reclaim at this utilisation (per cent of the limit) and time."""
        return utilization_pct >= self._threshold_pct and now_s >= max(self._not_before_s, self._not_due_before_s)

    def allowed(self, now_s: float) -> bool:
        """Tell whether the time budget and the last yield let another run start, whatever the utilisation."""
        return now_s >= self._not_before_s

    def record(self, result: ReclaimResult, *, in_use_bytes: int, now_s: float) -> None:
        """Learn from a run that ended at `now_s`.

        Args:
            result: what it gave back.
            in_use_bytes: what that is compared with.
            now_s: when it ended.
        """
        if result.freed_bytes >= self._least_share * in_use_bytes:
            self._wait_s, self._not_due_before_s = self._min_wait_s, float("-inf")
        else:
            self._wait_s = min(self._wait_s * 2, self._max_wait_s)
            self._not_due_before_s = now_s + min(result.seconds * (100 / _VAIN_PCT - 1), self._max_wait_s)
        self._not_before_s = now_s + max(self._rest_s(result.seconds), self._wait_s)

    def spend(self, seconds: float, now_s: float) -> None:
        """Count time that went to something which says nothing about what the next run gives."""
        self._not_before_s = max(self._not_before_s, now_s + self._rest_s(seconds))

    def _rest_s(self, seconds: float) -> float:
        return seconds * (100 / self._max_time_pct - 1)
