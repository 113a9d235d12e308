"""How much of the time a look at the heap may take from those who work meanwhile.

Covers one turn after another, and when the turns are used up. A look holds the interpreter's lock while it counts, so
that everybody else stands still. After some milliseconds of that it sleeps for `GIVE` times as long, so that a program
that needs the lock all the time takes at most 1 + 1 / `GIVE` times as long meanwhile.

Objects are not kept in hand over a sleep: what the program let go of meanwhile would stay alive, all the memory of the
work that ended with it. So each turn takes them in hand anew, and lasts at least as long as that took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from memflow.memory.pins import Pins

__all__ = ["GIVE", "TURN_S", "Pace"]

GIVE = 3.0
"""Seconds slept for each processor second used."""
TURN_S = 0.004
"""Processor seconds of a turn at least: handing the lock over and back costs more than a shorter one is worth."""
TAKING_TIMES = 2.0
"""Times that a turn lasts of what taking the objects in hand took: with 2, half of the time as much again is lost."""
_LONGEST_S = 2.0
"""Of one sleep."""
_MOST_TIMES = 8.0
"""Times the budget after which it is over on the wall too: the machine is too busy for it."""


class Pace:
    """Alternates between a turn of work and giving way, until a budget is used up.

    Args:
        budget_s: Processor seconds of this thread that may be used.
        pins: Told while objects are held.
        used: Processor seconds that this thread has used so far.
        clock: Seconds of a monotonic clock.
        sleep: Waits for so many seconds, while others run.
    """

    __slots__ = ("_clock", "_ends_s", "_last_s", "_least_turn_s", "_sleep", "_stops_s", "_turn_s", "_used", "pins")

    def __init__(
        self,
        budget_s: float,
        *,
        pins: Pins | None = None,
        used: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.pins = pins if pins is not None else Pins()
        self._used, self._clock, self._sleep = used, clock, sleep
        self._turn_s = self._least_turn_s = TURN_S
        self._last_s = used()
        self._ends_s = self._last_s + budget_s
        self._stops_s = clock() + _MOST_TIMES * budget_s

    @property
    def is_over(self) -> bool:
        """True once the budget is used up."""
        return self._used() >= self._ends_s or self._clock() >= self._stops_s

    def took(self) -> None:
        """Take note that the objects are in hand; what was used since the turn began is what that took."""
        self._turn_s = max(self._least_turn_s, (1 + TAKING_TIMES) * (self._used() - self._last_s))

    @property
    def turn_is_over(self) -> bool:
        """True when the objects should be let go, and others run."""
        return self._used() - self._last_s >= self._turn_s or self.is_over

    def breathless(self) -> Pace:
        """Return a pace with what is left of this one's budget, all of it in one turn."""
        pace = Pace(self._ends_s - self._used(), pins=self.pins, used=self._used, clock=self._clock, sleep=self._sleep)
        pace._turn_s = pace._least_turn_s = inf
        return pace

    def give_way(self) -> None:
        """Let others run for `GIVE` times as long as this turn has used, once that is `TURN_S`."""
        turn_s = self._used() - self._last_s
        if turn_s >= TURN_S:
            self._sleep(min(_LONGEST_S, GIVE * turn_s))
            self._last_s = self._used()
