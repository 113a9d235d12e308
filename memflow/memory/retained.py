"""What is done about memory that was freed and that the C library keeps: pinning, and giving back in time.

Covers acting under a limit that kills. Whether much is kept for nothing is judged in `memflow.memory.retention`; the
means are `memflow.memory.allocator`'s. Collecting garbage, which goes with an ordinary trim, is `reclaim`'s.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from memflow.memory.allocator import (
    MMAP_THRESHOLD,
    mmap_threshold_is_set,
    pin_mmap_threshold,
    share_arena,
    trim,
    unpin_mmap_threshold,
)
from memflow.memory.pinning import Pinning
from memflow.memory.readings import MemoryReading
from memflow.memory.retention import Retention
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings

__all__ = ["MAPPED_SHARE", "NEAR_PCT", "Retained", "limit_kills"]

_log = logging.getLogger("memflow.memory")

NEAR_PCT = 50.0
"""Use, in per cent of the limit, from which what is kept may matter."""

MAPPED_SHARE = 1 / 8
"""Part of the limit from which a block is never one of the heap's, but comes from the kernel and goes back there."""

_KILLING = ("cgroup", "setting")
_LARGE_SHARE = 0.05
_LOOK_INTERVAL_S = 0.1
_RESCUE_INTERVAL_S = 0.01
_RESCUE_REST = 3


def limit_kills(state: MemoryState) -> bool:
    """True where going beyond the limit means to be killed, or is meant to stand for that."""
    return state.limit is not None and state.limit.kind in _KILLING


