"""When memory is read again, at a tick or at the end of a batch: seldom in full, and at a glance in between. Pure.

Covers the arithmetic. A reading in full is told to all who learn from it, which takes many times as long as to look how
much is in use. In between, what was admitted and what has ended is known, so a glance is enough as long as it shows
nothing that nobody had foreseen. When work has just begun there is most to learn, and where use moves or others take
memory, most to see: then a reading in full may cost a hundredth of the time, and else a fifth of that. Reading itself
is `memflow.memory.sampler`'s.
"""

from __future__ import annotations

__all__ = ["Spacing"]

_EAGER_SHARE = 0.01
_SHARE = 0.002
_GLANCE_SHARE = 0.003
_EAGER_S = 2.0
_MOST_TICKS = 5
_SMOOTHING = 0.1
_MOST_COST_S = 0.001  # longer ones trimmed, or looked a limit up
_MOST_RISE = 0.5
_STEADY_SHARE = 0.03
_OTHERS_SHARE = 0.02


class Spacing:
    """Keeps the moments of the next reading and of the next glance.

    Args:
        interval_s: least seconds between two at ends of batches, of either kind; 0 reads in full each time.
        tick_s: seconds between two ticks.

    Attributes:
        next_s: when to read or glance again at the end of a batch, monotonic seconds.
    """

    __slots__ = (
        "_cost_s",
        "_eager_s",
        "_full_s",
        "_glance_cost_s",
        "_glanced_s",
        "_interval_s",
        "_most_s",
        "_moved_s",
        "_tick_s",
        "_ticks",
        "next_s",
    )

    def __init__(self, interval_s: float, tick_s: float) -> None:
        self._interval_s = interval_s
        self._tick_s, self._most_s = tick_s, _MOST_TICKS * tick_s
        self._cost_s = self._glance_cost_s = 0.0
        self._full_s = self._moved_s = self._eager_s = self._glanced_s = self.next_s = float("-inf")
        self._ticks = False

    def begin(self, now_s: float) -> None:
        """Take note that there is something new to learn from now on: read in full more often, for two seconds."""
        self._eager_s = now_s + _EAGER_S

    def has_read(self, now_s: float, cost_s: float, *, urgent: bool) -> None:
        """Take note of a reading in full.

        Args:
            now_s: Monotonic time, seconds.
            cost_s: Processor seconds that it took, listeners and all.
            urgent: Use is at the last level: until the next one, glances don't do.
        """
        self._cost_s += _SMOOTHING * (min(_MOST_COST_S, cost_s) - self._cost_s)
        self.next_s = now_s + self._interval_s
        self._ticks = now_s >= self._eager_s and not urgent
        self._moved_s = now_s if urgent or not self._interval_s else now_s + self._cost_s / _EAGER_SHARE
        if self._ticks and self._interval_s:
            self._full_s = now_s + min(self._most_s, self._cost_s / _SHARE)
        else:
            self._full_s = self._moved_s

    def has_glanced(self, now_s: float, cost_s: float, *, steady: bool = True) -> None:
        """Take note of a glance that showed nothing new.

        Args:
            now_s: Monotonic time, seconds.
            cost_s: Processor seconds that it took.
            steady: Use was about where it was; else the next tick reads in full.
        """
        self._glance_cost_s += _SMOOTHING * (min(_MOST_COST_S, cost_s) - self._glance_cost_s)
        self.next_s = now_s + max(self._interval_s, self._glance_cost_s / _GLANCE_SHARE)
        if steady:
            self._glanced_s = now_s
        else:
            self._ticks = False

    def glance_does(self, now_s: float, *, tick: bool = False) -> bool:
        """Tell whether a reading in full can wait if a glance shows nothing new.

        Args:
            now_s: Monotonic time, seconds.
            tick: It is asked at a tick, which reads in full while there is most to learn.
        """
        return now_s < self._full_s and (self._ticks or not tick)

    def is_due_if_moved(self, now_s: float) -> bool:
        """Tell whether a reading in full is due if a glance shows that use has moved: as often as at the beginning."""
        return now_s >= self._moved_s

    def glanced_lately(self, now_s: float) -> bool:
        """Tell whether the last glance, less than half a tick ago, showed use to be about where it was."""
        return now_s - self._glanced_s < self._tick_s / 2

    @staticmethod
    def is_as_foreseen(*, in_use_bytes: int, was_bytes: int, stop_bytes: float) -> bool:
        """Tell whether use has not risen by half of what was left to the last level, since it was read in full."""
        return in_use_bytes - was_bytes <= _MOST_RISE * max(0.0, stop_bytes - was_bytes)

    def watch_others(self, now_s: float, *, others_bytes: int, were_bytes: int, limit_bytes: int) -> None:
        """Go on as at the beginning where somebody else has taken or given back 2 % of the limit.

        What this process itself takes is admitted, and bounded; what others take is known by readings alone.
        """
        if abs(others_bytes - were_bytes) > _OTHERS_SHARE * limit_bytes:
            self.begin(now_s)

    @staticmethod
    def is_steady(*, in_use_bytes: int, was_bytes: int, limit_bytes: int) -> bool:
        """Tell whether use is about where it was when it was read in full: within 3 % of the limit."""
        return abs(in_use_bytes - was_bytes) <= _STEADY_SHARE * limit_bytes
