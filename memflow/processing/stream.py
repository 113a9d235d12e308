"""Results on their way to the consumer.

Covers iterating, in input order or as completed, and the context that owns a call's tasks. The consumer is woken
once for each burst of results, and never holds one back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import anyio
from anyio.abc import TaskGroup

from memflow.exceptions import MemflowError
from memflow.memory.sampler import Sampler
from memflow.processing.batch import MISSING
from memflow.processing.call import Call

__all__ = ["ResultStream", "RunningCall"]


class RunningCall:
    """Runs a call's tasks between entering and leaving.

    A task group wraps whatever passes through it in an exception group; what the body raises is kept out of it, and
    a single error of a task is taken out again, so that users see their own errors (and Ctrl-C) bare.

    Args:
        call: what to run.
        sampler: reads memory meanwhile; None for no readings.
        on_close: called when the tasks have gone.
    """

    def __init__(self, call: Call, sampler: Sampler | None, on_close: Callable[[], None]) -> None:
        self._call = call
        self._sampler = sampler
        self._on_close = on_close
        self._stack = ExitStack()
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Call:
        self._group = group = anyio.create_task_group()
        await group.__aenter__()
        if self._sampler is not None:
            self._stack.enter_context(self._sampler.attached(group))
        group.start_soon(self._call.run, name=f"memflow {self._call.plan.operation}")
        return self._call

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        self._stack.close()
        self._call.end()  # first, so that no worker's cancellation is kept for an error, and with it what it holds
        group.cancel_scope.cancel()
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        sole: BaseException | None = None
        try:
            await (group.__aexit__(kind, error, traceback) if cancelled else group.__aexit__(None, None, None))
        except BaseExceptionGroup as several:
            sole = _sole(several)
            if sole is None:
                raise
        finally:
            self._call.release()
            self._on_close()
        if sole is not None:
            try:
                raise sole
            finally:
                sole = None  # a frame that its own traceback refers to would pin the batch


def _sole(error: BaseException) -> BaseException | None:
    """Return the only error in groups of one, which task groups make of it; None where there are several."""
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) != 1 or isinstance(error, MemflowError):
            return None
        error = error.exceptions[0]
    return error


class ResultStream:
    """Results of a stream, as an async iterator; may be iterated from several tasks at once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._cadence = call.cadence
        self._delivery = call.delivery
        self._ready = call.delivery.ready
        self._parked = call.crew.parked
        self._ordered = call.plan.ordered
        self._results: list[Any] = []
        self._position = 0
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        cadence = self._cadence
        while True:
            if cadence.last is not self:
                cadence.last = self
            elif cadence.clock() >= cadence.deadline_s:
                await cadence.checkpoint()  # before a result is taken: a cancelled consumer loses none
            if self._ordered:
                results, position = self._results, self._position
                if position < len(results):
                    value = results[position]
                    if value is not MISSING:
                        results[position] = None
                        self._position = position + 1
                        self._delivery.delivered += 1
                        if self._parked:
                            self._call.freed()
                        return value
                elif self._delivery.line:
                    self._results, self._position = self._delivery.line.popleft().results, 0
                    continue
            elif self._ready:
                self._delivery.delivered += 1
                if self._parked:
                    self._call.freed()
                return self._ready.popleft()
            await self._wait()

    async def _wait(self) -> None:
        call = self._call
        if self._closed:
            raise MemflowError(
                f"this stream of {call.plan.operation} is closed; iterate inside `async with processor.stream(...)`"
            )
        if call.ended:
            call.raise_outcome()
            raise StopAsyncIteration
        await self._delivery.wait_result()
        self._cadence.resume()

    def drain(self) -> None:
        """Begin nothing new: the iteration ends with what is in flight."""
        self._call.drain()

    def close(self) -> None:
        """Forget what was not taken: called when the stream's context is left."""
        self._closed = True
        self._results = []
        self._position = 0
