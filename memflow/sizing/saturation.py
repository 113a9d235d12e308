"""Whether the event loop has any time left: where it has none, more calls in flight can't be faster. Pure.

Covers the arithmetic over processor time that is passed in. What follows for the calls in flight is
`memflow.sizing.concurrency`'s; where the figures come from, `memflow.processing.loop_time`.

A thread spends its time running, waiting for a processor that others have, or asleep. A loop that hardly ever sleeps is
the bottleneck itself, however little of the processor it gets; and the time that it waited for one says something about
the others, nothing about the setting that is tried.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LoopTime", "LoopUse"]

_SATURATED = 0.95
_LEAST_SEEN = 0.5


@dataclass(frozen=True, slots=True)
class LoopTime:
    """What the thread of the event loop has done so far, as a counter that only grows."""

    ran_s: float
    """Seconds on a processor."""
    waited_s: float
    """Seconds ready to run, without a processor; 0.0 where the system doesn't tell."""


class LoopUse:
    """How busy the loop was between the first and the latest note.

    Example:
        >>> use = LoopUse()
        >>> use.note(10.0, LoopTime(ran_s=1.0, waited_s=0.0))
        >>> use.note(11.0, LoopTime(ran_s=1.4, waited_s=0.6))
        >>> use.own_share(lasted_s=1.0)
        0.4
    """

    __slots__ = ("_first", "_latest")

    def __init__(self) -> None:
        self._first: tuple[float, LoopTime] | None = None
        self._latest: tuple[float, LoopTime] | None = None

    def restart(self) -> None:
        """Begin anew with the latest note."""
        self._first = self._latest

    def note(self, now_s: float, time: LoopTime) -> None:
        """Take a look at the clock and the counters at the same moment."""
        if self._first is None:
            self._first = now_s, time
        self._latest = now_s, time

    @property
    def has_begun(self) -> bool:
        """True once there is a note to begin with."""
        return self._first is not None

    def covers(self, lasted_s: float) -> bool:
        """Tell whether the notes span at least half of so many seconds."""
        return bool(self._first and self._latest and self._latest[0] - self._first[0] >= _LEAST_SEEN * lasted_s)

    def own_share(self, lasted_s: float) -> float | None:
        """Return the share of the time for which a loop that never slept had a processor.

        Args:
            lasted_s: How long what is judged took; notes that span less than half of it say nothing.

        Returns:
            A number in (0, 1], or None where the loop slept, or where nobody can tell.
        """
        if self._first is None or self._latest is None or not self.covers(lasted_s):
            return None
        (first_s, first), (latest_s, latest) = self._first, self._latest
        span_s, ran_s = latest_s - first_s, latest.ran_s - first.ran_s
        if span_s <= 0 or ran_s <= 0:
            return None
        own_s = max(ran_s, span_s - max(0.0, latest.waited_s - first.waited_s))
        return round(min(1.0, own_s / span_s), 9) if ran_s >= _SATURATED * own_s else None
