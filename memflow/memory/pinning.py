"""For how long large blocks should come from the kernel, and go back there once freed. Pure.

Covers when a pinned mmap threshold is let go, and when it may be pinned again. The means are
`memflow.memory.allocator`'s, the reasons to pin `memflow.memory.retained`'s.

Where blocks come and go fast, pinning costs more than what is kept is worth: each block is taken from the kernel page
by page (1 to 2.3 us a page), and of 2,000 blocks of 1 MB a second all the processor's time goes there. So it lasts
until it has cost too much for some seconds. After that, what is merely kept is no reason for a while, twice as long
each time; that memory runs out always is one.
"""

from __future__ import annotations

from math import inf

__all__ = ["Pinning"]

HOLD_S = 2.0
"""Seconds that it lasts at least."""
DEAR_SHARE = 0.25
"""Part of one processor's time in the kernel from which pinning costs too much."""
REST_S = 4.0
"""Seconds after the first time that it cost too much in which only want of memory is a reason."""
LONGEST_REST_S = 128.0


class Pinning:
    """Whether the threshold is pinned, and should be.

    Attributes:
        is_pinned: it is.
    """

    __slots__ = ("_for_good", "_rest_s", "_rests_until_s", "_since_s", "_system_s", "is_pinned")

    def __init__(self) -> None:
        self.is_pinned = False
        self._for_good = False
        self._rest_s = REST_S
        self._rests_until_s = -inf
        self._since_s = self._system_s = 0.0

    def pin(self, now_s: float, system_s: float, *, urgent: bool = False, for_good: bool = False) -> bool:
        """Take note of a reason to pin.

        Args:
            now_s: Monotonic time, seconds.
            system_s: Processor seconds of this process in the kernel.
            urgent: Memory runs out.
            for_good: It is never let go.

        Returns:
            True where it has to be pinned now; False where it is, or should not be.
        """
        self._for_good = self._for_good or for_good
        if self.is_pinned or (now_s < self._rests_until_s and not (urgent or for_good)):
            return False
        self.is_pinned = True
        self._since_s, self._system_s = now_s, system_s
        return True

    def let_go(self, now_s: float, system_s: float) -> bool:
        """Return True, once, where pinning has cost too much for as long as it has to last."""
        lasted_s = now_s - self._since_s
        if not self.is_pinned or self._for_good or lasted_s < HOLD_S:
            return False
        if system_s - self._system_s < DEAR_SHARE * lasted_s:
            self._since_s, self._system_s = now_s, system_s
            return False
        self.is_pinned = False
        self._rests_until_s = now_s + self._rest_s
        self._rest_s = min(LONGEST_REST_S, 2 * self._rest_s)
        return True
