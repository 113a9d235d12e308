"""Tells what is held for good from what items take, while work goes on. Pure.

Covers results that are kept, leaks, and what other parts of the program come to hold: RSS above the anchor rises by
them as it does by larger items. `memflow.sizing.cost` moves its anchor by what is found here.

The sign: where freed memory goes back to the kernel, every item takes its pages anew, so that all rises of RSS in a
turn-over, by the weight finished in it, are about what an item takes, wherever the floor lies. If use rose from one
turn-over to the next and that figure didn't, the items are as they were and the floor is higher. Where memory is kept
and used again there are next to no rises, and nothing can be told: then all of it counts as the items', which costs
speed and not the process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from statistics import median

__all__ = ["Shift", "ShiftWatch"]

_TURNS = 16
_OLDEST = 4
_RECENT = 3
_RETURNED = 0.5
_HIGHER = 1.25
_STILL = 0.6
_FOLLOWS = 0.4


@dataclass(frozen=True, slots=True)
class Shift:
    """Use that is not the items'."""

    floor_bytes: float
    """By how much the floor is higher, bytes."""
    ratio: float
    """What a unit of weight takes without it, bytes."""


@dataclass(slots=True)
class _Turn:
    """Everything in flight replaced once by other work."""

    rises: float
    """Rises of RSS for each unit of weight finished, bytes."""
    ratio: float
    """Use above the anchor for each unit of weight in flight, bytes."""
    load: float
    """The largest weight in flight."""
    held: float
    """What the allocators counted as live for each unit of weight in flight, bytes; inf where nobody can tell."""


class ShiftWatch:
    """Watches one operation that runs alone."""

    __slots__ = ("_began", "_held", "_load", "_returned", "_rises", "_turns", "_used")

    def __init__(self) -> None:
        self._turns: deque[_Turn] = deque(maxlen=_TURNS)
        self._returned = False
        self.skip()

    def skip(self) -> None:
        """Begin a turn-over anew, since something else was in flight too."""
        self._began: float | None = None
        self._rises = self._load = self._used = self._held = 0.0

    def add(self, *, rise: float, used: float, load: float, finished: float, held: float | None = None) -> Shift | None:
        """Take a window; a shift when one is seen.

        Args:
            rise: The window's peak over its start, bytes.
            used: The window's peak over the anchor, bytes.
            load: The largest weight in flight.
            finished: Weight finished since the start.
            held: What the allocators count as live at its end, bytes; None where nobody can tell.
        """
        if self._began is None:
            self._began = finished
        self._rises += max(0.0, rise)
        self._load = max(self._load, load)
        self._used = max(self._used, used)
        self._held = max(self._held, inf if held is None else held)
        done = finished - self._began
        if done < self._load:
            return None
        self._turns.append(_Turn(self._rises / done, self._used / self._load, self._load, self._held / self._load))
        self.skip()
        self._began = finished
        return self._judge()

    def _judge(self) -> Shift | None:
        turns = list(self._turns)
        if len(turns) < _OLDEST + _RECENT:
            return None
        older, recent = turns[:_OLDEST], turns[-_RECENT:]
        rises, ratio = median(turn.rises for turn in older), median(turn.ratio for turn in older)
        if rises <= 0 or ratio <= 0:
            return None
        # Told once, since use that has shifted unseen would hide it.
        self._returned = self._returned or rises >= _RETURNED * ratio
        grown = median(turn.rises for turn in recent) / rises
        higher = min(turn.ratio for turn in recent) / ratio
        if not self._returned or higher < _HIGHER or not _STILL <= grown <= 1 + _FOLLOWS * (higher - 1):
            return None
        kept, load = ratio * max(1.0, grown), min(turn.load for turn in recent)
        floor = (higher * ratio - kept) * load
        held = [turn.held for turn in older]
        if inf not in held:
            usual = median(held)
            floor = min(floor, (min(turn.held for turn in recent) - usual) * load)
            if floor < (_HIGHER - 1) * ratio * load:
                return None
            for turn in turns:
                turn.held = min(turn.held, max(usual, turn.held - floor / turn.load))
        for turn in turns:
            turn.ratio = min(turn.ratio, max(kept, turn.ratio - floor / turn.load))
        return Shift(floor, kept)
