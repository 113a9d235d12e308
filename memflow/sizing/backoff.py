"""How long nothing grows after memory ran short. Pure.

Covers the pause alone. What shrinks is decided in `memflow.sizing.call`.
"""

from __future__ import annotations

__all__ = ["Backoff"]

_FIRST_S = 0.5
_LONGEST_S = 30.0
_UNHURT_S = 10.0
_BLIND_S = 1.0


class Backoff:
    """Counts hits, and makes the pause after each twice as long, until a while goes by without one.

    What was started before the last hit says nothing about the sizes since: further hits are ignored until something
    that was started later has ended, or a second has gone by.

    Attributes:
        pause_s: the pause that the latest hit began, seconds.
    """

    __slots__ = ("_hit_s", "_until_s", "pause_s")

    def __init__(self) -> None:
        self.pause_s = _FIRST_S / 2
        self._hit_s: float | None = None
        self._until_s = float("-inf")

    def hit(self, now_s: float) -> bool:
        """Take note that memory ran short; False when this comes from what an earlier hit has answered already."""
        if self._hit_s is not None and now_s - self._hit_s < _BLIND_S:
            return False
        if now_s - self._until_s > _UNHURT_S:
            self.pause_s = _FIRST_S / 2
        self.pause_s = min(_LONGEST_S, 2 * self.pause_s)
        self._hit_s = now_s
        self._until_s = now_s + self.pause_s
        return True

    def ended(self, started_s: float) -> None:
        """Take note that something ended well that was started then."""
        if self._hit_s is not None and started_s >= self._hit_s:
            self._hit_s = None

    def holds(self, now_s: float) -> bool:
        """Tell whether growing has to wait."""
        return now_s < self._until_s