class Retained:
    """Watches what the heap keeps, for one sampler.

    Args:
        settings: what may be done.
        state: where readings and the limit are.
        clock: seconds of a monotonic clock.
        may_pin: the readings are this process's own, so that its allocator is the one to set.
        system_s: processor seconds of this process in the kernel.
    """

    def __init__(
        self,
        settings: MemoryManagerSettings,
        state: MemoryState,
        clock: Callable[[], float],
        *,
        may_pin: bool,
        system_s: Callable[[], float] = lambda: os.times().system,
    ) -> None:
        self._settings = settings
        self._state = state
        self._clock = clock
        self._may_pin = may_pin and settings.pin_mmap_threshold
        self._may_share = may_pin and settings.one_arena
        self._system_s = system_s
        self._pin_soon = self._for_good = False
        self._pinning = Pinning()
        self._retention = Retention()
        self._next_look_s = self._next_rescue_s = float("-inf")
        self._own_bytes = sys.maxsize
        self._left_bytes = 0

    def watch(self, reading: MemoryReading) -> None:
        """Look at what is kept; pin glibc's mmap threshold when memory is short and it is a good part.

        Let it go again when that has cost too much.
        """
        if self._pin_soon and limit_kills(self._state):
            self._pin(urgent=True)
        if self._may_pin and self._pinning.is_pinned and self._pinning.let_go(self._clock(), self._system_s()):
            unpin_mmap_threshold(int(MAPPED_SHARE * reading.limit_bytes))
            self._retention.forget()
            if self._settings.debug:
                _log.debug("mmap threshold let go")
        due = reading.time_s >= self._next_look_s and reading.utilization_pct >= NEAR_PCT
        if not due or not limit_kills(self._state):
            return
        self._next_look_s = reading.time_s + _LOOK_INTERVAL_S
        free = self._state.allocator().native_free_bytes
        if free is None:
            return
        self._retention.add(free, reading.time_s)
        if self._retention.is_large(reading.limit_bytes, reading.time_s):
            self._pin()

    def expect(self, *, threads: bool = False) -> None:
        """Pin the mmap threshold as soon as the limit is known, not only once freed blocks are seen to be kept.

        Where an allocation has failed, there is no time to look on.

        Args:
            threads: For good, where each thread allocates from an arena of its own: glibc never trims an arena's top,
                so that what threads have freed is gone for all others. Where they can be made to share one, nothing
                is kept but what is kept without threads, too.
        """
        if threads and self._may_share and limit_kills(self._state) and share_arena():
            return
        self._pin_soon, self._for_good = True, self._for_good or threads
        if limit_kills(self._state):
            self._pin(urgent=True)

    def begin(self, reading: MemoryReading) -> None:
        """Note what the program holds by itself, before it has freed much, and have the heap keep large blocks.

        As glibc has it by itself once large blocks were freed, but for the heap's end, which it would give back and
        take anew, page by page, whenever some work ends.
        """
        self._resident_free(reading)
        pinned = self._pin_soon or self._pinning.is_pinned
        if self._may_pin and limit_kills(self._state) and not (pinned or mmap_threshold_is_set()):
            unpin_mmap_threshold(int(MAPPED_SHARE * reading.limit_bytes))

    def give_back(self, reading: MemoryReading) -> bool:
        """Trim here and now: at the last level, what the heap keeps is what somebody else is about to be killed for.

        Takes 44 ms a GB given back, and at most a quarter of the time.
        """
        if reading.time_s < self._next_rescue_s or not (self._settings.trim and limit_kills(self._state)):
            return False
        if self._resident_free(reading) < _LARGE_SHARE * reading.limit_bytes:
            return False
        self._pin(urgent=True)
        began_s = self._clock()
        trim()
        self._state.forget_heap()
        ended_s = self._clock()
        self._next_rescue_s = ended_s + max(_RESCUE_INTERVAL_S, _RESCUE_REST * (ended_s - began_s))
        return True

    def is_worth_trimming(self) -> bool:
        """False where what is free now was in use a moment ago and will be again; True where nobody can tell."""
        reading = self._state.reading
        if reading is None or not limit_kills(self._state) or self._state.allocator().native_free_bytes is None:
            return True
        return self._retention.is_large(reading.limit_bytes, self._clock())

    def would_make_room(self, wanted_bytes: int) -> bool:
        """Tell whether trimming may make room for what waits: it is large, and about as much lies free in the heap.

        Where the threshold is pinned, no block that waits need be large: what others were given from the heap before is
        of no use to it any more.
        """
        reading = self._state.reading
        if reading is None:
            return False
        large_bytes = _LARGE_SHARE * reading.limit_bytes
        if wanted_bytes and self._pinning.is_pinned:
            free_bytes = self._resident_free(reading)
            self._left_bytes = min(self._left_bytes, free_bytes)
            if free_bytes - self._left_bytes >= max(wanted_bytes, large_bytes):
                return True
        if wanted_bytes < large_bytes:
            return False
        return (self._state.allocator().native_free_bytes or 0) >= wanted_bytes / 2

    def trimmed(self) -> None:
        """Begin to look anew: the heap was trimmed, and what is left, parts of pages, no trim gives back."""
        self._retention.forget()
        if self._pinning.is_pinned and self._state.reading is not None:
            self._left_bytes = self._resident_free(self._state.reading)

    def _resident_free(self, reading: MemoryReading) -> int:
        """Return what the heap keeps and what of that is resident, in bytes; 0 where nobody can tell.

        The C library counts pages that it has given back as free for ever after. What is resident and not live is the
        program's own, which was there at the least of it, and what the heap keeps.
        """
        heap = self._state.allocator()
        if heap.native_live_bytes is None or heap.native_free_bytes is None:
            return 0
        own = reading.rss_bytes - heap.native_live_bytes
        self._own_bytes = min(self._own_bytes, own)
        return min(heap.native_free_bytes, own - self._own_bytes)

    def _pin(self, *, urgent: bool = False) -> None:
        self._pin_soon = False
        now_s, system_s = self._clock(), self._system_s()
        if self._may_pin and self._pinning.pin(now_s, system_s, urgent=urgent, for_good=self._for_good):
            pinned = not mmap_threshold_is_set() and pin_mmap_threshold(MMAP_THRESHOLD)
            self._may_pin = pinned
            if self._settings.debug:
                _log.debug("mmap threshold %s", "pinned" if pinned else "left as it is")
