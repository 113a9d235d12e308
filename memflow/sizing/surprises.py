"""Room for what no prediction covers: how far use jumped above what was foretold. Pure.

Covers the guard that admission keeps beside predictions. What is foretold is `memflow.sizing.cost`'s.

Not the maximum, under which one outlier would serialise a job (24 items/s instead of 90): 1.5 times the 99th percentile
of the jumps from one window to the next. A jump that what was learnt since foretells is none any more: where items have
become larger, the guard must not be as large as the step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from memflow.sizing.fitting import percentile

__all__ = ["Predict", "Surprises"]

Predict = Callable[[Mapping[str, float], Mapping[str, float]], float]
"""(weight in flight, calls in flight), by operation -> bytes."""

_JUMPS = 256
_SHARE = 0.99
_FACTOR = 1.5
_EVERY = 16
_IGNORED = 10


@dataclass(slots=True)
class _Jump:
    """How far use rose above prediction in one window."""

    rise: float
    used: float
    loads: Mapping[str, float]
    calls: Mapping[str, float]


class Surprises:
    """The jumps of the last windows.

    Args:
        predict: What was learnt by now.

    Attributes:
        guard_bytes: room to keep.
    """

    __slots__ = ("_excess", "_jumps", "_predict", "_used", "_windows", "guard_bytes")

    def __init__(self, predict: Predict) -> None:
        self.guard_bytes = 0.0
        self._predict = predict
        self._jumps: deque[_Jump] = deque(maxlen=_JUMPS)
        self._windows = 0
        self.rest()

    def rest(self) -> None:
        """Begin anew: nothing is in flight."""
        self._excess = self._used = 0.0

    def add(self, used: float, loads: Mapping[str, float], calls: Mapping[str, float]) -> None:
        """Note how far use rose above prediction since the window before.

        Only what use itself rose by counts: where memory is kept, prediction falls with the load and use doesn't.

        Args:
            used: Bytes above the anchor at the window's peak.
            loads: Operation to the weight in flight.
            calls: Operation to the calls in flight, where known.
        """
        self._windows += 1
        excess = max(0.0, used - self._predict(loads, calls))
        if self._windows > _IGNORED:
            rise = max(0.0, min(excess - self._excess, used - self._used))
            self._jumps.append(_Jump(rise, used, loads, calls))
            if self._windows % _EVERY == 0:
                self.judge()
        self._excess, self._used = excess, used

    def judge(self) -> None:
        """Find the guard by what is foretold now."""
        if self._jumps:
            left = [self._left(jump) if jump.rise else 0.0 for jump in self._jumps]
            self.guard_bytes = _FACTOR * percentile(left, _SHARE)

    def _left(self, jump: _Jump) -> float:
        return max(0.0, min(jump.rise, jump.used - self._predict(jump.loads, jump.calls)))
