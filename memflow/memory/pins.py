"""Who keeps objects of the program's alive for a moment, so that what has ended is not free yet.

Covers the count alone. To find out who holds what grows, all objects are taken in hand for some milliseconds; what ends
meanwhile is let go afterwards. Admission must not count on its memory before, nor what it took be learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["Pins"]


class Pins:
    """Counts who holds objects now, and who has held some; from any thread.

    Attributes:
        holding: how many hold some now.
        times: how often somebody has begun to.
    """

    __slots__ = ("_lock", "holding", "times")

    def __init__(self) -> None:
        self.holding = 0
        self.times = 0
        self._lock = Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold objects while inside."""
        with self._lock:
            self.holding += 1
            self.times += 1
        try:
            yield
        finally:
            with self._lock:
                self.holding -= 1
