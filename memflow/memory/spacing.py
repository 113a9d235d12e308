"""When memory is read again at the end of a batch: seldom in full, and at a glance in between. Pure.

Covers the arithmetic. A reading in full is told to all who learn from it, which takes many times as long as to look how
much is in use. In between, what was admitted and what has ended is known, so a glance is enough as long as it shows
nothing that nobody had foreseen. Reading itself is `memflow.memory.sampler`'s.
"""

from __future__ import annotations

__all__ = ["Spacing"]

_SHARE = 0.01
_GLANCE_SHARE = 0.003
_SMOOTHING = 0.1
_MOST_COST_S = 0.001  # longer ones trimmed, or looked a limit up
_MOST_RISE = 0.5


class Spacing:
    """Keeps the moments of the next reading and of the next glance.

    Args:
        interval_s: least seconds between two of either; 0 reads in full each time.

    Attributes:
        next_s: when to read or glance again, monotonic seconds.
    """

    __slots__ = ("_cost_s", "_full_s", "_glance_cost_s", "_interval_s", "next_s")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._cost_s = self._glance_cost_s = 0.0
        self._full_s = self.next_s = float("-inf")

    def has_read(self, now_s: float, cost_s: float, *, urgent: bool) -> None:
        """Take note of a reading in full.

        Args:
            now_s: Monotonic time, seconds.
            cost_s: Processor seconds that it took, listeners and all.
            urgent: Use is at the last level: until the next one, glances don't do.
        """
        self._cost_s += _SMOOTHING * (min(_MOST_COST_S, cost_s) - self._cost_s)
        self.next_s = now_s + self._interval_s
        self._full_s = now_s if urgent or not self._interval_s else now_s + self._cost_s / _SHARE

    def has_glanced(self, now_s: float, cost_s: float) -> None:
        """Take note of a glance that showed nothing new."""
        self._glance_cost_s += _SMOOTHING * (min(_MOST_COST_S, cost_s) - self._glance_cost_s)
        self.next_s = now_s + max(self._interval_s, self._glance_cost_s / _GLANCE_SHARE)

    def glance_does(self, now_s: float) -> bool:
        """Tell whether a reading in full can wait if a glance shows nothing new."""
        return now_s < self._full_s

    @staticmethod
    def is_as_foreseen(*, in_use_bytes: int, was_bytes: int, stop_bytes: float) -> bool:
        """Tell whether use has not risen by half of what was left to the last level, since it was read in full."""
        return in_use_bytes - was_bytes <= _MOST_RISE * max(0.0, stop_bytes - was_bytes)
