"""The shared memory state: the latest reading, the level, a bounded history, and who is told.

Written by `memflow.memory.sampler` alone, read by everybody. Making one does no I/O.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MethodType

from memflow.memory.allocator import read_allocator
from memflow.memory.pins import Pins
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import AllocatorReading, MemoryLimit, MemoryReading, MemoryWindow
from memflow.memory.work import WorkLedger

__all__ = ["History", "MemoryState"]

Listener = Callable[[MemoryWindow], None]


class History:
    """Readings in bounded room: when full, neighbours are merged pairwise, so the span grows and the size does not.

    A merged reading keeps the later time, the lower RSS (the floor), and the higher peak and use.
    """

    __slots__ = ("_interval_s", "_readings", "_size")

    def __init__(self, size: int = 240) -> None:
        self._size = size
        self._readings: list[MemoryReading] = []
        self._interval_s = 0.0

    def append(self, reading: MemoryReading) -> None:
        """Add a reading; one that comes sooner than the history's present interval is merged into the last."""
        readings = self._readings
        if readings and reading.time_s - readings[-1].time_s < self._interval_s:
            last = readings[-1]
            if (
                reading.rss_bytes < last.rss_bytes
                or reading.peak_rss_bytes > last.peak_rss_bytes
                or reading.in_use_bytes > last.in_use_bytes
                or reading.limit_bytes != last.limit_bytes
            ):
                readings[-1] = _merge(last, reading, keep_time=True)
            return
        readings.append(reading)
        if len(readings) >= self._size:
            self._halve()

    def _halve(self) -> None:
        old = self._readings
        pairs = zip(old[0::2], old[1::2], strict=False)
        self._readings = [_merge(first, second) for first, second in pairs] + old[len(old) - len(old) % 2 :]
        span_s = old[-1].time_s - old[0].time_s
        self._interval_s = max(self._interval_s * 2, span_s / len(old))

    def readings(self) -> tuple[MemoryReading, ...]:
        """Return what is kept, oldest first."""
        return tuple(self._readings)

    def __iter__(self) -> Iterator[MemoryReading]:
        return iter(self.readings())

    def __len__(self) -> int:
        return len(self._readings)


def _merge(first: MemoryReading, second: MemoryReading, *, keep_time: bool = False) -> MemoryReading:
    # Not `dataclasses.replace`, which takes five times as long.
    return MemoryReading(
        first.time_s if keep_time else second.time_s,
        min(first.rss_bytes, second.rss_bytes),
        max(first.peak_rss_bytes, second.peak_rss_bytes),
        max(first.in_use_bytes, second.in_use_bytes),
        second.limit_bytes,
    )


@dataclass(frozen=True, slots=True)
class _Subscription:
    """A listener, held weakly where it is a method, so that a state outlives nobody."""

    call: Callable[[], Listener | None]


class MemoryState:
    """What is known about memory now. Attributes are replaced whole, so that reading them needs no lock.

    Attributes:
        reading: the latest reading, None before the first.
        limit: the effective limit and where it came from, None before the first reading.
        level: how near the limit is.
        peak_in_use_bytes: the largest use seen since the state was made, in bytes.
        work: what is in flight, by operation.
        pins: who keeps what has ended alive for a moment.
        history: earlier readings, bounded.
        samples: how many readings were taken.
    """

    def __init__(self, *, history_size: int = 240, work: WorkLedger | None = None) -> None:
        self.reading: MemoryReading | None = None
        self.limit: MemoryLimit | None = None
        self.level = PressureLevel.NORMAL
        self.peak_in_use_bytes = 0
        self.peak_rss_bytes = 0
        self.samples = 0
        self.work = work if work is not None else WorkLedger()
        self.pins = Pins()
        self.history = History(history_size)
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._heap: AllocatorReading | None = None
        self._shares_heap = False

    def accept(self, window: MemoryWindow, level: PressureLevel) -> None:
        """Take a closed window in and tell the listeners. Called by the sampler alone."""
        reading = window.reading
        self.reading = reading
        self.level = level
        self.samples += 1
        # The group's own peak isn't resettable everywhere; what this process had on top of its present use is.
        peak = reading.in_use_bytes + max(0, reading.peak_rss_bytes - reading.rss_bytes)
        if peak > self.peak_in_use_bytes:
            self.peak_in_use_bytes = peak
        if reading.peak_rss_bytes > self.peak_rss_bytes:
            self.peak_rss_bytes = reading.peak_rss_bytes
        self.history.append(reading)
        for each in self._subscriptions:
            listener = each.call()
            if listener is not None:
                listener(window)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every window from now on; returns what ends it.

        A bound method is held weakly: it ends by itself with its object. Listeners are called in the thread that
        samples and must neither block nor raise.
        """
        subscription = _Subscription(
            weakref.WeakMethod(listener) if isinstance(listener, MethodType) else lambda: listener
        )
        alive = tuple(each for each in self._subscriptions if each.call() is not None)
        self._subscriptions = (*alive, subscription)

        def unsubscribe() -> None:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)

        return unsubscribe

    def allocator(self) -> AllocatorReading:
        """Ask the allocators now (about 2 µs on a small heap, more on a large one), or as `share_heap` says."""
        found = self._heap
        if found is None:
            found = read_allocator()
            if self._shares_heap:
                self._heap = found
        return found

    def share_heap(self, *, share: bool = True) -> None:
        """From now on, answer with what the allocators say next; or no longer. For the sampler, around one reading.

        Several who learn from a reading ask, one after the other, and each would have every free block walked.
        """
        self._shares_heap = share
        self.forget_heap()

    def forget_heap(self) -> None:
        """Ask anew: the heap was trimmed."""
        self._heap = None
