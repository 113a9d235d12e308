"""Frozen values that tell what memory was at one moment.

Covers readings, limits and allocator figures as plain numbers. Taking them is the work of `probe` and
`limit`; judging them that of `pressure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["AllocatorReading", "LimitCandidate", "MemoryLimit", "MemoryReading", "MemoryWindow"]


@dataclass(frozen=True, slots=True)
class LimitCandidate:
    """One place that may bound this process's memory."""

    kind: str
    """"setting", "cgroup", "rlimit" or "host"."""
    source: str
    """Where it was read, in words, such as "cgroup v2 memory.max of /app"."""
    limit_bytes: int | None
    """The bound in bytes; None where this place sets none. 0 is a bound."""
    in_use_bytes: int | None = None
    """What counts against this bound, in bytes; None where nothing was read."""
    note: str = ""
    """Anything a reader should know, such as why the place was passed over."""

    @property
    def headroom_bytes(self) -> int | None:
        """Limit less use in bytes (it may be negative), or None without a bound."""
        if self.limit_bytes is None:
            return None
        return self.limit_bytes - (self.in_use_bytes or 0)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The effective limit: the candidate with the least headroom."""

    limit_bytes: int
    """The bound in bytes."""
    source: str
    """Where it came from, in words."""
    kind: str
    """The deciding candidate's kind: "setting", "cgroup", "rlimit" or "host"."""
    candidates: tuple[LimitCandidate, ...] = field(default=(), compare=False, repr=False)
    """Every place that was looked at, the deciding one among them."""


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Memory at one moment, and its peak since the reading before."""

    time_s: float
    """When it was taken, in seconds of a monotonic clock."""
    rss_bytes: int
    """Resident pages of this process, in bytes."""
    peak_rss_bytes: int
    """The largest RSS since the previous reading, in bytes; the larger of both ends where peaks are not exact."""
    in_use_bytes: int
    """What counts against the limit (the working set of the group, for a cgroup), in bytes."""
    limit_bytes: int
    """The effective limit in bytes."""

    @property
    def headroom_bytes(self) -> int:
        """Limit less use, in bytes; negative when the limit was lowered below what is in use."""
        return self.limit_bytes - self.in_use_bytes

    @property
    def utilization_pct(self) -> float:
        """Use in per cent of the limit; may exceed 100."""
        return 100.0 * self.in_use_bytes / self.limit_bytes if self.limit_bytes > 0 else 100.0


@dataclass(frozen=True, slots=True)
class AllocatorReading:
    """What the allocators themselves say."""

    blocks: int
    """Blocks that CPython's allocator holds in use (`sys.getallocatedblocks()`)."""
    native_live_bytes: int | None
    """Bytes in use in the C library's heap, or None where it cannot tell."""
    native_free_bytes: int | None
    """Bytes freed by the program and still held by the C library, or None where it cannot tell."""


@dataclass(frozen=True, slots=True)
class MemoryWindow:
    """Memory between two readings, beside what was in flight meanwhile."""

    start_rss_bytes: int
    """RSS when the window opened, in bytes."""
    reading: MemoryReading
    """The reading that closes the window; its peak is the window's peak."""
    loads: Mapping[str, float]
    """Operation to the largest weight in flight at one moment of the window (1 an item, or its size hint in bytes)."""
    items_done: Mapping[str, int]
    """Operation to items finished since the state was made."""
    drained: bool
    """True when nothing was in flight as the window closed."""
    kept: tuple[float, float] = (0.0, 0.0)
    """Blocks of CPython's allocator, and bytes beside them, that results take which running calls collect."""
