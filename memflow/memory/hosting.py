"""Where a sampler's ticking task runs: in the task group of a call that is in flight.

Covers starting and stopping it there; which call hosts it is `memflow.memory.sampler`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

__all__ = ["Host"]


class Host:
    """A call's task group, which may be running the ticking task."""

    __slots__ = ("_group", "_scope")

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._scope: anyio.CancelScope | None = None

    def start(self, tick: Callable[[], Awaitable[None]]) -> None:
        """Run the ticking task in this call's group from now on."""
        self._scope = scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await tick()

        self._group.start_soon(run, name="memflow sampler")

    def stop(self) -> bool:
        """Stop ticking; True when it was this host that ticked."""
        if self._scope is None:
            return False
        self._scope.cancel()
        return True
