"""For how long large blocks should come from the kernel, and go back there once freed. Pure.

Covers when a pinned mmap threshold is let go. The means are `memflow.memory.allocator`'s, the reasons to pin
`memflow.memory.retained`'s.

Where blocks come and go fast, pinning costs more than what is kept is worth: each block is taken from the kernel page
by page (0.5 to 2 us a page), and of 2,000 blocks of 1 MB a second all the processor's time goes there. So it lasts
until it has cost too much for some seconds. Where the reason comes back, it lasts twice as long the next time.
"""

from __future__ import annotations

__all__ = ["Pinning"]

HOLD_S = 2.0
"""Seconds it lasts at least, the first time."""
LONGEST_HOLD_S = 64.0
DEAR_SHARE = 0.25
"""Part of one processor's time in the kernel from which pinning costs too much."""
FORGIVEN_S = 60.0
"""Seconds without a new reason after which the next time counts as the first."""


class Pinning:
    """Whether the threshold is pinned, and should be.

    Attributes:
        is_pinned: it is.
    """

    __slots__ = ("_for_good", "_hold_s", "_since_s", "_system_s", "_until_s", "is_pinned")

    def __init__(self) -> None:
        self.is_pinned = False
        self._for_good = False
        self._hold_s = HOLD_S
        self._since_s = self._system_s = 0.0
        self._until_s = float("-inf")

    def pin(self, now_s: float, system_s: float, *, for_good: bool = False) -> bool:
        """Take note of a reason to pin.

        Args:
            now_s: Monotonic time, seconds.
            system_s: Processor seconds of this process in the kernel.
            for_good: It is never let go.

        Returns:
            True where it has to be pinned now; False where it is.
        """
        self._for_good = self._for_good or for_good
        if self.is_pinned:
            return False
        if self._until_s > float("-inf"):
            again = now_s - self._until_s < FORGIVEN_S
            self._hold_s = min(LONGEST_HOLD_S, 2 * self._hold_s) if again else HOLD_S
        self.is_pinned = True
        self._since_s, self._system_s = now_s, system_s
        return True

    def let_go(self, now_s: float, system_s: float) -> bool:
        """Return True, once, where pinning has cost too much for as long as it has to last."""
        lasted_s = now_s - self._since_s
        if not self.is_pinned or self._for_good or lasted_s < self._hold_s:
            return False
        if system_s - self._system_s < DEAR_SHARE * lasted_s:
            self._since_s, self._system_s = now_s, system_s
            return False
        self.is_pinned, self._until_s = False, now_s
        return True
