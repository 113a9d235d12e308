"""What detectors need between two looks: since when use is high, samples of live memory, how often growth was seen.

Covers `UseWatch` and `GrowthWatch`, which turn readings into changes (something was found, something is over), and
`StallWatch`, which picks the one wait for memory that is told about. They
read no clock but the one that counts their own cost, and tell nobody: that is `memflow.analysis.analyzer`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping

from memflow.analysis.detectors import (
    Finding,
    IssueKind,
    Stall,
    StallStep,
    Thresholds,
    UseWindow,
    admission_stalled,
    high_utilization,
    near_limit,
)
from memflow.analysis.growth import MIN_ROWS, GrowthWindow, growth, span_s, still_growing
from memflow.analysis.trend import History
from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow

__all__ = ["Change", "GrowthWatch", "StallWatch", "UseWatch"]

Change = Finding | IssueKind
"""A finding: it is there. A kind: the open issue of that kind is over."""

USE_INTERVAL_S = 0.05
"""Least seconds between two looks at high use; reaching the limit is looked at at once."""
SAMPLE_INTERVAL_S = 0.05
"""Least seconds between two samples of live memory."""
IDLE_SAMPLE_S = 1.0
"""Seconds after which a sample is taken although no item was finished."""
SAMPLES_PER_LOOK = 5
"""Samples between two looks at growth."""
LOOKS_IN_A_ROW = 3
"""Looks that must agree before growth is believed, and before it counts as over."""
MOST_TIME_SHARE = 0.01
"""Share of the time that sampling and looking at growth may take."""
RECENT_SAMPLES = 60
"""Samples after which it is seen anew which operations are at work."""


_STEPS = tuple(StallStep)


class UseWatch:
    """Watches use of the limit."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.high_share = thresholds.high_pct / 100
        self._near_share = thresholds.near_pct / 100
        self.busy = False
        """True while use is high or was found to be: then every reading is to be looked at."""
        self._high_since_s: float | None = None
        self._calm_since_s: dict[IssueKind, float | None] = {}
        self._next_look_s = float("-inf")

    def look(self, reading: MemoryReading, *, drained: bool) -> Iterator[Change]:
        """Judge a reading; an open issue that it is clear of ends after `sustained_s`, or at once when work is over."""
        high = reading.in_use_bytes >= self.high_share * reading.limit_bytes
        if not high:
            self._high_since_s = None
        elif self._high_since_s is None:
            self._high_since_s = reading.time_s
        near_share = self.thresholds.near_pct / 100
        nearer = (
            reading.in_use_bytes >= near_share * reading.limit_bytes and IssueKind.NEAR_LIMIT not in self._calm_since_s
        )
        if nearer or drained or reading.time_s >= self._next_look_s:
            self._next_look_s = reading.time_s + USE_INTERVAL_S
            yield from self._judge(self.window(reading), drained=drained)
        self.busy = high or bool(self._calm_since_s)

    def window(self, reading: MemoryReading) -> UseWindow:
        """Return what the detectors of use look at."""
        return UseWindow(reading.time_s, self._high_since_s, reading.in_use_bytes, reading.limit_bytes)

    def _judge(self, window: UseWindow, *, drained: bool) -> Iterator[Change]:
        for kind, detect in ((IssueKind.NEAR_LIMIT, near_limit), (IssueKind.HIGH_UTILIZATION, high_utilization)):
            is_open = kind in self._calm_since_s
            finding = detect(window, self.thresholds, is_open=is_open)
            if finding is not None:
                self._calm_since_s[kind] = None
                yield finding
            elif is_open and self._has_calmed(kind, window.now_s, drained=drained):
                del self._calm_since_s[kind]
                yield kind

    def _has_calmed(self, kind: IssueKind, now_s: float, *, drained: bool) -> bool:
        since_s = self._calm_since_s[kind]
        if since_s is None:
            since_s = self._calm_since_s[kind] = now_s
        return drained or now_s - since_s >= self.thresholds.sustained_s

    def clock_went_back(self) -> None:
        """Forget every time that was noted."""
        self._high_since_s, self._next_look_s = None, float("-inf")
        self._calm_since_s = dict.fromkeys(self._calm_since_s)


