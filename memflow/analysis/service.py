"""A thread that asks event loops for a sign of life, and reads memory where no processor does.

Covers the thread and who is asked. What silences mean is `memflow.analysis.blocked`'s; what is read is judged by
`memflow.analysis.analyzer`. A thread rather than a task, since a task would stand still with the very loop that it
should report. It runs while a call of a processor runs, or an analyzer by itself, and ends by itself after that.
"""

from __future__ import annotations

import _thread
import asyncio
import sys
import time
from collections.abc import Callable
from threading import RLock, get_ident
from types import FrameType

from memflow.analysis.advice_blocked import STARVED
from memflow.analysis.blocked import BlockBook, excused_s
from memflow.analysis.channel import CallSoon, current_call_soon
from memflow.analysis.detectors import Finding

__all__ = ["WatchThread"]

INTERVAL_S, LEAST_INTERVAL_S = 0.1, 0.02
"""Seconds between two looks, at most and at least: a fifth of the silence that counts."""
_FRAMES = 3
_WAITS = frozenset(
    {"selectors", "asyncio.windows_events", "trio._core._io_epoll", "trio._core._io_kqueue", "trio._core._io_windows"}
)


class WatchThread:
    """Asks each watched loop for a sign of life, ten times a second.

    Args:
        book: keeps what they answer.
        found: told in that thread, and when a loop is left, of a block that lasts or has ended, and the time.
        over: told once all is well again: what it came to, where, and the time.
        failed: told, inside the `except`, of whatever any of these raised; watching goes on.
        clock: seconds of a monotonic clock.
        cpu_clock: processor seconds of this process.
        start: runs a function in a thread of its own; replaced in tests.
        sleep: waits between two looks; replaced in tests.
    """

    def __init__(
        self,
        book: BlockBook,
        *,
        found: Callable[[Finding, float], None],
        over: Callable[[Finding, str, float], None],
        failed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
        start: Callable[[Callable[[], None]], object] | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.interval_s = min(INTERVAL_S, max(LEAST_INTERVAL_S, book.blocked_s / 5))
        self._book = book
        self._found = found
        self._over = over
        self._failed = failed
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._start = start if start is not None else _start_thread
        self._sleep = sleep
        self._sample: Callable[[], object] | None = None
        self._loops: dict[int, _Loop] = {}
        self._running = False
        # Reentrant: collecting garbage may end an abandoned call in whatever thread is here.
        self._lock, self._looking = RLock(), RLock()
        self._looked_s = self._looked_cpu_s = 0.0

    def join(self, sample: Callable[[], object] | None = None) -> Callable[[], None]:
        """Watch the loop that runs in this thread; returns what ends that, to be called in the same thread.

        Args:
            sample: takes a reading and tells who listens; called at each look from now on.
        """
        thread = get_ident()
        with self._lock:
            loop = self._loops.get(thread)
            if loop is None:
                loop = self._loops[thread] = _Loop(thread, current_call_soon(), self._clock)
            loop.users += 1
            if sample is not None:
                self._sample = sample
            if not self._running:
                self._begin()

        def leave() -> None:
            if sample is not None:
                with self._looking:  # what is being read is finished first
                    self._sample = None
            self._leave(loop)

        return leave

    def _begin(self) -> None:
        self._looked_s, self._looked_cpu_s = self._clock(), self._cpu_clock()
        self._running = True
        try:
            self._start(self._run)
        except RuntimeError:  # no room for a thread: the next call tries again
            self._running = False

    def _leave(self, loop: _Loop) -> None:
        with self._lock:
            loop.users -= 1
            if loop.users:
                return
            self._drop(loop)
        with self._looking:
            try:
                now_s = self._clock()
                # Whoever leaves is alive, whether or not what asks for a sign of it has had its turn.
                loop.answer()
                self._look_at(loop, now_s, self._excused_s(now_s))
                self._end(now_s, at_once=not self._loops)
            except Exception:
                self._failed()

    def _drop(self, loop: _Loop) -> None:
        if self._loops.get(loop.thread) is loop:
            del self._loops[loop.thread]

    def _run(self) -> None:
        while True:
            self._sleep(self.interval_s)
            with self._lock:
                if not self._loops:
                    self._running = False
                    return
            with self._looking:
                try:
                    self._look()
                except Exception:
                    self._failed()  # such as a file of the kernel's that could not be read this once

    def _look(self) -> None:
        now_s = self._clock()
        excused = self._excused_s(now_s)
        self._looked_s, self._looked_cpu_s = now_s, self._cpu_clock()
        for loop in tuple(self._loops.values()):
            self._look_at(loop, now_s, excused)
            if loop.has_answered and not loop.ask(now_s):
                with self._lock:
                    self._drop(loop)
        self._end(now_s)
        if self._sample is not None:
            self._sample()

    def _excused_s(self, now_s: float) -> float:
        return excused_s(now_s - self._looked_s, self._cpu_clock() - self._looked_cpu_s, self.interval_s)

    def _look_at(self, loop: _Loop, now_s: float, excused: float) -> None:
        loop.excused_s += excused
        if not loop.is_running:  # between two runs of it, say; then nobody holds it up
            loop.answer()
        silent_s = loop.silent_s(now_s)
        if loop.has_answered:
            found = self._book.answered(loop.thread, silent_s, now_s)
        else:
            place = _whereabouts(loop.thread) if silent_s >= self._book.blocked_s else ""
            found = self._book.silent(loop.thread, silent_s, place)
        if found is not None:
            self._found(found, now_s)

    def _end(self, now_s: float, *, at_once: bool = False) -> None:
        place = self._book.usual_place
        found = self._book.end(now_s, at_once=at_once)
        if found is not None:
            self._over(found, place, now_s)


class _Loop:
    """A loop, and what was asked of it last."""

    __slots__ = ("_answered_s", "_asked_s", "_call_soon", "_clock", "excused_s", "thread", "users")

    def __init__(self, thread: int, call_soon: CallSoon, clock: Callable[[], float]) -> None:
        self.thread = thread
        self.users = 0
        self.excused_s = 0.0
        self._call_soon = call_soon
        self._clock = clock
        # It is alive now, as the call that is joining shows: what blocks it from here on counts.
        self._asked_s = clock()
        self._answered_s: float | None = None
        self._send()

    @property
    def is_running(self) -> bool:
        """False where asyncio says that the loop does not run now."""
        owner = getattr(self._call_soon, "__self__", None)
        return not isinstance(owner, asyncio.AbstractEventLoop) or owner.is_running()

    @property
    def has_answered(self) -> bool:
        return self._answered_s is not None

    def silent_s(self, now_s: float) -> float:
        """Seconds from the last question to its answer, or to now."""
        until_s = self._answered_s if self._answered_s is not None else now_s
        return max(0.0, until_s - self._asked_s - self.excused_s)

    def ask(self, now_s: float) -> bool:
        """Ask anew; False where the loop is gone."""
        self._asked_s, self._answered_s, self.excused_s = now_s, None, 0.0
        return self._send()

    def _send(self) -> bool:
        try:
            self._call_soon(self.answer)
        except RuntimeError:
            return False
        return True

    def answer(self) -> None:
        if self._answered_s is None:
            self._answered_s = self._clock()


def _whereabouts(thread: int) -> str:
    """Return where a thread is, innermost call first; "" where it has ended."""
    frame: FrameType | None = sys._current_frames().get(thread)
    if frame is None:
        return ""
    if frame.f_globals.get("__name__") in _WAITS:
        return STARVED
    calls: list[str] = []
    while frame is not None and len(calls) < _FRAMES:
        calls.append(f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back
    return ", called by ".join(calls)


def _start_thread(run: Callable[[], None]) -> None:
    # Not `threading.Thread`, whose `start` waits for the thread to come up, which it never does without memory.
    _thread.start_new_thread(run, ())
