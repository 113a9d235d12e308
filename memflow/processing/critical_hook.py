"""Calling `on_memory_critical`: off the hot path, once each time, never twice at the same time.

Covers running it beside the calls of one processor, from whichever thread a reading comes. When is decided in
`memflow.processing.critical`. While no call of the processor runs, nothing is watched.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from memflow.analysis.channel import current_call_soon
from memflow.exceptions import ConfigurationError
from memflow.execution.base import is_async
from memflow.memory.readings import MemoryWindow
from memflow.memory.state import MemoryState
from memflow.processing.critical import CriticalGauge, CriticalReason, MemoryCritical
from memflow.processing.outcome import ProcessorStatistics
from memflow.settings import MemflowSettings

__all__ = ["CriticalHook", "OnMemoryCritical", "make_hook"]

OnMemoryCritical = Callable[[MemoryCritical], Awaitable[Any] | Any]
_log = logging.getLogger("memflow.processing")


def make_hook(
    function: OnMemoryCritical | None,
    settings: MemflowSettings,
    state: MemoryState,
    statistics: Callable[[], ProcessorStatistics],
) -> CriticalHook | None:
    """Check what the user passed.

    Raises:
        ConfigurationError: it is not callable, or memory is not watched.
    """
    if function is None:
        return None
    if not callable(function):
        raise ConfigurationError(
            f"on_memory_critical must be callable, not {type(function).__name__}; pass the function itself"
        )
    if not settings.batch_processor.memory_monitoring:
        raise ConfigurationError(
            "on_memory_critical= would never be called with memory_monitoring=False; leave one of them out"
        )
    near_pct = settings.heap_analyzer.near_limit_threshold
    gauge = CriticalGauge(
        near_pct=near_pct,
        clear_pct=min(near_pct, settings.memory_manager.stop_pct) - settings.memory_manager.hysteresis_pct,
        sustained_s=settings.heap_analyzer.sustained_s,
    )
    return CriticalHook(function, gauge, state, statistics)


class _Alarm(NamedTuple):
    """Why the function is to be called, and how memory stood then: it may have changed before it is."""

    reason: CriticalReason
    window: MemoryWindow | None
    lasted_s: float


class CriticalHook:
    """Watches a memory state while calls run, and has one of them call the user's function.

    Args:
        function: the user's.
        gauge: decides.
        state: the memory state of the processor.
        statistics: takes the processor's figures.
    """

    def __init__(
        self,
        function: OnMemoryCritical,
        gauge: CriticalGauge,
        state: MemoryState,
        statistics: Callable[[], ProcessorStatistics],
    ) -> None:
        self._function = function
        self._gauge = gauge
        self._state = state
        self._statistics = statistics
        self._lock = Lock()
        self._servers: list[Server] = []
        self._running = False
        self._window: MemoryWindow | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def serving(self) -> Server:
        """Return a context around a call; leaving it waits for a function that has been called."""
        return Server(self)

    def join(self, server: Server) -> None:
        """Count on a call's loop from now on."""
        with self._lock:
            self._servers.append(server)
            if len(self._servers) == 1:
                self._unsubscribe = self._state.subscribe(self._observe)

    def leave(self, server: Server) -> None:
        """Count on it no more."""
        with self._lock:
            self._servers.remove(server)
            if not self._servers:
                self._unsubscribe()

    def gives_up(self) -> None:
        """Take note that a call is about to end for want of memory. Never raises."""
        self._tell("giving up", self._window)

    def _observe(self, window: MemoryWindow) -> None:
        self._window = window
        reading = window.reading
        reason = self._gauge.update(reading.utilization_pct, self._state.level, reading.time_s)
        if reason is not None:
            self._tell(reason, window)

    def _tell(self, reason: CriticalReason, window: MemoryWindow | None) -> None:
        with self._lock:
            if self._gauge.told or self._running or not self._servers:
                return  # while it runs the gauge stays ready, and the next reading asks again
            self._gauge.told = self._running = True
            reading = window.reading if window is not None else None
            lasted_s = 0.0 if reading is None else self._gauge.lasted_s(reading.time_s)
            self._servers[0].wake(_Alarm(reason, window, lasted_s))  # under the lock, since it might leave

    async def call(self, alarm: _Alarm) -> None:
        """Call the user's function; what it raises is logged."""
        try:
            told = self._describe(alarm)
            if is_async(self._function):
                await self._function(told)
            else:
                (result,) = await _in_thread(partial(self._function, told))
                if inspect.isawaitable(result):
                    await result
        except Exception:
            _log.exception("on_memory_critical failed; the run goes on")
        finally:
            self._running = False

    def _describe(self, alarm: _Alarm) -> MemoryCritical:
        window, limit = alarm.window, self._state.limit
        reading = window.reading if window is not None else self._state.reading
        return MemoryCritical(
            reason=alarm.reason,
            in_use_bytes=reading.in_use_bytes if reading is not None else 0,
            limit_bytes=reading.limit_bytes if reading is not None else 0,
            limit_source=limit.source if limit is not None else "unknown",
            lasted_s=alarm.lasted_s,
            in_flight=tuple(window.loads) if window is not None else (),
            statistics=self._statistics(),
        )

    def forget(self) -> None:
        """Take note that a call that was asked was cancelled before it got to it."""
        self._running = False


class Server:
    """A task beside a call, which calls the user's function in the call's loop when woken from any thread."""

    def __init__(self, hook: CriticalHook) -> None:
        self._hook = hook
        self._event = anyio.Event()
        self._alarm: _Alarm | None = None
        self._ending = False
        self._call_soon = current_call_soon()
        self._group: TaskGroup = anyio.create_task_group()

    def wake(self, alarm: _Alarm) -> None:
        """Have the function called; from any thread."""
        self._alarm = alarm
        self._call_soon(lambda: self._event.set())

    async def __aenter__(self) -> None:
        await self._group.__aenter__()
        self._group.start_soon(self._serve, name="memflow on_memory_critical")
        self._hook.join(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hook.leave(self)
        self._ending = True
        self._event.set()
        # What the body raises is kept out of the group, which would wrap it.
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        if error is not None and not isinstance(error, Exception):
            self._group.cancel_scope.cancel()
        sole: BaseException | None = None
        try:
            await (
                self._group.__aexit__(kind, error, traceback) if cancelled else self._group.__aexit__(None, None, None)
            )
        except BaseExceptionGroup as several:
            if len(several.exceptions) > 1:
                raise
            sole = several.exceptions[0]  # the function called sys.exit, say
        if sole is not None:
            try:
                raise sole
            finally:
                sole = None  # a frame that its own traceback refers to

    async def _serve(self) -> None:
        try:
            while self._alarm is not None or not self._ending:
                await self._event.wait()
                self._event = anyio.Event()
                alarm, self._alarm = self._alarm, None
                if alarm is not None:
                    await self._hook.call(alarm)
                    if self._ending:
                        self._event.set()
        finally:
            if self._alarm is not None:
                self._hook.forget()


async def _in_thread(function: Callable[[], Any]) -> tuple[Any]:
    """Return what it returns, in a tuple, since trio takes a coroutine that comes from a thread for a mistake."""
    begun = False

    def begin() -> tuple[Any]:
        nonlocal begun
        begun = True
        return (function(),)

    try:
        # A limiter of its own: all of the shared one's threads may be at work on what fills memory.
        return await anyio.to_thread.run_sync(begin, limiter=anyio.CapacityLimiter(1))
    except RuntimeError:
        if begun:
            raise
        return begin()  # RLIMIT_DATA leaves no room for the stack of a new thread