class StallWatch:
    """Follows one wait for memory at a time: the first that lasts too long, until that one is over."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._followed: Hashable = None
        self._furthest = -1

    def look(self, waiter: Hashable, stall: Stall) -> tuple[Finding | None, bool]:
        """Judge a wait: what was found, and whether it has come to a further step than ever told."""
        if self._followed not in (None, waiter):
            return None, False
        finding = admission_stalled(stall, self.thresholds, is_open=self._followed == waiter)
        if finding is None:
            return None, False
        self._followed = waiter
        rank = _STEPS.index(stall.step)
        further, self._furthest = rank > self._furthest, max(rank, self._furthest)
        return finding, further

    def ended(self, waiter: Hashable) -> bool:
        """Note that a wait is over; True when it was the one that was told about."""
        if self._followed is None or self._followed != waiter:
            return False
        self._followed, self._furthest = None, -1
        return True


class GrowthWatch:
    """Samples live memory at batch boundaries, and looks for growth every few samples.

    Args:
        thresholds: what is worth reporting.
        read_allocator: asks the allocators.
        cost_clock: processor seconds of this thread.
    """

    def __init__(
        self,
        thresholds: Thresholds,
        read_allocator: Callable[[], AllocatorReading],
        *,
        cost_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.thresholds = thresholds
        self.next_sample_s = float("-inf")
        self.allocator: AllocatorReading | None = None
        """What the allocators said at the last sample."""
        self.agreeing = 0
        """Looks in a row that found growth which is not open yet."""
        self._read_allocator = read_allocator
        self._cost_clock = cost_clock
        self._live = {"blocks": History(), "native_bytes": History()}
        self._rss = History()
        self._is_open = False
        self._over = 0
        self._unseen = 0
        self._samples = 0
        self._last_items = -1
        self._last_s = float("-inf")
        self._items_before: Mapping[str, int] = {}
        self._items_recent: Mapping[str, int] = {}

    def sample(self, window: MemoryWindow) -> Change | None:
        """Take a sample if a batch has ended since the last one, and look for growth if enough have been taken."""
        items, now_s = sum(window.items_done.values()), window.reading.time_s
        if items == self._last_items and now_s - self._last_s < IDLE_SAMPLE_S:
            return None
        self.next_sample_s = now_s + SAMPLE_INTERVAL_S  # first, so that a fault below is not met again at once
        began_s = self._cost_clock()
        self._last_items, self._last_s = items, now_s
        self._add(window, items)
        change = None
        if self._unseen >= max(SAMPLES_PER_LOOK, self._rss.samples_per_row):
            self._unseen = 0
            change = self._look(window.reading)
        self.next_sample_s = now_s + max(SAMPLE_INTERVAL_S, (self._cost_clock() - began_s) / MOST_TIME_SHARE)
        return change

    def _add(self, window: MemoryWindow, items: int) -> None:
        reading = window.reading
        load = 0.0 if window.drained else sum(window.loads.values())
        found = self.allocator = self._read_allocator()
        self._live["blocks"].add(items, reading.time_s, load, found.blocks)
        native = self._live["native_bytes"]
        if found.native_live_bytes is not None:
            native.add(items, reading.time_s, load, found.native_live_bytes)
        elif len(native):  # given up, since it answered too slowly: old samples alone say nothing about now
            native.clear()
        self._rss.add(items, reading.time_s, load, reading.rss_bytes)
        if self._samples % RECENT_SAMPLES == 0:
            self._items_before, self._items_recent = self._items_recent, window.items_done
        self._samples += 1
        self._unseen += 1

    def window(self, reading: MemoryReading) -> GrowthWindow:
        """Return what the detectors of growth look at."""
        live = {name: history.series() for name, history in self._live.items() if len(history)}
        return GrowthWindow(live, self._rss.series(), reading.headroom_bytes)

    def _look(self, reading: MemoryReading) -> Change | None:
        if len(self._rss) < MIN_ROWS:
            return None
        window = self.window(reading)
        if self._is_open:
            return self._look_again(window)
        finding = growth(window, self.thresholds)
        self.agreeing = self.agreeing + 1 if finding is not None else 0
        if self.agreeing < LOOKS_IN_A_ROW:
            return None
        self._is_open, self.agreeing, self._over = True, 0, 0
        return finding

    def _look_again(self, window: GrowthWindow) -> Change | None:
        finding = still_growing(window, self.thresholds)
        self._over = 0 if finding is not None else self._over + 1
        if self._over < LOOKS_IN_A_ROW:
            return finding
        self._is_open = False
        return IssueKind.GROWTH

    def operation(self, items_done: Mapping[str, int]) -> str | None:
        """Return the only operation that finished items lately; None for several, any of which may be the cause."""
        busy = [name for name, done in items_done.items() if done > self._items_before.get(name, 0)]
        return busy[0] if len(busy) == 1 else None

    @property
    def samples(self) -> int:
        """Samples that are kept (rows)."""
        return len(self._rss)

    def span_s(self, reading: MemoryReading) -> float:
        """Seconds that the samples span."""
        return span_s(self.window(reading))

    @property
    def room_bytes(self) -> int:
        """What the histories take; the same for every length of run."""
        return sum(history.room_bytes for history in (*self._live.values(), self._rss))

    def clock_went_back(self) -> None:
        """Forget every sample: their times are worth nothing now."""
        for history in (*self._live.values(), self._rss):
            history.clear()
        self.next_sample_s = self._last_s = float("-inf")
        self._unseen = self.agreeing = 0
