"""What the thread of the event loop spends its time on: running, waiting for a processor, or neither.

Covers reading both counters of the calling thread, in 2 µs. What they tell is judged in `memflow.sizing.saturation`.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from memflow.sizing.saturation import LoopTime

__all__ = ["LoopClock"]

_SIZE = 96


class LoopClock:
    """Reads the counters of the thread that calls it first, and keeps a descriptor for that until `close`.

    The time spent waiting for a processor comes from /proc/self/task/ID/schedstat (run, waited, slices; in nanoseconds;
    kernel: Documentation/scheduler/sched-stats). Where that is not to be had, it is told as 0.0.
    """

    __slots__ = ("_descriptor", "_opened")

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._opened = False

    def read(self) -> LoopTime:
        """Return what the calling thread has done so far."""
        return LoopTime(time.thread_time(), self._waited_s())

    def _waited_s(self) -> float:
        if not self._opened:
            self._opened = True
            self._descriptor = _open()
        if self._descriptor is None:
            return 0.0
        try:
            return int(os.pread(self._descriptor, _SIZE, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            self.close()
            return 0.0

    def close(self) -> None:
        """Close the descriptor; from here on, waiting is told as 0.0."""
        descriptor, self._descriptor, self._opened = self._descriptor, None, True
        if descriptor is not None:
            os.close(descriptor)


def _open() -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
