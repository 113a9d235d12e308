"""When allocations are traced, for how long, and what came of it: the life of a window.

Covers one window at a time in a process, what it may cost in time and memory, and its end, whatever happens. Tracing
is `memflow.analysis.tracers`', ranking `memflow.analysis.sites`'.

A window is two looks, with a rest after each that is four times as long as it: a fifth of the window is traced. So the
program takes at most one and a quarter times as long over the whole of it, however slow tracing makes it, and reading
what was seen takes a little more. The second look is twice as long as the first (or half as long, where the first has
seen enough before its time), which tells what stays from what is in flight.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from memflow.analysis.places import belongs, function_at
from memflow.analysis.sites import Look, name_site, rank_sites
from memflow.analysis.suspect import Suspect
from memflow.analysis.tracers import CannotTrace, Tracer

__all__ = ["PROCESS", "AllocationSites", "Windows"]

_log = logging.getLogger("memflow.analysis")

TRACED_SHARE = 1 / 5
"""Share of a window that is traced."""
HOUR_S, HOUR_SHARE = 3600.0, 0.05
"""Seconds over which the share of windows is counted, and that share."""
POLL_S = 0.02
"""Seconds between two checks of what a look costs meanwhile."""
ROOM_KEPT = 0.5
"""Share of the room that must still be there, or a look ends."""
AGAIN_S = 10.0
"""Seconds after which what could not begin is tried again."""
_AT_EXIT_S = 2.0


class Windows:
    """The windows of one process: one at a time, and 5 % of any hour, and of the time until the next, for all."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._taken: deque[tuple[float, float]] = deque()
        self._next_s = float("-inf")
        self._present: tuple[Tracer, threading.Event, threading.Event] | None = None
        self._is_registered = False

    def enter(self, now_s: float, window_s: float) -> bool:
        """Begin a window if there is none, and time for it; `leave` must follow."""
        if not self._lock.acquire(blocking=False):
            return False
        while self._taken and self._taken[0][0] <= now_s - HOUR_S:
            self._taken.popleft()
        if now_s >= self._next_s and sum(took for _, took in self._taken) + window_s <= HOUR_SHARE * HOUR_S:
            return True
        self._lock.release()
        return False

    def hold(self, tracer: Tracer, over: threading.Event, ended: threading.Event) -> None:
        """Note what is running, for the end of the process and for children that are forked meanwhile."""
        self._present = tracer, over, ended
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self._at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._after_fork)

    def leave(self, began_s: float, now_s: float) -> None:
        """End a window, and pay for it."""
        self._present = None
        took_s = now_s - began_s
        try:
            if took_s > 0:
                self._next_s = began_s + took_s / HOUR_SHARE
                self._taken.append((now_s, took_s))
        finally:
            self._lock.release()

    def _at_exit(self) -> None:
        if self._present is not None:
            _, over, ended = self._present
            over.set()
            ended.wait(_AT_EXIT_S)

    def _after_fork(self) -> None:
        if self._present is not None:
            self._present[0].forked()
            self._present = None
            self._lock.release()


PROCESS = Windows()
"""The windows of this process."""


