"""The analyzer by itself: a thread that reads memory for services which run no processor, and watches their event loop.

Covers the thread alone; what it reads is judged by `memflow.analysis.analyzer`. A thread rather than a task, since a
task would stand still with the very loop that it should report.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from threading import Event, Thread, get_ident
from time import monotonic

__all__ = ["WatchThread"]

INTERVAL_S = 0.1
"""Seconds between two readings."""
_FRAMES = 3


class WatchThread:
    """Reads memory every tenth of a second, and asks the event loop for a sign of life.

    Args:
        sample: takes a reading, and tells who listens.
        call_soon: schedules a function on the event loop, from any thread.
        blocked_s: seconds without a sign of life from which the loop is blocked.
        blocked: told every time while it is: for how many seconds, and where the loop's thread is.
        unblocked: told once it is over.
        failed: told, inside the `except`, of whatever any of these raised; watching goes on.
    """

    def __init__(
        self,
        sample: Callable[[], object],
        *,
        call_soon: Callable[[Callable[[], object]], object],
        blocked_s: float,
        blocked: Callable[[float, str], None],
        unblocked: Callable[[float], None],
        failed: Callable[[], None],
    ) -> None:
        self._sample = sample
        self._call_soon = call_soon
        self._blocked_s = blocked_s
        self._blocked = blocked
        self._unblocked = unblocked
        self._failed = failed
        self._loop_thread = get_ident()
        self._stop = Event()
        self._answered = True
        self._asked_s = monotonic()
        self._was_blocked = False
        self._thread = Thread(target=self._run, name="memflow watch", daemon=True)

    def start(self) -> None:
        """Begin; call it in the event loop's thread."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for what is being read."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self._sample()
                self._ask(monotonic())
            except Exception:
                self._failed()  # such as a file of the kernel's that could not be read this once

    def _ask(self, now_s: float) -> None:
        silent_s = now_s - self._asked_s
        if not self._answered:
            if silent_s >= self._blocked_s:
                self._was_blocked = True
                self._blocked(silent_s, _whereabouts(self._loop_thread))
            return
        if self._was_blocked:
            self._was_blocked = False
            self._unblocked(silent_s)
        self._answered, self._asked_s = False, now_s
        try:
            self._call_soon(self._answer)
        except RuntimeError:  # the loop is gone
            self._answered = True

    def _answer(self) -> None:
        self._answered = True


def _whereabouts(thread: int) -> str:
    """Return where a thread is, innermost call first; "" where it has ended."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    calls = traceback.extract_stack(frame)[-_FRAMES:]
    return ", called by ".join(f"{each.name} ({each.filename}:{each.lineno})" for each in reversed(calls))
