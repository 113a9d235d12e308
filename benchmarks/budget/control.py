"""What of a run's processor time is memflow's control: reading memory, learning, deciding, letting in.

Covers a stopwatch around the places where control happens; what one calls inside another counts once. Watching for
leaks, which hangs on the readings, is timed apart: it can be switched off, and has a budget of its own. Handing items
to workers and results back is not control: a pool by hand does as much (`benchmarks.calls` measures that). Nor is what
reading the clock takes: that is measured beforehand, and left out.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

__all__ = ["Stopwatch", "measured"]

_TRIES = 2001


class Stopwatch:
    """Processor time of the outermost of the calls that it wraps, in the thread that makes them.

    Attributes:
        control_s: seconds of control so far.
        calls: how many calls of control those were.
        analysis_s: seconds of watching for leaks so far.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.control_s = 0.0
        self.calls = 0
        self.analysis_s = 0.0
        self._clock = clock
        self._clock_s = _between_two(clock)
        self._inside = False
        self._apart = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of control, timed."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside or self._apart:
                return function(*arguments, **named)
            self._inside = True
            began_s = self._clock()
            try:
                return function(*arguments, **named)
            finally:
                self.control_s += self._clock() - began_s - self._clock_s
                self.calls += 1
                self._inside = False

        return timed

    def apart(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the analysis, timed; inside of control it counts as none."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._apart:
                return function(*arguments, **named)
            self._apart = True
            began_s = self._clock()
            try:
                return function(*arguments, **named)
            finally:
                took_s = self._clock() - began_s
                self.analysis_s += took_s - self._clock_s
                self.control_s -= took_s + self._clock_s if self._inside else 0.0
                self._apart = False

        return timed


def _between_two(clock: Callable[[], float]) -> float:
    """Return what lies between two readings of a clock with nothing between them, seconds; the median of many."""
    return median(-(clock() - clock()) for _ in range(_TRIES))


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Time control while inside."""
    from memflow.analysis.analyzer import HeapAnalyzer
    from memflow.memory.sampler import Sampler
    from memflow.processing.gate import Gate
    from memflow.sizing.call import CallSizer

    watch = Stopwatch()
    places = [(Sampler, "sample"), (CallSizer, "finished"), (Gate, "try_enter"), (Gate, "try_take"), (Gate, "leave")]
    apart = (HeapAnalyzer, "observe")
    before = [(kind, name, getattr(kind, name)) for kind, name in (*places, apart)]
    for kind, name, function in before:
        setattr(kind, name, (watch.apart if (kind, name) == apart else watch.around)(function))
    try:
        yield watch
    finally:
        for kind, name, function in before:
            setattr(kind, name, function)
