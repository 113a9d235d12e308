"""Asks who holds what grows, off the event loop and within a budget of time.

Covers when snapshots are taken and what they may cost; taking and comparing them is `memflow.analysis.suspects`'.
Where the user allows it, the places in the code that allocate what stays are asked for too
(`memflow.analysis.allocation_sites`).

A snapshot is compared with the one before, never with the first: what filled up while the program warmed up must not
stand in the way of what grows now.
"""

from __future__ import annotations

import _thread
import gc
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from memflow.analysis.collecting import Collection, collect_once
from memflow.analysis.sites import beside
from memflow.analysis.suspects import Snapshot, Suspect, find_suspects, take_snapshot
from memflow.memory.pins import Pins

if TYPE_CHECKING:
    from memflow.analysis.allocation_sites import AllocationSites

__all__ = ["Inquiry"]

_log = logging.getLogger("memflow.analysis")

_BUDGET_S, _LARGE_BUDGET_S = 1.0, 2.5
"""Processor seconds of a snapshot, and of a comparison, at most; the latter on a large heap."""
_IDLE_SHARE = 0.01
_BUSY_SHARE = 0.05
_BUSY_LOOKS = 4
_EAGER_LOOKS = 3
_LEAST_INTERVAL_S = 0.1
_MANY_BLOCKS = 1_000_000
"""Blocks of the allocator from which a heap is large: looked at less thoroughly, unless that has found nothing."""


class Inquiry:
    """Looks for suspects in a thread of its own, at most one at a time.

    Args:
        enabled: False never looks.
        told: Called in that thread once there are new suspects.
        pins: Told while objects are held.
        clock: Seconds of a monotonic clock.
        start: Runs a function in a thread of its own; replaced in tests.
        sites: Asked for the places in the code too; None asks nobody.

    Attributes:
        collected: what collecting gave where the garbage collector is off; None where it was not asked.
        spent_s: what looking has cost so far, in processor seconds.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        told: Callable[[], None] = lambda: None,
        pins: Pins | None = None,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], object] | None = None,
        sites: AllocationSites | None = None,
    ) -> None:
        self.collected: Collection | None = None
        self.spent_s = 0.0
        self._holders: tuple[Suspect, ...] = ()
        self._notes: tuple[str, ...] = ()
        self._sites = sites
        self._compared = self._is_thorough = False
        self._enabled = enabled
        self._told = told
        self._pins = pins
        self._clock = clock
        self._start = start if start is not None else _start_thread
        self._running = False
        self._before: Snapshot | None = None
        self._before_items = 0
        self._looks = 0
        self._next_s = float("-inf")

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """Who seems to hold what grows, and the places that allocate it, the gravest first; plain values."""
        return beside(self._holders, self._sites.suspects) if self._sites is not None else self._holders

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be done, in words."""
        return self._notes + (self._sites.notes if self._sites is not None else ())

    @property
    def has_begun(self) -> bool:
        """True when there is a snapshot to compare with."""
        return self._before is not None

    def begin(self, items: int) -> None:
        """Take a snapshot to compare with, where something seems to have begun; at most 1 % of the time."""
        self._ask(items, compare=False)

    def look(self, items: int, *, may_collect: bool = False) -> None:
        """Take a snapshot and compare it with the one before; at most 5 % of the time, and less and less, down to 1 %.

        Args:
            items: Items finished so far.
            may_collect: Collect once where the garbage collector is off, to see whether what grows is garbage. Growth
                must have been told by then, since that ends it for a while.
        """
        self._ask(items, compare=True, may_collect=may_collect)
        # Not at the same time: what a snapshot allocates would be traced, and what is traced counted.
        if self._sites is not None and not self._running and (self._compared or not self._enabled):
            self._sites.look()

    def forget(self) -> None:
        """Drop what was found: growth is over."""
        self._holders, self.collected, self._looks, self._is_thorough = (), None, 0, False
        if self._sites is not None:
            self._sites.forget()

    def _ask(self, items: int, *, compare: bool, may_collect: bool = False) -> None:
        now_s = self._clock()
        # The first comparisons are what an issue waits for: they go ahead of their share.
        first = compare and not self._holders and self._looks < _EAGER_LOOKS and self._before is not None
        is_traced = self._sites is not None and self._sites.is_tracing
        if not self._enabled or self._running or is_traced or (now_s < self._next_s and not first):
            return
        self._running = True
        self._looks += compare and self._before is not None
        share = max(_IDLE_SHARE, _BUSY_SHARE * min(1.0, _BUSY_LOOKS / max(1, self._looks))) if compare else _IDLE_SHARE

        def run() -> None:
            began_s = time.thread_time()
            try:
                self._run(items, compare=compare, may_collect=may_collect)
            except MemoryError:
                pass  # there will be room another time
            except Exception:
                self._enabled = False
                self._notes = ("looking for who holds what grows has failed, and is not tried again",)
                _log.exception("looking for who holds what grows has failed, and is not tried again")
            finally:
                spent_s = time.thread_time() - began_s
                self.spent_s += spent_s
                self._next_s = self._clock() + max(_LEAST_INTERVAL_S, spent_s / share)
                self._running = False

        try:
            self._start(run)
        except RuntimeError:  # no room for a thread
            self._running = False

    def _run(self, items: int, *, compare: bool, may_collect: bool) -> None:
        before, before_items = self._before, self._before_items
        is_large = sys.getallocatedblocks() >= _MANY_BLOCKS
        budget_s, thorough = _LARGE_BUDGET_S if is_large else _BUDGET_S, self._is_thorough or not is_large
        after = take_snapshot(budget_s=budget_s, pins=self._pins, thorough=thorough)
        self._before, self._before_items = after, items
        if not compare or before is None or before.thorough is not thorough:
            return
        found = find_suspects(before, after, items=items - before_items, budget_s=budget_s, pins=self._pins)
        self._compared = True
        if may_collect and not gc.isenabled() and self.collected is None:
            self.collected = collect_once()
        if found:
            # What has grown again is no accident of the moment, such as work in flight: it goes first.
            again = {each.what for each in self._holders}
            self._holders = tuple(sorted(found, key=lambda suspect: suspect.what not in again))
        self._is_thorough = thorough or not found
        self._told()


def _start_thread(run: Callable[[], None]) -> None:
    # Not `threading.Thread`, whose `start` waits for the thread to come up, which it never does without memory.
    _thread.start_new_thread(run, ())