class AllocationSites:
    """Traces allocations for a short while when it is asked to look, in a thread, and names the places.

    Args:
        tracer: Sees what is allocated.
        window_s: Seconds of a window.
        told: Called in that thread once there are places.
        items: Counts the items that are finished.
        room_bytes: Tells the room that is left.
        windows: Of the process.
        clock: Seconds of a monotonic clock.
        start: Runs a function in a thread of its own; replaced in tests.
        wait: Waits so many seconds, or until the event is set, and says whether it is; replaced in tests.

    Attributes:
        suspects: the places whose live bytes grew, the largest gain first; plain values.
        notes: what could not be done, or was not seen, in words.
        is_open: True during a window.
        is_tracing: True during a look of it.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        window_s: float,
        told: Callable[[], None],
        items: Callable[[], int],
        room_bytes: Callable[[], int],
        windows: Windows = PROCESS,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], object] | None = None,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self.suspects: tuple[Suspect, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.is_open = self.is_tracing = False
        self._tracer: Tracer | None = tracer
        self._window_s = window_s
        self._told = told
        self._items = items
        self._room_bytes = room_bytes
        self._windows = windows
        self._clock = clock
        self._start = start if start is not None else _start_thread
        self._wait = wait
        self._over = threading.Event()
        self._next_s = float("-inf")
        self._read_at = (0.0, 0)

    def look(self) -> None:
        """Begin a window if none is open in the process and there is time and room for one. Cheap, never raises."""
        now_s, tracer = self._clock(), self._tracer
        if tracer is None or self.is_open or now_s < self._next_s:
            return
        over, ended = threading.Event(), threading.Event()
        if not self._windows.enter(now_s, self._window_s):
            return
        self.is_open, self._over = True, over

        def run() -> None:
            try:
                self._run(tracer, over)
            finally:
                self._leave(now_s)
                ended.set()

        try:
            tracer.refuse(self._room_bytes())
            self._windows.hold(tracer, over, ended)
            self._start(run)
        except CannotTrace as reason:
            self.notes = (str(reason),)
            self._leave(now_s, began=False)
        except (RuntimeError, MemoryError):  # no room for a thread
            self._leave(now_s, began=False)

    def forget(self) -> None:
        """Drop what was found and end what is running: growth is over."""
        self._over.set()
        self.suspects = self.notes = ()

    def close(self) -> None:
        """End what is running, within a moment, and begin no more."""
        self._tracer = None
        self._over.set()

    def _leave(self, began_s: float, *, began: bool = True) -> None:
        now_s = self._clock()
        self._next_s = now_s + AGAIN_S
        self.is_open = self.is_tracing = False
        self._windows.leave(began_s if began else now_s, now_s)

    def _run(self, tracer: Tracer, over: threading.Event) -> None:
        try:
            self._trace(tracer, over)
        except CannotTrace as reason:
            self.notes = (str(reason),)
        except MemoryError:
            self.notes = (f"{tracer.name} was stopped: there was no memory left for it",)
        except Exception:
            self._tracer = None
            self.notes = ("tracing allocations has failed, and is not tried again",)
            _log.exception("tracing allocations has failed, and is not tried again")
        finally:
            tracer.stop()

    def _trace(self, tracer: Tracer, over: threading.Event) -> None:
        began_s, short_s = self._clock(), self._window_s * TRACED_SHARE / 3
        early = self._look_once(tracer, over, short_s)
        is_baseline, (since_s, since_items) = tracer.keeps_baseline, self._read_at
        if early is None or self._wait(over, short_s / TRACED_SHARE - short_s):
            return
        # One that had seen enough before its time is the longer of the two: a second like it would tell nothing.
        late = self._look_once(tracer, over, 2 * short_s if early.seconds > 0.99 * short_s else early.seconds / 2)
        if late is None:
            return
        if tracer.keeps_baseline is not is_baseline:
            raise CannotTrace(f"{tracer.name} was started or stopped by somebody else meanwhile")
        if is_baseline:
            early = Look(0.0, 0, early.live)
            late = Look(self._read_at[0] - since_s, self._read_at[1] - since_items, late.live)
        if over.is_set():  # reading takes a moment: growth may be over by now
            return
        self._tell(tracer, *sorted((early, late), key=lambda look: look.seconds))
        rest_s = began_s + self._window_s - self._clock()
        if rest_s > 0:
            self._wait(over, rest_s)

    def _tell(self, tracer: Tracer, early: Look, late: Look) -> None:
        sites = rank_sites(early, late, belongs)
        if sites:
            self.suspects, self.notes = tuple(name_site(each, function_at) for each in sites), ()
            self._told()
        else:
            traced_s = early.seconds + late.seconds
            self.notes = (f"{tracer.name} saw nothing that stays, in {traced_s:.1f} s that were traced",)

    def _look_once(self, tracer: Tracer, over: threading.Event, seconds: float) -> Look | None:
        """Trace for so long, or until it costs too much; None where it was told to end."""
        room_bytes = self._room_bytes()
        self.is_tracing = True
        try:
            tracer.begin(room_bytes)
            items, began_s = self._items(), self._clock()
            while (left_s := began_s + seconds - self._clock()) > 0:
                if self._wait(over, min(POLL_S, left_s)):
                    return None
                if tracer.is_full or self._room_bytes() < ROOM_KEPT * room_bytes:
                    break
            self._read_at = self._clock(), self._items()
            return Look(self._read_at[0] - began_s, self._read_at[1] - items, tracer.read())
        finally:
            tracer.stop()
            self.is_tracing = False


def _start_thread(run: Callable[[], None]) -> None:
    # Not `threading.Thread`, whose `start` waits for the thread to come up, which it never does without memory.
    _thread.start_new_thread(run, ())
