"""What of a run's processor time is memflow's control: reading memory, learning, deciding, letting in.

Covers a stopwatch around the four places where control happens; what one calls inside another counts once. Handing
items to workers and results back is not control: a pool by hand does as much (`benchmarks.calls` measures that).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopwatch", "measured"]


class Stopwatch:
    """Processor time of the outermost of the calls that it wraps, in the thread that makes them.

    Attributes:
        spent_s: seconds so far.
        calls: how many.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.spent_s = 0.0
        self.calls = 0
        self._clock = clock
        self._inside = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside = True
            began_s = self._clock()
            try:
                return function(*arguments, **named)
            finally:
                self.spent_s += self._clock() - began_s
                self.calls += 1
                self._inside = False

        return timed


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Time control while inside."""
    from memflow.memory.sampler import Sampler
    from memflow.processing.gate import Gate
    from memflow.sizing.call import CallSizer

    watch = Stopwatch()
    places = [(Sampler, "sample"), (CallSizer, "finished"), (Gate, "try_enter"), (Gate, "try_take"), (Gate, "leave")]
    before = [(kind, name, getattr(kind, name)) for kind, name in places]
    for kind, name, function in before:
        setattr(kind, name, watch.around(function))
    try:
        yield watch
    finally:
        for kind, name, function in before:
            setattr(kind, name, function)
