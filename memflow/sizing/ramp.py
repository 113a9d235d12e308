"""The first climb of a search for concurrency: doubles once a round, for as long as doubling pays. Pure.

Covers slow start alone; what comes after it is `memflow.sizing.concurrency`'s. Named and shaped after TCP's (RFC 5681):
nothing is known at first, so each round of calls that ended lets twice as many begin, and the first round that did not
pay ends it for good.
"""

from __future__ import annotations

__all__ = ["Ramp"]

_PAYS = 1.25
_LEAST_S = 0.02


class Ramp:
    """Counts rounds: as many calls as are in flight, in whatever setting they were started.

    A round of calls that only wait takes as long whatever their number, so its rate doubles; one of calls that share a
    server takes twice as long. Rounds shorter than 20 ms are lengthened to that, since a clock can't judge them.

    Args:
        calls: Calls in flight at first.
        now_s: Monotonic time, seconds.
    """

    __slots__ = ("_calls", "_doubtful", "_since_s", "before", "ended", "rate", "rate_before")

    def __init__(self, calls: int, now_s: float) -> None:
        self._calls = calls
        self._doubtful = False
        self.ended = 0
        self._since_s = now_s
        self.before: int | None = None
        self.rate: float | None = None
        self.rate_before: float | None = None

    def add(self, calls: int) -> None:
        """Count calls that ended."""
        self.ended += calls

    @property
    def full(self) -> bool:
        """True when as many calls have ended as were in flight."""
        return self.ended >= self._calls

    def round_ended(self, now_s: float) -> bool:
        """True when a verdict is due."""
        return self.full and now_s - self._since_s >= _LEAST_S

    def pays(self, now_s: float) -> bool | None:
        """Close the round: True when it was the first, or a quarter faster than those with fewer calls in flight.

        None after the first round that was not: calls that all began at once may have stood in each other's way as they
        did so, and are given another round.
        """
        self.rate = self.ended / (now_s - self._since_s)
        self.ended, self._since_s = 0, now_s
        if self.rate_before is None or self.rate >= _PAYS * self.rate_before:
            return True
        self._doubtful = not self._doubtful
        return None if self._doubtful else False

    def climb(self, calls: int) -> None:
        """Go on with so many calls in flight."""
        self.before, self._calls = self._calls, calls
        self.rate_before, self._doubtful = self.rate, False

    def pause(self, now_s: float) -> None:
        """Begin the round anew: it was held back by something else, and tells nothing."""
        self.ended, self._since_s = 0, now_s
