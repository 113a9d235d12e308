"""The first climb of a search for concurrency: more once a round, for as long as that pays. Pure.

Covers slow start alone; what comes after it is `memflow.sizing.concurrency`'s. Named and shaped after TCP's (RFC 5681):
nothing is known at first, so each round of calls that ended lets two to four times as many begin, and the first one
that did not pay ends it for good.
"""

from __future__ import annotations

__all__ = ["Ramp"]

_PAYS = 0.625
_FREELY = 0.65
_LEAST_S = 0.02
_FASTER = 4
_FAST = 2


class Ramp:
    """Counts rounds: as many calls as are in flight, in whatever setting they were started.

    A round of calls that only wait takes as long whatever their number, so its rate rises with it; one of calls that
    share a server takes longer by as much. Rounds shorter than 20 ms are lengthened to that, since a clock can't judge
    them.

    Args:
        calls: Calls in flight at first.
        now_s: Monotonic time, seconds.
        first_factor: How many times the calls may be had after the first round.

    Attributes:
        ended: calls that ended in this round.
        factor: how many times the calls may be had in the next round; 4 after a round in which few stood in another's
            way, else 2. That they began all at once is not that: it takes a third of a round of 100 ms.
        rate: calls a second in the last round; None before the first has ended.
        rate_before: the same in the last one with fewer calls in flight.
    """

    __slots__ = ("_calls", "_calls_before", "_doubtful", "_since_s", "ended", "factor", "rate", "rate_before")

    def __init__(self, calls: int, now_s: float, *, first_factor: int = _FASTER) -> None:
        self._calls = self._calls_before = calls
        self._doubtful = False
        self._since_s = now_s
        self.ended = 0
        self.factor = first_factor
        self.rate: float | None = None
        self.rate_before: float | None = None

    def add(self, calls: int) -> None:
        """Count calls that ended."""
        self.ended += calls

    @property
    def full(self) -> bool:
        """True when as many calls have ended as were in flight."""
        return self.ended >= self._calls

    @property
    def left(self) -> int:
        """Calls that have to end before the round is full."""
        return max(0, self._calls - self.ended)

    def round_ended(self, now_s: float) -> bool:
        """True when a verdict is due."""
        return self.full and now_s - self._since_s >= _LEAST_S

    def is_overdue(self, now_s: float) -> bool:
        """True when the round has taken so long that two of its kind could not pay."""
        if not self.rate_before or not self.ended:
            return False
        return now_s - self._since_s >= 2 * self._calls_before / (_PAYS * self.rate_before)

    def pays(self, now_s: float) -> bool | None:
        """Close the round: True when it was the first, or its rate rose by at least 5/8 of what its calls did.

        None after the first round that was not: calls that all began at once may have stood in each other's way as they
        did so, and are given another round.
        """
        overdue = not self.full
        self.rate = self.ended / (now_s - self._since_s)
        self.ended, self._since_s = 0, now_s
        if self.rate_before is None:
            return True
        share = self.needed / self._calls
        if share >= _PAYS:
            self.factor = _FASTER if share >= _FREELY else _FAST
            return True
        self._doubtful = not (self._doubtful or overdue)
        return None if self._doubtful else False

    @property
    def proven(self) -> int:
        """The calls whose round was the last to pay; that fewer do as much, nothing has shown."""
        return self._calls_before

    @property
    def needed(self) -> float:
        """The calls that would give the present rate if each took as long as before (Little's law)."""
        if self.rate is None or not self.rate_before:
            return float(self._calls)
        return self._calls_before * self.rate / self.rate_before

    def climb(self, calls: int) -> None:
        """Go on with so many calls in flight."""
        self._calls_before, self._calls = self._calls, calls
        self.rate_before, self._doubtful = self.rate, False

    def pause(self, now_s: float) -> None:
        """Begin the round anew: it was held back by something else, and tells nothing."""
        self.ended, self._since_s = 0, now_s
