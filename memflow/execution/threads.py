"""Runs sync functions in worker threads.

Covers functions that block. A thread can't be interrupted: on cancellation the call is awaited to its end, unless
`abandon` lets it run on by itself (its memory is then still in use, though nothing counts it as in flight).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread

from memflow.execution.base import AsyncFunction

__all__ = ["ThreadExecutor"]


class ThreadExecutor:
    """Runs each call in a thread of anyio's pool, with a limit of its own.

    Args:
        abandon: on cancellation or a timeout, leave the thread to itself instead of waiting for it.
    """

    in_threads = True

    def __init__(self, *, abandon: bool = False) -> None:
        self._abandon = abandon

    def bind(self, function: Callable[[Any], Any], *, max_in_flight: Callable[[], int]) -> AsyncFunction:
        """Return a coroutine function that runs `function` in a thread and awaits what it returns, if awaitable."""
        run_sync, abandon = anyio.to_thread.run_sync, self._abandon
        limiter: anyio.CapacityLimiter | None = None
        lost = 0

        def boxed(argument: Any) -> tuple[Any]:
            return (function(argument),)  # in a box, since trio refuses a thread that returns a coroutine

        async def run(argument: Any) -> Any:
            nonlocal limiter, lost
            tokens = max(1, max_in_flight()) + lost
            if limiter is None:
                # Made here, since a limiter belongs to the running loop. It must never be what holds a call back:
                # admission has let it start already.
                limiter = anyio.CapacityLimiter(tokens)
            elif limiter.total_tokens < tokens:
                limiter.total_tokens = tokens
            try:
                (result,) = await run_sync(boxed, argument, abandon_on_cancel=abandon, limiter=limiter)
            except anyio.get_cancelled_exc_class():
                lost += abandon  # the thread may keep its token for ever, and nobody else may wait for that
                raise
            return await result if inspect.isawaitable(result) else result

        return run
