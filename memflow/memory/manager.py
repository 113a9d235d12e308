"""`MemoryManager`: memory usage, reclaiming, trend, and a batch size for items at hand.

Covers the part of the Node module by that name. Learning costs is `BatchOptimizer`'s, finding leaks
`HeapAnalyzer`'s; `memflow.create_memory_manager` bundles all three around one state.
"""

from __future__ import annotations

import gc
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from memflow.memory.probe import MemoryProbe
from memflow.memory.readings import MemoryReading
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings
from memflow.units import format_bytes

__all__ = ["MemoryManager", "MemoryTrend", "MemoryUsage"]


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Memory now, for people and for logs."""

    rss_bytes: int
    """Resident pages of this process, in bytes."""
    in_use_bytes: int
    """What counts against the limit, in bytes."""
    limit_bytes: int
    """The effective limit, in bytes."""
    limit_source: str
    """Where the limit came from, in words."""
    headroom_bytes: int
    """Limit less use, in bytes; negative when over."""
    utilization_pct: float
    """Use in per cent of the limit."""
    level: str
    """"normal", "hold", "shrink" or "stop"."""
    gc_objects: tuple[int, int, int]
    """Objects in the three generations of the collector since their last collections."""

    def __str__(self) -> str:
        return (
            f"{format_bytes(self.in_use_bytes)} of {format_bytes(self.limit_bytes)} in use "
            f"({self.utilization_pct:.1f} %, {self.level}; limit: {self.limit_source})"
        )


@dataclass(frozen=True, slots=True)
class MemoryTrend:
    """Where use is heading, over the history that is kept."""

    direction: Literal["rising", "steady", "falling", "unknown"]
    """"unknown" with fewer than three readings or no time between them; never a guess."""
    bytes_per_s: float
    """Slope of use over time, in bytes a second; 0 when unknown, never NaN."""
    span_s: float
    """Seconds that the history spans."""
    readings: int
    """Readings that it rests on."""


class MemoryManager:
    """Reads memory, gives it back, and sizes batches for items at hand.

    Args:
        settings: see `MemoryManagerSettings`.
        state: the shared state to write; a new one by default.
        probe: how to read; what fits this machine by default.
        sampler: used in place of one made from the other arguments, so that several parts share it.

    Example:
        >>> manager = MemoryManager()
        >>> manager.current_usage().utilization_pct <= 100
        True
    """

    def __init__(
        self,
        settings: MemoryManagerSettings | None = None,
        *,
        state: MemoryState | None = None,
        probe: MemoryProbe | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.sampler = sampler if sampler is not None else Sampler(settings, state, probe=probe)

    @property
    def settings(self) -> MemoryManagerSettings:
        """The settings in force."""
        return self.sampler.settings

    @property
    def state(self) -> MemoryState:
        """The state that this manager's readings go to."""
        return self.sampler.state

    def current_usage(self) -> MemoryUsage:
        """Read memory now (about 10 µs)."""
        reading = self.sampler.sample()
        limit = self.state.limit
        return MemoryUsage(
            rss_bytes=reading.rss_bytes,
            in_use_bytes=reading.in_use_bytes,
            limit_bytes=reading.limit_bytes,
            limit_source=limit.source if limit is not None else "unknown",
            headroom_bytes=reading.headroom_bytes,
            utilization_pct=reading.utilization_pct,
            level=self.state.level.name.lower(),
            gc_objects=gc.get_count(),
        )

    def monitor(self, *, force_gc: bool = False) -> MemoryUsage:
        """Read memory, and collect and trim first when forced, or when `auto_gc` is on and use is over
        `gc_threshold_pct`.

        Everything that shares this state (an analyzer, an optimizer) sees the readings. Blocks while it collects:
        on an event loop, call it through `anyio.to_thread.run_sync`.
        """
        usage = self.current_usage()
        over = self.settings.auto_gc and usage.utilization_pct >= self.settings.gc_threshold_pct
        if force_gc or over:
            self.sampler.reclaim()
            usage = self.current_usage()
        return usage

    def reclaim(self) -> ReclaimResult:
        """Collect garbage and hand freed memory back to the kernel. Blocks."""
        return self.sampler.reclaim()

    def trend(self) -> MemoryTrend:
        """Tell where use is heading, by a least-squares line over the history."""
        readings = self.state.history.readings()
        span_s = readings[-1].time_s - readings[0].time_s if readings else 0.0
        if len(readings) < 3 or span_s <= 0:
            return MemoryTrend("unknown", 0.0, max(0.0, span_s), len(readings))
        times, uses = [r.time_s for r in readings], [r.in_use_bytes for r in readings]
        slope = statistics.linear_regression(times, uses).slope
        return MemoryTrend(_direction(slope * span_s, readings[-1]), slope, span_s, len(readings))

    def calculate_optimal_batch_size(
        self, items: Sequence[Any] | int, *, bytes_per_item: int | None = None, target_utilization_pct: float = 70
    ) -> int:
        """Size a batch of these items from live memory.

        Nothing learnt is used here (`BatchOptimizer` does that): without `bytes_per_item` an item is taken for
        three times its own deep size, averaged over up to 32 of them.

        Args:
            items: the items, or how many there are.
            bytes_per_item: what one costs in flight, in bytes, if known. Needed where `items` is a number.
            target_utilization_pct: share of the limit to fill, in per cent.

        Returns:
            A size from 1 to the number of items (0 for none).
        """
        count = items if isinstance(items, int) else len(items)
        if count <= 0:
            return 0
        if bytes_per_item is None:
            bytes_per_item = 0 if isinstance(items, int) else _mean_size(items) * 3
        reading = self.sampler.sample()
        budget = reading.limit_bytes * target_utilization_pct / 100 - reading.in_use_bytes
        fits = count if bytes_per_item <= 0 else int(budget // bytes_per_item)
        return max(1, min(count, fits))


def _direction(change_bytes: float, last: MemoryReading) -> Literal["rising", "steady", "falling"]:
    noise = max(1024 * 1024, 0.02 * last.in_use_bytes)
    if abs(change_bytes) < noise:
        return "steady"
    return "rising" if change_bytes > 0 else "falling"


def _mean_size(items: Sequence[Any]) -> int:
    step = max(1, len(items) // 32)
    sample = list(islice(items, 0, None, step))[:32]
    return sum(_deep_size(each) for each in sample) // len(sample)


def _deep_size(value: Any, *, budget: int = 1000, sizeof: Callable[[Any], int] = sys.getsizeof) -> int:
    """Bytes of a value and what it contains, built-in containers only, at most `budget` objects."""
    total, pending, seen = 0, [value], set[int]()
    while pending and len(seen) < budget:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += sizeof(each)
        if isinstance(each, Mapping):
            pending.extend(each.keys())
            pending.extend(each.values())
        elif isinstance(each, list | tuple | Set):
            pending.extend(each)
    return total
