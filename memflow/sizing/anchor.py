"""What the program itself holds between calls, told apart from what the allocator merely keeps.

Covers moving the cost model's anchor when nothing is in flight, and the bytes that were freed and can be used again.
RSS can't tell either (re-anchoring on idle RSS makes the estimate 20 to 80 % too low), so the allocators are asked:
`memflow.memory.allocator`, through the state.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from memflow.memory.readings import AllocatorReading, MemoryReading
from memflow.sizing.cost import CostModel

__all__ = ["HeapBaseline"]

_BLOCK_BYTES = 64
_MOST_BLOCK_BYTES = 512
_LEAST_INTERVAL_S = 0.0005
_COST_SHARE = 0.02
_REUSED_SHARE = 0.9


class HeapBaseline:
    """Compares what the heaps hold now with what they held when the anchor was set.

    Args:
        ask: Asks the allocators.
        clock: Processor seconds of this thread: one that had to wait for the processor has cost nothing.
    """

    __slots__ = (
        "_anchor_bytes",
        "_ask",
        "_asked_s",
        "_clock",
        "_cost_s",
        "_first",
        "_interval_s",
        "_said",
    )

    def __init__(self, ask: Callable[[], AllocatorReading], *, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._cost_s = 0.0
        self._interval_s = _LEAST_INTERVAL_S
        self._ask = ask
        self._anchor_bytes: float | None = None
        self._first: AllocatorReading | None = None
        self._said: AllocatorReading | None = None
        self._asked_s = float("-inf")

    def move(self, model: CostModel, reading: MemoryReading | None) -> None:
        """Move the anchor by what the program came to hold since it was set. Call it when nothing is in flight.

        A block of Python's counts 64 bytes, which is little: too low an anchor makes predictions too large, which
        costs some speed; too high an anchor costs the process.
        """
        allocator = self._ask()
        live = _live_bytes(allocator)
        if live is None:
            return
        if self._first is None:
            self._first = allocator
            return
        if model.anchor_bytes is None or reading is None:
            return
        if self._anchor_bytes is None or model.anchor_bytes < self._anchor_bytes:
            self._anchor_bytes = model.anchor_bytes
        gained = max(0, live - (_live_bytes(self._first) or 0))
        model.move_anchor(min(float(reading.rss_bytes), self._anchor_bytes + gained))

    def held_bytes(self, model: CostModel, reading: MemoryReading | None) -> float | None:
        """Return the most that can be live above the anchor, in flight or not, in bytes; None where nobody can tell.

        A block of Python's counts 512 bytes here, the most that one takes.
        """
        anchor = model.anchor_bytes
        if reading is None or self._first is None or anchor is None:
            return None
        if self._anchor_bytes is None or anchor < self._anchor_bytes:
            self._anchor_bytes = anchor
        live, first = (_live_bytes(each, _MOST_BLOCK_BYTES) for each in (self._latest(reading), self._first))
        if live is None or first is None:
            return None
        return max(0.0, live - first - (anchor - self._anchor_bytes))

    def reusable_bytes(self, model: CostModel, reading: MemoryReading) -> int:
        """Return what is resident, was freed, and can be handed out again.

        Asks at most every 0.5 ms, and less often where asking takes long (a heap of millions of objects): it may cost
        2 % of the time. Much older than that, and work would wait for room that has long been there.

        The C library's count of free bytes includes pages that it has handed back already; they are not resident, so
        what is resident above the live bytes bounds it.
        """
        allocator, first, anchor = self._latest(reading), self._first, model.anchor_bytes
        live, free = _live_bytes(allocator), allocator.native_free_bytes
        if live is None or free is None or anchor is None or first is None:
            return 0
        idle = reading.rss_bytes - anchor - max(0, live - (_live_bytes(first) or 0))
        return int(_REUSED_SHARE * max(0.0, min(free, idle)))

    def _latest(self, reading: MemoryReading) -> AllocatorReading:
        """Return what the allocators say, or have said a moment ago."""
        if self._said is None or reading.time_s - self._asked_s >= self._interval_s:
            self._asked_s = reading.time_s
            began_s = self._clock()
            self._said = self._ask()
            # Of two costs in a row the lesser, so that one that was held up blinds nobody.
            cost_s, self._cost_s = min(self._clock() - began_s, self._cost_s), self._clock() - began_s
            self._interval_s = max(_LEAST_INTERVAL_S, cost_s / _COST_SHARE)
        return self._said


def _live_bytes(allocator: AllocatorReading, block_bytes: int = _BLOCK_BYTES) -> int | None:
    if allocator.native_live_bytes is None:
        return None
    return allocator.native_live_bytes + block_bytes * allocator.blocks
