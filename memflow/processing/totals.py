"""The counters of one processor: changed by its calls, read by `statistics()`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from memflow.processing.outcome import SizeChange
from memflow.processing.response import Wait

__all__ = ["Totals"]


class Totals:
    """Counts over a processor's life. Every field is meant as in `ProcessorStatistics`.

    Attributes:
        on_giving_up: told when a wait for memory has lasted too long, just before its call ends.
    """

    def __init__(self) -> None:
        self.items_done = 0
        self.items_failed = 0
        self.items_in_flight = 0
        self.batches_done = 0
        self.retries = 0
        self.items_rerun = 0
        self.items_preempted = 0
        self.waits = 0
        self.waited_s = 0.0
        self.longest_wait_s = 0.0
        self.waits_alone = 0
        self.waits_given_up = 0
        self.on_giving_up: Callable[[], None] = lambda: None
        self.splits = 0
        self.waiting: dict[Wait, None] = {}
        self.calls_open = 0
        self.batch_size = 0
        self.concurrency = 0
        self.size_changes: deque[SizeChange] = deque(maxlen=256)
        self._began_s: float | None = None
        self._busy_since_s = 0.0
        self._busy_s = 0.0
        self._sizes: dict[str, tuple[int, int]] = {}

    def call_opened(self, now_s: float) -> None:
        """Count a call that begins."""
        if self._began_s is None:
            self._began_s = now_s
        if self.calls_open == 0:
            self._busy_since_s = now_s
        self.calls_open += 1

    def call_closed(self, now_s: float) -> None:
        """Count a call that has ended."""
        self.calls_open -= 1
        if self.calls_open == 0:
            self._busy_s += now_s - self._busy_since_s

    def elapsed_s(self, now_s: float) -> float:
        """Seconds during which at least one call was running."""
        return self._busy_s + (now_s - self._busy_since_s if self.calls_open else 0.0)

    def batch_finished(self, size: int, failed: int) -> None:
        """Count a batch that is finished, `failed` of its items being failures."""
        self.batches_done += 1
        self.items_done += size - failed
        self.items_failed += failed
        self.items_in_flight -= size

    def batch_broken_off(self, size: int, ended: int, failed: int) -> None:
        """Count a batch that will not be finished: `ended` of its items are, `failed` of those being failures."""
        self.items_done += ended - failed
        self.items_failed += failed
        self.items_in_flight -= size

    def note_sizes(self, operation: str, batch_size: int, concurrency: int, now_s: float) -> None:
        """Remember sizes when they differ from the last of this operation."""
        if self._sizes.get(operation) == (batch_size, concurrency):
            return
        self._sizes[operation] = (batch_size, concurrency)
        self.batch_size, self.concurrency = batch_size, concurrency
        began_s = self._began_s if self._began_s is not None else now_s
        self.size_changes.append(SizeChange(now_s - began_s, operation, batch_size, concurrency))

    def present_wait(self, now_s: float) -> tuple[str, float]:
        """Return the step and the seconds of the longest wait for memory that lasts still; "" and 0 without one."""
        waiting = list(self.waiting)  # in one go, since another thread may ask
        if not waiting:
            return "", 0.0
        longest = min(waiting, key=lambda wait: wait.began_s)
        return longest.step.value, max(0.0, now_s - longest.began_s)

    def count_retry(self) -> None:
        """Count an attempt beyond the first."""
        self.retries += 1
