"""When to let others run: one checkpoint for each millisecond of uninterrupted running, not one for each item.

A checkpoint for each item costs more than all else on the hot path together (2.4 times the whole). A task whose work
suspends by itself needs none at all, so the tasks of a call tell each other who ran last: only one that finds itself
to be the last again has gone on without a pause, or alone, and looks at the clock.

The slice is shared by all tasks of a call, and the first to be resumed after a checkpoint opens the next one. So a
round of the loop is bounded too: while a slice is over, everybody who goes on without a pause lets others run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from anyio.lowlevel import checkpoint

__all__ = ["Cadence"]


class Cadence:
    """A slice of running time that the tasks of one call share.

    Hot loops ask in place (a method call would double the price), with `me` an object of each task's own:

        if cadence.last is not me:
            cadence.last = me
        elif clock() >= cadence.deadline_s:
            await cadence.checkpoint()

    Args:
        slice_s: seconds of running before somebody lets others run. Less than half of a millisecond, since the tasks
            that go on without a pause come to the end of theirs one behind the other.
        clock: seconds of a monotonic clock; replaced in tests.
    """

    __slots__ = ("_slice_s", "clock", "deadline_s", "last")

    def __init__(self, *, slice_s: float = 0.0004, clock: Callable[[], float] = time.monotonic) -> None:
        self._slice_s = slice_s
        self.clock = clock
        self.deadline_s = clock() + slice_s
        self.last: object = None

    def due(self) -> bool:
        """Tell whether the slice is over."""
        return self.clock() >= self.deadline_s

    def resume(self) -> None:
        """Open the next slice for a task that has just waited: it let others run already.

        Whatever is left of the old one, or the consumer would be stopped within a burst, and with it everybody.
        """
        self.deadline_s = self.clock() + self._slice_s

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled if that is due."""
        ended_s = self.deadline_s
        await checkpoint()
        if self.deadline_s == ended_s:
            self.deadline_s = self.clock() + self._slice_s
