"""The workers of one call: hiring, parking, waking, and counting who is busy.

Covers their number and their sleep; the loops that they run are in `memflow.processing.workers`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup

from memflow.memory.work import OperationLoad

__all__ = ["Crew"]


class Crew:
    """Workers of one call.

    Args:
        work: the coroutine function of one worker, which runs its loop inside `shift`.
        on_crash: told of what a worker raised, before it passes on.
        load: counts busy workers as work in flight, where they are what counts; else None.

    Attributes:
        size: workers hired and not gone.
        busy: workers that are neither parked nor waiting for admission.
        parked: wakes one worker each; never empty by accident, so hot paths test it before they call.
    """

    __slots__ = ("_load", "_on_crash", "_work", "busy", "parked", "size")

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        on_crash: Callable[[BaseException], None],
        load: OperationLoad | None,
    ) -> None:
        self._work = work
        self._on_crash = on_crash
        self._load = load
        self.size = 0
        self.busy = 0
        self.parked: deque[anyio.Event] = deque()

    def hire(self, group: TaskGroup, most: int) -> None:
        """Start workers until there are `most`. Workers beyond that number leave by themselves."""
        while self.size < most:
            self.size += 1
            group.start_soon(self._work, name="memflow worker")

    @contextmanager
    def shift(self) -> Iterator[None]:
        """Count a worker while it runs its loop. A context, since each item would pay for a coroutine."""
        self.rise()
        try:
            yield
        except BaseException as error:
            # A stray cancellation from inside the user's function would end this task without a word.
            self._on_crash(error)
            raise
        finally:
            self.size -= 1
            self.rest()
            self.wake(1)  # it may have been the last one awake: somebody must look for the next batch

    def rise(self) -> None:
        """Count a worker as busy."""
        self.busy += 1
        if self._load is not None:
            self._load.start(1)

    def rest(self) -> None:
        """Count a worker as idle."""
        self.busy -= 1
        if self._load is not None:
            self._load.stop(1)

    async def park(self) -> None:
        """Sleep until somebody calls `wake`."""
        event = anyio.Event()
        self.parked.append(event)
        self.rest()
        try:
            await event.wait()
        finally:
            self.rise()

    def wake(self, count: int) -> None:
        """Wake up to `count` parked workers."""
        parked = self.parked
        for _ in range(min(count, len(parked))):
            parked.popleft().set()
