"""Memory that was freed and is kept by the C library all the same: how much of it stays free. Pure.

Covers the judgement alone. Free bytes come from `memflow.memory.allocator`; trimming is `memflow.memory.reclaim`'s.

What is free at one moment says little: where batches end together, all is free for an instant and in use again in the
next, and handing it back to the kernel would only mean taking it again, page by page (a quarter of a second a GB). What
was free at every look of the last second is kept for nothing.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Retention"]

_WINDOW_S = 1.0
_LEAST_S = 0.4
_SHARE = 0.1


class Retention:
    """The least of the free bytes seen lately."""

    __slots__ = ("_seen", "_since_s")

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._since_s: float | None = None

    def add(self, free_bytes: int, now_s: float) -> None:
        """Note what is free now.

        Args:
            free_bytes: Freed by the program and held by the C library.
            now_s: Monotonic time, seconds.
        """
        seen = self._seen
        if not seen or now_s - seen[-1][0] > _WINDOW_S:
            seen.clear()
            self._since_s = now_s
        while seen and seen[-1][1] >= free_bytes:
            seen.pop()
        seen.append((now_s, free_bytes))
        while seen[0][0] < now_s - _WINDOW_S:
            seen.popleft()

    def is_large(self, limit_bytes: int, now_s: float) -> bool:
        """Tell whether more than a tenth of the limit has been free for long enough to be kept for nothing."""
        if self._since_s is None or now_s - self._since_s < _LEAST_S or not self._seen:
            return False
        return self._seen[0][1] >= _SHARE * limit_bytes

    def forget(self) -> None:
        """Begin anew: the heap was just trimmed."""
        self._seen.clear()
        self._since_s = None
