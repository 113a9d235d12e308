"""Makes sure that growth is no garbage that waits for a full collection.

Covers asking for one, off the event loop, and what it says. CPython collects its oldest generation seldom (it has to
grow by a quarter first), and until then objects in cycles that nobody holds are as live as any to whoever counts
blocks. Where the collector is off or frozen, `memflow.analysis.growth_watch` tells that as `cyclic_garbage`.
"""

from __future__ import annotations

import _thread
import gc
import sys
import time
from collections.abc import Callable, Mapping
from enum import Enum

from memflow.analysis.collecting import Collection, collect_once
from memflow.analysis.growth_evidence import MB

__all__ = ["GarbageCheck", "Growth", "full_collections"]

GARBAGE_SHARE = 0.5
"""Share of what live memory has gained that a collection must have freed to call that garbage."""
TIME_SHARE = 0.005
"""Share of the time that collecting may take."""
MOST_BLOCKS = 3_000_000
"""Blocks of the allocator beyond which nobody is made to wait: a collection holds all threads, 50 ms for a million."""


class Growth(Enum):
    """What growth is."""

    LIVE = "live"
    """No garbage, or nobody can tell."""
    UNSURE = "unsure"
    """A collection will tell in a moment."""
    GARBAGE = "garbage"
    """Most of it is gone: it was garbage."""


class GarbageCheck:
    """Asks for a full collection where growth has been found since the last one, and for no more than it has to.

    Args:
        count: Tells how many full collections there have been.
        collect: Collects.
        start: Runs a function in a thread of its own.
        clock: Seconds of a monotonic clock.

    Attributes:
        times: How often growth turned out to be garbage.
    """

    def __init__(
        self,
        *,
        count: Callable[[], int] | None = None,
        collect: Callable[[], Collection] = collect_once,
        start: Callable[[Callable[[], None]], object] = lambda run: _thread.start_new_thread(run, ()),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.times = 0
        self._count = count if count is not None else full_collections
        self._collect, self._start, self._clock = collect, start, clock
        self._seen = -1
        self._full_s = self._next_s = float("-inf")
        self._running = False
        self._gained_bytes, self._was_garbage = 0.0, False
        self._found: Collection | None = None

    def sample(self, now_s: float) -> None:
        """Take note of the time, in seconds of the readings' clock, if there was a full collection since the last."""
        seen = self._count()
        if seen != self._seen:
            self._full_s = now_s if self._seen >= 0 else float("-inf")
            self._seen = seen

    def judge(self, evidence: Mapping[str, float] | None, *, since_s: float) -> Growth:
        """Say what growth is; never waits.

        Args:
            evidence: Of the growth, as found; None where none is, as it may be once a collection has freed it.
            since_s: A full collection after this time would have shown it, in seconds of the readings' clock.
        """
        if self._running:
            return Growth.UNSURE
        found, self._found = self._found, None
        if found is not None:
            is_garbage = found.objects > 0 and found.freed_bytes >= GARBAGE_SHARE * self._gained_bytes
            self.times += is_garbage
            self._was_garbage = is_garbage
            return Growth.GARBAGE if is_garbage else Growth.LIVE
        if evidence is None:
            return Growth.LIVE
        self._gained_bytes = evidence["live_growth_mb_per_min"] * MB / 60 * evidence["seen_s"]
        told = not gc.isenabled() or self._gained_bytes <= 0 or self._full_s >= since_s
        if told or sys.getallocatedblocks() > MOST_BLOCKS:
            return Growth.LIVE
        if self._clock() < self._next_s:  # what was garbage before may be so again
            return Growth.UNSURE if self._was_garbage else Growth.LIVE
        self._running = True
        try:
            self._start(self._run)
        except RuntimeError:  # no room for a thread
            self._running = False
            return Growth.LIVE
        return Growth.UNSURE

    def _run(self) -> None:
        try:
            self._found = self._collect()
            self._next_s = self._clock() + self._found.took_ms / 1000 / TIME_SHARE
        finally:
            self._running = False


def full_collections() -> int:
    """Return how often CPython has collected all generations."""
    return int(gc.get_stats()[-1]["collections"])
